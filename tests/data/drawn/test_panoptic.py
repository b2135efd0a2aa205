"""Claims about factory.data.drawn.panoptic: the PNGs of COCO's panoptic segments become classes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.data import loading
from factory.data.kinds.coco import CocoSource
from factory.errors import UserError
from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import encoded, flat, put

NUMBERS = np.array([[0, 7], [300, 70_000]]).repeat(4, axis=0).repeat(4, axis=1)
"""The segments of an image of 8 px, of which 300 and 70,000 take more than one channel."""
SEGMENTS = [
    {"id": 7, "category_id": 1},
    {"id": 300, "category_id": 9},
    {"id": 70_000, "category_id": 1, "iscrowd": 1},
]


def colors_of(numbers: np.ndarray) -> UInt8:
    return np.stack([numbers >> shift & 255 for shift in (0, 8, 16)], axis=-1).astype(np.uint8)


def write(folder: Path, segments: Any = SEGMENTS, mask: bytes | None = None) -> Path:
    """An image a.jpg with its segments in panoptic_train.json and panoptic_train/a.png."""
    put(folder / "train", a_jpg=encoded(flat(9), "JPEG"))
    annotations = folder / "annotations"
    put(annotations / "panoptic_train", a_png=mask or encode_png(colors_of(NUMBERS)))
    about = {
        "images": [{"id": 5, "file_name": "a.jpg", "width": 8, "height": 8}],
        "annotations": [{"image_id": 5, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 1, "name": "car", "isthing": 1}, {"id": 9, "name": "sky"}],
    }
    (annotations / "panoptic_train.json").write_text(json.dumps(about))
    return folder


def source(folder: Path, **more: Any) -> CocoSource:
    url = f"{folder}/annotations/panoptic_train.json"
    return CocoSource(url=f"{folder}/train", annotations_url=url, **more)


def problem_of(found: CocoSource) -> str:
    with pytest.raises(UserError) as refusal:
        loading.read_labelled(found, 8)
    (problem,) = refusal.value.problems
    return problem


def test_segments_are_the_classes_of_their_categories_and_the_rest_is_ignored(
    tmp_path: Path,
) -> None:
    read = loading.read_labelled(source(write(tmp_path)), 8)
    assert read.classes.names == ("background", "car", "sky")
    assert read.masks[0, ::4, ::4].tolist() == [[255, 1], [2, 255]]
    named = [{"name": "sky", "labels": ["sky"]}, {"name": "car", "labels": ["car"]}]
    read = loading.read_labelled(source(tmp_path, classes=["none", *named]), 8)
    assert read.masks[0, ::4, ::4].tolist() == [[255, 2], [1, 255]]


def test_the_folder_of_the_segments_may_be_named(tmp_path: Path) -> None:
    write(tmp_path)
    pngs = (tmp_path / "annotations/panoptic_train").rename(tmp_path / "segments")
    assert "holds no PNG of them. Name their folder in `segments_url:`" in problem_of(
        source(tmp_path)
    )
    assert loading.read_labelled(source(tmp_path, segments_url=str(pngs)), 8).masks[0, 0, 7] == 1


@pytest.mark.parametrize(
    ("segments", "mask", "said"),
    [
        (SEGMENTS[:2], None, "shows the segments 70000, which the JSON does not list for it"),
        (SEGMENTS, encode_png(flat(1)[..., 0]), "of format PNG and mode L, not a PNG in colours"),
        (SEGMENTS, encoded(flat(1), "JPEG"), "of format JPEG and mode RGB, not a PNG in colours"),
        ([{"category_id": 1}], None, "a segment without id"),
        ([{"id": 7, "category_id": 4}], None, "category 4"),
        ("all", None, "a segment without id, category_id"),
    ],
)
def test_segments_that_cannot_be_meant_are_refused(
    tmp_path: Path, segments: Any, mask: bytes | None, said: str
) -> None:
    assert said in problem_of(source(write(tmp_path, segments, mask)))


def test_a_missing_png_is_named_with_the_key_of_its_folder(tmp_path: Path) -> None:
    folder = write(tmp_path) / "annotations/panoptic_train"
    (folder / "a.png").rename(folder / "b.png")
    problem = problem_of(source(tmp_path))
    assert f"{folder}/a.png, which is not there" in problem and "segments_url" in problem
