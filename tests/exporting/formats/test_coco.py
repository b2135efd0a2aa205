"""Claims about `--to coco`, as pycocotools reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

import factory
from factory.data.pixels.regions import connected_regions
from factory.images import UInt8
from factory.shards.schema import Sample
from tests.exporting import made


@pytest.fixture
def export(dataset: str, tmp_path: Path) -> Callable[..., list[COCO]]:
    """Exports with options, and opens the annotations of each split."""

    def run(url: str = dataset, **options: Any) -> list[COCO]:
        factory.export(url, "coco", tmp_path / "out", **options)
        return [COCO(str(file)) for file in sorted((tmp_path / "out" / "annotations").iterdir())]

    return run


def masks(coco: COCO, first: int) -> dict[int, UInt8]:
    """The masks of all images by index, of what pycocotools makes of all annotations.

    first: the class id of the first category; ids below it stay 0, the background.
    """
    found = {}
    for number, image in coco.imgs.items():
        mask = np.zeros((image["height"], image["width"]), np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=number, iscrowd=False)):
            pixels = coco.annToMask(annotation).astype(bool)
            assert not mask[pixels].any(), "no pixel is of two annotations"
            mask[pixels] = annotation["category_id"] - 1 + first
            assert annotation["area"] == pixels.sum() > 0
            rows, columns = np.nonzero(pixels)
            x, y, width, height = annotation["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=number, iscrowd=True)):
            mask[coco.annToMask(annotation).astype(bool)] = 255
        found[number - 1] = mask
    return found


@pytest.mark.parametrize("polygons", [False, True])
@pytest.mark.parametrize("instances", [False, True])
@pytest.mark.parametrize("val", [None, 0.3])
def test_every_pixel_is_read_back(
    export: Callable[..., list[COCO]],
    samples: list[Sample],
    polygons: bool,
    instances: bool,
    val: float | None,
) -> None:
    found: dict[int, UInt8] = {}
    splits = export(polygons=polygons, instances=instances, val=val)
    assert len(splits) == (1 if val is None else 2)
    for coco in splits:
        found |= masks(coco, first=1)
    assert sorted(found) == list(range(10))
    for index, mask in found.items():
        assert np.array_equal(mask, samples[index].mask)


def test_images_are_where_the_annotations_say(
    export: Callable[..., list[COCO]], samples: list[Sample], tmp_path: Path
) -> None:
    for coco, split in zip(export(val=0.3), ("train", "val"), strict=True):
        for number, image in coco.imgs.items():
            path = tmp_path / "out" / split / image["file_name"]
            assert np.array_equal(np.asarray(Image.open(path)), samples[number - 1].image)


def test_the_background_is_a_category_where_it_is_asked_for(
    export: Callable[..., list[COCO]], samples: list[Sample]
) -> None:
    (coco,) = export(background=True)
    names = {number: category["name"] for number, category in coco.cats.items()}
    assert names == dict(enumerate(made.NAMES, start=1))
    background = coco.loadAnns(coco.getAnnIds(imgIds=2, catIds=1, iscrowd=False))
    assert np.array_equal(coco.annToMask(background[0]), samples[1].mask == 0)


def test_a_first_class_that_is_no_background_is_a_category(
    export: Callable[..., list[COCO]], tmp_path: Path, samples: list[Sample]
) -> None:
    made.write(str(tmp_path / "sky"), class_names=("sky", "a", "b", "c"))
    (coco,) = export(str(tmp_path / "sky"))
    assert [category["name"] for category in coco.cats.values()] == ["sky", "a", "b", "c"]
    assert all(np.array_equal(m, samples[i].mask) for i, m in masks(coco, first=0).items())


def test_categories_are_numbered_from_1_and_no_background_is_among_them(
    export: Callable[..., list[COCO]], capsys: pytest.CaptureFixture[str]
) -> None:
    (coco,) = export()
    names = {number: category["name"] for number, category in coco.cats.items()}
    assert names == dict(enumerate(made.NAMES[1:], start=1))
    assert "class 0, background, is no category" in capsys.readouterr().out


def test_instances_are_connected_regions(
    export: Callable[..., list[COCO]], samples: list[Sample]
) -> None:
    (coco,) = export(instances=True)
    for sample in samples:
        _, ids = connected_regions(sample.mask)
        annotations = coco.getAnnIds(imgIds=int(sample.key) + 1, iscrowd=False)
        assert len(annotations) == sum(0 < each < 255 for each in ids.tolist())


def test_without_instances_a_class_is_one_annotation_of_an_image(
    export: Callable[..., list[COCO]], samples: list[Sample]
) -> None:
    (coco,) = export(polygons=True)
    for sample in samples:
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=int(sample.key) + 1, iscrowd=False))
        assert [each["category_id"] for each in annotations] == [i for i in sample.labels if i]
        assert all(isinstance(each["segmentation"], list) for each in annotations)


def test_ignored_pixels_are_a_crowd_of_every_category(
    export: Callable[..., list[COCO]], samples: list[Sample], capsys: pytest.CaptureFixture[str]
) -> None:
    (coco,) = export()
    for sample in samples:
        crowds = coco.loadAnns(coco.getAnnIds(imgIds=int(sample.key) + 1, iscrowd=True))
        ignored = sample.mask == 255
        assert [each["category_id"] for each in crowds] == ([1, 2, 3] if ignored.any() else [])
        assert all(np.array_equal(coco.annToMask(each), ignored) for each in crowds)
    num = sum(int((sample.mask == 255).sum()) for sample in samples)
    assert f"{num:,} pixels of 255: of no class" in capsys.readouterr().out


def test_annotations_have_numbers_of_their_own_over_all_shards(
    export: Callable[..., list[COCO]],
) -> None:
    (coco,) = export(instances=True)
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1))
    assert len(coco.anns) == len(coco.dataset["annotations"])


def test_the_loss_of_polygons_is_told_class_by_class(
    export: Callable[..., list[COCO]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    export(polygons=True)
    told = capsys.readouterr().out
    assert "as pycocotools fills them: mean 1.0000; cat: 'big' 1.0000, nuclei ä 1.0000" in told
    counts = [
        json.loads(file.read_text())["counts"]
        for file in (tmp_path / "out" / "_export" / "shards").iterdir()
    ]
    assert sum(sum(each["unions"]) for each in counts) > 0


def test_a_dataset_of_background_alone_is_refused(tmp_path: Path) -> None:
    made.write(str(tmp_path / "dataset"), num=1, class_names=["background"], palette=[(0, 0, 0)])
    with pytest.raises(factory.UserError, match="has no class but the background"):
        factory.export(tmp_path / "dataset", "coco", tmp_path / "out")
    assert not (tmp_path / "out").exists()
