"""Claims that what a refusal proposes is accepted, and reads masks as they were meant."""

import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from PIL import Image

from factory.config import parse_config
from factory.data import loading
from factory.data.classes import rule_yaml
from factory.data.kinds.known import KnownSource
from factory.data.loading import Labelled, LoadedSource
from factory.errors import UserError, shown
from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import encoded, flat, pairs, put
from tests.data.refusals import CLASSES, REFUSALS, Refused

IDS = np.array([[0, 1, 2, 2], [1, 0, 0, 2], [2, 2, 1, 1], [0, 1, 2, 0]], np.uint8)
TWO = IDS.clip(max=1)
NAMES = ["ground", "disc", "bar"]


def put_masks(folder: Path, masks: list[bytes], ending: str = "png") -> None:
    """Masks a, b, ... beside flat images of their size."""
    for name, mask in zip("abcdefgh", masks, strict=False):
        put(folder / "images", **{f"{name}_png": encode_png(flat(ord(name), 4, 4))})
        put(folder / "masks", **{f"{name}_{ending}": mask})


def read(folder: Path, **keys: Any) -> Labelled:
    """The labelled images of a source with these keys, as a config has them."""
    source = {"kind": "pairs", "url": str(folder), **keys}
    config = parse_config({"data": {"labelled": source, "image_size": 4}})
    assert config.data.labelled is not None
    return loading.read_labelled(config.data.labelled, 4)


def refusal_of(folder: Path, **keys: Any) -> str:
    """The only problem, or the first of equal ones of several masks."""
    with pytest.raises(UserError) as refusal:
        read(folder, **keys)
    first, *others = refusal.value.problems
    assert {re.sub(r"/[a-h]\.", "/a.", line) for line in others} <= {first}
    return first


def proposed(problem: str) -> list[dict[str, Any]]:
    """The settings that a problem names, each as the keys that it is."""
    return [yaml.safe_load(text) for text in re.findall("`([a-z]+: .*?)`", problem)]


def levels(values: list[int], dtype: type = np.uint8) -> Callable[[UInt8], bytes]:
    """Writes ids as these values."""
    return lambda ids: encoded(Image.fromarray(np.array(values, dtype)[ids]))


LEVELS: dict[str, tuple[Callable[[UInt8], bytes], UInt8]] = {
    "0 and 255": (levels([0, 255]), TWO),
    "0 and 255 of three classes": (levels([0, 255]), TWO),
    "0 and 254": (levels([0, 254]), TWO),
    "0 and 65535": (levels([0, 65535], np.uint16), TWO),
    "0, 127 and 254": (levels([0, 127, 254]), IDS),
    "0, 128 and 255": (levels([0, 128, 255]), IDS),
    "from 1": (levels([1, 2, 3]), IDS),
    "from 1 in 16 bits": (levels([1, 2, 3], np.uint16), IDS),
}


@pytest.mark.parametrize("case", LEVELS)
def test_the_classes_that_a_refusal_of_values_proposes_read_the_masks(
    case: str, tmp_path: Path
) -> None:
    write, ids = LEVELS[case]
    put_masks(tmp_path, [write(ids), write(ids[::-1])])
    names = NAMES if "three" in case else NAMES[: ids.max() + 1]
    key = next(key for key in proposed(refusal_of(tmp_path, classes=names)) if "classes" in key)
    labelled = read(tmp_path, **key)
    assert np.array_equal(labelled.masks, [ids, ids[::-1]]) and labelled.classes.names == (*names,)


@pytest.mark.parametrize("top", [1, 40])
def test_the_threshold_that_a_refusal_of_numbered_objects_proposes_makes_them_one_class(
    top: int, tmp_path: Path
) -> None:
    objects = (np.arange(16).reshape(4, 4) * top).astype(np.uint16)
    put_masks(tmp_path, [encoded(Image.fromarray(objects)), encoded(TWO)])
    keys = proposed(refusal_of(tmp_path, classes=["ground", "cell"]))
    assert keys[-1] == {"classes": [{"name": "ground"}, {"name": "cell", "above": 0}]}
    assert all("ignore" not in key for key in keys)
    assert np.array_equal(read(tmp_path, **keys[-1]).masks, [objects > 0, TWO])


