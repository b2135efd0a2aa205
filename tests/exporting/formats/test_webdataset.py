"""Claims about `--to webdataset`, as webdataset reads it."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

import factory
from factory.shards.schema import Sample
from tests.exporting import made


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
@pytest.mark.parametrize("column", ["mask", "annotation"])
def test_every_pixel_and_field_is_read_back(
    tmp_path: Path, samples: list[Sample], format: str, column: str
) -> None:
    made.write(str(tmp_path / "dataset"), format=format)
    out = tmp_path / "out"
    factory.export(tmp_path / "dataset", "webdataset", out, mask_column=column, val=0.3)
    seen = []
    for split in ("train", "validation"):
        shards = sorted(map(str, (out / "data").glob(f"{split}-*.tar")))
        assert shards
        for row in webdataset.WebDataset(shards, shardshuffle=False):
            sample = samples[int(row["__key__"])]
            image, mask = (
                np.asarray(Image.open(io.BytesIO(row[f"{name}.png"]))) for name in ("image", column)
            )
            assert np.array_equal(image, sample.image) and np.array_equal(mask, sample.mask)
            fields = json.loads(row["json"])
            assert fields["uncertainty"] == sample.uncertainty and fields["seed"] == sample.seed
            assert [i for i in fields["labels"] if i >= 0] == sample.labels
            seen.append(sample.key)
    assert sorted(seen) == [sample.key for sample in samples]


@pytest.mark.slow
def test_datasets_finds_the_pairs_and_not_the_ledger_in_files_of_another_size(
    dataset: str, tmp_path: Path, load_dataset: Callable[..., Any]
) -> None:
    factory.export(dataset, "webdataset", tmp_path / "out", val=0.3, samples_per_shard=2)
    found = load_dataset(str(tmp_path / "out"))
    keys = [*found["train"]["__key__"], *found["validation"]["__key__"]]
    assert sorted(keys) == [made.draw(i).key for i in range(10)]
