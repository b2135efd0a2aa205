"""Claims about the classes that `factory init` writes: they are those of all masks that are read,
of labelled and of test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factory.config import load_config
from factory.images import UInt8
from tests.data.inputs import encoded
from tests.data.kinds import test_coco as coco
from tests.data.kinds.test_auto import mask, pairs_of
from tests.data.recognizing.test_pair_candidates import Shape
from tests.data.recognizing.test_pair_candidates import put as put_shape
from tests.new_config.test_command import names, sections, shapes


def put_masks(root: Path, train: UInt8, test: UInt8) -> None:
    pairs_of(root / "train", *[train] * 4)
    pairs_of(root / "test", *[test] * 4)


def classes() -> list[Any]:
    """The classes of the written config, all of whose images are read."""
    config = load_config("my.yaml")
    assert names(config).keys() == {"unlabelled", "labelled", "test"}
    found = [sections(config)[role] for role in ("labelled", "test")]
    keys = [source.model_dump(include={"classes"})["classes"] for source in found]  # type: ignore[attr-defined]
    assert keys[0] == keys[1]
    return [entry if isinstance(entry, str) else entry["name"] for entry in keys[0]]


@pytest.mark.parametrize(
    ("of_test", "expected"),
    [((0, 1, 2), ["background", "class_1", "class_2"]), ((0, 255), ["background", "class_1"])],
)
def test_values_that_only_masks_of_test_hold_are_of_classes_too(
    of_test: tuple[int, ...], expected: list[str], init: Callable[..., str], tmp_path: Path
) -> None:
    put_masks(tmp_path / "data", mask(0, 1), mask(*of_test))
    init("data")
    assert classes() == expected


def test_masks_of_colours_beside_those_of_values_are_refused(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    put_masks(tmp_path / "data", np.stack([mask(0, 200), mask(0), mask(0)], 2), mask(0, 1))
    said = refused("data", "--out", "my.yaml")
    assert "masks of the one hold values, those of the other colours" in said
    assert "Save both alike, or leave one of them out" in said


def test_palettes_are_read_by_their_colours_beside_masks_of_colours(
    init: Callable[..., str], tmp_path: Path
) -> None:
    colored = np.stack([mask(0, 200), mask(0), mask(0)], 2)
    put_masks(tmp_path / "data", colored, mask(0))
    for i in range(4):
        palette = Image.fromarray(mask(0, 7))
        palette.putpalette([0] * 21 + [200, 0, 0])
        (tmp_path / f"data/test/masks/{i}.png").write_bytes(encoded(palette))
    init("data")
    assert classes() == ["background", "class_1"]


def test_parts_that_only_test_has_are_classes_too(init: Callable[..., str], tmp_path: Path) -> None:
    for split, parts in {"train": ("hair", "ear"), "test": ("hair", "nose")}.items():
        masks = [f"masks/#_{part}_{i}.png" for part in parts for i in (1, 2)]
        put_shape(tmp_path / "data" / split, Shape(["images/img_#.jpg"], masks, {}))
    init("--labelled", "data/train", "--test", "data/test")
    assert classes() == ["background", "ear", "hair", "nose"]


def test_categories_and_labels_that_only_test_has_are_classes_too(
    init: Callable[..., str], tmp_path: Path
) -> None:
    shapes(tmp_path / "train", a="cat", b="dog")
    shapes(tmp_path / "test", c="cow", d="cat")
    init("--labelled", "train", "--test", "test")
    assert set(classes()) == {"background", "cat", "cow", "dog"}


def test_categories_in_another_order_are_the_same_classes(
    init: Callable[..., str], tmp_path: Path
) -> None:
    for split, order in {"train": ("car", "bus"), "test": ("bus", "car")}.items():
        categories = [{"id": i, "name": name} for i, name in enumerate(order, 1)]
        annotations = [coco.annotation(7, 1, coco.SQUARE), coco.annotation(3, 2, coco.SQUARE)]
        coco.write(tmp_path / split, annotations, categories=categories)
    init("--labelled", "train", "--test", "test")
    assert classes() == ["background", "car", "bus"]
