"""Claims about exports as sources: `kind: auto` reads the very pixels and classes back."""

from pathlib import Path

import numpy as np
import pytest

import factory
from factory.data import loading
from factory.data.drawn.items import DrawnItem
from factory.data.kinds.auto import AutoSource
from factory.data.kinds.yolo import YoloSource
from factory.errors import Problems
from tests.exporting import made

FORMATS = (
    *("folder", "imagefolder", "coco", "yolo", "voc", "cityscapes", "parquet", "webdataset"),
)
WITH_SPLITS = ("yolo", "voc", "cityscapes")
"""Formats that name a split even where there is only one."""
SIDE = 14


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_is_taken_for_what_it_was(to: str, tmp_path: Path) -> None:
    names = ("background", "cat", "nuclei ä", "line")
    samples = made.write(
        str(tmp_path / "dataset"),
        num=6,
        size=(SIDE, SIDE),
        class_names=names,
        palette=factory.Classes.named(names).palette,
    )
    factory.export(tmp_path / "dataset", to, tmp_path / "out")
    source = AutoSource(url=str(tmp_path / "out"), split="train" if to in WITH_SPLITS else None)
    read = loading.read_labelled(source, SIDE)
    assert read.classes.names == names
    for sample, image, mask in zip(samples, read.images, read.masks, strict=True):
        assert np.array_equal(image, sample.image)
        # YOLO knows no ignored pixels: they are background.
        unknown = 0 if to == "yolo" else 255
        assert np.array_equal(mask, np.where(sample.mask == 255, unknown, sample.mask))


@pytest.mark.parametrize("size", [(3, 5), (40, 30), (7, 1000)])
def test_outlines_of_yolo_are_the_pixels_at_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    samples = made.write(str(tmp_path / "dataset"), num=4, size=size)
    factory.export(tmp_path / "dataset", "yolo", tmp_path / "out")
    items = YoloSource(url=str(tmp_path / "out"), split="train").find(True, Problems()).items
    for sample, item in zip(samples, items, strict=True):
        assert isinstance(item, DrawnItem)
        drawn = item.drawing.draw((size[1], size[0]))
        assert np.array_equal(drawn, np.where(sample.mask == 255, 0, sample.mask))
