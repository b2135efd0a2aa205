"""Claims about which place is for what: images that are learned from are not measured on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factory.config import load_config
from tests.data.kinds.test_auto import mask, pairs_of
from tests.new_config.test_command import images, names


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of ten pairs."""
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 10)
    return tmp_path / "data"


@pytest.mark.parametrize("again", ["data", "data/", "./data", "link"])
def test_a_place_that_is_named_twice_is_refused_in_one_message(
    refused: Callable[..., str], data: Path, again: str
) -> None:
    (data.parent / "link").symlink_to(data)
    (line,) = refused("data", again, "--out", "my.yaml").splitlines()
    assert line.startswith("error: data: is named ") and "Name each place once." in line


def test_a_folder_of_images_alone_that_is_named_twice_is_refused_in_one_message(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    images(tmp_path / "photos", 3)
    (line,) = refused("photos", "photos", "photos", "--out", "my.yaml").splitlines()
    assert line.startswith("error: photos: is named ") and "Name each place once." in line


@pytest.mark.parametrize(
    ("arguments", "num"),
    [
        (("--labelled", "data", "--test", "data"), "all 10"),
        (("--labelled", "data", "--test", "link"), "all 10"),
        (("data", "--test", "data/"), "all 10"),
        (("data", "outer"), "10 of 13"),
    ],
)
def test_images_to_measure_on_that_are_learned_from_are_refused_under_whatever_name(
    refused: Callable[..., str], data: Path, arguments: tuple[str, ...], num: str
) -> None:
    (data.parent / "link").symlink_to(data)
    pairs_of(data.parent / "outer", *[mask(0, 1)] * 3)
    for part in ("images", "masks"):
        for file in (data / part).iterdir():
            (data.parent / "outer" / part / f"of_data_{file.name}").symlink_to(file)
    (line,) = refused(*arguments, "--out", "my.yaml").splitlines()
    assert f"{num} images of test are images of labelled, " in line
    assert "--labelled and --test" in line


def test_one_place_with_splits_is_labelled_and_test(init: Callable[..., str], data: Path) -> None:
    for part in ("images", "masks"):
        for i, split in enumerate(["train"] * 8 + ["val"] * 2):
            (data / part / split).mkdir(exist_ok=True)
            (file,) = (data / part).glob(f"*{i}.png")
            file.rename(data / part / split / file.name)
    init("--labelled", "data", "--test", "data/")
    found = names(load_config("my.yaml"))
    assert len(found["labelled"]) == 8 and len(found["test"]) == 2


def test_images_of_test_are_not_learned_from_under_another_name(
    init: Callable[..., str], data: Path
) -> None:
    (data.parent / "photos").symlink_to(data / "images")
    init("data", "--unlabelled", "photos")
    found = names(load_config("my.yaml"))
    assert len(found["unlabelled"]) == 8 and not found["unlabelled"] & found["test"]


def test_a_folder_that_is_called_test_is_measured_on_in_whatever_order_it_is_named(
    init: Callable[..., str], tmp_path: Path
) -> None:
    for name in ("test", "train"):
        pairs_of(tmp_path / name, mask(0, 1), mask(1, 0))
    init("test", "train")
    data = load_config("my.yaml").data
    assert [str(source.url) for source in (data.labelled, data.test)] == [
        str(tmp_path / name) for name in ("train", "test")
    ]


def test_images_and_masks_that_are_named_apart_are_refused_with_what_to_name(
    refused: Callable[..., str], init: Callable[..., str], data: Path
) -> None:
    said = refused("data/images", "data/masks", "--out", "my.yaml")
    assert "If data/images has their images, name the folder that holds both" in said
    init("data")
