"""Claims about the tables beside tars."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from factory import storage
from factory.errors import DamagedShard, UserError
from factory.shards import tar_metadata
from factory.shards.ledger import Ledger
from factory.shards.packing import pack
from factory.shards.plan import Plan
from factory.shards.random_access import ShardIndex
from factory.shards.reader import ShardDataset
from factory.shards.reading import find_plan, read_receipts
from factory.shards.receipts import Circumstances
from factory.shards.schema import Sample, sample_key
from factory.shards.single_rows import ListedTarRows
from factory.shards.verification import verify
from factory.storage import RangedFile
from tests.folders import contents
from tests.shards.conftest import NAMES

NUM = 7


@pytest.fixture(params=["mask", "label"])
def plan(request, make_plan) -> Plan:
    recipe = {**make_plan().recipe, "metadata_files": True}
    if request.param != "mask":
        recipe["mask_column"] = request.param
    return make_plan(format="webdataset", recipe=recipe)


@pytest.fixture
def url(tmp_path, plan, write_dataset) -> str:
    write_dataset(str(tmp_path / "out"), plan)
    return str(tmp_path / "out")


def tables(url: str) -> list[Path]:
    return sorted(Path(url, "metadata").iterdir())


def test_each_tar_has_a_table_of_its_name_which_its_receipt_is_for(url, plan):
    assert [path.name for path in tables(url)] == [f"train-0000{i}.parquet" for i in range(3)]
    for shard, receipt in read_receipts(url).items():
        assert receipt.paths == (
            f"data/train-0000{shard}.tar",
            f"metadata/train-0000{shard}.parquet",
        )
        (table,) = receipt.files[1:]
        assert table.rows == receipt.rows and receipt.data_files == receipt.files[:1]


def test_a_table_has_all_columns_but_pictures_and_they_lie_where_it_says(url, plan, make_samples):
    import pandas

    read = pandas.read_parquet(Path(url, "metadata"))
    assert list(read.columns) == [column.name for column in (*plan.fields, *tar_metadata.PLACES)]
    for row, sample in zip(read.to_dict("records"), make_samples(NUM), strict=True):
        assert row["key"] == sample.key and row["seed"] == sample.seed
        assert list(row["labels"]) == (sample.labels + [-1] * 3)[:3]
        assert np.float32(row["uncertainty"]) == np.float32(sample.uncertainty)
        assert np.allclose(row["class_fractions"], sample.class_fractions(3))
        data = Path(url, row["tar"]).read_bytes()
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            masks = plan.recipe.get("mask_column", "mask")
            for name, column in (("image", "image"), ("mask", masks)):
                member = tar.getmember(f"{sample.key}.{column}.png")
                offset, size = row[f"{name}_offset"], row[f"{name}_bytes"]
                assert (member.offset_data, member.size) == (offset, size)
                assert data[offset : offset + size].startswith(b"\x89PNG")


def test_a_table_costs_a_small_part_of_what_its_tar_does(tmp_path, plan):
    spec = replace_num(plan, 100).shard(0)
    plan = replace_num(plan, 100)
    files = pack(plan, spec, [plan.encode_sample(noisy(i, 64)) for i in range(100)])
    tar, table = (len(files[path]) for path in spec.paths)
    assert table < tar / 50


def replace_num(plan: Plan, num: int) -> Plan:
    return Plan(**{**plan.model_dump(), "num": num, "samples_per_shard": num})


def noisy(i: int, side: int) -> Sample:
    rng = np.random.default_rng(i)
    image = rng.integers(0, 256, (side, side, 3), np.uint8)
    mask = rng.integers(0, 3, (side, side)).astype(np.uint8)
    return Sample(sample_key(i), image, mask, i, float(np.float32(rng.random())), "abc123")


def test_the_card_tells_of_the_table(url):
    text = Path(url, "README.md").read_text()
    assert 'pd.read_parquet("metadata")' in text and "below `metadata/`" in text


@pytest.mark.slow
def test_datasets_opens_the_table_with_its_features(url, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    # It would tell its makers what is loaded.
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
    files = f"{url}/metadata/*.parquet"
    rows = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert rows["key"][:] == [sample_key(i) for i in range(NUM)]
    assert rows.features["labels"].feature.names == list(NAMES)


@pytest.mark.slow
def test_duckdb_and_polars_filter_by_it(url, make_samples):
    import duckdb
    import polars

    bound = sorted(sample.uncertainty for sample in make_samples(NUM))[3]
    wanted = [sample.key for sample in make_samples(NUM) if sample.uncertainty <= bound]
    pattern = f"{url}/metadata/*.parquet"
    query = f"select key from '{pattern}' where uncertainty <= {bound!r}::float order by key"
    assert [key for (key,) in duckdb.sql(query).fetchall()] == wanted
    is_certain = polars.col("uncertainty") <= polars.lit(bound, polars.Float32)
    found = polars.scan_parquet(pattern).filter(is_certain)
    assert sorted(found.collect()["key"]) == wanted


# Random access


class Counting(MemoryFileSystem):
    """Counts the ranges that are read, and their bytes."""

    cachable = False
    reads: ClassVar[list[int]] = []

    def cat_file(self, path: str, **options: Any) -> bytes:
        data = bytes(super().cat_file(path, **options))
        Counting.reads.append(len(data))
        return data


def test_a_sample_of_a_tar_is_one_range_and_its_table_once(plan, monkeypatch):
    monkeypatch.setitem(_registry, "memory", Counting)
    plan = replace_num(plan, 60)
    spec, url = plan.shard(0), f"memory://listed/{plan.recipe.get('mask_column')}"
    files = pack(plan, spec, [plan.encode_sample(noisy(i, 48)) for i in range(60)])
    ledger = Ledger(url, plan)
    ledger.start("", {})
    ledger.publish(spec, files, Circumstances(0.0, ""))
    ledger.finish("", "mit")
    index = ShardIndex(url)
    for i, num_reads in ((31, 2), (3, 1), (59, 1)):
        Counting.reads.clear()
        assert np.array_equal(index[i]["image"].permute(1, 2, 0), noisy(i, 48).image)
        assert len(Counting.reads) == num_reads
        assert sum(Counting.reads) < 3 * 48 * 48 * 4 + len(files[spec.paths[1]])


def test_a_tar_without_a_table_is_found_by_its_headers(tmp_path, make_plan, write_dataset):
    url = str(tmp_path / "old")
    write_dataset(url, make_plan(format="webdataset"))
    assert not Path(url, "metadata").exists()
    assert [row["key"] for row in ShardIndex(url)] == [row["key"] for row in ShardDataset(url)]


def test_fields_are_those_of_the_table_and_proven(url, plan):
    """A bit of a tar's JSON, which no checksum of its own proves, gives no other field."""
    path = Path(url, "data/train-00000.tar")
    wanted = [row["seed"] for row in ShardIndex(url, columns=["seed"])]
    data = path.read_bytes()
    at = data.index(b'"seed": ') + len(b'"seed": ')
    path.write_bytes(data[:at] + b"9" + data[at + 1 :])
    assert [row["seed"] for row in ShardIndex(url, columns=["seed"])] == wanted
    with pytest.raises(UserError, match="damaged"):
        list(ShardDataset(url))


