"""Claims about masks whose values nobody has explained: what they are taken to mean."""

from collections.abc import Sequence
from typing import Any

import pytest

from factory.data.classes.class_lookup import Value
from factory.data.surveying.class_proposals import propose
from factory.data.surveying.mask_sampling import MaskSample
from factory.data.surveying.proposal import Proposal

BACKGROUND, ABOVE_0 = "background", {"name": "class_1", "above": 0}


def sample(*files: Sequence[Value], **more: Any) -> MaskSample:
    """Masks of these values, of 100 pixels each."""
    return MaskSample([dict.fromkeys(file, 100) for file in files], len(files), **more)


def ids_of(found: Proposal) -> list[Any]:
    """The ids of each class."""
    return [entry["ids"] for entry in found.classes if not isinstance(entry, str)]


@pytest.mark.parametrize(
    ("files", "classes", "ignore"),
    [
        ([[0, 1], [0, 1]], [BACKGROUND, "class_1"], {}),
        ([[0, 1, 2], [0, 2]], [BACKGROUND, "class_1", "class_2"], {}),
        ([[0, 1, 255]], [BACKGROUND, "class_1"], {}),
        ([[0, 255], [0, 255]], [BACKGROUND, ABOVE_0], {}),
        ([[0, 255], [0, 1]], [BACKGROUND, ABOVE_0], {}),
        (
            [[0, 127, 254]],
            [
                {"name": BACKGROUND, "ids": [0]},
                {"name": "class_1", "ids": [127]},
                {"name": "class_2", "ids": [254]},
            ],
            {},
        ),
        (
            [[1, 2, 3]],
            [{"name": f"class_{i}", "ids": [i]} for i in (1, 2, 3)],
            {},
        ),
        ([list(range(90))], [BACKGROUND, ABOVE_0], {}),
        ([[0, 1, 700]], [BACKGROUND, ABOVE_0], {}),
        ([range(9), range(4), range(7)], [BACKGROUND, ABOVE_0], {}),
        ([range(4), range(4)], [BACKGROUND, "class_1", "class_2", "class_3"], {}),
        ([[1, 700]], [{"name": "class_1", "ids": [1]}, {"name": "class_2", "ids": [700]}], {}),
        (
            [[(0, 0, 0), (200, 0, 0)], [(200, 0, 0), (224, 224, 192)]],
            [
                {"name": BACKGROUND, "colors": [[0, 0, 0]]},
                {"name": "class_1", "colors": [[200, 0, 0]]},
            ],
            {"colors": [[224, 224, 192]]},
        ),
    ],
)
def test_values_are_taken_for_the_likeliest_classes(
    files: list[list[Value]], classes: list[Any], ignore: dict[str, Any]
) -> None:
    found = propose(sample(*files))
    assert found is not None
    assert (list(found.classes), found.ignore) == (classes, ignore)


def test_names_are_used_where_they_are_as_many_as_the_classes() -> None:
    found = propose(sample([0, 255]), ["ground", "polyp"])
    assert found is not None and found.classes == ("ground", {"name": "polyp", "above": 0})
    assert not found.doubts


def test_a_value_more_than_names_is_0_that_is_not_labelled() -> None:
    found = propose(sample([0, 1, 2]), ["disc", "bar"])
    assert found is not None and found.ignore == {"ids": [0]}
    assert found.classes == ({"name": "disc", "ids": [1]}, {"name": "bar", "ids": [2]})
    assert "0 is of no class" in found.doubts[0]
    assert "`classes: [{name: background}, {name: disc}, {name: bar}]`" in found.doubts[0]


def test_ids_begin_with_1_where_the_last_is_as_many_as_the_names() -> None:
    found = propose(sample([0, 1, 3]), ["ground", "disc", "bar"])
    assert found is not None and found.ignore == {"ids": [0]}
    assert found.classes == tuple(
        {"name": name, "ids": [i]} for i, name in enumerate(("ground", "disc", "bar"), 1)
    )


def test_0_of_several_classes_is_asked_about_with_the_lines_that_ignore_it() -> None:
    found = propose(sample([0, 1, 2]))
    assert found is not None and found.ignore == {}
    assert "`classes: [{name: class_1, ids: [1]}, {name: class_2, ids: [2]}]`" in found.doubts[0]
    assert "`ignore: {ids: [0]}`" in found.doubts[0]


