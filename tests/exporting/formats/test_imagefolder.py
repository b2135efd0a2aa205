"""Claims about `--to imagefolder`, as `datasets` reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import factory
from factory.shards.schema import Sample
from tests.exporting import made


@pytest.fixture
def load(dataset: str, tmp_path: Path, load_dataset: Callable[..., Any]) -> Callable[..., Any]:
    """Exports, and opens what was exported by its folder."""

    def run(**options: Any) -> Any:
        factory.export(dataset, "imagefolder", tmp_path / "out", **options)
        return load_dataset("imagefolder", data_dir=str(tmp_path / "out"))

    return run


@pytest.mark.slow
@pytest.mark.parametrize("column", ["mask", "label", "annotation"])
def test_every_pixel_is_read_back(
    load: Callable[..., Any], samples: list[Sample], column: str
) -> None:
    (rows,) = load(mask_column=column).values()
    assert list(rows.features) == ["image", column, "key", "uncertainty"]
    assert rows["key"][:] == [sample.key for sample in samples]
    for row, sample in zip(rows, samples, strict=True):
        assert np.array_equal(np.asarray(row["image"]), sample.image)
        assert np.array_equal(np.asarray(row[column]), sample.mask)
        assert row["uncertainty"] == sample.uncertainty


@pytest.mark.slow
def test_splits_are_folders(load: Callable[..., Any], tmp_path: Path) -> None:
    found = load(val=0.3)
    assert sorted(found) == ["train", "validation"]
    keys = [*found["train"]["key"], *found["validation"]["key"]]
    assert sorted(keys) == [made.draw(i).key for i in range(10)]


@pytest.mark.slow
def test_a_split_of_which_no_pair_is_kept_is_none(load: Callable[..., Any]) -> None:
    (rows,) = load(val=0.3, keep=0.1).values()
    assert len(rows) == 1


def test_the_names_of_the_classes_lie_beside(dataset: str, tmp_path: Path) -> None:
    factory.export(dataset, "imagefolder", tmp_path / "out")
    told = json.loads((tmp_path / "out" / "id2label.json").read_text())
    assert list(told.values()) == list(made.NAMES)
