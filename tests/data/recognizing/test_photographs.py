"""Claims about which pictures of a tree are photographs, by a few of each kind."""

from pathlib import Path

import numpy as np
import pytest

from factory.data.files import trees
from factory.data.recognizing import photographs
from factory.png import encode_png
from tests.data.recognizing.test_recognition import photograph

NUM = 12


@pytest.mark.parametrize(
    ("image", "masks"),
    [
        ("case#/image.png", ["case#/bar.png", "case#/disc.png"]),
        ("#/images/a.png", ["#/masks/a.png", "#/masks/b.png"]),
        ("images/#.png", ["manual1/#.png", "manual2/#.png", "edges/#.png"]),
        ("x/#.png", ["x/#_mask.png", "x/#_color_mask.png"]),
    ],
)
def test_photographs_are_told_from_masks_however_many_of_these_there_are(
    tmp_path: Path, image: str, masks: list[str]
) -> None:
    flat = np.zeros((16, 16), np.uint8)
    flat[4:9, 4:9] = 1
    for i in range(NUM):
        for name in (image, *masks):
            path = tmp_path / name.replace("#", f"{i:03}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(photograph(i) if name == image else flat))
    tree = trees.open_tree(str(tmp_path))
    found = photographs.among(tree, tree.names())
    assert found == {image.replace("#", f"{i:03}") for i in range(NUM)}


def test_images_are_those_that_say_so_then_those_that_do_not_say_what_else_they_show() -> None:
    names = ["a/overlay/1.png", "a/tissue images/1.png", "a/more/1.png"]
    assert [*photographs.likely_images(names)] == [
        ["a/tissue images/1.png"],
        ["a/tissue images/1.png"],
        ["a/tissue images/1.png", "a/more/1.png"],
        names,
    ]
