"""Claims about factory.calibration."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from factory.calibration import NOT_THERE, Calibration, ClassLines, fit_calibration
from factory.scores import Score

PIXELS = np.array([0.1]), np.array([True])
CLASSES = 4


def line(intercept: float = 0.9, slope: float = -2.0) -> Calibration:
    """As older versions learned it: over the uncertainty."""
    return Calibration(intercept=intercept, slope=slope, error=0.0, wrong_above=None, num_images=10)


def by_votes(intercept: float = 0.1, slope: float = 0.8) -> Calibration:
    lines = ClassLines(slope=1.5, intercepts=(-0.5, -0.25, 0.0, 0.0), error=0.0)
    return line(0, 0).model_copy(update={"intercept": intercept, "slope": slope, "classes": lines})


def overlap(hits: list[int], truth: list[int], predicted: list[int]) -> np.ndarray:
    return np.array([hits, truth, predicted])


def drawn(num: int = 40, noise: float = 0.02) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Overlaps of images, and IoUs that follow from those by lines; class 3 is rare."""
    rng = np.random.default_rng(0)
    overlaps, ious = [], []
    for i in range(num):
        predicted = np.array([1000, 200, 50, 20 * (i % 10 == 0)])
        hits = (predicted * rng.uniform(0.6, 0.9, CLASSES)).astype(int)
        overlaps.append(np.array([hits, predicted, predicted]))
        own = Score(*overlaps[-1]).iou
        true = np.array([0.3, 0.1, 0.0, -0.2]) + 0.7 * own + rng.normal(0, noise, CLASSES)
        ious.append(np.where(predicted > 0, true.clip(0, 1), np.nan))
    return overlaps, ious


def test_each_class_has_its_own_line_and_all_are_parallel() -> None:
    found = fit_calibration(*drawn(200, 0.0), *PIXELS).classes
    assert found is not None
    assert found.slope == pytest.approx(0.7, abs=0.01)
    assert found.intercepts[:3] == pytest.approx([0.3, 0.1, 0.0], abs=0.02)


def test_a_rare_class_stands_nearer_to_all_others_and_an_unseen_one_among_them() -> None:
    overlaps, ious = drawn(10, 0.0)
    found = fit_calibration(overlaps, ious, *PIXELS).classes
    assert found is not None
    assert found.intercepts[3] > -0.2 + 0.05, "one image tells little"
    unseen = [each.copy() for each in overlaps]
    for each in unseen:
        each[:, 3] = 0
    others = [np.where(np.arange(CLASSES) == 3, np.nan, each) for each in ious]
    without = fit_calibration(unseen, others, *PIXELS).classes
    assert without is not None
    assert min(without.intercepts[:3]) < without.intercepts[3] < max(without.intercepts[:3])


def test_what_is_expected_of_images_like_those_it_learned_from_is_their_iou() -> None:
    overlaps, ious = drawn(200)
    found = fit_calibration(overlaps, ious, *PIXELS)
    expected = [found.expected(0.0, each) for each in overlaps]
    true = [float(np.nanmean(each)) for each in ious]
    assert [each.iou for each in expected] == pytest.approx(true, abs=0.06)
    assert np.mean([each.iou for each in expected]) == pytest.approx(np.mean(true), abs=1e-3)
    assert found.num_images == 200


def test_the_errors_are_those_of_lines_fitted_without_the_image() -> None:
    overlaps, ious = drawn(12, 0.1)
    found = fit_calibration(overlaps, ious, *PIXELS)
    of_images, of_classes = [], []
    for i in range(12):
        others = [j for j in range(12) if j != i]
        parts = [overlaps[j] for j in others], [ious[j] for j in others]
        expected = fit_calibration(*parts, *PIXELS).expected(0.0, overlaps[i])
        of_images.append(abs(expected.iou - np.nanmean(ious[i])))
        there = ~np.isnan(ious[i])
        of_classes += abs(np.array(expected.class_ious) - ious[i])[there].tolist()
    assert found.error == pytest.approx(np.mean(of_images), abs=1e-5)
    assert found.classes is not None
    assert found.classes.error == pytest.approx(np.mean(of_classes), abs=1e-5)


