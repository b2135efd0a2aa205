import pickle
import random
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from torch.utils.data import DataLoader

import factory
from factory import storage
from factory.errors import DamagedShard, UserError
from factory.shards import parquet_pages
from factory.shards.ledger import Ledger
from factory.shards.random_access import ShardIndex
from factory.shards.reader import ShardDataset
from factory.shards.receipts import Circumstances
from factory.shards.schema import Sample, sample_key
from factory.shards.single_rows import SingleRows
from tests.exporting import made

NUM, PER_SHARD = 8, 3
KEYS = [sample_key(i) for i in range(NUM)]


@pytest.fixture(params=["parquet", "webdataset"])
def url(request, tmp_path, make_plan, write_dataset) -> str:
    dataset = str(tmp_path / "out")
    write_dataset(dataset, make_plan(num=NUM, samples_per_shard=PER_SHARD, format=request.param))
    return dataset


def same(row: dict[str, Any], other: dict[str, Any]) -> bool:
    return row.keys() == other.keys() and all(np.array_equal(row[k], other[k]) for k in row)


def test_a_sample_by_its_number_is_what_streaming_gives(url):
    options: dict[str, Any] = {"columns": ["key", "labels", "seed"], "mask_dtype": "int64"}
    index = ShardIndex(url, **options)
    streamed = list(ShardDataset(url, **options))
    assert len(index) == NUM
    for i in random.Random(0).sample(range(NUM), NUM):
        assert same(index[i], streamed[i]) and same(index[i - NUM], streamed[i])