@pytest.mark.parametrize("change", ["lost", "folder", "cut", "flipped", "swapped"])
def test_a_table_that_is_not_the_receipts_is_refused_with_its_remedy(url, change):
    first, second, _ = tables(url)
    data = first.read_bytes()
    if change in ("lost", "folder"):
        first.unlink()
        if change == "folder":
            first.mkdir()
    else:
        other = {"cut": data[:-3], "flipped": data[:99] + bytes([data[99] ^ 4]) + data[100:]}
        first.write_bytes(other.get(change, second.read_bytes()))
    with pytest.raises(UserError, match=r"metadata/train-00000.*repair"):
        ShardIndex(url)[0]
    assert ShardIndex(url)[3]["key"] == sample_key(3)
    assert [row["key"] for row in ShardDataset(url)] == [sample_key(i) for i in range(NUM)]


def test_pictures_that_lie_elsewhere_than_a_table_says_are_refused(url, plan):
    """As after a bug: a table that is proven, and does not fit its tar."""
    tar, table = (Path(url, path) for path in plan.shard(0).paths)
    file = RangedFile(str(tar), tar.stat().st_size)
    assert ListedTarRows(file, table.read_bytes()).row(1).fields["key"] == sample_key(1)
    read = pq.read_table(table)
    for name, change in (("image_offset", 512), ("mask_bytes", 1), ("mask_bytes", -1)):
        others = pa.array([value + change for value in read[name].to_pylist()])
        sink = pa.BufferOutputStream()
        moved = read.set_column(read.schema.get_field_index(name), name, others)
        pq.write_table(moved, sink)
        with pytest.raises(DamagedShard, match=r"header|where a picture"):
            ListedTarRows(file, sink.getvalue().to_pybytes()).row(1)
    swapped = read.take([1, 0, 2])
    keys = read["key"]
    sink = pa.BufferOutputStream()
    pq.write_table(swapped.set_column(0, "key", keys), sink)
    with pytest.raises(DamagedShard, match="where a picture of 000000000 should be"):
        ListedTarRows(file, sink.getvalue().to_pybytes()).row(0)


