"""Claims about the division of labelled images: deterministic, and what belongs together stays."""

import random

import pytest

from factory.new_config.splitting import split

NUMBERED = [f"img_{i:04d}.png" for i in range(50)]


def test_the_same_names_are_divided_the_same_way_in_any_order() -> None:
    shuffled = random.Random(1).sample(NUMBERED, len(NUMBERED))
    assert split(NUMBERED) == split(shuffled)


@pytest.mark.parametrize(("num", "num_test"), [(2, 1), (3, 1), (6, 1), (50, 10), (5000, 500)])
def test_a_fifth_is_measured_on_but_no_more_than_500(num: int, num_test: int) -> None:
    names = [f"{i}.png" for i in range(num)]
    found = split(names)
    assert found is not None and len(found.test) == num_test
    assert sorted((*found.labelled, *found.test)) == sorted(names)


def test_one_image_cannot_be_divided() -> None:
    assert split(["a.png"]) is None


@pytest.mark.parametrize("form", ["patient_{}_{}.png", "{}/slice_{}.png"])
def test_images_of_one_patient_are_on_one_side(form: str) -> None:
    names = [form.format(f"p{patient}x", i) for patient in range(8) for i in range(5)]
    found = split(names)
    assert found is not None and found.by
    groups = [{name[: name.rfind("x")] for name in part} for part in (found.labelled, found.test)]
    assert groups[0] and groups[1] and not groups[0] & groups[1]


def test_tiles_of_one_image_are_on_one_side() -> None:
    names = [f"{i:04x}a_{x}_{y}.png" for i in range(40) for x in (0, 64, 128) for y in (0, 64)]
    found = split(names)
    assert found is not None and len(found.test) == 48
    groups = [{name.partition("_")[0] for name in part} for part in (found.labelled, found.test)]
    assert not groups[0] & groups[1]


def test_a_group_that_is_nearly_all_is_learned_from() -> None:
    names = [f"a_{i}.png" for i in range(90)] + [f"{c}_{i}.png" for c in "bcdef" for i in range(2)]
    found = split(names)
    assert found is not None and len(found.test) <= 20
    assert {name[0] for name in found.test} <= set("bcdef")
