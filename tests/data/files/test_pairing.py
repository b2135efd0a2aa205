"""Claims about images and masks that are paired by patterns, in layouts that people have."""

import json
import re
from pathlib import Path

import pytest
import yaml

from factory.config import parse_config
from factory.data import loading
from factory.data.files import pairing
from factory.data.files.listing import Listing
from factory.data.files.patterns import parse_images, parse_masks
from factory.data.files.trees import FolderTree
from factory.data.kinds.pairs import PairsSource
from factory.errors import Problems, UserError
from factory.png import encode_png
from tests.data.inputs import flat, only_problem, pairs, problems_of

NUM = 3
CLASSES = json.dumps([f"c{i}" for i in range(20)])


def put(root: Path, *names: str) -> None:
    """Writes images that are grey by their position, and masks of the class that it is."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        value = int(re.findall("[0-9]+", name)[-1])
        is_mask = any(word in name for word in ("mask", "seg", "gt", "label", "GT"))
        path.write_bytes(encode_png(flat(value)[..., 0] if is_mask else flat(50 + value)))


def filled(*forms: str) -> list[str]:
    return [form.replace("#", str(i)) for form in forms for i in range(NUM)]


LAYOUTS = {
    "one folder": (["p (#).png", "p (#)_mask.png"], "*.png", "{stem}_mask.png"),
    "a suffix": (["images/I_#.png", "masks/I_#_segmentation.png"], "images",
                 "masks/{stem}_segmentation.png"),
    "an image's suffix too": (
        ["rgb/train/a/a_#_rgb.png", "gt/train/a/a_#_gt_labelIds.png",
         "gt/train/a/a_#_gt_color.png", "rgb/val/a/a_#_rgb.png"],
        "rgb/train/**/*_rgb.png", "gt/train/{dir}/{stem}_gt_labelIds.png"),
    "another prefix": (["images/image_#.png", "labels/label_#.png"], "images/image_*.png",
                       "labels/label_{stem}.png"),
    "leading zeros": (["images/#.png", "masks/0000#.png"], "images", "masks/{stem:05}.png"),
    "a folder an image": (["#/image.png", "#/mask.png"], "**/image.png", "{dir}/mask.png"),
    "a folder apart": (["a#/rgb/1#.png", "a#/gt/1#.png"], "*/rgb/*.png", "{dir}/gt/{stem}.png"),
    "prefixed folders": (["s#/x1#.png", "s#_gt/x1#.png"], "**/x*.png", "{dir}_gt/x{stem}.png"),
    "the image's ending too": (["images/#.png", "masks/#.png.png"], "images", "masks/{file}.png"),
    "one folder, the image's ending too": (["#.jpg", "#.jpg.mask.png"], "*.jpg",
                                           "{file}.mask.png"),
    "masks deeper": (["images/#.png", "masks/set #/#.png"], "images", "masks/**/{stem}.png"),
    "masks deeper, each alone": (["images/#.png", "masks/#/mask.png"], "images",
                                 "masks/{stem}/mask.png"),
    "masks deeper than their folders": (["images/a#/#.png", "masks/a#/gt/#.png"], "images",
                                        "masks/{dir}/gt/{stem}.png"),
    "images deeper": (["images/a#/#.png", "masks/#.png"], "images", "masks/{stem}.png"),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs_are_found_by_patterns(layout: str, tmp_path: Path) -> None:
    forms, images, masks = LAYOUTS[layout]
    names = filled(*forms)
    put(tmp_path, *names)
    source = pairs(tmp_path, CLASSES, images=images, masks=masks)
    read = loading.read_labelled(source, 8)
    assert len(read) == NUM
    assert (read.images[:, 0, 0, 0] - 50).tolist() == read.masks[:, 0, 0].tolist()
    assert len(loading.read_images(source, 8)) == NUM


PROPOSED = [name for name in LAYOUTS if name != "prefixed folders"]


@pytest.mark.parametrize("layout", PROPOSED)
def test_patterns_that_would_pair_are_proposed_as_lines_that_do(
    layout: str, tmp_path: Path
) -> None:
    forms, images, masks = LAYOUTS[layout]
    put(tmp_path, *filled(*forms))
    below = [re.split(r"/?[^/]*[*{].*", text)[0] for text in (images, masks)]
    source = pairs(tmp_path, CLASSES, images=below[0], masks=below[1])
    problem = only_problem(source)
    lines = yaml.safe_load(
        "\n".join(re.findall(r'(?:images|masks): "[^"]*"', problem.partition("Write ")[2]))
    )
    assert lines["masks"] == masks
    mended = PairsSource(**{**source.model_dump(), **lines})
    read = loading.read_labelled(mended, 8)
    assert len(read) == NUM
    assert (read.images[:, 0, 0, 0] - 50).tolist() == read.masks[:, 0, 0].tolist()


def test_masks_among_images_are_no_images_of_unlabelled_pairs_either(tmp_path: Path) -> None:
    put(tmp_path, *filled("#.png", "#_mask.png"))
    source = pairs(tmp_path, images="*.png", masks="{stem}_mask.png")
    assert loading.load(source, 8, labelled=False).names == ("0.png", "1.png", "2.png")


def test_a_mask_of_a_mask_is_neither_image_nor_mask_of_one(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "1_mask.png", "1_mask_mask.png")
    problem = only_problem(pairs(tmp_path, images="*.png", masks="{stem}_mask.png"))
    assert "1_mask_mask.png: mask without an image" in problem


def test_an_image_is_never_its_own_mask_by_a_pattern(tmp_path: Path) -> None:
    put(tmp_path, *filled("#.png"))
    problem = only_problem(pairs(tmp_path, images="*.png", masks="{stem}.png"))
    assert "3 images would be their own masks (0.png, 1.png, 2.png)" in problem


def test_two_images_with_one_mask_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "rgb/a/1.png", "rgb/b/1.png", "masks/1.png")
    problem = only_problem(pairs(tmp_path, images="rgb/**/*.png", masks="masks/{stem}.png"))
    assert f"{tmp_path}/rgb/a/1.png, {tmp_path}/rgb/b/1.png: would have one mask" in problem
    assert "such as {dir} or {name}" in problem


def test_two_masks_of_one_image_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", "masks/1_a.png", "masks/1_b.png")
    problem = only_problem(pairs(tmp_path, masks="masks/{stem}_*.png"))
    assert f"masks/1_b.png: are all masks of {tmp_path}/images/1.png by `masks: masks/" in problem


def test_patterns_that_mean_nothing_say_what_lies_there(tmp_path: Path) -> None:
    put(tmp_path, *filled("rgb/a/#.png", "masks/a/#.png"))
    problem = only_problem(pairs(tmp_path, images="rgb/*.png", masks="masks/{dir}/{stem}.png"))
    assert "`images: rgb/*.png` means none of the 3 images in it, such as rgb/a/0.png" in problem
    problem = only_problem(pairs(tmp_path, images="rgb", masks="masks/{stem}_xyz.png"))
    assert "that of rgb/a/0.png would be masks/0_xyz.png, and what lies there is called" in problem
    assert 'Write masks: "masks/{dir}/{stem}.png".' in problem


def test_a_pattern_of_masks_whose_folder_is_not_there_says_where_pictures_are(
    tmp_path: Path,
) -> None:
    put(tmp_path, *filled("images/#.png", "masks/#_mask.png"))
    problem = only_problem(pairs(tmp_path, CLASSES, masks="nothing/{stem}_mask.png"))
    assert "nothing: no such folder" in problem and "masks/{stem}_mask.png" in problem


def test_patterns_that_cannot_be_meant_are_problems_of_their_keys(tmp_path: Path) -> None:
    keys = {"url": "/a", "classes_url": "/c", "images": "{x}.png", "masks": "{y}.png"}
    with pytest.raises(UserError) as refusal:
        parse_config({"data": {"test": {"kind": "pairs", **keys}}})
    images, masks = refusal.value.problems
    assert images.startswith("config: data.test.images: ") and "Write * for what differs" in images
    assert masks.startswith("config: data.test.masks: ") and "{y} is unknown" in masks


def test_what_has_no_partner_is_told_and_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", "images/2.png", "images/4.png", "masks/2.png", "masks/3.png")
    missing, stray = problems_of(pairs(tmp_path))
    assert "1 other: 4.png." in missing and "masks/3.png: mask without an image" in stray
    source = pairs(tmp_path, unpaired="skip")
    read = loading.read_labelled(source, 8)
    assert read.names == ("2.png",) and len(loading.read_images(source, 8)) == 3
    assert read.notes[:2] == (
        f"{tmp_path}/images: 2 images have no mask and are not used (1.png, 4.png).",
        f"{tmp_path}/masks: 1 mask has no image and is not used (3.png).",
    )
    assert loading.read_labelled(pairs(tmp_path, unpaired="skip", num=1), 8).names == ("2.png",)


def hint(problem: str) -> dict[str, str]:
    """The lines that a problem advises to write."""
    found: dict[str, str] = yaml.safe_load(
        "\n".join(re.findall(r'[a-z]+: "[^"]*"', problem.partition("Write ")[2]))
    )
    return found


IN_PART = {
    "both endings of one name": (
        ["images/1.jpg", "images/1.png", "masks/1.jpg.png", "masks/1.png.png"],
        {"masks": "masks/{file}.png"}, ""),
    "both endings of one name in one folder": (
        ["1.jpg", "1.png", "1.jpg.mask.png", "1.png.mask.png"],
        {"images": "*.*", "masks": "{file}.mask.png"}, ""),
    "images of several endings": (
        ["images/1.jpg", "images/2.png", "masks/m 1.png", "masks/m 2.png"],
        {"masks": "masks/m {stem}.png"}, ""),
    "masks of several endings": (
        ["images/1.png", "images/2.png", "masks/1_gt.png", "masks/2_gt.bmp"],
        {"masks": "masks/{stem}_gt.*"}, ""),
    "folders of images that lie deeper, among others": (
        ["a1/image.png", "a1/mask.png", "a2/image.png", "a2/mask.png", "a2/other.png"],
        {"images": "**/image.png", "masks": "{dir}/mask.png"},
        ", which pairs 2 images, and not 1 picture (a2/other.png)"),
    "masks without images, and images without masks": (
        ["images/1.png", "images/2.png", "images/3.png",
         "masks/1_gt.png", "masks/2_gt.png", "masks/4_gt.png"],
        {"masks": "masks/{stem}_gt.png", "unpaired": "skip"},
        ", which pairs 2 images, and not 2 pictures (images/3.png, masks/4_gt.png)"),
    "masks of two kinds": (
        ["images/1.png", "images/2.png", "masks/1_gt.png", "masks/2_gt.png",
         "masks/1_gt_color.png", "masks/2_gt_color.png"],
        {"masks": "masks/{stem}_gt.png"},
        ", which pairs 2 images, and not 2 pictures (masks/1_gt_color.png, masks/2_gt_color.png)"),
}  # fmt: skip


@pytest.mark.parametrize("case", IN_PART)
def test_what_is_proposed_pairs_all_or_says_what_it_leaves_out(case: str, tmp_path: Path) -> None:
    names, lines, left = IN_PART[case]
    put(tmp_path, *names)
    in_folders = any(name.startswith("images/") for name in names)
    more = {} if in_folders else {"images": "", "masks": ""}
    problem = only_problem(pairs(tmp_path, CLASSES, **more))
    assert hint(problem) == lines
    assert problem.rpartition('"')[2] == f"{left}."
    mended = pairs(tmp_path, CLASSES, **{**more, **lines})
    assert len(loading.read_labelled(mended, 8)) == 2


def test_patterns_that_pair_a_part_are_refused_with_those_that_pair_all(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", "images/2.png", "masks/1.png", "masks/x/2.png")
    problem = only_problem(pairs(tmp_path, CLASSES))
    assert "images: 1 of the 2 images has a mask" in problem
    assert hint(problem) == {"masks": "masks/**/{stem}.png"}
    assert len(loading.read_labelled(pairs(tmp_path, CLASSES, **hint(problem)), 8)) == 2
    assert len(loading.read_labelled(pairs(tmp_path, CLASSES, unpaired="skip"), 8)) == 1


def test_a_pattern_that_tells_no_image_apart_is_told_once_for_all_of_them(tmp_path: Path) -> None:
    tree, names = FolderTree(str(tmp_path)), tuple(f"{i}.png" for i in range(2000))
    matches = pairing.match(
        Listing(tree, "images", names),
        Listing(tree, "masks", names),
        parse_images("images/*.png"),
        parse_masks("masks/{dir}*.png"),
    )
    problems = Problems()
    pairing.check(matches, names, problems)
    of_one_image, of_one_mask = problems.found
    assert "and 1994 more: are all masks of" in of_one_image
    assert "and 1994 more: would have one mask" in of_one_mask


def test_a_mask_that_is_missing_among_many_is_told_by_itself(tmp_path: Path) -> None:
    put(tmp_path, *[f"images/{i}.png" for i in range(60)])
    put(tmp_path, *[f"masks/{i}.png" for i in range(59)], "masks/x/59.png")
    names = json.dumps([f"c{i}" for i in range(60)])
    missing, stray = problems_of(pairs(tmp_path, names))
    assert "images/59.png: has no mask 59.png" in missing and "without an image" in stray


def test_pictures_among_masks_that_are_neither_image_nor_mask_are_told(tmp_path: Path) -> None:
    for i in range(2):
        put(tmp_path, f"images/{i}.png", f"masks/{i}_cat.png", f"masks/{i}_dog.png")
    source = PairsSource(url=str(tmp_path), masks="masks/{stem}_cat.png", classes=["ground", "cat"])
    (note,) = [note for note in loading.load(source, 8, True).notes if "neither" in note]
    assert "2 pictures are neither image nor mask" in note and "(0_dog.png, 1_dog.png)" in note
    assert "write {part} for what tells them apart" in note
    classes = ["ground", {"name": "cat", "parts": ["cat"]}, {"name": "dog", "parts": ["dog"]}]
    parts = PairsSource(url=str(tmp_path), masks="masks/{stem}_{part}.png", classes=classes)
    assert not any("neither" in note for note in loading.load(parts, 8, True).notes)