def test_where_votes_tell_nothing_the_mean_is_expected_of_all() -> None:
    same = overlap([50, 50, 0, 0], [100, 100, 0, 0], [50, 50, 0, 0])
    ious = [np.array([iou, iou, np.nan, np.nan]) for iou in (0.5, 0.6, 0.7, 0.8)]
    found = fit_calibration([same] * 4, ious, *PIXELS)
    assert found.classes is not None and found.classes.slope == found.slope == 0
    assert found.expected(0.0, same).iou == pytest.approx(0.65)


def test_a_class_that_the_mask_lacks_has_no_iou_and_does_not_count() -> None:
    found = by_votes(0.0, 1.0).expected(0.0, overlap([80, 0, 0, 9], [90, 5, 0, 9], [90, 0, 0, 9]))
    assert found.class_ious == pytest.approx([1.5 * 0.8 - 0.5, NOT_THERE, NOT_THERE, 1.0])
    assert found.iou == pytest.approx((0.7 + 1.0) / 2)


def test_the_expected_iou_of_a_mask_follows_from_that_of_its_classes() -> None:
    for each in drawn()[0]:
        found = by_votes().expected(0.3, each)
        assert found.class_ious == tuple(np.array(found.class_ious, np.float32).tolist())
        assert found.iou == by_votes().iou_of_classes(found.class_ious)
        assert 0 <= found.iou <= 1


def test_the_unit_of_overlaps_makes_no_difference() -> None:
    for each in drawn()[0]:
        assert by_votes().expected(0.0, each) == by_votes().expected(0.0, each * 2**20)


def test_a_line_over_uncertainty_tells_nothing_of_classes() -> None:
    found = line().expected(0.2, drawn(1)[0][0])
    assert found.iou == pytest.approx(0.5) and found.class_ious == ()


def test_expected_iou_lies_between_0_and_1_and_falls_with_uncertainty() -> None:
    expected = [line(1.1).iou_of_uncertainty(u) for u in np.linspace(0, 1, 50)]
    assert expected[0] == 1.0 and expected[-1] == 0.0
    assert expected == sorted(expected, reverse=True)


@pytest.mark.parametrize("wanted", [0.2, 0.5, 0.89, 1.0])
def test_the_largest_uncertainty_parts_those_that_reach_an_iou_from_others(wanted: float) -> None:
    old, limit = line(1.1), line(1.1).largest_uncertainty(wanted)
    assert old.iou_of_uncertainty(limit - 1e-9) >= wanted > old.iou_of_uncertainty(limit + 1e-6)


def test_a_flat_line_over_uncertainty_keeps_all_or_none() -> None:
    assert line(0.65, 0.0).largest_uncertainty(0.6) == math.inf
    assert line(0.65, 0.0).largest_uncertainty(0.7) < 0


def bound_of(uncertainties: np.ndarray, are_right: np.ndarray) -> float | None:
    return fit_calibration(*drawn(10), uncertainties, are_right).wrong_above


def test_pixels_beyond_the_bound_are_wrong_more_often_than_right() -> None:
    rng = np.random.default_rng(2)
    uncertainties = rng.uniform(0, 1, 20_000).astype(np.float32)
    are_right = rng.uniform(0, 1, 20_000) > uncertainties * 0.8
    bound = bound_of(uncertainties, are_right)
    assert bound is not None and bound == pytest.approx(0.625, abs=0.05)
    assert are_right[uncertainties > bound].mean() < 0.5 < are_right[uncertainties <= bound].mean()


@pytest.mark.parametrize(("are_right", "bound"), [([True, True, True], None), ([False] * 3, 0.0)])
def test_there_is_no_bound_where_all_are_right_and_none_is_kept_where_all_are_wrong(
    are_right, bound
) -> None:
    assert bound_of(np.array([0.1, 0.2, 0.3]), np.array(are_right)) == bound


def test_a_line_by_which_worse_masks_have_more_to_expect_is_refused() -> None:
    with pytest.raises(ValidationError, match="worse masks"):
        line(slope=0.1)
    with pytest.raises(ValidationError, match="worse masks"):
        Calibration.model_validate({**by_votes().model_dump(), "slope": -0.1})


def test_what_older_versions_learned_is_told_as_they_told_it() -> None:
    keys = ["intercept", "slope", "error", "wrong_above", "num_images"]
    assert list(line().model_dump()) == keys
    assert list(by_votes().model_dump()) == [*keys, "classes"]
    assert Calibration.model_validate_json(by_votes().model_dump_json()) == by_votes()
