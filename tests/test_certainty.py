"""Claims about factory.certainty."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest

from factory.calibration import Calibration
from factory.certainty import Certainty, certainty_of
from factory.certainty_picture import picture

CALIBRATION = Calibration(intercept=1.0, slope=-1.0, error=0.0, wrong_above=None, num_images=10)


def drawn(num: int = 100, calibration: Calibration | None = CALIBRATION) -> Certainty:
    uncertainties = np.random.default_rng(0).uniform(0, 1, num)
    return Certainty(tuple(uncertainties), tuple(0.9 - uncertainties * 0.9), calibration)


def test_tenths_of_the_images_tell_expected_and_measured_iou_least_certain_first() -> None:
    parts = drawn().reliability()
    assert [part.num for part in parts] == [10] * 10
    assert [part.expected for part in parts] == sorted(part.expected for part in parts)
    assert all(part.measured == pytest.approx(0.9 * part.expected) for part in parts)


def test_nothing_is_expected_without_a_calibration() -> None:
    assert drawn(calibration=None).reliability() == []
    assert len(drawn(calibration=None).lines()) == 1 < len(drawn().lines())


def test_the_most_certain_are_kept() -> None:
    kept = drawn().coverage()
    ious = sorted(drawn().ious, reverse=True)
    assert [each.share for each in kept] == [i / 10 for i in range(10, 0, -1)]
    for each in kept:
        assert each.iou == pytest.approx(np.mean(ious[: round(100 * each.share)]))


def test_few_images_are_parts_of_their_own() -> None:
    assert [part.num for part in drawn(3).reliability()] == [1, 1, 1]
    assert drawn(3).coverage()[-1].iou == max(drawn(3).ious)


def test_images_whose_iou_is_not_known_do_not_count() -> None:
    found = certainty_of([0.1, 0.2, 0.3], [0.5, math.nan, 0.7], None)
    assert found == Certainty((0.1, 0.3), (0.5, 0.7))
    assert certainty_of([0.1], [math.nan], None) is None


def test_json_has_both_curves() -> None:
    told = drawn().as_json()
    assert len(told["reliability"]) == len(told["coverage"]) == 10


@pytest.mark.parametrize(("calibration", "panels"), [(CALIBRATION, 2), (None, 1)])
def test_the_picture_has_a_panel_a_curve_within_its_bounds(calibration, panels: int) -> None:
    svg = ElementTree.fromstring(picture(drawn(calibration=calibration), in_page=False))
    space = "{http://www.w3.org/2000/svg}"
    assert svg.tag == f"{space}svg"
    assert len(svg.findall(f"{space}g")) == panels
    dots = list(svg.iter(f"{space}circle"))
    assert len(dots) == 10 * panels
    assert all(0 <= float(dot.get("cx", "")) <= 280 for dot in dots)
    assert all(0 <= float(dot.get("cy", "")) <= 220 for dot in dots)


def test_a_picture_of_one_image_whose_iou_is_1_is_drawn() -> None:
    assert "100%: 1.000" in picture(Certainty((0.0,), (1.0,)), in_page=True)