@pytest.mark.parametrize("files", [[range(9), range(9)], [[0, 3, 7, 9]], [[0, 1, 700]]])
def test_many_values_of_two_classes_are_objects_of_the_second(files: list[Sequence[Value]]) -> None:
    found = propose(sample(*files), ["ground", "cell"])
    assert found is not None and found.classes == ("ground", {"name": "cell", "above": 0})
    assert found.doubts[0] == "whether all values but 0 are objects of one class"
    assert "of another class" in found.doubts[1]


@pytest.mark.parametrize("values", [range(10, 80, 10), range(27000, 34000, 1000)])
def test_numbers_in_steps_that_each_mask_begins_anew_are_objects(values: range) -> None:
    found = propose(sample([0, *values], [0, *values[:3]], [0]))
    assert found is not None and found.classes == (BACKGROUND, ABOVE_0)


def test_few_numbers_that_each_mask_begins_anew_may_be_objects() -> None:
    found = propose(sample([0, 1, 2, 3], [0, 1]))
    assert found is not None and found.classes == (BACKGROUND, "class_1", "class_2", "class_3")
    assert any("number the objects of one, write `classes: [" in doubt for doubt in found.doubts)


CITYSCAPES = [[0, 7, 24, 24000, 24001, 26000], [0, 26000, 26002]]
KITTI = [[0, 7 * 256, 8 * 256, 26 * 256 + 1, 26 * 256 + 2], [7 * 256, 26 * 256 + 1]]


@pytest.mark.parametrize(
    ("files", "ids", "keys"),
    [
        (CITYSCAPES, [0, 7, 24, 26], {"ids_divided_by": 1000, "smaller_ids": "classes"}),
        ([[0, 24001, 24002, 26001], [0, 26001]], [0, 24, 26], {"ids_divided_by": 1000}),
        (KITTI, [0, 7, 8, 26], {"ids_divided_by": 256}),
        ([[0, 1, 2, 257, 258, 512, 65280]], [0, 1, 2],
         {"ids_divided_by": 256, "smaller_ids": "objects"}),
    ],
)  # fmt: skip
def test_values_that_tell_a_class_and_an_object_are_divided(
    files: list[list[Value]], ids: list[int], keys: dict[str, Any]
) -> None:
    found = propose(sample(*files))
    assert found is not None and found.keys.items() >= keys.items()
    assert ids_of(found) == [[i] for i in ids]
    assert "objects of one class, write" in found.doubts[0]


@pytest.mark.parametrize(
    "files",
    [
        [[0, 256, 512, 1024]],  # Levels.
        [[0, 300, 301, 40_000]],
        [[0, 1001, 1002]],  # Objects of one class.
        [[0, 7 * 256 + 90, 8 * 256 + 3]],
    ],
)
def test_other_values_of_16_bits_are_not_divided(files: list[list[Value]]) -> None:
    found = propose(sample(*files))
    assert found is not None and "ids_divided_by" not in found.keys


def test_numbers_above_16_bits_are_read_as_one_and_that_is_told() -> None:
    found = propose(sample([0, 65535], are_cut=True))
    assert found is not None and found.classes == (BACKGROUND, ABOVE_0)
    assert "above 65535" in found.doubts[0]
    found = propose(sample([0, 65535]))
    assert found is not None and found.classes == (BACKGROUND, ABOVE_0) and not found.doubts


def test_few_values_far_apart_in_16_bits_are_classes_and_many_are_objects() -> None:
    found = propose(sample([0, 32767, 65535], [0, 65535]))
    assert found is not None
    assert ids_of(found) == [[0], [32767], [65535]]
    found = propose(sample([0, 300, 301, 40_000]))
    assert found is not None and found.classes == (BACKGROUND, ABOVE_0)


def test_ids_in_files_that_store_white_as_0_count_down_from_255() -> None:
    found = propose(sample([255, 254, 253], is_inverted=True))
    assert found is not None and not found.ignore
    assert ids_of(found) == [[255], [254], [253]]


