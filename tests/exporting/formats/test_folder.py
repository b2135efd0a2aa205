"""Claims about `--to folder`: our own source of pairs reads it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import factory
from factory.shards.schema import Sample
from tests.exporting import made


def test_the_source_of_pairs_reads_the_folder(tmp_path: Path) -> None:
    # Squares, as a source crops what is none.
    samples = made.write(str(tmp_path / "dataset"), size=(16, 16))
    factory.export(tmp_path / "dataset", "folder", tmp_path / "out")
    read = factory.read_labelled(
        tmp_path / "out", tmp_path / "out" / "classes.json", samples[0].mask.shape[0]
    )
    assert np.array_equal(read.images, [sample.image for sample in samples])
    assert np.array_equal(read.masks, [sample.mask for sample in samples])
    assert read.classes.names == made.NAMES


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_images_and_masks_are_the_files_of_the_dataset(
    tmp_path: Path, samples: list[Sample], format: str
) -> None:
    made.write(str(tmp_path / "dataset"), format=format)
    factory.export(tmp_path / "dataset", "folder", tmp_path / "out", val=0.3)
    splits = {"train": 0, "val": 0}
    for sample in samples:
        (image,) = (tmp_path / "out").glob(f"*/images/{sample.key}.png")
        mask = image.parents[1] / "masks" / image.name
        splits[image.parents[1].name] += 1
        assert np.array_equal(np.asarray(Image.open(image)), sample.image)
        assert np.array_equal(np.asarray(Image.open(mask)), sample.mask)
        assert Image.open(mask).mode == "L"
    assert min(splits.values()) > 0
    palette = json.loads((tmp_path / "out" / "palette.json").read_text())
    assert [tuple(color) for color in palette] == list(made.CLASSES.palette)
