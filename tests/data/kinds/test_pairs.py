"""Claims about sources of kind pairs: which images have which masks, and what has no partner."""

import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from factory.data import loading
from factory.png import encode_png
from tests.data.inputs import encoded, flat, folder, only_problem, pairs, problems_of, put


def put_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def mask_of(value: int) -> bytes:
    return encode_png(flat(value)[..., 0])


def test_pairs_match_by_stem_whatever_the_image_format(tmp_path: Path) -> None:
    put(tmp_path / "images", b_jpg=encoded(flat(200), "JPEG"), a_png=encode_png(flat(10)))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]), b_png=encode_png(flat(2)[..., 0]))
    read = loading.read_labelled(pairs(tmp_path), 8)
    assert read.names == ("a.png", "b.jpg")
    assert read.masks[:, 0, 0].tolist() == [1, 2] and read.images[0, 0, 0, 0] == 10
    assert read.classes.names == ("background", "thing", "other")
    assert np.array_equal(loading.read_images(pairs(tmp_path), 8), read.images)


def test_subfolders_of_pairs_can_be_named(tmp_path: Path) -> None:
    put(tmp_path / "photos/train", a_png=encode_png(flat(1)))
    put(tmp_path / "labels", a_png=encode_png(flat(1)[..., 0]))
    source = pairs(tmp_path, images="photos/train/", masks="./labels")
    assert loading.read_labelled(source, 8).names == ("a.png",)


def test_names_choose_files_and_num_the_first_of_the_list(tmp_path: Path) -> None:
    for name in "abcd":
        put(tmp_path / "images", **{f"{name}_png": encode_png(flat(1))})
    put(tmp_path / "masks", b_png=encode_png(flat(1)[..., 0]), d_png=encode_png(flat(1)[..., 0]))
    (tmp_path / "splits.json").write_text('{"train": ["d.png", "b.png"], "test": ["a.png"]}')
    source = pairs(tmp_path, names_url=str(tmp_path / "splits.json"), names_key="train")
    assert loading.read_labelled(source, 8).names == ("b.png", "d.png")
    first = source.model_copy(update={"num": 1})
    assert loading.read_labelled(first, 8).names == ("d.png",)
    assert len(loading.read_images(folder(tmp_path / "images", names_url=source.names_url,
                                          names_key="test"), 8)) == 1  # fmt: skip


@pytest.mark.parametrize("between", [" ", "\t", ",", ", "])
def test_a_list_may_name_the_mask_beside_each_image_but_not_another_one(
    tmp_path: Path, between: str
) -> None:
    for name in ("a", "b c", "d"):
        put_file(tmp_path / f"images/{name}.jpg", encoded(flat(9), "JPEG"))
        put_file(tmp_path / f"masks/{name}_L.png", mask_of(1))
    listed = tmp_path / "train.txt"
    source = pairs(tmp_path, masks="masks/{stem}_L.png", names_url=str(listed))
    lines = [("/data/images/b c.jpg", "/data/masks/b c_L.png"), ("images/a.jpg", "a_L.png")]
    listed.write_text("\n".join(map(between.join, lines)))
    assert loading.read_labelled(source, 8).names == ("a.jpg", "b c.jpg")
    lines[1] = ("images/a.jpg", "d_L.png")
    listed.write_text("\n".join(map(between.join, lines)))
    assert only_problem(source) == (
        f"{listed}: names d_L.png as the mask of images/a.jpg, and `masks` pairs it with "
        "masks/a_L.png. Set masks to a pattern of the files that the list names."
    )


def test_images_in_sub_folders_have_the_masks_of_the_same_paths(tmp_path: Path) -> None:
    for i, name in enumerate(("a", "night/a", "night/x/b")):
        put_file(tmp_path / f"images/{name}.jpg", encoded(flat(10 * i), "JPEG"))
        put_file(tmp_path / f"masks/{name}.png", mask_of(i))
    read = loading.read_labelled(pairs(tmp_path), 8)
    assert read.names == ("a.jpg", "night/a.jpg", "night/x/b.jpg") and not read.notes
    assert read.masks[:, 0, 0].tolist() == [0, 1, 2]
    (tmp_path / "masks/night/a.png").rename(tmp_path / "masks/night/x/a.png")
    missing, stray = problems_of(pairs(tmp_path))
    assert "night/a.jpg: has no mask night/a.png" in missing
    assert "night/x/a.png: mask without an image" in stray


