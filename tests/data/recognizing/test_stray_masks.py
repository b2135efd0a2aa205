"""Claims about masks that lie among images: found by what they hold and where they lie."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.data import loading
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.pairs import PairsSource
from factory.errors import UserError


def photo(i: int, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(i).integers(0, 256, (32, 32, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def mask(i: int, mode: str = "P") -> Image.Image:
    ids = np.zeros((32, 32), np.uint8)
    ids[i % 16 :, 8:24] = 1
    if mode != "P":
        return Image.fromarray(ids * np.uint8(255)).convert(mode)
    picture = Image.fromarray(ids)
    picture.putpalette([0, 0, 0, 128, 0, 0])
    return picture


def drawing(i: int) -> Image.Image:
    """Eight flat colours, other ones each time."""
    return photo(i).quantize(8)


def put(root: Path, name: str, picture: Image.Image) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    picture.save(root / name)


def problem(root: Path, **more: str) -> str:
    """The problem of the folder, read as images; "" if it is read."""
    source = FolderSource(url=str(root), **more)  # type: ignore[arg-type]
    try:
        loading.read_images(source, 8)
    except UserError as error:
        return str(error)
    return ""


LAYOUTS = {
    "VOC": ("JPEGImages/{}.jpg", ["SegmentationClass/{}.png", "SegmentationObject/{}.png"]),
    "Cityscapes": (
        "leftImg8bit/train/aachen/aachen_{}_leftImg8bit.png",
        ["gtFine/train/aachen/aachen_{}_gtFine_labelIds.png"],
    ),
    "DSB2018": ("{0}/images/{0}.png", ["{0}/masks/a{0}.png", "{0}/masks/b{0}.png"]),
    "one folder": ("{}.jpg", ["{}_mask.png"]),
    "one folder, other words": ("{}.jpg", ["{}_segmentation.png"]),
    "one folder, the same name": ("{}.jpg", ["{}.png"]),
    "folders of any name": ("pictures/{}.jpg", ["second/{}.png"]),
    "folders of any name, a longer one": ("pictures/{}.jpg", ["second/{}_x.png"]),
    "parts": ("CelebA-HQ-img/{}.jpg", ["CelebAMask-HQ-mask-anno/0/0000{}_hair.png"]),
}


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_root_of_images_and_masks_is_refused_naming_both(
    layout: str, mode: str, tmp_path: Path
) -> None:
    image, masks = LAYOUTS[layout]
    for i in range(4):
        put(tmp_path, image.format(i), photo(i))
        for name in masks:
            put(tmp_path, name.format(i), mask(i, mode))
    message = problem(tmp_path)
    assert f"{len(masks) * 4} files in" in message and "look like masks" in message
    assert str(Path(image.format(0)).parent) in message
    assert str(Path(masks[0].format(0)).parent) in message
    assert "list" in message and "names_url" in message


def test_the_url_to_name_instead_is_told_and_works(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path, f"JPEGImages/{i}.jpg", photo(i))
        put(tmp_path, f"SegmentationClass/{i}.png", mask(i))
    assert f"Set url: {tmp_path}/JPEGImages, " in problem(tmp_path)
    assert problem(tmp_path / "JPEGImages") == ""


EXCLUDED = {
    "an end of the name": (["{}.png", "{}_mask.png"], ["**/*_mask.png"]),
    "a start of the name": (["{}.png", "mask_{}.png"], ["**/mask_*.png"]),
    "a word": (["{}.png", "{}Mask.png"], ["**/*Mask.png"]),
    "a hyphen": (["{}.png", "{}-label.png"], ["**/*-label.png"]),
    "a part within the name": (["{}.png", "{}_mask.png", "{}_mask_1.png"], ["**/*_mask*.png"]),
    "an ending": (["{}.jpg", "{}.png"], ["**/*.png"]),
    "several endings": (["{}.png", "{}_mask.png", "{}_mask.bmp"], ["**/*_mask.*"]),
    "several kinds": (["{}.png", "{}_seg.png", "{}_gt.png"], ["**/*_gt.png", "**/*_seg.png"]),
    "a folder": (["{}.png", "x/masks/{}.png"], ["x/masks"]),
    "folders": (["{}/rgb/1.png", "{}/gt/1.png"], ["**/gt/**/*.*"]),
    "the first of folders": (["{}/rgb/1.png", "{}/gt/ids/of/all/1.png"], ["**/gt/**/*.*"]),
}


@pytest.mark.parametrize("case", EXCLUDED)
def test_the_pattern_that_leaves_masks_out_is_told_and_works(case: str, tmp_path: Path) -> None:
    (image, *masks), patterns = EXCLUDED[case]
    for i in range(4):
        put(tmp_path, image.format(f"x{i}"), photo(i))
        for name in masks:
            put(tmp_path, name.format(f"x{i}"), mask(i))
    told = json.dumps(patterns if len(patterns) > 1 else patterns[0])
    assert f"Set exclude: {told}, or list the images to use in names_url." in problem(tmp_path)
    source = FolderSource(url=str(tmp_path), exclude=tuple(patterns))
    loaded = loading.load(source, 8, labelled=False)
    assert loaded.problems == loaded.notes == ()
    assert set(loaded.names) == {image.format(f"x{i}") for i in range(4)}


def test_what_is_excluded_goes_with_a_pattern_and_never_leaves_nothing(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path, f"rgb/{i}.png", photo(i))
        put(tmp_path, f"rgb/{i}_mask.png", mask(i))
    keys = {"pattern": "rgb/*.png", "exclude": "rgb/*_mask.png"}
    assert problem(tmp_path, **keys) == ""
    everything = problem(tmp_path, **{**keys, "exclude": "rgb"})
    assert "`exclude: rgb` leaves none of the 6 images in it" in everything


def test_images_that_a_list_names_are_read(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path, f"{i}.jpg", photo(i))
        put(tmp_path, f"{i}_mask.png", mask(i))
    (tmp_path / "names.json").write_text('["0.jpg", "2.jpg"]')
    assert problem(tmp_path, names_url=str(tmp_path / "names.json")) == ""


def test_masks_among_the_images_of_pairs_are_refused_too(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path, f"images/{i}.png", photo(i))
        put(tmp_path, f"images/{i}_mask.png", mask(i))
    source = PairsSource(url=str(tmp_path), classes_url=str(tmp_path / "c.json"))
    with pytest.raises(UserError, match="look like masks"):
        loading.read_images(source, 8)


PLAIN = {
    "grey": lambda i: photo(i, "L"),
    "drawings of few colours": drawing,
    "drawings of one bit": lambda i: photo(i, "1"),
    "masks alone": mask,
}


@pytest.mark.parametrize("kind", PLAIN)
def test_a_plain_folder_of_anything_is_read(kind: str, tmp_path: Path) -> None:
    for i in range(6):
        put(tmp_path, f"{'ab'[i % 2]}/{i}.png", PLAIN[kind](i))
    assert problem(tmp_path) == ""


def test_photographs_are_no_masks_whatever_their_names_say(tmp_path: Path) -> None:
    for i in range(4):
        put(tmp_path, f"{i}.jpg", photo(i))
        put(tmp_path, f"{i}_mask.jpg", photo(9 + i))
        put(tmp_path, f"labels/{i}.png", photo(19 + i, "L"))
    assert problem(tmp_path) == ""


def test_folders_of_classes_whose_names_repeat_are_read(tmp_path: Path) -> None:
    for i in range(6):
        put(tmp_path, f"cats/{i}.png", photo(i))
        put(tmp_path, f"dogs/{i}.png", photo(9 + i))
    assert problem(tmp_path) == ""


def test_a_drawing_that_happens_to_have_a_photographs_name_is_read(tmp_path: Path) -> None:
    for i in range(20):
        put(tmp_path, f"{i}.jpg", photo(i))
    put(tmp_path, "7.png", drawing(7))
    assert problem(tmp_path) == ""


def notes(root: Path) -> str:
    return " ".join(loading.load(FolderSource(url=str(root)), 8, labelled=False).notes)


SECOND = {
    "names and folders of their own": ("img/photo_{}.jpg", "targets/target_{}.png", mask),
    "another start of the name": ("{}.jpg", "m_{}.png", mask),
    "smooth mattes": ("images/{}.png", "alpha/{}.png", lambda i: photo(i, "L")),
}


@pytest.mark.parametrize("name", SECOND)
def test_flat_or_grey_pictures_beside_others_are_told(name: str, tmp_path: Path) -> None:
    image, second, picture = SECOND[name]
    for i in range(4):
        put(tmp_path, image.format(i), photo(i))
        put(tmp_path, second.format(i), picture(i))
    message = notes(tmp_path)
    assert f"4 files (such as {second.format(0)}) are flat or grey, others are not" in message


def test_a_few_masks_among_many_images_are_told(tmp_path: Path) -> None:
    for i in range(40):
        put(tmp_path, f"{i}.jpg", photo(i))
    for i in range(4):
        put(tmp_path, f"{i}.png", mask(i))
    assert "4 files (such as 0.png) are flat or grey" in notes(tmp_path)


@pytest.mark.parametrize("kind", PLAIN)
def test_pictures_that_are_all_alike_are_not_told(kind: str, tmp_path: Path) -> None:
    for i in range(6):
        put(tmp_path, f"{'ab'[i % 2]}/{i}.png", PLAIN[kind](i))
    assert "flat or grey" not in notes(tmp_path)
