"""Claims about factory.shards.column_reading."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fsspec.registry import _registry

from factory.errors import DamagedShard, UserError
from factory.shards.column_reading import has_cheap_columns, read_columns
from factory.shards.ledger import Ledger
from factory.shards.packing import pack
from factory.shards.plan import Plan
from factory.shards.reading import read_manifest, read_rows
from factory.shards.receipts import Circumstances
from tests.exporting import made
from tests.shards.test_random_access import Counting, noisy

HERE = Path(__file__).parent
NAMES = ["height", "width", "class_fractions", "uncertainty"]
TABLES = {"seed": 0, "metadata_files": True}


def check(url: str) -> None:
    """Fails unless the columns of each shard are what its rows have."""
    manifest = read_manifest(url)
    for receipt in manifest.receipts:
        numbers, columns = read_columns(url, manifest.plan, receipt, NAMES)
        order = np.argsort(numbers)
        rows = list(read_rows(url, manifest.plan, receipt))
        assert [numbers[i] for i in order] == [int(row.fields["key"]) for row in rows]
        samples = [row.decoded() for row in rows]
        assert columns["height"][order].tolist() == [each.mask.shape[0] for each in samples]
        assert columns["width"][order].tolist() == [each.mask.shape[1] for each in samples]
        assert columns["uncertainty"][order] == pytest.approx([s.uncertainty for s in samples])
        num_classes = len(manifest.plan.class_names)
        fractions = [each.class_fractions(num_classes) for each in samples]
        np.testing.assert_allclose(columns["class_fractions"][order], fractions)


@pytest.mark.parametrize("val_fraction", [None, 0.4])
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_columns_are_those_of_the_rows(
    tmp_path: Path, format: str, val_fraction: float | None
) -> None:
    split = {} if val_fraction is None else {"val_fraction": val_fraction}
    recipe = {"seed": 0, "metadata_files": format == "webdataset", **split}
    made.write(str(tmp_path / "out"), format=format, recipe=recipe)
    check(str(tmp_path / "out"))


@pytest.mark.parametrize("older", ["tars_without_metadata", "version_0_1/parquet"])
def test_columns_of_older_versions_are_read(older: str) -> None:
    url = str(HERE / older)
    check(url)
    assert has_cheap_columns(read_manifest(url).plan) == older.endswith("parquet")


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_pictures_are_not_read(
    format: str, make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_registry, "memory", Counting)
    url = f"memory://columns/{format}"
    recipe = {"seed": 0, "metadata_files": format == "webdataset"}
    plan = make_plan(num=12, samples_per_shard=12, format=format, recipe=recipe)
    Ledger(url, plan).start("", {})
    (spec,) = plan.shards()
    files = pack(plan, spec, [plan.encode_sample(noisy(i)) for i in range(12)])
    Ledger(url, plan).publish(spec, files, Circumstances(seconds=1.0, host="here"))
    Ledger(url, plan).finish("A test.", "cc0-1.0")
    (receipt,) = read_manifest(url).receipts
    before = Counting.num_bytes
    read_columns(url, plan, receipt, NAMES)
    assert 0 < Counting.num_bytes - before < receipt.num_bytes / 50


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_a_lost_or_damaged_file_is_named(tmp_path: Path, format: str) -> None:
    url = str(tmp_path / "out")
    made.write(url, num=3, format=format, recipe=TABLES if format == "webdataset" else {"seed": 0})
    manifest = read_manifest(url)
    (receipt,) = manifest.receipts
    file = tmp_path / "out" / receipt.files[-1].path
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises((DamagedShard, UserError), match=r"not a whole Parquet|is damaged"):
        read_columns(url, manifest.plan, receipt, NAMES)
    file.unlink()
    with pytest.raises(UserError, match=f"{file.name}: is missing"):
        read_columns(url, manifest.plan, receipt, NAMES)