@pytest.mark.parametrize("form", ["parquet", "webdataset", "without tables"])
def test_names_of_images_are_read_without_their_pictures(tmp_path, form):
    dataset = str(tmp_path / "named")
    names = [f"sub/{i}.png" for i in range(NUM)]
    recipe = {"seed": 0, "columns": ["source"], "metadata_files": form == "webdataset"}
    form = "parquet" if form == "parquet" else "webdataset"
    made.write(dataset, num=NUM, sources=names, recipe=recipe, format=form)
    assert ShardIndex(dataset).image_names() == names
    shard = next((tmp_path / "named" / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(UserError, match=shard.name):
        ShardIndex(dataset).image_names()


def test_negative_numbers_count_from_the_end_and_slices_are_lists(url):
    index = ShardIndex(url)
    assert [row["key"] for row in index[-3:]] == KEYS[-3:]
    assert [row["key"] for row in index[6:1:-2]] == KEYS[6:1:-2]
    assert index[100:] == []
    assert index[np.int64(-1)]["key"] == index[torch.tensor(-1)]["key"] == KEYS[-1]
    assert [row["key"] for row in index] == KEYS


@pytest.mark.parametrize("beyond", [NUM, -NUM - 1])
def test_numbers_beyond_the_samples_are_refused_as_those_of_a_list(url, beyond):
    with pytest.raises(IndexError, match=f"has 8 samples, so none at {beyond}"):
        ShardIndex(url)[beyond]
    for index in ("000000001", 1.0, np.array([1]), torch.tensor([1, 2])):
        with pytest.raises(TypeError, match="a whole number or a slice, not by"):
            ShardIndex(url)[index]


def test_a_transform_and_unknown_columns_are_those_of_streaming(url):
    assert ShardIndex(url, transform=lambda row: row["key"])[4] == KEYS[4]
    with pytest.raises(UserError, match="'keys' is no column"):
        ShardIndex(url, columns=["keys"])


def test_it_is_offered_by_name_and_by_opening_a_dataset(url):
    opened = factory.open_dataset(url, random_access=True, columns=["seed"])
    assert isinstance(opened, factory.ShardIndex)
    assert set(opened[1]) == {"image", "mask", "seed"}
    with pytest.raises(UserError, match="keep: is an option of a stream alone"):
        factory.open_dataset(url, random_access=True, keep=0.8)


def test_unfinished_data_is_read_only_when_asked_for(tmp_path, make_plan, make_samples):
    dataset, plan = str(tmp_path / "out"), make_plan()
    Ledger(dataset, plan).start("", {})
    spec, data = plan.shard(1), plan.encode(make_samples(3, 3))
    Ledger(dataset, plan).publish(spec, {spec.path: data}, Circumstances(seconds=0.0, host=""))
    with pytest.raises(UserError, match="unfinished"):
        ShardIndex(dataset)
    assert [row["key"] for row in ShardIndex(dataset, partial=True)] == KEYS[3:6]


@pytest.mark.parametrize("format", ["parquet", "tar"])
def test_datasets_of_version_0_1_are_read(format):
    url = f"tests/shards/version_0_1/{'webdataset' if format == 'tar' else format}"
    index, streamed = ShardIndex(url), list(ShardDataset(url))
    assert all(same(index[i], row) for i, row in enumerate(streamed)) and len(index) == 5


class Counting(MemoryFileSystem):
    """Counts the bytes that are read."""

    cachable = False
    num_bytes: ClassVar[int] = 0

    def cat_file(self, path: str, **options: Any) -> bytes:
        data = bytes(super().cat_file(path, **options))
        Counting.num_bytes += len(data)
        return data


SIDE = 300


def noisy(i: int) -> Sample:
    """A sample whose image does not compress, so that it takes 270 kilobytes."""
    rng = np.random.default_rng(i)
    image = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    mask = rng.integers(0, 3, (SIDE, SIDE)).astype(np.uint8)
    return Sample(sample_key(i), image, mask, i, 0.5, "abc123")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_a_sample_costs_a_few_pages_of_its_shard_however_large_that_is(
    format, make_plan, monkeypatch
):
    monkeypatch.setitem(_registry, "memory", Counting)
    url, num = f"memory://large/{format}", 50
    plan = make_plan(num=num, samples_per_shard=num, format=format)
    Ledger(url, plan).start("", {})
    spec, data = plan.shard(0), plan.encode([noisy(i) for i in range(num)])
    Ledger(url, plan).publish(spec, {spec.path: data}, Circumstances(seconds=0.0, host=""))
    Ledger(url, plan).finish("A test.", "cc0-1.0")
    assert len(data) > 14e6
    index, costs = ShardIndex(url), []
    for i in (31, 3, num - 1, 30):
        before = Counting.num_bytes
        assert np.array_equal(index[i]["image"].permute(1, 2, 0), noisy(i).image)
        costs.append(Counting.num_bytes - before)
    # Two pages of up to a megabyte and a picture, one of images and one of masks, and once the
    # footer: that does not grow with the shard, while reading it whole would.
    assert max(costs) < 2.6e6
    assert sum(costs) < len(data) / 2


def keys_in(loader: Any) -> list[str]:
    return [key for batch in loader for key in batch["key"]]


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_loader_read_what_one_process_reads(url, start):
    index = ShardIndex(url)
    # What this process knows already must not matter to others.
    assert index[5]["key"] == KEYS[5]
    options: dict[str, Any] = {"batch_size": 3, "num_workers": 2, "multiprocessing_context": start}
    assert keys_in(DataLoader(index, **options)) == KEYS
    if start == "fork":
        torch.manual_seed(0)
        assert sorted(keys_in(DataLoader(index, shuffle=True, **options))) == KEYS


def test_it_crosses_to_other_processes_without_what_it_learned(url):
    index = ShardIndex(url)
    # A plan keeps what it computed.
    index.plan.shard(1)
    before = len(pickle.dumps(index))
    assert index[5]["key"] == KEYS[5]
    assert len(pickle.dumps(index)) == before
    assert pickle.loads(pickle.dumps(index))[5]["key"] == KEYS[5]


def test_what_is_known_of_shards_is_bounded(url, monkeypatch):
    monkeypatch.setattr("factory.shards.random_access._MAX_KNOWN_SHARDS", 2)
    index = ShardIndex(url)
    assert [index[i]["key"] for i in (0, 3, 6, 0, 7)] == [KEYS[i] for i in (0, 3, 6, 0, 7)]
    assert len(index._known) == 2


def test_a_lost_shard_or_one_of_another_size_is_told_with_its_remedy(url):
    index = ShardIndex(url)
    shard = f"{url}/{index.receipts[1].path}"
    content = storage.read_bytes(shard)
    storage.write(shard, content[:-700])
    with pytest.raises(UserError, match=r"damaged.*repair"):
        index[4]
    assert index[0]["key"] == KEYS[0]
    storage.filesystem(shard)[0].rm_file(shard)
    with pytest.raises(UserError, match=r"missing.*repair"):
        index[4]


@pytest.mark.slow
def test_a_flipped_bit_is_refused_or_touches_no_sample(url):
    wanted = list(ShardIndex(url, columns=["key"]))[:PER_SHARD]
    index = ShardIndex(url)
    shard = f"{url}/{index.receipts[0].path}"
    content, rng, refused = storage.read_bytes(shard), random.Random(0), 0
    for _ in range(150):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        storage.write(shard, bytes(flipped))
        try:
            rows = ShardIndex(url, columns=["key"])[:PER_SHARD]
        except UserError as error:
            assert "damaged" in str(error)
            refused += 1
        else:
            assert all(map(same, rows, wanted))
    assert refused > 20


@pytest.mark.slow
@pytest.mark.parametrize("part", ["footer", "offset index"])
def test_a_flipped_bit_where_pages_are_told_gives_no_other_page(part, make_plan, make_samples):
    data = make_plan(num=9, samples_per_shard=9).encode(make_samples(9))
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]

    def pages(footer: bytes, index: bytes | None = None) -> dict[str, list[parquet_pages.Page]]:
        found = {}
        for name, chunk in parquet_pages.offset_indexes(footer)[0].items():
            held = data[chunk.index.start : chunk.index.stop] if index is None else index
            if name in ("image.bytes", "mask.bytes")[: 2 if index is None else 1]:
                found[name] = parquet_pages.pages_of(held, chunk)
        return found

    place = parquet_pages.offset_indexes(footer)[0]["image.bytes"].index
    index = data[place.start : place.stop]
    wanted, refused = pages(footer), 0
    for bit in range(0, 8 * len(footer), 5) if part == "footer" else range(8 * len(index)):
        flipped = bytearray(footer if part == "footer" else index)
        flipped[bit // 8] ^= 1 << bit % 8
        both = (bytes(flipped),) if part == "footer" else (footer, bytes(flipped))
        try:
            for name, found in pages(*both).items():
                # How many rows a page has is compared with the page itself.
                assert [page.start for page in found] == [page.start for page in wanted[name]]
        except DamagedShard:
            refused += 1
    assert refused > 50


def test_a_shard_that_another_thread_forgets_is_read_nevertheless(url, monkeypatch):
    class Forgetful(dict):
        def __setitem__(self, shard: int, rows: SingleRows) -> None:
            """Another thread removes it at once."""

    index = ShardIndex(url)
    monkeypatch.setattr(index, "_known", Forgetful())
    assert [index[i]["key"] for i in (0, 3, 6, 1)] == [KEYS[i] for i in (0, 3, 6, 1)]


def test_threads_share_no_place_in_a_file(url):
    index = ShardIndex(url)
    assert index[0]["key"] == KEYS[0]
    rows: Any = index._known[0]
    assert rows.files[0]._file.tell() == 0


def test_a_store_that_fails_is_not_taken_for_damage(url, monkeypatch):
    def fail(*_: object) -> bytes:
        raise TimeoutError(110, "timed out")

    index = ShardIndex(url)
    monkeypatch.setattr("factory.storage.ranged.read_range", fail)
    with pytest.raises(TimeoutError):
        index[0]
