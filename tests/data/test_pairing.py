"""Claims about images and masks that are paired by patterns, in layouts that people have."""

import re
from pathlib import Path

import pytest
import yaml

from factory.config import parse_config
from factory.data import loading
from factory.data.kinds.pairs import PairsSource
from factory.errors import UserError
from factory.png import encode_png
from tests.data.inputs import flat, only_problem, pairs, problems_of

NUM = 3


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
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs_are_found_by_patterns(layout: str, tmp_path: Path) -> None:
    forms, images, masks = LAYOUTS[layout]
    names = filled(*forms)
    put(tmp_path, *names)
    source = pairs(
        tmp_path,
        images=images,
        masks=masks,
        classes=str([f"c{i}" for i in range(20)]).replace("'", '"'),
    )
    read = loading.read_labelled(source, 8)
    assert len(read) == NUM
    assert (read.images[:, 0, 0, 0] - 50).tolist() == read.masks[:, 0, 0].tolist()
    assert len(loading.read_images(source, 8)) == NUM


PROPOSED = ("one folder", "a suffix", "an image's suffix too", "another prefix", "leading zeros")


@pytest.mark.parametrize("layout", PROPOSED)
def test_patterns_that_would_pair_are_proposed_as_lines_that_do(
    layout: str, tmp_path: Path
) -> None:
    forms, images, masks = LAYOUTS[layout]
    put(tmp_path, *filled(*forms))
    below = [re.split(r"/?[^/]*[*{].*", text)[0] for text in (images, masks)]
    source = pairs(tmp_path, images=below[0], masks=below[1])
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


def test_patterns_that_cannot_be_meant_are_problems_of_their_keys(tmp_path: Path) -> None:
    keys = {"url": "/a", "classes_url": "/c", "images": "{x}.png", "masks": "{y}.png"}
    with pytest.raises(UserError) as refusal:
        parse_config({"data": {"test": {"kind": "pairs", **keys}}})
    images, masks = refusal.value.problems
    assert images.startswith("config: data.test.images: ") and "Write * for what differs" in images
    assert masks.startswith("config: data.test.masks: ") and "{y} is unknown" in masks


def test_what_has_no_partner_is_told_and_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "images/1.png", "images/2.png", "images/4.png", "masks/2.png", "masks/3.png")
    assert len(problems_of(pairs(tmp_path))) == 3
    source = pairs(tmp_path, unpaired="skip")
    read = loading.read_labelled(source, 8)
    assert read.names == ("2.png",) and len(loading.read_images(source, 8)) == 3
    assert read.notes[:2] == (
        f"{tmp_path}/images: 2 images have no mask and are not used (1.png, 4.png).",
        f"{tmp_path}/masks: 1 masks have no image and are not used (3.png).",
    )
    assert loading.read_labelled(pairs(tmp_path, unpaired="skip", num=1), 8).names == ("2.png",)
