"""One dataset, opened by everyone who is promised that it opens, with the same pixels in each."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

NUM = 7


def pixels(data: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("consumers")


@pytest.fixture
def parquet(root, make_plan, write_dataset) -> str:
    return _once(root / "parquet", make_plan(), write_dataset)


@pytest.fixture
def tar(root, make_plan, write_dataset) -> str:
    return _once(root / "webdataset", make_plan(format="webdataset"), write_dataset)


def _once(folder: Path, plan, write_dataset) -> str:
    if not folder.exists():
        write_dataset(str(folder), plan)
    return str(folder)


@pytest.fixture
def check(make_samples):
    """Compares (key, image, mask, the other columns) of each row with what was written."""
    written = make_samples(NUM)

    def check(rows: Any) -> None:
        read = sorted(rows, key=lambda row: row[0])
        assert len(read) == NUM
        for put, (key, image, mask, fields) in zip(written, read, strict=True):
            assert key == put.key
            assert image.dtype == mask.dtype == np.uint8
            assert np.array_equal(image, put.image) and np.array_equal(mask, put.mask)
            assert int(fields["seed"]) == put.seed
            assert list(fields["labels"]) == (put.labels + [-1] * 3)[:3]
            assert np.float32(fields["uncertainty"]) == np.float32(put.uncertainty)
            assert (fields["height"], fields["width"]) == (16, 16)
            assert np.allclose(list(fields["class_fractions"]), put.class_fractions(3))
            assert fields["model_id"] == put.model_id

    return check


def from_structs(rows) -> Iterator[tuple]:
    for row in rows:
        yield (
            row["key"],
            pixels(row["image"]["bytes"]),
            pixels(row["mask"]["bytes"]),
            row,
        )


@pytest.fixture
def datasets(monkeypatch, tmp_path) -> Any:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets

    def load(url: str, streaming: bool) -> Any:
        return datasets.load_dataset(
            url, split="train", streaming=streaming, cache_dir=str(tmp_path / "cache")
        )

    return SimpleNamespace(load=load)


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_decodes_parquet(parquet, make_plan, check, datasets, streaming):
    data = datasets.load(parquet, streaming)
    assert data.features["labels"].feature.names == list(make_plan().class_names)
    rows = list(data)
    assert {row["mask"].mode for row in rows} == {"L"}
    check((r["key"], np.array(r["image"]), np.array(r["mask"]), r) for r in rows)


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_decodes_webdataset(tar, make_plan, check, datasets, streaming):
    data = datasets.load(tar, streaming)
    assert data.features["json"]["labels"].feature.names == list(make_plan().class_names)
    check(
        (r["__key__"], np.array(r["image.png"]), np.array(r["mask.png"]), r["json"]) for r in data
    )


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("form", ["parquet", "tar"])
def test_datasets_rows_make_batches_as_they_are(form, streaming, request, datasets, make_samples):
    from torch.utils.data import DataLoader

    rows = datasets.load(request.getfixturevalue(form), streaming).with_format("torch")
    batches = list(DataLoader(rows, batch_size=NUM))
    assert len(batches) == 1
    (batch,) = batches
    fields = batch["json"] if form == "tar" else batch
    assert [int(seed) for seed in fields["seed"]] == [s.seed for s in make_samples(NUM)]
    images, masks = (batch[f"{name}.png" if form == "tar" else name] for name in ("image", "mask"))
    assert np.array_equal(images.permute(0, 2, 3, 1), [s.image for s in make_samples(NUM)])
    assert np.array_equal(masks.reshape(NUM, 16, 16), [s.mask for s in make_samples(NUM)])


@pytest.mark.parametrize("lost", ["README.md", "schema metadata"])
def test_datasets_decodes_parquet_by_card_or_by_schema_alone(
    parquet, check, datasets, tmp_path, lost
):
    import pyarrow.parquet as pq

    copy = tmp_path / "copy"
    shutil.copytree(parquet, copy)
    if lost == "README.md":
        (copy / lost).unlink()
    else:
        for file in (copy / "data").iterdir():
            pq.write_table(pq.read_table(file).replace_schema_metadata(None), file)
    check(
        (r["key"], np.array(r["image"]), np.array(r["mask"]), r)
        for r in datasets.load(str(copy), streaming=False)
    )


def test_webdataset_reads_tars(tar, check):
    import webdataset

    shards = sorted(str(path) for path in Path(tar, "data").glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False))
    check(
        (
            s["__key__"],
            pixels(s["image.png"]),
            pixels(s["mask.png"]),
            json.loads(s["json"]),
        )
        for s in samples
    )


def test_webdataset_makes_batches_with_class_ids_kept(tar, make_samples):
    import webdataset

    shards = sorted(str(path) for path in Path(tar, "data").glob("*.tar"))
    samples = webdataset.WebDataset(shards, shardshuffle=False)
    tensors = samples.decode("torchrgb8", only="image.png").decode("l8", only="mask.png")
    ((images, masks),) = tensors.to_tuple("image.png", "mask.png").batched(NUM)
    assert images.shape == (NUM, 3, 16, 16)
    assert np.array_equal(masks, [sample.mask for sample in make_samples(NUM)])


def test_pandas_reads_parquet(parquet, check):
    import pandas

    table = pandas.read_parquet(Path(parquet, "data"))
    assert table["seed"].dtype == np.int64
    check(from_structs(table.to_dict("records")))


def test_polars_reads_parquet(parquet, check):
    import polars

    check(from_structs(polars.read_parquet(f"{parquet}/data/*.parquet").to_dicts()))


def test_duckdb_reads_parquet(parquet, check):
    import duckdb

    with duckdb.connect() as connection:
        files = f"{parquet}/data/*.parquet"
        cursor = connection.execute("SELECT * FROM read_parquet(?)", [files])
        names = [column[0] for column in cursor.description]
        check(from_structs(dict(zip(names, row, strict=True)) for row in cursor.fetchall()))
        query = "SELECT value FROM parquet_kv_metadata(?) WHERE decode(key) = 'id2label'"
        texts = connection.execute(query, [files]).fetchall()
    assert len(texts) == 3 and json.loads(texts[0][0])["0"] == "background"


def test_pyarrow_reads_the_folder_as_one_table(parquet, check):
    import pyarrow.dataset

    # The files beside the shards, whose names start with an underscore or end otherwise, are not
    # taken for data.
    check(from_structs(pyarrow.dataset.dataset(f"{parquet}/data").to_table().to_pylist()))


def test_ray_reads_parquet_by_itself(parquet, check, ray_session):
    import ray.data

    check(from_structs(ray.data.read_parquet(f"{parquet}/data").take_all()))


@pytest.mark.parametrize("format", ["parquet", "tar"])
def test_ray_reads_arrays_by_our_reader(request, check, ray_session, make_samples, format):
    from factory.shards.reader import read_dataset

    url = request.getfixturevalue(format)
    rows = read_dataset(url).take_all()
    assert type(rows[0]["seed"]) is not float
    # Keys are numbers there, and the models' name is left out: neither would make a tensor.
    samples = (
        (f"{r['index']:09d}", r["image"], r["mask"], {**r, "model_id": "abc123"}) for r in rows
    )
    check(samples)
    kept = {int(s.key) for s in make_samples(NUM) if s.uncertainty <= 0.5}
    assert 0 < len(kept) < NUM
    some = read_dataset(url, max_uncertainty=0.5)
    assert {r["index"] for r in some.take_all()} == kept
    (batch,) = read_dataset(url, keep=0.6).iter_torch_batches(batch_size=NUM)
    assert {name: (str(v.dtype), *v.shape[1:]) for name, v in batch.items()} == {
        "index": ("torch.int64",),
        "image": ("torch.uint8", 16, 16, 3),
        "mask": ("torch.uint8", 16, 16),
        "height": ("torch.int32",),
        "width": ("torch.int32",),
        "labels": ("torch.int64", 3),
        "seed": ("torch.int64",),
        "uncertainty": ("torch.float32",),
        "class_fractions": ("torch.float32", 3),
    }
    assert len(batch["index"]) == 5
    written = {int(s.key): s for s in make_samples(NUM)}
    for index, image, mask in zip(batch["index"], batch["image"], batch["mask"], strict=True):
        assert np.array_equal(image, written[int(index)].image)
        assert np.array_equal(mask, written[int(index)].mask)


@pytest.mark.parametrize("form", ["parquet", "tar"])
def test_torch_makes_batches_of_our_reader_as_they_are(form, request, check):
    from torch.utils.data import DataLoader

    from factory.shards.reader import ShardDataset

    names = ["key", "labels", "height", "width", "seed", "uncertainty", "class_fractions"]
    data = ShardDataset(request.getfixturevalue(form), columns=[*names, "model_id"])
    (batch,) = DataLoader(data, batch_size=NUM)
    images, masks = batch["image"].permute(0, 2, 3, 1).numpy(), batch["mask"].numpy()
    rows = [{name: values[i] for name, values in batch.items()} for i in range(NUM)]
    check((row["key"], images[i], masks[i], row) for i, row in enumerate(rows))
