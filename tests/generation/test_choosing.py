"""Claims about factory.generation.choosing: which draws become samples, without a network."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from factory.errors import CannotChoose
from factory.generation.choosing import Choosing
from factory.shards.choice import Choice
from factory.shards.plan import Plan
from factory.shards.receipts import Drawn
from factory.shards.schema import Sample

NUM = 6


def draw(number: int, uncertainty: float = 0.1, shows: int = 0, **fields: Any) -> Sample:
    """The draw of this number, which is its seed."""
    mask = np.full((2, 2), shows, np.uint8)
    image = np.zeros((2, 2, 3), np.uint8)
    if "nearest_training_distance" in fields:
        fields["nearest_training_image"] = 0
    return Sample("k", image, mask, number, uncertainty, "abc", **fields)


def choosing(max_draws: int = 10, **choice: Any) -> Choosing:
    plan = Plan(
        num=3 * NUM,
        samples_per_shard=NUM,
        format="parquet",
        class_names=("skin", "hat"),
        palette=((0, 0, 0), (1, 1, 1)),
        recipe={"choice": choice},
    )
    made = plan.choice
    assert made is not None and made == Choice.model_validate(choice)
    return Choosing(plan.shard(1), made, max_draws)


def chosen(made: Choosing, draws: Iterable[Sample | None], batch: int = 4) -> list[int]:
    """The numbers of the draws that become samples, in order of their keys."""
    rest = list(draws)
    while not made.is_complete:
        few, rest = rest[:batch], rest[batch:]
        made.take(few)
    samples = made.chosen()
    assert [sample.key for sample in samples] == [f"{i:09d}" for i in range(NUM, 2 * NUM)]
    return [sample.seed for sample in samples]


def test_a_near_copy_is_replaced_and_all_others_stay_where_they_are() -> None:
    distances = [1, 1, 0.3, 1, 0.2, 1, 0.4, 0.9, 1, 1, 1, 1]
    draws = [draw(i, nearest_training_distance=d) for i, d in enumerate(distances)]
    made = choosing(min_distance=0.5)
    assert chosen(made, draws) == [0, 1, 7, 3, 8, 5]
    assert made.drawn() == Drawn(drawn=9, near_copies=3)


def test_what_is_chosen_does_not_depend_on_the_batch() -> None:
    generator = np.random.default_rng(0)
    draws = [
        draw(i, float(u), int(u * 10) % 2, expected_iou=float(1 - u))
        for i, u in enumerate(generator.random(60))
    ]
    rules: dict[str, Any] = {"keep": 0.4, "at_least": {"hat": 9}, "min_expected_iou": 0.3}
    for some in (rules, *({name: value} for name, value in rules.items())):
        found = [choosing(**some) for _ in range(3)]
        results = [chosen(each, draws, size) for each, size in zip(found, (1, 4, 7), strict=True)]
        assert results[0] == results[1] == results[2]
        assert found[0].drawn() == found[1].drawn() == found[2].drawn()


def test_the_most_certain_share_is_kept() -> None:
    uncertainties = [0.5, 0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.05, 0.95, 0.65]
    made = choosing(keep=0.5)
    draws = [draw(i, u) for i, u in enumerate(uncertainties)]
    assert sorted(chosen(made, draws)) == [0, 1, 3, 5, 7, 9]
    assert made.drawn() == Drawn(drawn=12, not_chosen=6)


def test_the_most_certain_are_those_of_the_largest_expected_iou_where_votes_tell_it() -> None:
    ious = [0.5, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4, 0.95, 0.05, 0.35]
    draws = [draw(i, iou, expected_iou=iou) for i, iou in enumerate(ious)]
    made = choosing(keep=0.5)
    assert sorted(chosen(by_votes(made), draws)) == [0, 1, 3, 5, 7, 9]
    assert sorted(chosen(made, draws)) == [2, 4, 6, 8, 10, 11]


def by_votes(made: Choosing) -> Choosing:
    """The same for an ensemble whose votes tell the expected IoU."""
    lines = {"slope": 1, "intercepts": [0, 0], "error": 0}
    line = {"intercept": 0, "slope": 1, "error": 0, "wrong_above": None, "num_images": 9}
    recipe = {**made.spec.plan.recipe, "calibration": {**line, "classes": lines}}
    plan = made.spec.plan.model_copy(update={"recipe": recipe})
    return Choosing(plan.shard(1), made.choice, 10)


def test_of_equal_expected_ious_the_less_uncertain_are_kept_and_then_the_first() -> None:
    uncertainties = [0.5, 0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4, 0.6, 0.05, 0.95, 0.65]
    draws = [draw(i, u, expected_iou=0.4) for i, u in enumerate(uncertainties)]
    assert sorted(chosen(by_votes(choosing(keep=0.5)), draws)) == [0, 1, 3, 5, 7, 9]
    alike = [draw(i, 0.3, expected_iou=0.4) for i in range(12)]
    assert sorted(chosen(by_votes(choosing(keep=0.5)), alike)) == [0, 1, 2, 3, 4, 5]


def test_draws_that_are_not_finite_or_uncertain_are_counted_and_replaced() -> None:
    draws = [
        None if i == 1 else draw(i, expected_iou=0.2 if i in (0, 4) else 0.8) for i in range(12)
    ]
    made = choosing(min_expected_iou=0.5)
    assert chosen(made, draws) == [6, 7, 2, 3, 8, 5]
    assert made.drawn() == Drawn(drawn=9, not_finite=1, uncertain=2)


@pytest.mark.parametrize("keep", [None, 0.5])
def test_a_quota_is_met_by_the_first_that_show_the_class(keep: float | None) -> None:
    made = choosing(at_least={"hat": 9}, **dict[str, Any]({} if keep is None else {"keep": keep}))
    assert made.quotas == {"hat": 3}
    draws = [draw(i, 0.1 + i / 100, int(i in (5, 14, 15, 16))) for i in range(30)]
    found = chosen(made, draws)
    assert sorted(found) == [0, 1, 2, 5, 14, 15]
    told = made.drawn()
    assert (told.drawn, told.not_chosen, told.showing) == (16, 10, {"hat": 3})


def test_few_candidates_stay_in_memory() -> None:
    made = choosing(max_draws=1000, keep=0.01, at_least={"hat": 6})
    for first in range(0, 600, 20):
        made.take([draw(i, (i * 37 % 101) / 100, i % 2) for i in range(first, first + 20)])
        assert len(made._candidates) <= NUM + 2
    assert made.is_complete


def test_a_quota_that_cannot_be_met_says_what_was_found_and_what_to_change() -> None:
    made = choosing(max_draws=3, at_least={"hat": 9})
    with pytest.raises(CannotChoose) as refused:
        chosen(made, [draw(i, shows=int(i == 4)) for i in range(40)])
    message = str(refused.value)
    assert message.startswith("of 18 draws 18 are fit, of 6 that are needed; 1 show hat, of 3")
    assert "Raise generate.max_draws" in message and "--set generate.max_draws=30" in message
    assert "generate.select.at_least" in message


def test_other_rules_that_cannot_be_met_name_their_settings() -> None:
    near = [draw(i, nearest_training_distance=0.1) for i in range(40)]
    with pytest.raises(CannotChoose, match=r"24 are nearer.*lower generate\.min_training_distance"):
        chosen(choosing(max_draws=4, min_distance=0.5), near)
    with pytest.raises(CannotChoose, match=r"12 are not finite\. The model's weights are broken"):
        chosen(choosing(max_draws=2, keep=0.6), [None] * 40)


def test_draws_that_raising_does_not_help_any_more_are_not_asked_for() -> None:
    made = choosing(max_draws=1000, at_least={"hat": 9})
    with pytest.raises(CannotChoose) as refused:
        chosen(made, [draw(i) for i in range(6000)], batch=600)
    assert "max_draws" not in str(refused.value)
    assert "Ask for less of hat in generate.select.at_least" in str(refused.value)
