"""Claims about sources of kind labelme: what is drawn, of which images, and what is refused."""

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from factory.data import loading
from factory.data.kinds.auto import AutoSource
from factory.data.kinds.labelme import LabelmeSource
from factory.errors import Problems
from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import encoded, flat, only_problem, problems_of, put

SIDE = 40
POLYGON = {"label": "cat", "points": [[3.2, 4.9], [30.5, 8], [12, 35.5]]}
SQUARE = {"label": "dog", "points": [[10, 10], [20, 20]], "shape_type": "rectangle"}


def write(folder: Path, name: str, *shapes: dict[str, Any], **changes: Any) -> Path:
    """An image of grey 7 and its JSON."""
    put(folder, **{f"{name}_png": encode_png(flat(7, SIDE, SIDE))})
    write_json(folder, name, *shapes, **{"imagePath": f"{name}.png", **changes})
    return folder


def write_json(folder: Path, name: str, *shapes: dict[str, Any], **changes: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = {"version": "5.5.0", "shapes": list(shapes), "imageData": None, **changes}
    (folder / f"{name}.json").write_text(json.dumps(content))


def source(url: Path | str, **more: Any) -> LabelmeSource:
    return LabelmeSource(url=str(url), **more)


def masks_of(url: Path | str, **more: Any) -> UInt8:
    return np.asarray(loading.read_labelled(source(url, **more), SIDE).masks)


def drawn(kind: str, points: list[list[float]]) -> UInt8:
    """What labelme's shape_to_mask draws, by its documentation: Pillow's shapes, lines 10 pixels
    wide, points of radius 5."""
    image = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    flat_points = [(x, y) for x, y in points]
    if kind == "polygon":
        draw.polygon(flat_points, outline=1, fill=1)
    elif kind == "rectangle":
        draw.rectangle(flat_points, outline=1, fill=1)
    elif kind in ("line", "linestrip"):
        draw.line(flat_points, fill=1, width=10)
    else:
        (x, y), other = points[0], points[-1]
        r = math.dist(points[0], other) if kind == "circle" else 5
        draw.ellipse([x - r, y - r, x + r, y + r], outline=1, fill=1)
    return np.asarray(image)


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        ("polygon", [[3.2, 4.9], [30.5, 8], [12, 35.5]]),
        ("rectangle", [[5.5, 6.2], [20.1, 30.9]]),
        ("circle", [[20.3, 18.1], [26, 25.5]]),
        ("line", [[3, 4], [30, 33]]),
        ("linestrip", [[3, 4], [30, 8], [12, 35]]),
        ("point", [[12.5, 13.1]]),
    ],
)
def test_every_shape_is_drawn_as_labelme_draws_it(
    tmp_path: Path, kind: str, points: list[list[float]]
) -> None:
    write(tmp_path, "a", {"label": "cat", "points": points, "shape_type": kind})
    read = loading.read_labelled(source(tmp_path), SIDE)
    assert np.array_equal(read.masks[0], drawn(kind, points)) and read.masks.any()
    told = any("1 line or point drawn 10 pixels wide" in note for note in read.notes)
    assert told == (kind in ("line", "linestrip", "point"))


def test_jsons_without_their_image_are_refused_or_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a", SQUARE)
    write_json(tmp_path, "b", SQUARE, imagePath="gone.png")
    message = only_problem(source(tmp_path))
    assert "holds no image, or several, for 1 JSON: b.json (gone.png)." in message
    assert "leave these out with `unpaired: skip`" in message
    read = loading.read_labelled(source(tmp_path, unpaired="skip"), SIDE)
    assert read.names == ("a.png",) and "b.json (gone.png). They are left out." in read.notes[0]


def test_labels_are_ignored_without_naming_the_classes(tmp_path: Path) -> None:
    write(tmp_path, "a", SQUARE, {**POLYGON, "points": [[25, 25], [39, 25], [39, 39], [25, 39]]})
    read = loading.read_labelled(source(tmp_path, ignore={"labels": "cat"}), SIDE)
    assert read.classes.names == ("background", "dog")
    assert read.masks[0, [15, 30], [15, 30]].tolist() == [1, 255]


