"""Claims about factory.data.classes.class_lookup: values and colours become classes."""

from typing import Any

import numpy as np
import pytest

from factory.classes import Color
from factory.data.classes.class_forms import parse_rules
from factory.data.classes.class_lookup import (
    MAX_KEPT,
    ClassIds,
    Values,
    count_values,
    ids_of_colors,
    ids_of_values,
    packed,
    unpack,
)
from factory.data.classes.class_rules import ClassRules
from factory.errors import UserError

UNCOVERED = object()


def expected(content: object, value: int) -> object:
    """The class id of a value as the documentation says it, one value at a time."""
    form: Any = content if isinstance(content, dict) else {"classes": content}
    entries: list[Any] = [{"name": e} if isinstance(e, str) else e for e in form["classes"]]
    thresholds = sorted((e["above"], i) for i, e in enumerate(entries) if "above" in e)
    for i, entry in enumerate(entries):
        if value in entry.get("ids", () if thresholds or entry.keys() != {"name"} else (i,)):
            return i
    if value in form.get("ignore", {}).get("ids", ()):
        return 255
    if below := [i for above, i in thresholds if above < value]:
        return below[-1]
    without = [i for i, entry in enumerate(entries) if entry.keys() == {"name"}]
    if thresholds and without:
        return without[0]
    return 255 if value == 255 else UNCOVERED


RULES = {
    "names": ["a", "b", "c"],
    "thresholds": ["a", {"name": "b", "above": 127}],
    "foreground": ["a", {"name": "b", "above": 0}],
    "steps": [{"name": "a", "above": 200}, {"name": "b", "above": 100.5}, "c"],
    "deep": ["a", {"name": "b", "above": 300}],
    "ids": [{"name": "a", "ids": [1]}, {"name": "b", "ids": [7, 300]}, {"name": "c", "ids": [0]}],
    "white": ["a", {"name": "b", "ids": [1, 255]}, "c"],
    "one elsewhere": ["a", "b", {"name": "c", "ids": [9]}],
    "ids before thresholds": [
        {"name": "a", "ids": [0, 200]}, {"name": "b", "above": 100}, {"name": "c", "ids": [150]},
    ],
    "nothing below": [{"name": "a", "above": 10}, {"name": "b", "above": 20}],
    "ignored": {"classes": ["a", {"name": "b", "above": 0}], "ignore": {"ids": [255, 3]}},
    "ignored ids": {"classes": ["a", "b"], "ignore": {"ids": [7]}},
}  # fmt: skip


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_each_value_becomes_what_the_rules_say(rules: str, dtype: type) -> None:
    content = RULES[rules]
    num = 256 if dtype is np.uint8 else 1024
    values: Values = np.arange(num).astype(dtype).reshape(-1, 16)
    found = ids_of_values(parse_rules(content, "classes"), values)
    told = [expected(content, int(value)) for value in values.ravel()]
    wanted = [255 if each is UNCOVERED else each for each in told]
    assert found.ids.dtype == np.uint8 and found.ids.ravel().tolist() == wanted
    uncovered = [value for value, each in enumerate(told) if each is UNCOVERED]
    assert list(found.uncovered) == uncovered[:MAX_KEPT]
    assert set(found.uncovered.values()) <= {1}


@pytest.mark.parametrize(
    ("smaller", "small"),
    [(None, [0, UNCOVERED, UNCOVERED]), ("classes", [0, 1, 2]), ("objects", [0, 0, 0])],
)
def test_values_are_divided_to_be_ids_and_smaller_ones_are_what_is_said(
    smaller: str | None, small: list[object]
) -> None:
    content: dict[str, Any] = {"classes": {0: "a", 1: "b", 2: "c"}, "ids_divided_by": 256}
    content |= {"smaller_ids": smaller, "ignore": {"ids": [3, -1]}}
    values = [0, 1, 2, 256, 300, 511, 512, 767, 768, 1023, 1024, 65279, 65280, 65535]
    told = [*small, 1, 1, 1, 2, 2, 255, 255, UNCOVERED, UNCOVERED, 255, 255]
    found = ids_of_values(parse_rules(content, "classes"), np.array([values], np.uint16))
    assert found.ids.ravel().tolist() == [255 if each is UNCOVERED else each for each in told]
    uncovered = [v for v, each in zip(values, told, strict=True) if each is UNCOVERED]
    assert sorted(found.uncovered) == uncovered


def test_pixels_of_values_that_no_rule_covers_are_counted_the_most_frequent_first() -> None:
    values = np.array([[7, 9, 9], [0, 1, 65535]], np.uint16)
    found = ids_of_values(parse_rules(["a", "b"], "classes"), values)
    assert found.ids.tolist() == [[255, 255, 255], [0, 1, 255]]
    assert list(found.uncovered.items()) == [(9, 2), (7, 1), (65535, 1)]


