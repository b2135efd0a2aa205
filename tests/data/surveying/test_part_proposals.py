"""Claims about classes by the names of parts."""

import pytest

from factory.data.surveying.part_proposals import propose


@pytest.mark.parametrize(
    ("parts", "classes"),
    [
        ([["hair", "left_eye"]] * 2, {"hair": ["hair"], "left_eye": ["left_eye"]}),
        ([["eye_1", "eye_2", "nose"], ["eye_1"], ["nose"]], {"eye": ["eye_*"], "nose": ["nose"]}),
        ([["eye", "eye-2"]] * 2, {"eye": ["eye", "eye-*"]}),
        ([["cell1", "cell12"]] * 2, {"cell": ["cell*"]}),
        ([["1", "2"], ["1"]], {"class_1": ["*"]}),
        ([["a3f", "b07c"], ["9d1", "77e"], ["c2a"]], {"class_1": ["*"]}),
        ([["", "_1"], [""]], {"class_1": ["*"]}),
        (
            [["m04h_2f", "m01g_7a"], ["m04h_9c"], ["m01g_b0"]],
            {"m01g": ["m01g_*"], "m04h": ["m04h_*"]},
        ),
        ([["hair", "nose"]], {"hair": ["hair"], "nose": ["nose"]}),
    ],
)
def test_parts_that_are_alike_but_for_numbers_or_more_words_are_objects_of_one_class(
    parts: list[list[str]], classes: dict[str, list[str]]
) -> None:
    background, *found = propose(parts)
    assert background == "background"
    assert found == [{"name": name, "parts": own} for name, own in classes.items()]
