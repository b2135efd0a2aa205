"""Claims about files of many pairs: their size, resuming, and the memory that they take."""

import io
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

import factory
from factory.errors import UserError
from factory.exporting import pairs
from factory.shards import parquet, reading, webdataset
from factory.shards.plan import Plan
from factory.shards.schema import (
    EncodedSample,
    Sample,
    encode_sample,
    sample_key,
)
from tests.exporting import made

READERS: dict[str, Any] = {"parquet": parquet.rows, "webdataset": webdataset.rows}


def files(folder: Path, split: str = "train") -> Iterator[tuple[bytes, list[Sample]]]:
    """The bytes and the samples of each file of a split, in order."""
    for path in sorted((folder / "data").glob(f"{split}-*")):
        rows = READERS["parquet" if path.suffix == ".parquet" else "webdataset"]
        data = path.read_bytes()
        yield data, [row.decoded() for row in rows(data)]


@pytest.mark.parametrize("to", ["parquet", "webdataset"])
@pytest.mark.parametrize("made_as", ["parquet", "webdataset"])
@pytest.mark.parametrize("num", [1, 4, 5, 100])
def test_files_have_the_number_of_pairs_that_is_asked_for(
    tmp_path: Path, samples: list[Sample], to: str, made_as: str, num: int
) -> None:
    made.write(str(tmp_path / "dataset"), format=made_as)
    out = tmp_path / "out"
    counts = factory.export(tmp_path / "dataset", to, out, samples_per_shard=num, val=0.3)
    found: dict[str, Sample] = {}
    for split, name in {"train": "train", "val": "validation"}.items():
        sizes = [len(rows) for _, rows in files(out, name)]
        assert sizes[:-1] == [num] * (len(sizes) - 1) and 0 < sizes[-1] <= num
        assert sum(sizes) == counts[split]
        for _, rows in files(out, name):
            found |= {row.key: row for row in rows}
    assert sorted(found) == [sample.key for sample in samples]
    for sample in samples:
        assert np.array_equal(found[sample.key].image, sample.image)
        assert np.array_equal(found[sample.key].mask, sample.mask)


@pytest.mark.parametrize("to", ["parquet", "webdataset"])
def test_files_have_the_size_that_is_asked_for_and_no_more(tmp_path: Path, to: str) -> None:
    made.write(str(tmp_path / "dataset"), num=40, samples_per_shard=7, size=(64, 64))
    out = tmp_path / "out"
    factory.export(tmp_path / "dataset", to, out, shard_megabytes=0.1)
    sizes = [len(data) for data, _ in files(out)]
    # What Parquet knows of its columns comes to the rows.
    slack = 10_240
    assert len(sizes) > 3 and max(sizes) <= 100_000 + slack
    a_row = 64 * 64 * 3 + 4_000
    assert min(sizes[:-1]) > 100_000 - a_row
    keys = [row.key for _, rows in files(out) for row in rows]
    assert keys == [sample_key(i) for i in range(40)]


def test_a_pair_that_is_larger_than_a_file_has_one_of_its_own(dataset: str, tmp_path: Path) -> None:
    factory.export(dataset, "webdataset", tmp_path / "out", shard_megabytes=1e-6)
    assert [len(rows) for _, rows in files(tmp_path / "out")] == [1] * 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "size"),
    [("parquet", {"samples_per_shard": 4}), ("webdataset", {"shard_megabytes": 0.02})],
)
def test_files_of_another_size_that_are_killed_between_any_two_writes_end_with_the_same_bytes(
    to: str, size: dict[str, Any], dataset: str, memory: str, killed_at: Callable[..., bool]
) -> None:
    options = {**size, "val": 0.3, "keep": 0.9}
    factory.export(dataset, to, f"{memory}/whole", **options)
    whole = made.contents(f"{memory}/whole")
    for point in range(1, 1000):
        out = f"{memory}/{point}"
        if not killed_at(point, lambda out=out: factory.export(dataset, to, out, **options)):
            break
        factory.export(dataset, to, out, **options)
        assert made.contents(out) == whole, point
    assert point > 2 * len(whole), "each write was interrupted, before it and after it"


