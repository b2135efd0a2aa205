"""Claims about other pictures of the images that are learned from: they are no images of their own,
and what would read them is told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.config import load_config
from factory.data import loading
from factory.images import UInt8
from factory.png import encode_png
from tests.data.recognizing.test_recognition import photograph
from tests.new_config.test_command import names

NUM = 8


def area(i: int, value: int = 1) -> UInt8:
    """(16, 16) a square that lies elsewhere in each mask."""
    pixels = np.zeros((16, 16), np.uint8)
    pixels[i : i + 6, 2 * (i % 3) : 2 * (i % 3) + 6] = value
    return pixels


def put(root: Path, name: str, picture: Callable[[int], UInt8]) -> None:
    """Pictures, with their numbers for #."""
    for i in range(NUM):
        path = root / name.replace("#", f"{i:03}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(picture(i)))


OTHERS = [
    ("images/#.png", "masks/#.png", "overlays/#_overlay.png"),
    ("images/#.png", "masks/#.png", "predictions/pred_#.png"),
    ("images/#.png", "masks/#.png", "edges/#-edge.png"),
    ("images/#_image.png", "masks/#_mask.png", "annotations/#_annotation.png"),
    ("photos/im#.png", "labels-ah/im#.ah.png", "labels-vk/im#.vk.png"),
]


@pytest.mark.parametrize("shows", ["a photograph", "a mask"])
@pytest.mark.parametrize(("image", "label", "other"), OTHERS)
def test_pictures_that_are_called_like_the_images_and_a_word_more_are_not_learned_from(
    init: Callable[..., str], tmp_path: Path, image: str, label: str, other: str, shows: str
) -> None:
    put(tmp_path / "data", image, photograph)
    put(tmp_path / "data", label, area)
    put(tmp_path / "data", other, photograph if shows == "a photograph" else area)
    said = init("data")
    folder, _, _ = other.partition("/")
    assert f"are needed, too: {folder}. Those in {folder} are called like the images" in said
    found = names(load_config("my.yaml"))
    assert len(found["unlabelled"]) == len(found["labelled"]) == NUM - len(found["test"])
    assert load_config("my.yaml").data.unlabelled.url != str(tmp_path / "data" / folder)


@pytest.mark.parametrize(("image", "label", "other"), OTHERS)
def test_the_patterns_that_are_told_read_them_as_masks(
    init: Callable[..., str], tmp_path: Path, image: str, label: str, other: str
) -> None:
    put(tmp_path / "data", image, photograph)
    put(tmp_path / "data", label, area)
    put(tmp_path / "data", other, lambda i: area(i, 3))
    (told,) = [line for line in init("data").splitlines() if "are needed, too" in line]
    pattern = told.partition("`masks: ")[2].partition("`")[0]
    text = (tmp_path / "my.yaml").read_text()
    own = [line for line in text.splitlines() if line.startswith("    masks: ")]
    if own:
        text = text.replace(own[0], f"    masks: {pattern}")
    else:
        text = text.replace("    kind: pairs\n", f"    kind: pairs\n    masks: {pattern}\n")
    (tmp_path / "my.yaml").write_text(text)
    labelled = load_config("my.yaml").data.labelled
    assert labelled is not None
    problems = loading.load(labelled, 16, labelled=True).problems
    assert any("ids 3 are not classes" in problem for problem in problems), problems


def test_images_that_are_called_otherwise_or_are_many_more_are_learned_from(
    init: Callable[..., str], tmp_path: Path
) -> None:
    for i in range(3):
        for folder, picture in (("images", photograph(i)), ("masks", area(i))):
            path = tmp_path / f"data/{folder}/{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(picture))
    put(tmp_path / "data", "more/photo_#.png", lambda i: photograph(50 + i))
    init("data")
    assert load_config("my.yaml").data.unlabelled.url == str(tmp_path / "data/more")
    assert len(names(load_config("my.yaml"))["unlabelled"]) == NUM


@pytest.mark.parametrize("folder", ["unlabelled", "Unlabeled"])
def test_a_folder_that_says_so_holds_other_images_whatever_they_are_called(
    init: Callable[..., str], tmp_path: Path, folder: str
) -> None:
    put(tmp_path / "data", "images/#.png", photograph)
    put(tmp_path / "data", "masks/#.png", area)
    put(tmp_path / "data", f"{folder}/#.png", lambda i: photograph(50 + i))
    init("data")
    assert load_config("my.yaml").data.unlabelled.url == str(tmp_path / "data" / folder)


def test_masks_of_any_names_are_not_learned_from_as_images(
    init: Callable[..., str], tmp_path: Path
) -> None:
    put(tmp_path / "data", "images/a#.png", photograph)
    put(tmp_path / "data", "masks/a#.png", area)
    put(tmp_path / "data", "other/9#9.png", area)
    assert "are needed, too: other" in init("data")
    assert load_config("my.yaml").data.unlabelled.url == str(tmp_path / "data/images")
