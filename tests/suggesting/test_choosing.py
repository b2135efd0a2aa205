"""Claims about factory.suggesting.choosing: what is far and uncertain is chosen, nothing twice."""

import numpy as np

from factory.suggesting.choosing import choose

NAMES = [f"{letter}.png" for letter in "edcba"]
NONE = np.zeros((0, 1))


def chosen(uncertainties, features, known, num=3, weight=0.5) -> list[str]:
    features = np.array(features, float)[:, None]
    known = np.array(known, float).reshape(-1, 1)
    found = choose(np.array(uncertainties, float), features, known, NAMES, num, weight)
    return [NAMES[each.number][0] for each in found]


def test_without_uncertainty_each_choice_is_the_farthest_of_all_that_are_known() -> None:
    assert chosen([1, 1, 1, 1, 1], [0, 1, 5, 9, 10], [0], weight=0) == ["a", "c", "b"]


def test_with_uncertainty_alone_the_members_disagreement_decides_and_names_of_equal_ones() -> None:
    assert chosen([1, 3, 3, 2, 1], [0, 1, 5, 9, 10], [0], 5, weight=1) == ["c", "d", "b", "a", "e"]


def test_of_images_that_are_alike_one_is_chosen_and_a_known_one_never() -> None:
    assert chosen([9, 9, 9, 1, 9], [7, 7, 7, 4, 0], [0], num=2) == ["c", "b"]


def test_without_known_images_the_most_uncertain_one_comes_first() -> None:
    found = choose(np.array([1.0, 2, 1, 1, 1]), np.eye(5)[:, :1], NONE, NAMES, 2, 0.5)
    assert [NAMES[each.number] for each in found] == ["d.png", "e.png"]
    assert found[0].nearest is None and found[1].nearest == 1


def test_units_of_features_and_of_uncertainty_do_not_matter() -> None:
    random = np.random.default_rng(0)
    uncertainties, features, known = random.random(5), random.random((5, 3)), random.random((2, 3))
    units = np.array([1, 1e3, 1e-3])
    one = choose(uncertainties, features, known, NAMES, 4, 0.5)
    other = choose(uncertainties * 7, features * units, known * units, NAMES, 4, 0.5)
    assert [each.number for each in one] == [each.number for each in other]


def test_images_that_are_all_alike_and_certain_are_chosen_by_their_names() -> None:
    assert chosen([0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [1]) == ["a", "b", "c"]