def test_files_of_another_size_go_on_where_the_last_one_ends(
    dataset: str,
    tmp_path: Path,
    killed_at: Callable[..., bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def export(out: str, num: int = 4) -> dict[str, int]:
        return factory.export(dataset, "parquet", tmp_path / out, samples_per_shard=num)

    for point in range(1, 200):
        if "_export/shards/t-00001.json" in made.contents(str(tmp_path / "out")):
            break
        killed_at(point, lambda: export("out"))
    with pytest.raises(UserError, match=r"options.samples_per_shard: there 4, here 5"):
        export("out", 5)
    opened: list[int] = []
    honest = reading.open_shard

    def open_shard(url: str, receipt: Any) -> list[io.BufferedReader]:
        opened.append(receipt.shard)
        return honest(url, receipt)

    monkeypatch.setattr(pairs, "open_shard", open_shard)
    assert export("out") == {"train": 10}
    assert opened == [2, 3], "pairs 8 and 9 are in the last two shards of three pairs"


def test_records_of_files_say_what_is_in_them(dataset: str, tmp_path: Path) -> None:
    factory.export(dataset, "parquet", tmp_path / "out", samples_per_shard=4)
    records = sorted((tmp_path / "out" / "_export" / "shards").iterdir())
    told = [json.loads(path.read_text()) for path in records]
    assert [(each["file"], each["num"], each["stop"]) for each in told] == [
        (0, 4, 4),
        (1, 4, 8),
        (2, 2, 10),
    ]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples_per_shard": 0}, "samples_per_shard = 0: must be a whole number >= 1"),
        ({"samples_per_shard": "many"}, "must be a whole number >= 1"),
        ({"shard_megabytes": 0}, "shard_megabytes = 0: must be a number of megabytes above 0"),
        ({"shard_megabytes": True}, "must be a number of megabytes above 0"),
        ({"shard_megabytes": 1, "samples_per_shard": 1}, "are two ways to say one size: give one"),
    ],
)
def test_a_size_that_is_none_is_refused(
    dataset: str, tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        factory.export(dataset, "parquet", tmp_path / "out", **options)
    with pytest.raises(UserError, match="is no option of coco, but of parquet, webdataset, hub"):
        factory.export(dataset, "coco", tmp_path / "out", samples_per_shard=5)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("made_as", READERS)
@pytest.mark.parametrize("to", ["folder", "coco", "parquet", "webdataset"])
def test_few_pairs_of_a_shard_are_in_memory(
    tmp_path: Path, memory: str, monkeypatch: pytest.MonkeyPatch, made_as: str, to: str
) -> None:
    made.write(str(tmp_path / "dataset"), num=300, samples_per_shard=300, format=made_as)
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most, num, honest = 0, 0, Plan.rows

    def rows(plan: Plan, shard: BinaryIO, *rest: Any) -> Iterator[Any]:
        nonlocal most, num
        assert isinstance(shard, io.BufferedReader), "a file, not all of its bytes"
        for row in honest(plan, shard, *rest):
            alive.add(row)
            most, num = max(most, len(alive)), num + 1
            yield row

    monkeypatch.setattr(Plan, "rows", rows)
    factory.export(tmp_path / "dataset", to, f"{memory}/out")
    assert num == 300 and most <= 2 * parquet.ROWS_PER_GROUP


def test_a_shard_of_parquet_is_read_by_pages(tmp_path: Path) -> None:
    rows = [parquet_row(i) for i in range(100)]
    data = parquet.encode(rows, made.CLASSES, {})

    class Watched(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1, /) -> bytes:
            found = super().read(size)
            self.most = max(self.most, len(found))
            return found

    file = Watched(data)
    assert [row.image_png for row in parquet.rows(file)] == [row.image_png for row in rows]
    assert len(data) > 10e6 and file.most < 2e6


def parquet_row(index: int) -> EncodedSample:
    """A row whose image has 100 kB."""
    small = encode_sample(made.draw(index), len(made.NAMES))
    return EncodedSample(small.fields, bytes([index % 256]) * 100_000, small.mask_png)