def test_masks_in_a_sub_folder_of_the_images_are_no_images(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]))
    assert loading.read_labelled(pairs(tmp_path, images="."), 8).notes == ()


def test_masks_in_a_sub_folder_of_the_images_are_read(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(10)))
    put(tmp_path / "images/masks", a_png=mask_of(1))
    read = loading.read_labelled(pairs(tmp_path, masks="images/masks"), 8)
    assert read.names == ("a.png",) and read.masks[0, 0, 0] == 1
    put(tmp_path / "masks/images", a_png=encode_png(flat(10)))
    put(tmp_path / "masks", a_png=mask_of(2))
    read = loading.read_labelled(pairs(tmp_path, images="masks/images"), 8)
    assert read.names == ("a.png",) and read.masks[0, 0, 0] == 2


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("named", ["NFC", "NFD"])
@pytest.mark.parametrize("images", ["Bildä", "Bildä/*.png"])
def test_folders_of_macos_are_those_of_other_systems(
    images: str, named: Literal["NFC", "NFD"], stored: Literal["NFC", "NFD"], tmp_path: Path
) -> None:
    put(tmp_path / unicodedata.normalize(stored, "Bildä"), a_png=encode_png(flat(10)))
    put(tmp_path / unicodedata.normalize(stored, "Maskä"), a_png=mask_of(1))
    source = pairs(
        tmp_path,
        images=unicodedata.normalize(named, images),
        masks=unicodedata.normalize(named, "Maskä"),
    )
    assert loading.read_labelled(source, 8).names == ("a.png",)


def test_a_partner_that_is_not_read_is_named(tmp_path: Path) -> None:
    put(tmp_path / "images", a_dcm=b"x", b_png=encode_png(flat(1)), c_png=encode_png(flat(1)))
    mask = encode_png(flat(1)[..., 0])
    put(tmp_path / "masks", a_png=mask, b_png=mask, c_dcm=b"x")
    missing, stray = problems_of(pairs(tmp_path))
    assert "c.png: has no mask c.png" in missing and "Did you mean c.dcm?" in missing
    assert "mask without an image. There is a.dcm, whose ending is not read." in stray


def test_an_image_is_never_its_own_mask(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)[..., 0]), b_png=encode_png(flat(1)[..., 0]))
    problem = only_problem(pairs(tmp_path, images="", masks="."))
    assert "each image would be its own mask" in problem and "`masks:`" in problem


def test_pairs_elsewhere_are_pointed_at(tmp_path: Path) -> None:
    put(tmp_path / "photos", a_png=encode_png(flat(1)))
    put(tmp_path / "labels", b_png=encode_png(flat(1)[..., 0]))
    images_missing, masks_missing = problems_of(pairs(tmp_path))
    assert "There are images in labels, photos: set `images:`" in images_missing
    assert "masks: no such folder" in masks_missing and "set `masks:`" in masks_missing
    put(tmp_path / "labels", a_gt_png=encode_png(flat(1)[..., 0]))
    (tmp_path / "labels/b.png").unlink()
    assert (
        'Write images: "**/*.png" and masks: "labels/{stem}_gt.png".'
        in problems_of(pairs(tmp_path))[0]
    )
    problem = only_problem(pairs(tmp_path, images="photos"))
    assert "There are images in labels. Write masks: " in problem


def test_equal_stems_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)), a_bmp=encoded(flat(1), "BMP"))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]))
    files = f"{tmp_path}/images/a.bmp, {tmp_path}/images/a.png"
    assert only_problem(pairs(tmp_path)).startswith(f"{files}: have the same stem a")


def test_a_mask_in_other_case_is_proposed(tmp_path: Path) -> None:
    put(tmp_path / "images", IMG_png=encode_png(flat(1)))
    put(tmp_path / "masks", img_png=encode_png(flat(1)[..., 0]))
    missing, stray = problems_of(pairs(tmp_path))
    assert "Did you mean img.png?" in missing and "mask without an image" in stray


@pytest.mark.parametrize("content", [None, b"\xff", b"{", b'["a", "a"]'])
def test_bad_class_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]))
    source = pairs(tmp_path)
    (tmp_path / "classes.json").unlink()
    if content is not None:
        (tmp_path / "classes.json").write_bytes(content)
    assert only_problem(source).startswith(f"{tmp_path}/classes.json: ")