@pytest.mark.parametrize("seed", range(5))
def test_colours_become_classes_as_a_pixel_by_pixel_search_finds_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    colors = rng.permutation(4096)[:9].tolist()
    tables = [unpack(c) for c in colors]
    rules = parse_rules(
        {
            "classes": [
                {"name": "a", "colors": tables[0:3]},
                {"name": "b", "colors": tables[3:4]},
                {"name": "c", "colors": tables[4:6]},
            ],
            "ignore": {"colors": tables[6:7]},
        },
        "classes",
    )
    pixels = np.array(tables, np.uint8)[rng.integers(0, 9, (20, 30))]
    found = ids_of_colors(rules, packed(*np.moveaxis(pixels, -1, 0)))
    class_of = dict(zip(tables, [0, 0, 0, 1, 2, 2, 255, None, None], strict=True))
    told = [class_of[(r, g, b)] for r, g, b in pixels.reshape(-1, 3).tolist()]
    assert found.ids.ravel().tolist() == [255 if each is None else each for each in told]
    assert sum(found.uncovered.values()) == told.count(None)
    assert set(found.uncovered) <= set(tables[7:])


def test_many_colours_are_counted_without_end_but_not_kept() -> None:
    rules = parse_rules([{"name": n, "colors": [[i, 0, 0]]} for i, n in enumerate("ab")], "x")
    found = ids_of_colors(rules, np.arange(100_000, dtype=np.uint32).reshape(100, -1) + 2**20)
    assert len(found.uncovered) == MAX_KEPT and (found.ids == 255).all()


def test_rules_of_positions_leave_class_ids_as_they_are() -> None:
    rules = ClassRules.of_positions(parse_rules(["a", "b", "c"], "x").classes)
    ids = np.array([[0, 1, 2, 255]], np.uint8)
    assert ids_of_values(rules, ids).ids.tolist() == ids.tolist()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (30, 40)])
def test_values_are_counted_whether_they_lie_in_runs_or_not(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 300, shape).astype(np.uint16)
    for values in (noise, np.sort(noise, axis=None).reshape(shape), np.zeros(shape, np.uint8)):
        counts = np.bincount(values.ravel(), minlength=7)
        assert np.array_equal(count_values(values, 7), counts)


def test_rules_of_other_values_are_not_mixed_up_where_the_number_of_classes_is_the_same() -> None:
    values = np.array([[0, 1, 5]], np.uint8)
    by_id = [{"name": "a", "ids": [5]}, {"name": "b", "ids": [0, 1]}]
    for content, ids in ((["a", "b"], [0, 1, 255]), (by_id, [1, 1, 0]), (["c", "d"], [0, 1, 255])):
        assert ids_of_values(parse_rules(content, "classes"), values).ids.tolist() == [ids]


def read_colors(classes: list[Any], *rows: list[Color], nearest: bool = False) -> ClassIds:
    """The class ids of rows of colours."""
    rules = parse_rules(classes, "classes")
    rules = rules.with_nearest_colors("classes") if nearest else rules
    channels = np.moveaxis(np.array(rows, np.uint8), -1, 0)
    return ids_of_colors(rules, packed(*channels))


def test_a_class_may_have_all_colours_that_no_class_names() -> None:
    ground, cell = {"name": "ground", "colors": [[0, 0, 9]]}, {"name": "cell", "colors": "others"}
    found = read_colors([ground, cell], [(0, 0, 9), (0, 0, 0), (7, 8, 9)])
    assert found.ids.tolist() == [[0, 1, 1]] and not found.uncovered
    with pytest.raises(UserError, match="colours others is claimed by class a and by class cell"):
        parse_rules([{"name": "a", "colors": "others"}, cell], "classes")


def test_colours_that_no_class_names_are_of_the_nearest_where_that_is_asked_for() -> None:
    classes = [{"name": "a", "colors": [[0, 0, 0]]}, {"name": "b", "colors": [[200, 0, 0]]}]
    row = [(0, 0, 0)] * 50 + [(90, 0, 0), (110, 5, 0)] + [(200, 0, 0)] * 48
    assert read_colors(classes, row).uncovered == {(90, 0, 0): 1, (110, 5, 0): 1}
    found = read_colors(classes, row, nearest=True)
    assert found.ids[0, 49:53].tolist() == [0, 0, 1, 1] and not found.uncovered
    assert found.nearest == {(90, 0, 0): 1, (110, 5, 0): 1}


def test_a_flat_area_far_from_all_colours_is_of_none_of_them() -> None:
    classes = [{"name": "a", "colors": [[0, 0, 0]]}, {"name": "b", "colors": [[200, 0, 0]]}]
    row = [(0, 0, 0)] * 50 + [(0, 200, 0)] * 20 + [(190, 0, 0)] * 20
    found = read_colors(classes, row, nearest=True)
    assert found.uncovered == {(0, 200, 0): 20} and found.nearest == {(190, 0, 0): 20}


def test_nearest_colours_need_classes_of_colours() -> None:
    with pytest.raises(UserError, match="classes: nearest_colors is for masks whose classes have"):
        parse_rules(["a", "b"], "classes").with_nearest_colors("classes")
