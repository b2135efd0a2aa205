"""Claims about masks of which each file is a part: whose it is, and how parts become one mask."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factory.data import loading
from factory.data.kinds.pairs import PairsSource
from factory.data.kinds.parquet import ParquetSource
from factory.errors import Problems, UserError
from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import (
    SHARED_DATA,
    encoded,
    flat,
    ids,
    needs_shared_data,
    only_problem,
    problems_of,
)

CELEBA = (
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth"),
    *("u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)
"""The parts in the order in which its makers number them, from 1 on."""


def put(root: Path, name: str, data: bytes) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)


def part(row: list[int]) -> bytes:
    """A part of 8 x 8 pixels, each row alike."""
    return encode_png(np.repeat(ids(row), 8, axis=0) * np.uint8(255))


LEFT, MIDDLE, RIGHT = [1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 0, 0], [0] * 6 + [1, 1]


def parts_of(root: Path, **more: object) -> PairsSource:
    """An image with the parts left, middle and right, of which the middle covers both."""
    put(root, "images/7.png", encode_png(flat(1)))
    for name, row in {"left": LEFT, "middle": MIDDLE, "right": RIGHT}.items():
        put(root, f"masks/{name}/007_{name}.png", part(row))
    keys: dict[str, Any] = {"url": str(root), "masks": "masks/*/{stem:03}_{part}.png", **more}
    return PairsSource(**keys)


def classes(*entries: object) -> dict[str, object]:
    return {"classes": list(entries)}


LEFT_CLASS, MIDDLE_CLASS = {"name": "l", "parts": "left"}, {"name": "m", "parts": ["middle"]}
RIGHT_CLASS = {"name": "r", "parts": ["right"]}


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        (classes("none", LEFT_CLASS, MIDDLE_CLASS, RIGHT_CLASS), [1, 1, 2, 2, 2, 2, 3, 3]),
        (classes(MIDDLE_CLASS, "none", LEFT_CLASS, RIGHT_CLASS), [2, 2, 2, 2, 0, 0, 3, 3]),
        (classes(RIGHT_CLASS, MIDDLE_CLASS, LEFT_CLASS), [2, 2, 2, 2, 1, 1, 0, 0]),
        (classes("none", {"name": "any", "parts": ["*"]}), [1] * 8),
        (classes("none", {"name": "any", "parts": ["*"]}, RIGHT_CLASS), [1] * 6 + [2] * 2),
        (
            {**classes("none", LEFT_CLASS), "ignore": {"parts": ["middle", "right"]}},
            [1, 1, 1, 1, 255, 255, 255, 255],
        ),
        (
            {**classes("none", RIGHT_CLASS), "ignore": {"parts": ["left", "middle"]}},
            [255] * 6 + [1] * 2,
        ),
    ],
)
def test_later_classes_are_drawn_over_earlier_ones(
    keys: dict[str, object], row: list[int], tmp_path: Path
) -> None:
    read = loading.read_labelled(parts_of(tmp_path, **keys), 8)
    assert read.masks[0].tolist() == [row] * 8


def test_classes_of_which_all_have_parts_leave_the_rest_ignored(tmp_path: Path) -> None:
    source = parts_of(tmp_path, **classes(LEFT_CLASS, RIGHT_CLASS), ignore={"parts": ["middle"]})
    (tmp_path / "masks/middle/007_middle.png").unlink()
    assert loading.read_labelled(source, 8).masks[0, 0].tolist() == [0] * 4 + [255] * 2 + [1] * 2


def rgb(picture: UInt8) -> Image.Image:
    return Image.fromarray(picture).convert("RGB")


def black_last(picture: UInt8) -> Image.Image:
    palette = Image.fromarray(1 - picture // 255)
    palette.putpalette([255, 0, 0, 0, 0, 0])
    return palette


FORMS = {
    "0 and 255": lambda picture: encoded(picture),
    "0 and 1": lambda picture: encoded(picture // 255),
    "colours": lambda picture: encoded(rgb(picture)),
    "one bit": lambda picture: encoded(Image.fromarray(picture).convert("1")),
    "16 bits": lambda picture: encoded(Image.fromarray(picture.astype(np.uint16) * 256)),
    "a palette": lambda picture: encoded(Image.fromarray(picture).convert("P")),
    "a palette with black last": lambda picture: encoded(black_last(picture)),
    "opaque": lambda picture: encoded(rgb(picture).convert("RGBA")),
    "JPEG": lambda picture: encoded(picture, "JPEG", quality=60),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_part_is_what_is_above_0_in_any_file(form: str, tmp_path: Path) -> None:
    picture = np.zeros((32, 32), np.uint8)
    picture[8:24, 8:16] = 255
    ending = "jpg" if form == "JPEG" else "png"
    put(tmp_path, "images/a.png", encode_png(flat(1, 32, 32)))
    put(tmp_path, f"masks/a-x.{ending}", FORMS[form](picture))
    source = PairsSource(
        url=str(tmp_path),
        masks="masks/{stem}-{part}.*",
        classes=["none", {"name": "x", "parts": ["x"]}],
    )
    assert np.array_equal(loading.read_labelled(source, 32).masks[0], picture // 255)


def test_parts_may_be_smaller_than_their_image_in_its_proportions(tmp_path: Path) -> None:
    source = parts_of(tmp_path, **classes("none", LEFT_CLASS, MIDDLE_CLASS, RIGHT_CLASS))
    put(tmp_path, "images/7.png", encode_png(flat(1, 16, 16)))
    assert loading.read_labelled(source, 16).masks[0, 0, ::2].tolist() == [1, 1, 2, 2, 2, 2, 3, 3]
    put(tmp_path, "images/7.png", encode_png(flat(1, 12, 16)))
    assert "the mask has 8x8 pixels, its image 16x12" in only_problem(source)


def test_an_object_is_a_part_and_all_of_them_are_one_class(tmp_path: Path) -> None:
    for image in ("p", "q"):
        put(tmp_path, f"{image}/images/{image}.png", encode_png(flat(1)))
        for i in range(8 if image == "p" else 3):
            row = [int(column == i) for column in range(8)]
            put(tmp_path, f"{image}/masks/{image}{i:03x}.png", part(row))
    source = PairsSource(
        url=str(tmp_path),
        images="**/images/*.png",
        masks="{dir}/masks/{part}.png",
        classes=["ground", {"name": "nucleus", "parts": ["*"]}],
    )
    read = loading.read_labelled(source, 8)
    assert read.masks[:, 0].tolist() == [[1] * 8, [1] * 3 + [0] * 5]


def test_the_objects_of_a_part_are_told_apart_by_a_star_in_their_names(tmp_path: Path) -> None:
    put(tmp_path, "images/p.png", encode_png(flat(1)))
    for name, row in {"cell/p_1": LEFT, "cell/p_2": RIGHT, "wall/p_1": MIDDLE}.items():
        put(tmp_path, f"masks/{name}.png", part(row))
    keys = classes("none", {"name": "cell", "parts": "cell"}, {"name": "wall", "parts": "wall"})
    source = PairsSource(url=str(tmp_path), masks="masks/{part}/{stem}_*.png", **keys)  # type: ignore[arg-type]
    assert loading.read_labelled(source, 8).masks[0, 0].tolist() == [1, 1, 2, 2, 2, 2, 1, 1]
    folders = PairsSource(url=str(tmp_path), masks="masks/*/{stem}_{part}.png", **keys)  # type: ignore[arg-type]
    assert "write * in the file's name in `masks:`" in " ".join(problems_of(folders))


def test_parts_may_be_named_by_how_they_begin(tmp_path: Path) -> None:
    put(tmp_path, "images/p.png", encode_png(flat(1)))
    for name, row in {"eye_1": LEFT, "eye_2": MIDDLE, "eye_lid_1": RIGHT}.items():
        put(tmp_path, f"masks/p_{name}.png", part(row))
    keys = classes("none", {"name": "eye", "parts": "eye_*"}, {"name": "lid", "parts": "eye_lid_*"})
    source = PairsSource(url=str(tmp_path), masks="masks/{stem}_{part}.png", **keys)  # type: ignore[arg-type]
    assert loading.read_labelled(source, 8).masks[0, 0].tolist() == [1] * 6 + [2] * 2


def test_parts_of_no_class_are_refused_with_the_number_of_their_files(tmp_path: Path) -> None:
    problem = only_problem(parts_of(tmp_path, **classes("none", LEFT_CLASS)))
    assert "parts that are of no class (middle: 1 file, right: 1 file)" in problem
    assert problem.endswith("`ignore: {parts: [middle, right]}`.")
    mended = parts_of(
        tmp_path, **classes("none", LEFT_CLASS), ignore={"parts": ["middle", "right"]}
    )
    assert len(loading.read_labelled(mended, 8)) == 1


def test_classes_without_a_file_are_told(tmp_path: Path) -> None:
    more = [MIDDLE_CLASS, RIGHT_CLASS, {"name": "top", "parts": ["top", "lid"]}]
    read = loading.read_labelled(parts_of(tmp_path, **classes("none", LEFT_CLASS, *more)), 8)
    assert "no image has a file of class top (top, lid)." in read.notes
    told = "of the parts of masks, left is class l, middle is class m, right is class r, top, lid"
    assert any(note.startswith(told) for note in read.notes)


def test_parts_and_classes_that_do_not_know_each_other_are_refused(tmp_path: Path) -> None:
    problem = only_problem(parts_of(tmp_path, **classes("none", "left", "middle", "right")))
    assert problem.endswith(
        "`classes: [{name: none}, {name: left, parts: [left]}, {name: middle, parts: [middle]}, "
        "{name: right, parts: [right]}]`."
    )
    problem = only_problem(parts_of(tmp_path, **classes("none", "thing")))
    assert problem.endswith('`classes: [{name: none}, {name: thing, parts: ["*"]}]`.')
    whole = parts_of(tmp_path, **classes("none", LEFT_CLASS), masks="masks/left/{stem:03}_left.png")
    assert "Write {part} for what tells them apart" in only_problem(whole)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (classes("none", LEFT_CLASS, {"name": "b", "ids": [1]}), "Give all of them parts, or none"),
        (classes("none", "other", LEFT_CLASS), "only one class can be what no part covers"),
        (classes(LEFT_CLASS, {"name": "b", "parts": ["left"]}), "part left is claimed by class l"),
        ({**classes("a", "b"), "ignore": {"parts": ["x"]}}, "only one class can be what no part"),
    ],
)
def test_rules_of_parts_that_cannot_stand_together_are_refused(
    keys: dict[str, object], said: str, tmp_path: Path
) -> None:
    put(tmp_path, "classes.json", json.dumps(keys).encode())
    source = parts_of(tmp_path, classes_url=str(tmp_path / "classes.json"))
    assert said in only_problem(source)


def test_files_of_parts_that_do_not_fit_are_refused_by_their_names(tmp_path: Path) -> None:
    keys = classes("none", LEFT_CLASS, MIDDLE_CLASS, RIGHT_CLASS)
    source = parts_of(tmp_path, **keys)
    put(tmp_path, "masks/right/007_right.png", b"x")
    assert "part right (masks/right/007_right.png) " in only_problem(source)
    put(tmp_path, "masks/right/007_right.png", encode_png(ids([1, 1])))
    problem = only_problem(source)
    assert "part right (masks/right/007_right.png) has 2x1 pixels" in problem
    assert "others 8x8" in problem
    put(tmp_path, "masks/right/007_right.png", part(RIGHT))
    put(tmp_path, "masks/more/007_right.png", part(RIGHT))
    (problem,) = problems_of(source)
    assert "masks/right/007_right.png: are all part right of" in problem


@pytest.mark.parametrize("form", ["values", "colours"])
def test_a_part_of_several_values_is_refused_and_read_by_the_setting_that_is_told(
    tmp_path: Path, form: str
) -> None:
    source = parts_of(tmp_path, **classes("none", LEFT_CLASS, MIDDLE_CLASS, RIGHT_CLASS))
    several = np.repeat(ids([0, 0, 60, 60, 200, 200, 0, 0]), 8, axis=0)
    if form == "colours":
        several = np.stack([several, several, np.where(several, 255 - several, 0)], axis=-1)
    put(tmp_path, "masks/middle/007_middle.png", encode_png(several.astype(np.uint8)))
    problem = only_problem(source)
    assert "part middle (masks/middle/007_middle.png) has several" in problem
    assert "`above: 0` beside its `parts`" in problem and "`above: 127`" in problem
    for above, row in ((0, [1, 1, 2, 2, 2, 2, 3, 3]), (127, [1, 1, 1, 1, 2, 2, 3, 3])):
        middle = {**MIDDLE_CLASS, "above": above}
        mended = parts_of(tmp_path, **classes("none", LEFT_CLASS, middle, RIGHT_CLASS))
        put(tmp_path, "masks/middle/007_middle.png", encode_png(several.astype(np.uint8)))
        assert loading.read_labelled(mended, 8).masks[0, 0].tolist() == row


def test_classes_of_parts_may_have_the_same_above_and_others_none(tmp_path: Path) -> None:
    each = [{**entry, "above": 0} for entry in (LEFT_CLASS, MIDDLE_CLASS)]
    source = parts_of(tmp_path, **classes("none", *each, RIGHT_CLASS))
    assert loading.read_labelled(source, 8).masks[0, 0].tolist() == [1, 1, 2, 2, 2, 2, 3, 3]


def test_a_file_that_may_be_a_part_of_two_images_is_refused(tmp_path: Path) -> None:
    for name in ("a", "a_1"):
        put(tmp_path, f"images/{name}.png", encode_png(flat(1)))
        put(tmp_path, f"masks/{name}_x.png", part(LEFT))
    source = PairsSource(
        url=str(tmp_path),
        masks="masks/{stem}_{part}.png",
        classes=["none", {"name": "x", "parts": ["*"]}],
    )
    with pytest.raises(UserError, match=r"would have one mask, .*masks/a_1_x\.png"):
        loading.read_labelled(source, 8)


def test_masks_of_parts_are_proposed_as_such(tmp_path: Path) -> None:
    for i in range(4):
        put(tmp_path, f"images/{i}.png", encode_png(flat(1)))
        for name in ("hair", "l_eye", "nose", "skin"):
            put(tmp_path, f"anno/{i // 2}/0000{i}_{name}.png", part(LEFT))
    keys: dict[str, Any] = {"url": str(tmp_path), **classes("none", {"name": "any", "parts": "*"})}
    problem = only_problem(PairsSource(**keys, masks="anno"))
    assert problem.endswith('Write masks: "anno/*/{stem:05}_{part}.png".')
    assert (
        len(loading.read_labelled(PairsSource(**keys, masks="anno/*/{stem:05}_{part}.png"), 8)) == 4
    )


def drawn_by_hand(image: int) -> UInt8:
    """(512, 512): the published way of making one mask of the parts of a face."""
    mask = np.zeros((512, 512), np.uint8)
    for i, name in enumerate(CELEBA, 1):
        file = (
            SHARED_DATA / f"celebamask_hq_layout/CelebAMask-HQ-mask-anno/0/{image:05d}_{name}.png"
        )
        if file.exists():
            mask[np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("L")) > 0] = i
    return mask


@pytest.mark.slow
@needs_shared_data
def test_celebamask_hq_is_read_as_its_makers_read_it() -> None:
    source = PairsSource(
        url=str(SHARED_DATA / "celebamask_hq_layout"),
        images="CelebA-HQ-img",
        masks="CelebAMask-HQ-mask-anno/*/{stem:05}_{part}.png",
        classes=["background", *({"name": name, "parts": [name]} for name in CELEBA)],
    )
    read = loading.read_labelled(source, 512)
    assert len(read) == 12 and read.classes.names == ("background", *CELEBA)
    for name, mask in zip(read.names, read.masks, strict=True):
        assert np.array_equal(mask, drawn_by_hand(int(Path(name).stem))), name


def test_parts_are_refused_of_kinds_whose_masks_have_none(tmp_path: Path) -> None:
    problems = Problems()
    source = ParquetSource(url=str(tmp_path), **classes("none", LEFT_CLASS))  # type: ignore[arg-type]
    assert source.read_rules(problems) is None
    assert "parts are files of a mask of kind pairs" in problems.found[0]