@pytest.mark.parametrize(
    ("values", "blurred", "above"),
    [([0, 255], False, 0), ([0, 1, 255], False, 0), ([0, 3, 250, 255], True, 127)],
)
def test_white_around_black_is_the_background(values: list[int], blurred: bool, above: int) -> None:
    files = [[0, value] for value in values[1:]] if not blurred else [values]
    found = propose(sample(*files, is_blurred=blurred, is_bright_around=True))
    assert found is not None
    assert found.classes == ({"name": BACKGROUND, "above": above}, "class_1")
    white = f"`classes: [{{name: background}}, {{name: class_1, above: {above}}}]`"
    assert white in found.doubts[-1]


def test_1_around_0_is_the_background_and_asked_about() -> None:
    found = propose(sample([0, 1], is_bright_around=True))
    assert found is not None
    assert ids_of(found) == [[1], [0]]
    assert "[{name: background, ids: [0]}, {name: class_1, ids: [1]}]" in found.doubts[0]


def test_names_of_another_number_are_not_dealt_out() -> None:
    found = propose(sample([0, 1, 2]), ["a", "b", "c", "d"])
    assert found is not None and found.classes == (BACKGROUND, "class_1", "class_2")
    assert "4 names" in found.doubts[-1]


def test_smoothed_edges_are_told_from_objects() -> None:
    pixels: dict[Value, int] = {0: 5000, 255: 4000, **dict.fromkeys(range(10, 250, 5), 3)}
    found = propose(MaskSample([pixels], 1))
    assert found is not None
    assert found.classes == (BACKGROUND, {"name": "class_1", "above": 127})
    assert "smoothed" in found.doubts[0]


def test_blurred_masks_are_two_classes_at_the_half() -> None:
    found = propose(sample([0, 3, 250, 255], is_blurred=True))
    assert found is not None and found.classes == (BACKGROUND, {"name": "class_1", "above": 127})


def blurred(*levels: int) -> MaskSample:
    """Masks of these levels, as compression leaves them, and of few pixels of all others."""
    around = {level + i: 1000 // (1 + i * i) for level in levels for i in range(-5, 6)}
    smooth = dict.fromkeys(range(max(levels)), 2)
    return MaskSample(
        [{v: n for v, n in {**smooth, **around}.items() if v >= 0}], 1, is_blurred=True
    )


@pytest.mark.parametrize(
    ("levels", "steps"),
    [((0, 254), [127]), ((0, 127, 254), [63, 190]), ((0, 85, 170, 250), [42, 127, 210])],
)
def test_blurred_masks_of_several_levels_are_as_many_classes(
    levels: tuple[int, ...], steps: list[int]
) -> None:
    found = propose(blurred(*levels))
    assert found is not None and [entry["above"] for entry in found.classes[1:]] == steps  # type: ignore[index]
    told = "each of the levels 0, 127, 254 a class" in found.doubts[0]
    assert told == (levels == (0, 127, 254))


def test_the_half_is_that_of_the_brightest_grey() -> None:
    found = propose(sample([0, 90, 100], is_blurred=True))
    assert found is not None and found.classes[1] == {"name": "class_1", "above": 50}


def test_ids_that_compression_has_blurred_are_no_classes() -> None:
    assert propose(blurred(0, 1, 2)) is None


@pytest.mark.parametrize(
    "files",
    [[[0]], [[7]], [range(1, 90)], [[(0, 0, 0)]], [[(i, i, 0) for i in range(90)]]],
)
def test_what_has_no_two_classes_is_not_explained(files: list[list[Value]]) -> None:
    assert propose(sample(*files)) is None


def test_negative_values_are_proposed_to_be_ignored() -> None:
    found = propose(sample([-1, 0, 1], [0, 2]))
    assert found is not None and found.classes == ("background", "class_1", "class_2")
    assert found.ignore == {"ids": [-1]} and found.seen == "the values -1, 0, 1, 2"
    assert found.doubts[-1] == "whether -1 stands for not labelled"
    with_border = propose(sample([-1, 0, 1, 255], [0, 2]))
    assert with_border is not None and with_border.ignore == {"ids": [-1]}


@pytest.mark.parametrize(("brightest", "above"), [(0, 0.5), (1, 0.5), (255, 127.5)])
def test_of_fractions_one_class_is_above_the_half(brightest: int, above: float) -> None:
    found = propose(sample([*{0, brightest}], are_fractions=True), ["ground", "cell"])
    assert found is not None and found.classes == ("ground", {"name": "cell", "above": above})
