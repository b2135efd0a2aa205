"""Claims about `--to parquet`, as `datasets` and pandas read it."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import factory
from factory.shards.schema import Sample
from tests.exporting import made


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
@pytest.mark.parametrize("column", ["mask", "label", "annotation"])
def test_every_pixel_and_column_is_read_back(
    tmp_path: Path,
    samples: list[Sample],
    load_dataset: Callable[..., Any],
    format: str,
    column: str,
) -> None:
    made.write(str(tmp_path / "dataset"), format=format)
    factory.export(tmp_path / "dataset", "parquet", tmp_path / "out", mask_column=column, val=0.3)
    found = load_dataset(str(tmp_path / "out"))
    rows = sorted([*found["train"], *found["validation"]], key=lambda row: row["key"])
    assert len(found["validation"]) > 0
    for row, sample in zip(rows, samples, strict=True):
        assert np.array_equal(np.asarray(row["image"]), sample.image)
        assert np.array_equal(np.asarray(row[column]), sample.mask)
        assert row["uncertainty"] == sample.uncertainty and row["seed"] == sample.seed
        assert [i for i in row["labels"] if i >= 0] == sample.labels
        assert np.allclose(row["class_fractions"], sample.class_fractions(4))
    assert list(found["train"].features)[1:3] == ["image", column]
    assert found["train"].features["labels"].feature.names == list(made.NAMES)


def test_pandas_reads_the_files(dataset: str, samples: list[Sample], tmp_path: Path) -> None:
    import pandas

    factory.export(dataset, "parquet", tmp_path / "out")
    rows = pandas.read_parquet(tmp_path / "out" / "data")
    for (_, row), sample in zip(rows.iterrows(), samples, strict=True):
        mask = Image.open(io.BytesIO(row["mask"]["bytes"]))
        assert np.array_equal(np.asarray(mask), sample.mask) and row["key"] == sample.key


def test_pictures_keep_their_bytes(dataset: str, tmp_path: Path) -> None:
    import pandas

    factory.export(dataset, "parquet", tmp_path / "out")
    for folder in (Path(dataset), tmp_path / "out"):
        rows = pandas.read_parquet(folder / "data")
        pictures = [(row["image"]["bytes"], row["mask"]["bytes"]) for _, row in rows.iterrows()]
        if folder == Path(dataset):
            before = pictures
    assert pictures == before


def test_the_ledger_of_the_dataset_is_not_in_the_export(dataset: str, tmp_path: Path) -> None:
    factory.export(dataset, "parquet", tmp_path / "out")
    names = {name.partition("/")[0] for name in made.contents(str(tmp_path / "out"))}
    assert names == {"data", "id2label.json", "_export"}
    told = json.loads((tmp_path / "out" / "id2label.json").read_text())
    assert list(told.values()) == list(made.NAMES)


@pytest.mark.parametrize(("asked", "given"), [(None, "label"), ("mask", "mask")])
def test_the_masks_column_is_that_of_the_dataset_unless_another_is_asked_for(
    tmp_path: Path, samples: list[Sample], asked: str | None, given: str
) -> None:
    import pandas

    made.write(str(tmp_path / "dataset"), recipe={"seed": 0, "mask_column": "label"})
    factory.export(tmp_path / "dataset", "parquet", tmp_path / "out", mask_column=asked)
    rows = pandas.read_parquet(tmp_path / "out" / "data")
    assert list(rows.columns)[1:3] == ["image", given]
    mask = Image.open(io.BytesIO(rows[given][3]["bytes"]))
    assert np.array_equal(np.asarray(mask), samples[3].mask)