@pytest.mark.parametrize("kind", ["rectangle", "rotation"])
def test_rectangles_of_four_corners_are_drawn_as_they_lie(tmp_path: Path, kind: str) -> None:
    turned = [[20.0, 5.0], [35.0, 20.0], [20.0, 35.0], [5.0, 20.0]]
    write(tmp_path, "a", {"label": "cat", "points": turned, "shape_type": kind})
    assert np.array_equal(masks_of(tmp_path)[0], drawn("polygon", turned))


def test_a_rectangle_may_be_drawn_from_any_corner(tmp_path: Path) -> None:
    write(tmp_path, "a", {**SQUARE, "points": [[20, 10], [10, 20]]})
    assert np.array_equal(masks_of(tmp_path)[0], drawn("rectangle", [[10, 10], [20, 20]]))


def test_masks_lie_where_their_points_say(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((6, 9)) < 0.5
    text = base64.b64encode(encoded(Image.fromarray(pixels))).decode()
    shape = {"label": "cat", "shape_type": "mask", "points": [[4, 7], [12, 12]], "mask": text}
    write(tmp_path, "a", shape)
    mask = masks_of(tmp_path)[0]
    assert np.array_equal(mask[7:13, 4:13], pixels) and mask.sum() == pixels.sum()
    write(tmp_path, "a", {**shape, "points": [[4, 7], [13, 12]]})
    assert "shape 0 (cat): a mask of 9x6 pixels between 4,7 and 13,12" in only_problem(
        source(tmp_path)
    )


def test_later_shapes_lie_on_earlier_ones_and_labels_are_sorted(tmp_path: Path) -> None:
    write(tmp_path, "a", SQUARE, {"label": "cat", "points": [[0, 0], [15, 0], [15, 39], [0, 39]]})
    read = loading.read_labelled(source(tmp_path), SIDE)
    assert read.classes.names == ("background", "cat", "dog")
    assert read.masks[0, 12, [12, 18]].tolist() == [1, 2]


def test_a_shape_that_is_called_background_in_labelmes_way_is_of_the_background(
    tmp_path: Path,
) -> None:
    hole = {**SQUARE, "label": "_background_"}
    write(tmp_path, "a", POLYGON, hole)
    read = loading.read_labelled(source(tmp_path), SIDE)
    assert read.classes.names == ("background", "cat")
    assert read.masks[0, 15, 15] == 0 and read.masks[0, 25, 12] == 1


def test_labelmes_list_of_labels_names_the_classes(tmp_path: Path) -> None:
    write(tmp_path, "a", POLYGON, {**SQUARE, "label": "__ignore__"})
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ndog\ncat\n")
    read = loading.read_labelled(source(tmp_path, classes_url=f"{tmp_path}/labels.txt"), SIDE)
    assert read.classes.names == ("_background_", "dog", "cat")
    assert read.masks[0, 15, 15] == 255 and read.masks[0, 25, 12] == 2
    (tmp_path / "labels.txt").write_text("_background_\ndog\n")
    message = only_problem(source(tmp_path, classes_url=f"{tmp_path}/labels.txt"))
    assert "the labels cat (1 shape) are of no class" in message


def test_jsons_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(7, SIDE, SIDE)))
    for path in ("../images/a.png", "..\\images\\a.png", "C:\\photos\\a.png", "b.jpg", ""):
        write_json(tmp_path / "json", "a", POLYGON, imagePath=path)
        read = loading.read_labelled(source(tmp_path), SIDE)
        assert read.names == ("images/a.png",) and read.masks.any()


def test_images_within_the_json_are_read_if_there_is_no_file(tmp_path: Path) -> None:
    data = base64.b64encode(encode_png(flat(99, SIDE, SIDE))).decode()
    write_json(tmp_path, "a", POLYGON, imagePath="a.png", imageData=data)
    read = loading.read_labelled(source(tmp_path), SIDE)
    assert read.names == ("a.json",) and read.images[0, 0, 0, 0] == 99 and read.masks.any()
    assert np.array_equal(loading.read_images(source(tmp_path), SIDE), read.images)
    found = source(tmp_path).find(labelled=False, problems=Problems())
    before = source(tmp_path).versions(found.items)
    write_json(tmp_path, "a", imagePath="a.png", imageData="?")
    assert source(tmp_path).versions(found.items) != before
    assert "the image in it is damaged" in only_problem(source(tmp_path), labelled=False)