def test_all_classes_are_proposed_however_many_they_are(tmp_path: Path) -> None:
    values = (np.arange(16) * 16).reshape(4, 4).astype(np.uint8)
    put_masks(tmp_path, [encoded(values)])
    names = [f"c{i}" for i in range(16)]
    problem = refusal_of(tmp_path, classes=names)
    labelled = read(tmp_path, **proposed(problem)[-1])
    assert labelled.classes.names == (*names,)
    assert np.array_equal(labelled.masks[0], values // 16)


def test_classes_that_are_too_many_for_a_line_are_said_to_be_written_by_init() -> None:
    names = [f"a class of a long name, the number {i}" for i in range(40)]
    key = rule_yaml.with_ids(names, range(1, 41))
    assert key.startswith('classes: [{name: "a class of a long name, the number 0", ids: [1]}, ')
    assert key.endswith("... and 38 more, which factory init writes]")


def test_the_threshold_that_a_refusal_of_white_proposes_reads_masks_of_0_and_1_the_same(
    tmp_path: Path,
) -> None:
    put_masks(tmp_path, [levels([0, 255])(TWO)] * 4 + [levels([0, 1])(TWO)])
    problem = refusal_of(tmp_path, classes=["background", "polyp"])
    assert "4 of 5 masks hold only 0 and 255" in problem
    assert proposed(problem) == [
        {"classes": [{"name": "background"}, {"name": "polyp", "above": 0}]}
    ]
    assert np.array_equal(read(tmp_path, **proposed(problem)[0]).masks, [TWO] * 5)


def test_what_is_of_no_class_is_ignored_as_its_refusal_proposes(tmp_path: Path) -> None:
    border = IDS.copy()
    border[0] = 7
    put_masks(tmp_path, [encoded(IDS), encoded(border), encoded(border)])
    problem = refusal_of(tmp_path, classes=NAMES)
    assert problem.startswith(f"{tmp_path}/masks: ids 7 are not classes: classes are 0..2")
    assert "(7: 8 pixels; in 2 of 3 masks: b.png, c.png)" in problem
    labelled = read(tmp_path, classes=NAMES, **proposed(problem)[0])
    assert np.array_equal(labelled.masks[1], np.where(border == 7, 255, border))
    assert "values 0, 1, 2 are classes ground, disc, bar; 7 is ignored." in labelled.notes


def test_0_that_stands_for_no_label_beside_ids_from_1_is_proposed_to_be_ignored(
    tmp_path: Path,
) -> None:
    values = np.where(IDS == 0, 0, IDS + 1).astype(np.uint8)
    values[0, 0] = 1
    put_masks(tmp_path, [encoded(values)])
    *_, classes, ignore = proposed(refusal_of(tmp_path, classes=NAMES))
    labelled = read(tmp_path, **classes, **ignore)
    assert np.array_equal(labelled.masks[0], np.where(values == 0, 255, values - 1))
    assert "values 1, 2, 3 are classes ground, disc, bar; 0 is ignored." in labelled.notes


COLORS = np.array([(10, 20, 30), (250, 50, 83), (51, 221, 255)], np.uint8)


def with_colors(problem: str, colors: UInt8) -> dict[str, Any]:
    """The classes that a problem proposes, with the colours that people fill in."""
    form = re.findall("`(classes: .*?)`", problem)[0]
    for color in colors.tolist():
        form = form.replace("[R, G, B]", str(color), 1)
    filled: dict[str, Any] = yaml.safe_load(form)
    return filled


def palette_png(indices: UInt8, colors: UInt8) -> bytes:
    image = Image.fromarray(indices)
    image.putpalette(colors.ravel().tolist())
    return encoded(image)


COLORED: dict[str, tuple[list[bytes], str]] = {
    "colours": (
        [encoded(COLORS[IDS]), encoded(COLORS[IDS[::-1]])],
        "in 2 of 2 masks: a.png, b.png: (51, 221, 255): 12 pixels",
    ),
    "palettes that differ": (
        [palette_png(IDS, COLORS), palette_png(2 - IDS[::-1], COLORS[::-1])],
        "the palettes of these masks differ",
    ),
    "indices beyond the classes": (
        [
            palette_png(mask + np.uint8(5), np.concatenate([np.zeros((5, 3), np.uint8), COLORS]))
            for mask in (IDS, IDS[::-1])
        ],
        "are indices of its palette",
    ),
}


@pytest.mark.parametrize("case", COLORED)
def test_the_colours_that_a_refusal_asks_for_read_the_masks(case: str, tmp_path: Path) -> None:
    masks, said = COLORED[case]
    put_masks(tmp_path, masks)
    problem = refusal_of(tmp_path, classes=NAMES)
    assert said in problem
    labelled = read(tmp_path, **with_colors(problem, COLORS))
    assert np.array_equal(labelled.masks, [IDS, IDS[::-1]])
    assert labelled.classes.palette == tuple(map(tuple, COLORS.tolist()))


def test_a_refusal_of_colours_proposes_those_that_show_the_classes_if_they_are_those_of_masks(
    tmp_path: Path,
) -> None:
    put_masks(tmp_path, [encoded(COLORS[IDS])])
    classes = [{"name": n, "color": c} for n, c in zip(NAMES, COLORS.tolist(), strict=True)]
    problem = refusal_of(tmp_path, classes=classes)
    assert np.array_equal(read(tmp_path, **proposed(problem)[0]).masks, [IDS])


def test_a_palette_whose_black_is_elsewhere_is_read_by_the_colours_that_its_refusal_asks_for(
    tmp_path: Path,
) -> None:
    colors = np.array([(0, 0, 200), (0, 0, 0), (200, 0, 0)], np.uint8)
    put_masks(tmp_path, [palette_png(IDS, colors)])
    problem = refusal_of(tmp_path, classes=NAMES)
    assert "black at index 1" in problem
    assert np.array_equal(read(tmp_path, **with_colors(problem, colors)).masks, [IDS])


def test_a_colour_of_no_class_is_ignored_as_its_refusal_proposes(tmp_path: Path) -> None:
    border = COLORS[IDS]
    border[0] = (224, 224, 192)
    put_masks(tmp_path, [encoded(border)])
    classes = [
        {"name": n, "colors": [color]} for n, color in zip(NAMES, COLORS.tolist(), strict=True)
    ]
    problem = refusal_of(tmp_path, classes=classes)
    assert "masks/a.png: colours (224, 224, 192) are of no class" in problem
    labelled = read(tmp_path, classes=classes, **proposed(problem)[0])
    assert (labelled.masks[0][0] == 255).all() and np.array_equal(labelled.masks[0][1:], IDS[1:])


@pytest.mark.parametrize(("names", "row"), [(NAMES[:2], [0, 0, 1, 1]), (NAMES, [0, 1, 1, 2])])
def test_the_thresholds_that_a_refusal_of_jpeg_proposes_read_it(
    names: list[str], row: list[int], tmp_path: Path
) -> None:
    grey = np.linspace(0, 255, len(names)).astype(np.uint8).repeat(32)[None].repeat(96, 0)
    put(tmp_path / "images", a_png=encode_png(flat(1, *grey.shape)))
    put(tmp_path / "masks", a_jpg=encoded(grey, "JPEG"))
    problem = refusal_of(tmp_path, classes=names)
    assert read(tmp_path, **proposed(problem)[0]).masks[0].tolist() == [row] * 4


def test_a_class_that_means_ignored_is_left_out_as_its_note_proposes(tmp_path: Path) -> None:
    put_masks(tmp_path, [encoded(IDS)])
    note = next(n for n in read(tmp_path, classes=["void", *NAMES[1:]]).notes if "void" in n)
    classes, ignore = proposed(note)
    labelled = read(tmp_path, **classes, **ignore)
    assert labelled.classes.names == ("disc", "bar")
    assert np.array_equal(labelled.masks[0], np.where(IDS == 0, 255, IDS - 1))


def test_smoothed_edges_are_told_as_one_problem_of_the_source(tmp_path: Path) -> None:
    smooth = np.arange(16, dtype=np.uint8).reshape(4, 4) * 15
    put_masks(tmp_path, [encoded(smooth), encoded(smooth[::-1].copy())])
    problem = refusal_of(tmp_path, classes=NAMES)
    assert "more (were the edges smoothed?)" in problem and "in 2 of 2 masks" in problem
    colors = np.random.default_rng(0).integers(0, 255, (4, 4, 3)).astype(np.uint8)
    put_masks(tmp_path, [encoded(colors), encoded(colors)])
    assert "were the edges smoothed?" in refusal_of(tmp_path, classes=NAMES)


def test_masks_with_values_of_no_class_are_left_out_of_what_is_counted(tmp_path: Path) -> None:
    put_masks(tmp_path, [encoded(IDS), encoded(IDS + np.uint8(7)), encoded(COLORS[IDS])])
    loaded = loading.load(pairs(tmp_path), 4, labelled=True)
    assert loaded.names == ("a.png",) and len(loaded.problems) == 2


def test_masks_of_0_and_1_beside_brighter_ones_are_told_where_a_threshold_is_higher(
    tmp_path: Path,
) -> None:
    put_masks(tmp_path, [levels([0, 255])(TWO), levels([0, 1])(TWO)])
    notes = read(tmp_path, classes=["a", {"name": "b", "above": 127}]).notes
    assert any("1 of 2 masks" in note and "begins above 127" in note for note in notes)


def test_a_file_of_classes_beside_classes_is_refused(tmp_path: Path) -> None:
    put_masks(tmp_path, [encoded(IDS)])
    problem = refusal_of(tmp_path, classes=NAMES, classes_url=str(tmp_path / "classes.json"))
    assert "classes_url: names a file of classes beside `classes`" in problem


def test_classes_of_a_config_that_contradict_each_other_are_refused_at_their_key(
    tmp_path: Path,
) -> None:
    problem = refusal_of(tmp_path, classes=["a", {"name": "b", "ids": [0]}])
    assert problem.startswith("config: data.labelled.classes: class a has no ids")
    problem = refusal_of(tmp_path, classes=NAMES, ignore={"ids": [2]})
    assert problem.startswith("config: data.labelled.classes: class bar has no ids")
    problem = refusal_of(tmp_path, classes=NAMES, ignore={"id": [9]})
    assert "data.labelled.ignore.id: unknown key. Did you mean data.labelled.ignore.ids?" in problem


_KEYS = {key for kind in get_args(KnownSource) for key in kind.model_fields}
_SETTING = re.compile(rf"(?<![\w./])({'|'.join(_KEYS)}): ")
_WORD = re.compile(r"(?:[^\s,;:)`.]|[:.](?!\s|$))+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def settings(problem: str) -> dict[str, list[Any]]:
    """The values of each key that a refusal names, in its order."""
    found: dict[str, list[Any]] = defaultdict(list)
    for match in _SETTING.finditer(problem):
        key, rest = match[1], problem[match.end() :]
        value: Any = None
        if rest[:1] in "[{":
            value = yaml.safe_load(_flow(rest))
        elif quoted := _QUOTED.match(rest):
            value = yaml.safe_load(quoted[0])
        elif key not in ("classes", "ignore") and (word := _WORD.match(rest)):
            value = word[0]
        if value and value not in found[key]:
            found[key].append(value)
    return found


def _flow(text: str) -> str:
    """The list or object that a text begins with."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character in "[{") - (character in "]}")
        if not depth:
            return text[: i + 1]
    return ""


def section_of(case: Refused, root: Path, **more: Any) -> dict[str, Any]:
    keys: dict[str, Any] = {"kind": "pairs", "url": str(root), **case.keys}
    if keys["kind"] != "folder":
        keys = {"classes": CLASSES, **keys}
    if "names_url" in keys:
        keys["names_url"] = str(root / keys["names_url"])
    keys |= more
    if "kind" in more:
        keys = {k: v for k, v in keys.items() if k not in ("images", "masks", "pattern")}
        keys = {"classes": CLASSES, **keys} if case.labelled else keys
        keys |= {"classes": None} if more["kind"] in ("yolo", "coco") else {}
    return {key: value for key, value in keys.items() if value is not None}


def loaded(case: Refused, section: dict[str, Any]) -> LoadedSource:
    role = "labelled" if case.labelled else "unlabelled"
    config = parse_config({"data": {role: section, "image_size": 8}})
    return loading.load(getattr(config.data, role), 8, case.labelled)


def all_problems(case: Refused, section: dict[str, Any]) -> str:
    try:
        return "\n".join(map(shown, loaded(case, section).problems))
    except UserError as refusal:
        return "\n".join(refusal.problems)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [(name, remedy) for name, case in REFUSALS.items() for remedy in case.remedies],
)
def test_the_setting_that_a_refusal_names_is_accepted(
    name: str, remedy: str, tmp_path: Path
) -> None:
    case = REFUSALS[name]
    for file, data in case.files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(data)
    before = section_of(case, tmp_path)
    problem = all_problems(case, before)
    assert problem
    named = settings(problem)
    chosen: dict[str, Any] = {}
    for key, _, number in (word.partition("=") for word in remedy.split()):
        if key == "names_url":
            assert "list the images to use in names_url" in problem
            (tmp_path / "names.txt").write_text("\n".join(case.listed))
            chosen[key] = str(tmp_path / "names.txt")
        else:
            values = [value for value in named[key] if value != before.get(key)]
            assert values, problem
            chosen[key] = values[int(number or 0)]
    read = loaded(case, section_of(case, tmp_path, **chosen))
    assert read.problems == () and len(read.names) == case.num
