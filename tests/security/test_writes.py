"""Claims about names in datasets: they lead neither a reader nor a writer out of its folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory import report, storage
from factory.errors import UserError
from factory.shards.layout import to_json
from factory.shards.manifest import root_of
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_manifest, read_plan, read_receipts
from factory.shards.receipts import Receipt

OUTSIDE = [
    "../../x",
    "../outside.parquet",
    "/etc/passwd",
    "data/../../x",
    "s3://bucket/x",
    "data/x",
]


@pytest.fixture
def dataset(make_dataset: Callable[..., str]) -> Path:
    return Path(make_dataset())


def change(file: Path, **fields: Any) -> None:
    """Spelt as the ledger spells it."""
    file.write_bytes(to_json({**json.loads(file.read_text()), **fields}))


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_receipt_for_another_file_counts_as_missing(path: str, dataset: Path) -> None:
    receipt = dataset / "_factory" / "shards" / "00000.json"
    change(receipt)
    assert sorted(read_receipts(str(dataset))) == [0, 1]
    change(receipt, path=path)
    assert sorted(read_receipts(str(dataset))) == [1]
    assert len(list(ShardDataset(str(dataset), partial=True))) == 2


@pytest.mark.parametrize("fields", [{"shard": 1}, {"shard": -1}, {"shard": 2**40}, {"rows": 9}])
def test_a_receipt_for_another_shard_counts_as_missing(
    fields: dict[str, int], dataset: Path
) -> None:
    change(dataset / "_factory" / "shards" / "00000.json", **fields)
    assert sorted(read_receipts(str(dataset))) == [1]


@pytest.fixture
def name_outside(dataset: Path) -> Callable[[str], None]:
    """Makes the manifest name another file for the first shard, as a forger would."""

    def forge(path: str) -> None:
        file = dataset / "_factory" / "manifest.json"
        receipts = json.loads(file.read_text())["receipts"]
        receipts[0]["path"] = path
        root = root_of([Receipt.model_validate(receipt) for receipt in receipts])
        change(file, receipts=receipts, root=root)
        change(dataset / "_SUCCESS", root=root)

    return forge


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_manifest_that_names_another_file_is_refused(
    path: str, dataset: Path, name_outside: Callable[[str], None]
) -> None:
    name_outside(path)
    with pytest.raises(UserError, match=r"manifest\.json"):
        read_manifest(str(dataset))


def test_no_reader_leaves_the_folder_for_a_manifest(
    dataset: Path, name_outside: Callable[[str], None]
) -> None:
    first = dataset / read_plan(str(dataset)).shard(0).path
    first.rename(dataset.parent / "outside.parquet")
    name_outside("../outside.parquet")
    for read in (
        lambda: list(ShardDataset(str(dataset))),
        lambda: report.write_report(str(dataset)),
    ):
        with pytest.raises(UserError, match=r"manifest\.json"):
            read()


def test_every_path_of_a_plan_is_below_data(make_plan: Callable[..., Any]) -> None:
    for format in ("parquet", "webdataset"):
        plan = make_plan(format=format, num=10**5, samples_per_shard=1)
        for shard in (0, 1, plan.num_shards - 1):
            folder, _, name = plan.shard(shard).path.partition("/")
            assert folder == "data" and "/" not in name and not name.startswith(".")


def test_a_dataset_and_its_report_lie_in_their_folder_alone(
    make_dataset: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    url = make_dataset(recipe={"../x": "../../y"}, license="../../z", description="../a")
    report.write_report(url)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "elsewhere"]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_link_at_a_files_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "out").mkdir()
    for name in ("README.md", "new"):
        (tmp_path / "out" / name).symlink_to(victim)
    storage.write(str(tmp_path / "out" / "README.md"), b"card")
    with pytest.raises(FileExistsError):
        storage.write_new(str(tmp_path / "out" / "new"), b"other")
    assert victim.read_text() == "precious"
    assert (tmp_path / "out" / "README.md").read_bytes() == b"card"
    assert not (tmp_path / "out" / "README.md").is_symlink()
