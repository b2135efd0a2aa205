"""Claims about files of classes that lie beside masks: `factory init` gives each name the pixels
that the file says, and asks where it does not say it."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factory.config import load_config
from factory.data import loading
from factory.images import UInt8
from tests.data.inputs import encoded
from tests.data.kinds.test_auto import mask, pairs_of
from tests.data.recognizing.test_recognition import photograph
from tests.new_config.test_command import put_picture, sections

COLORS = np.array([(0, 0, 0), (128, 64, 128), (255, 0, 10)], np.uint8)
CAR_MOST = np.array([0, 1, 1] + [2] * 5, np.uint8)
"""The last class has the most pixels, so that counting them does not tell which is which."""
NAMES = ("sky", "road", "car")
HEX = ("#000000", "#804080", "#ff000a")
SHOWN = dict(zip(NAMES, HEX, strict=True))
FILES = {
    "classes.csv": "id,name,color\n0,sky,#000000\n1,road,#804080\n2,car,#ff000a\n",
    "class_dict.csv": "name,r,g,b\nsky,0,0,0\nroad,128,64,128\ncar,255,0,10\n",
    "label_colors.csv": "car,255,0,10,2\nroad,128,64,128,1\nsky,0,0,0,0\n",
    "colors.json": json.dumps(SHOWN),
    "palette.json": json.dumps({color: name for name, color in SHOWN.items()}),
    "labels.json": json.dumps(
        [
            {"name": name, "id": 90 + i, "color": color, "attributes": []}
            for i, (name, color) in enumerate(SHOWN.items())
        ]
    ),
    "meta.json": json.dumps(
        {"classes": [{"title": n, "color": c} for n, c in SHOWN.items() if n != "sky"]}
    ),
    "categories.json": json.dumps(
        {"labels": [{"name": name, "color": color} for name, color in SHOWN.items()]}
    ),
}


def put_colors(root: Path, colors: UInt8 = COLORS) -> UInt8:
    """Four pairs whose masks have colours; returns the ids of one."""
    ids = mask(*CAR_MOST)
    pairs_of(root, *[colors[ids]] * 4)
    return ids


def read(size: int = 16) -> tuple[Sequence[str], Any, UInt8]:
    """The names of the classes of labelled images, the section, and the first mask."""
    source = sections(load_config("my.yaml"))["labelled"]
    found = loading.read_labelled(source, size)
    return found.classes.names, source, found.masks[0]


@pytest.mark.parametrize("file", FILES)
def test_names_belong_to_the_colours_that_a_file_says(
    file: str, init: Callable[..., str], tmp_path: Path
) -> None:
    ids = put_colors(tmp_path / "data")
    (tmp_path / f"data/{file}").write_text(FILES[file])
    said = init("data")
    names, _, first = read()
    assert names[1:] == ("road", "car") and names[0] in ("sky", "background")
    assert np.array_equal(first, ids)
    assert "which colour" not in said and "what the masks have for each" not in said


def test_a_table_of_values_and_colours_reads_masks_of_either(
    init: Callable[..., str], tmp_path: Path
) -> None:
    ids = mask(*CAR_MOST)
    pairs_of(tmp_path / "data", *[ids] * 4)
    (tmp_path / "data/classes.csv").write_text(FILES["classes.csv"])
    init("data")
    names, source, first = read()
    assert names == ("sky", "road", "car") and np.array_equal(first, ids)
    assert source.classes_url.endswith("data/classes.csv")


@pytest.mark.parametrize("is_other", [True, False])
def test_palettes_in_which_values_have_the_colours_of_other_classes_are_asked_about(
    is_other: bool, init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", *[mask(0)] * 4)
    for i in range(4):
        picture = Image.fromarray(mask(*CAR_MOST))
        picture.putpalette((COLORS[[0, 2, 1]] if is_other else COLORS).ravel().tolist())
        (tmp_path / f"data/masks/{i}.png").write_bytes(encoded(picture))
    (tmp_path / "data/classes.csv").write_text(FILES["classes.csv"])
    said = init("data")
    assert (
        "whether the indices of palettes are the values of data/classes.csv" in said
    ) == is_other
    assert read()[0] == ("sky", "road", "car")


def test_names_alone_are_not_dealt_out_to_colours(init: Callable[..., str], tmp_path: Path) -> None:
    put_colors(tmp_path / "data")
    (tmp_path / "data/classes.txt").write_text("sky\nroad\ncar\n")
    said = init("data")
    assert read()[0] == ("background", "class_1", "class_2")
    assert "which colour belongs to sky, road, car" in said


def test_names_of_other_values_are_not_dealt_out(init: Callable[..., str], tmp_path: Path) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1, 2)] * 4)
    (tmp_path / "data/classes.csv").write_text("id,name\n10,sky\n20,road\n30,car\n")
    said = init("data")
    assert read()[0] == ("background", "class_1", "class_2")
    assert "names sky, road, car, but by values that are not those of the masks" in said


def test_a_colour_that_a_file_does_not_name_is_left_to_people(
    init: Callable[..., str], tmp_path: Path
) -> None:
    put_colors(tmp_path / "data")
    (tmp_path / "data/classes.csv").write_text("name,color\nsky,#000000\nroad,#804080\n")
    said = init("data")
    assert set(read()[0]) == {"sky", "road", "class_1"}
    assert "please check" in said and "classes" in said


def test_black_that_a_file_does_not_name_is_ignored_and_asked_about(
    init: Callable[..., str], tmp_path: Path
) -> None:
    put_colors(tmp_path / "data")
    (tmp_path / "data/classes.csv").write_text("id,name,color\n1,road,#804080\n2,car,#ff000a\n")
    said = init("data")
    names, _, first = read()
    assert names == ("road", "car") and set(np.unique(first)) == {0, 1, 255}
    assert "whether black, which data/classes.csv does not name, is of no class" in said


def test_colours_that_compression_has_blurred_are_of_the_classes_that_a_file_names(
    init: Callable[..., str], tmp_path: Path
) -> None:
    slanted = np.add.outer(np.arange(128) // 4, np.arange(128)) // 32
    ids = np.array([0, 1, 2, 2, 2], np.uint8)[slanted]
    pairs_of(tmp_path / "data", *[COLORS[ids]] * 4)
    for i in range(4):
        (tmp_path / f"data/masks/{i}.png").unlink()
        picture = encoded(Image.fromarray(COLORS[ids]), "JPEG")
        (tmp_path / f"data/masks/{i}.jpg").write_bytes(picture)
        put_picture(tmp_path / f"data/images/{i}.png", np.resize(photograph(i), (128, 128, 3)))
    (tmp_path / "data/classes.csv").write_text(FILES["classes.csv"])
    init("data")
    names, source, first = read(128)
    assert names == ("sky", "road", "car") and source.nearest_colors
    assert (first == ids).mean() > 0.98


def test_a_table_that_leaves_open_what_values_are_is_named_with_the_reason(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 4)
    (tmp_path / "data/classes.csv").write_text("id,name,value\n0,sky,1\n1,road,0\n")
    said = init("data")
    assert "data/classes.csv names the classes: it is not read (has values in the columns" in said
    assert read()[0] == ("background", "class_1")


def test_colours_that_show_classes_are_what_inspect_proposes_and_init_writes(
    init: Callable[..., str], tmp_path: Path
) -> None:
    put_colors(tmp_path / "data")
    (tmp_path / "data/classes.csv").write_text(FILES["classes.csv"])
    init("data")
    written = read()[1].classes
    source = read()[1].model_copy(update={"classes": None, "classes_url": "data/classes.csv"})
    problem = loading.load(source, 16, labelled=True).problems[0]
    key = ", ".join(f"{{name: {c['name']}, colors: {c['colors']}}}" for c in written)
    assert f"`classes: [{key}]`" in problem


@pytest.mark.parametrize(
    ("values", "divisor", "smaller"),
    [
        ((0, 7 * 256, 26 * 256 + 1, 26 * 256 + 2), 256, None),
        ((0, 7, 26000, 26001), 1000, "classes"),
    ],
)
def test_a_file_names_the_classes_of_values_that_number_objects_too(
    values: tuple[int, ...],
    divisor: int,
    smaller: str | None,
    init: Callable[..., str],
    tmp_path: Path,
) -> None:
    pairs_of(tmp_path / "data", *[mask(0)] * 4)
    of_cars = np.array(values)
    for i in range(4):
        of_people = np.where(of_cars < 26 * divisor, of_cars, of_cars - 2 * divisor)
        stored = (of_people if i == 0 else of_cars).astype(np.uint16)[mask(0, 1, 2, 3)]
        (tmp_path / f"data/masks/{i}.png").write_bytes(encoded(Image.fromarray(stored)))
    classes = {"0": "ground", "7": "road", "24": "person", "26": "car"}
    (tmp_path / "data/id2label.json").write_text(json.dumps(classes))
    said = init("data")
    names, source, first = read()
    assert names == tuple(classes.values())
    assert (source.ids_divided_by, source.smaller_ids) == (divisor, smaller)
    assert set(np.unique(first)) <= {0, 1, 2, 3}
    assert f"whether values are {divisor} times a class and the number of an object" in said
