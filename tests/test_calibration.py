"""Claims about factory.calibration."""

import math

import numpy as np
import pytest
from pydantic import ValidationError

from factory.calibration import Calibration, fit_calibration

NO_PIXELS = np.array([0.1]), np.array([True])


def line(intercept: float = 0.9, slope: float = -2.0) -> Calibration:
    return Calibration(intercept=intercept, slope=slope, error=0.0, wrong_above=None, num_images=10)


def test_the_line_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    uncertainties = rng.uniform(0.1, 0.4, 40)
    ious = 0.9 - 1.5 * uncertainties + rng.normal(0, 0.05, 40)
    found = fit_calibration(uncertainties.tolist(), ious.tolist(), *NO_PIXELS)
    slope, intercept = np.polyfit(uncertainties, ious, 1)
    assert found.slope == pytest.approx(slope, abs=1e-6)
    assert found.intercept == pytest.approx(intercept, abs=1e-6)
    assert found.num_images == 40


def test_the_error_is_that_of_lines_fitted_without_the_image() -> None:
    rng = np.random.default_rng(1)
    uncertainties, ious = rng.uniform(0, 1, 12), rng.uniform(0, 1, 12)
    ious -= uncertainties
    found = fit_calibration(uncertainties.tolist(), ious.tolist(), *NO_PIXELS)
    errors = []
    for i in range(12):
        others = np.arange(12) != i
        expected = np.polyval(np.polyfit(uncertainties[others], ious[others], 1), uncertainties[i])
        errors.append(abs(expected - ious[i]))
    assert found.error == pytest.approx(np.mean(errors), abs=1e-6)


@pytest.mark.parametrize("uncertainties", [[0.1, 0.2, 0.3, 0.4], [0.2, 0.2, 0.2, 0.2]])
def test_where_uncertainty_tells_nothing_the_mean_is_expected_of_all(uncertainties) -> None:
    found = fit_calibration(uncertainties, [0.5, 0.6, 0.7, 0.8], *NO_PIXELS)
    assert found.slope == 0
    assert found.expected_iou(0.0) == found.expected_iou(3.0) == pytest.approx(0.65)
    assert found.largest_uncertainty(0.6) == math.inf
    assert found.largest_uncertainty(0.7) < 0


def test_expected_iou_lies_between_0_and_1_and_falls_with_uncertainty() -> None:
    expected = [line(1.1).expected_iou(u) for u in np.linspace(0, 1, 50)]
    assert expected[0] == 1.0 and expected[-1] == 0.0
    assert expected == sorted(expected, reverse=True)


@pytest.mark.parametrize("wanted", [0.2, 0.5, 0.89, 1.0])
def test_the_largest_uncertainty_parts_those_that_reach_an_iou_from_others(wanted: float) -> None:
    limit = line(1.1).largest_uncertainty(wanted)
    assert line(1.1).expected_iou(limit - 1e-9) >= wanted > line(1.1).expected_iou(limit + 1e-6)


def test_pixels_beyond_the_bound_are_wrong_more_often_than_right() -> None:
    rng = np.random.default_rng(2)
    uncertainties = rng.uniform(0, 1, 20_000).astype(np.float32)
    are_right = rng.uniform(0, 1, 20_000) > uncertainties * 0.8
    bound = fit_calibration([0.1], [0.5], uncertainties, are_right).wrong_above
    assert bound is not None and bound == pytest.approx(0.625, abs=0.05)
    assert are_right[uncertainties > bound].mean() < 0.5 < are_right[uncertainties <= bound].mean()


@pytest.mark.parametrize(("are_right", "bound"), [([True, True, True], None), ([False] * 3, 0.0)])
def test_there_is_no_bound_where_all_are_right_and_none_is_kept_where_all_are_wrong(
    are_right, bound
) -> None:
    found = fit_calibration([0.1], [0.5], np.array([0.1, 0.2, 0.3]), np.array(are_right))
    assert found.wrong_above == bound


def test_a_rising_line_is_refused() -> None:
    with pytest.raises(ValidationError):
        line(slope=0.1)