# Publishing and proving


def test_a_table_of_another_tar_is_not_published(tmp_path, plan, make_samples):
    url, spec = str(tmp_path / "out"), plan.shard(0)
    Ledger(url, plan).start("", {})
    files = pack(plan, spec, list(map(plan.encode_sample, make_samples(3))))
    others = [replace(sample, seed=sample.seed ^ 1) for sample in make_samples(3)]
    table = pack(plan, spec, list(map(plan.encode_sample, others)))[spec.paths[1]]
    for bad in (table, b"", table[:-1], files[spec.paths[1]][:-30] + bytes(30)):
        with pytest.raises(DamagedShard, match="table of metadata"):
            Ledger(url, plan).publish(spec, {**files, spec.paths[1]: bad}, Circumstances(0.0, ""))
    assert not any("data" in name for name in contents(Path(url)))


def test_foreign_tables_are_never_mixed_with_ours(tmp_path, plan):
    url = str(tmp_path / "out")
    storage.write(f"{url}/metadata/train-00000.parquet", b"precious")
    for each in (plan, plan.without_metadata()):
        with pytest.raises(UserError, match=r"other files \(metadata/train-00000\.parquet\)"):
            Ledger.resolve(url, each)


@pytest.mark.parametrize("level", ["hash", "decode"])
def test_verify_names_an_altered_table(url, level):
    data = tables(url)[1].read_bytes()
    tables(url)[1].write_bytes(data[:150] + bytes([data[150] ^ 1]) + data[151:])
    assert [f.name for f in verify(url, level).findings] == ["metadata/train-00001.parquet"]


# Datasets that older versions made


def test_a_run_of_an_older_plan_goes_on_without_tables(tmp_path, plan, make_samples):
    """As an older version began it: extended, it stays of one kind."""
    url, old = str(tmp_path / "old"), plan.without_metadata()
    Ledger(url, old).start("", {})
    assert Ledger.resolve(url, plan).plan == old
    larger = Plan(**{**plan.model_dump(), "num": 12})
    grown = Ledger.resolve(url, larger, extend=True)
    assert grown.plan == old.extended(12)
    grown.start("", {})
    for shard in grown.pending():
        spec = grown.plan.shard(shard)
        samples = make_samples(spec.stop - spec.start, spec.start)
        files = pack(grown.plan, spec, list(map(grown.plan.encode_sample, samples)))
        assert list(files) == [spec.path]
        grown.publish(spec, files, Circumstances(0.0, ""))
    grown.finish("", "mit")
    assert find_plan(url) == grown.plan and verify(url, "decode").findings == []


def test_a_run_of_an_older_plan_that_differs_otherwise_is_refused(tmp_path, plan):
    url, old = str(tmp_path / "old"), plan.without_metadata()
    Ledger(url, old).start("", {})
    other = plan.model_copy(update={"recipe": {**plan.recipe, "seed": 5}})
    with pytest.raises(UserError, match=r"recipe\.seed: there 0, here 5") as refused:
        Ledger.resolve(url, other)
    assert "metadata_files" not in str(refused.value)
