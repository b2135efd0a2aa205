"""Claims about factory.certainty."""

import math
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from factory.certainty import Certainty, Known, certainty_of
from factory.certainty_picture import picture
from factory.classes import Classes

CLASSES = Classes.named(("ground", "a <b>", "rare"))


def drawn(num: int = 100) -> Certainty:
    """Images of which more than their IoU is expected, the uncertain ones in any order."""
    rng = np.random.default_rng(0)
    return Certainty(
        [Known(float(rng.uniform()), 0.9 * iou, iou) for iou in rng.uniform(0, 1, num).tolist()]
    )


def by_uncertainty(num: int = 100) -> Certainty:
    """Images of which nothing is expected."""
    uncertainties = np.random.default_rng(0).uniform(0, 1, num).tolist()
    return Certainty([Known(each, 0.9 - each * 0.9) for each in uncertainties])


def of_classes() -> Certainty:
    """Images of two classes; the third has no IoU in any."""
    ious, nan = [(0.8, 0.5), (0.6, math.nan), (0.9, 0.0)], math.nan
    expected = [(0.7, 0.6, -1.0), (0.7, -1.0, -1.0), (1.0, -1.0, -1.0)]
    both = zip(ious, expected, strict=True)
    return Certainty([Known(0.1, 0.5, 0.5, (*true, nan), told) for true, told in both])


def test_tenths_of_the_images_tell_expected_and_measured_iou_least_certain_first() -> None:
    parts = drawn().reliability()
    assert [part.num for part in parts] == [10] * 10
    assert [part.expected for part in parts] == sorted(part.expected for part in parts)
    assert all(part.measured == pytest.approx(0.9 * part.expected) for part in parts)


def test_nothing_is_expected_without_a_calibration() -> None:
    assert by_uncertainty().reliability() == []
    assert by_uncertainty().of_classes() == {}
    assert len(by_uncertainty().lines()) == 1 < len(drawn().lines())


@pytest.mark.parametrize("certainty", [drawn(), by_uncertainty()])
def test_the_most_certain_are_kept(certainty: Certainty) -> None:
    kept = certainty.coverage()
    ious = sorted((image.iou for image in certainty.images), reverse=True)
    assert [each.share for each in kept] == [i / 10 for i in range(10, 0, -1)]
    for each in kept:
        assert each.iou == pytest.approx(np.mean(ious[: round(100 * each.share)]))


def test_of_images_of_equal_expected_iou_the_uncertain_one_is_left_out_first() -> None:
    images = [Known(0.3, 0.5, 1.0), Known(0.1, 0.7, 1.0), Known(0.2, 0.6, 1.0)]
    assert Certainty(images).coverage()[-1].iou == 0.7


def test_classes_are_compared_where_masks_have_them() -> None:
    found = of_classes().of_classes()
    assert list(found) == [0, 1], "no mask has the third"
    assert found[0].num == 3 and found[1].num == 1
    assert found[0].expected == pytest.approx(0.8)
    assert found[0].measured == pytest.approx(2.3 / 3)
    assert (found[1].expected, found[1].measured) == (0.6, 0.5)
    assert of_classes().lines()[-1].endswith("off on average over classes, 0.100 at most")


def test_few_images_are_parts_of_their_own() -> None:
    few = by_uncertainty(3)
    assert [part.num for part in drawn(3).reliability()] == [1, 1, 1]
    assert few.coverage()[-1].iou == max(image.iou for image in few.images)


def test_images_whose_iou_is_not_known_do_not_count() -> None:
    first, unknown, last = (Known(u, iou) for u, iou in ((0.1, 0.5), (0.2, math.nan), (0.3, 0.7)))
    assert certainty_of([first, unknown, last]) == Certainty([first, last])
    assert certainty_of([unknown]) is None


def test_json_has_both_curves_and_the_classes_by_name() -> None:
    told = drawn().as_json(CLASSES)
    assert len(told["reliability"]) == len(told["coverage"]) == 10
    assert told["classes"] == {}
    assert of_classes().as_json(CLASSES)["classes"]["a <b>"] == {
        "num": 1,
        "expected_iou": 0.6,
        "iou": 0.5,
    }


@pytest.mark.parametrize(
    ("certainty", "num_dots"),
    [(drawn(), [10, 10]), (by_uncertainty(), [10]), (of_classes(), [3, 10, 2])],
)
def test_the_picture_has_a_panel_a_curve_within_its_bounds(
    certainty: Certainty, num_dots: list[int]
) -> None:
    svg = ElementTree.fromstring(picture(certainty, CLASSES, in_page=False))
    space = "{http://www.w3.org/2000/svg}"
    assert svg.tag == f"{space}svg"
    panels = svg.findall(f"{space}g")
    assert [len(panel.findall(f"{space}circle")) for panel in panels] == num_dots
    dots = list(svg.iter(f"{space}circle"))
    assert all(0 <= float(dot.get("cx", "")) <= 280 for dot in dots)
    assert all(0 <= float(dot.get("cy", "")) <= 220 for dot in dots)


def test_classes_are_dots_by_name_and_no_curve() -> None:
    svg = picture(of_classes(), CLASSES, in_page=True)
    assert "a &lt;b&gt; in 1 image: expected 0.600, is 0.500" in svg
    assert svg.count("<polyline") == 2


def test_a_picture_of_one_image_whose_iou_is_1_is_drawn() -> None:
    one = Certainty([replace(drawn(1).images[0], iou=1.0)])
    assert "100%: 1.000" in picture(one, CLASSES, in_page=True)