def test_images_outside_of_the_folder_are_never_read(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(7, SIDE, SIDE)))
    write_json(tmp_path / "json", "x", POLYGON, imagePath="../a.png")
    message = only_problem(source(tmp_path / "json"))
    assert "x.json (../a.png)" in message and "name the folder above both in `url:`" in message
    assert masks_of(tmp_path).any(), "as the message advises"


def test_images_without_a_json_are_refused_skipped_or_background(tmp_path: Path) -> None:
    write(tmp_path, "a", POLYGON)
    put(tmp_path, b_png=encode_png(flat(8, SIDE, SIDE)))
    message = only_problem(source(tmp_path))
    assert "1 image without a JSON of labelme: b.png" in message
    assert "`unannotated: skip`" in message and "`unannotated: background`" in message
    assert len(masks_of(tmp_path, unannotated="skip")) == 1
    masks = masks_of(tmp_path, unannotated="background")
    assert len(masks) == 2 and not masks[1].any()
    assert len(loading.read_images(source(tmp_path), 8)) == 2


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ({"shape_type": "ellipse"}, "shape 0 (cat): is a ellipse, which labelme draws no mask of"),
        ({"points": [[1, 1], [2, 2]]}, "a polygon of 2 points needs 3 or more"),
        ({"shape_type": "circle"}, "a circle of 3 points needs 2"),
        ({"points": [[1, 1], [2, "x"], [3, 3]]}, "its points are no list of x, y"),
        ({"points": None}, "its points are no list of x, y"),
        ({"points": [[1, 1], [1e9, 2], [3, 3]]}, "leads far out of the image"),
        ({"points": [[1, 1], [float("nan"), 2], [3, 3]]}, "leads far out of the image"),
        ({"shape_type": ["polygon"]}, "is a ['polygon'], which labelme draws no mask of"),
    ],
)
def test_shapes_that_cannot_be_drawn_are_named(
    tmp_path: Path, shape: dict[str, Any], said: str
) -> None:
    write(tmp_path, "a", {**POLYGON, **shape})
    write(tmp_path, "b", POLYGON)
    message = only_problem(source(tmp_path))
    assert message.startswith(f"{tmp_path}/a.json: ") and said in message


def test_a_json_whose_name_two_images_have_is_of_neither(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(7, SIDE, SIDE)), a_jpg=encoded(flat(7, SIDE, SIDE), "JPEG"))
    write_json(tmp_path, "a", POLYGON, imagePath="gone.png")
    found = problems_of(source(tmp_path, unannotated="skip"))
    assert any("no image, or several, for 1 JSON: a.json (gone.png)" in each for each in found)


def test_a_size_that_no_image_has_is_none_or_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", POLYGON, imageWidth=-5, imageHeight=-4)
    assert masks_of(tmp_path).any()
    write(tmp_path, "a", POLYGON, imageWidth=10**6, imageHeight=10**6)
    message = only_problem(source(tmp_path))
    assert "a.json: its shapes were drawn for 1000000x1000000 pixels, more than" in message


def test_jsons_that_are_damaged_are_all_named_and_others_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a", POLYGON)
    (tmp_path / "info.json").write_text("[1]")
    assert masks_of(tmp_path).any()
    (tmp_path / "b.json").write_text("{")
    write_json(tmp_path, "c", {"points": []}, imagePath="a.png")
    found = problems_of(source(tmp_path))
    assert any("b.json: is no JSON" in problem for problem in found)
    assert any("c.json: has a shape whose label is no text" in problem for problem in found)


def test_two_jsons_of_one_image_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a", POLYGON)
    write_json(tmp_path, "b", POLYGON, imagePath="a.png")
    assert "b.json and a.json. Keep one" in only_problem(source(tmp_path))


def test_a_folder_without_jsons_is_refused(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(7)))
    assert "holds no JSON of labelme" in only_problem(source(tmp_path))


def test_auto_takes_a_folder_of_jsons_for_what_it_is(tmp_path: Path) -> None:
    for name in "abc":
        write(tmp_path, name, POLYGON)
    read = loading.read_labelled(AutoSource(url=str(tmp_path)), SIDE)
    assert np.array_equal(read.masks, masks_of(tmp_path)) and read.masks.any()
    assert any("kind labelme" in note for note in read.notes)
