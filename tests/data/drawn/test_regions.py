"""Claims about factory.data.drawn.regions: what is drawn of outlines, and which are refused."""

import math
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle

from factory.data.drawn import regions
from factory.errors import UnreadableImage

SQUARE = [1, 1, 5, 1, 5, 5.5, 1, 5]


def test_smaller_regions_lie_over_larger_ones_and_the_first_over_none_of_its_size() -> None:
    size = (9, 7)
    outlines = [[0, 0, 3, 0, 3, 3, 0, 3], [0, 0, 8, 0, 8, 6, 0, 6], [2, 2, 5, 2, 5, 5, 2, 5]]
    drawn = [regions.of_polygons([outline], size, i) for i, outline in enumerate(outlines, 1)]
    expected = np.zeros((7, 9), np.uint8)
    for i in (1, 0, 2):
        expected[rle.decode(drawn[i].runs) == 1] = i + 1
    painted = regions.paint(drawn, size)
    assert np.array_equal(painted, expected) and painted.flags.c_contiguous


@pytest.mark.parametrize(
    "wrong", [[*SQUARE, 1], SQUARE[:4], [*SQUARE, True, 1], [*SQUARE, "1", 1], "1, 2", [], None]
)
def test_an_outline_is_a_list_of_3_or_more_points(wrong: Any) -> None:
    with pytest.raises(UnreadableImage, match="an outline that is no list of 3 or more points"):
        regions.of_polygons([wrong], (9, 9), 1)


@pytest.mark.parametrize(
    "far",
    [
        [*SQUARE, math.nan, 1],
        [math.inf, 1, *SQUARE],
        [*SQUARE, 2**24 + 1, 1],
        [-(2**24) - 1, 1, *SQUARE],
        [0, 0, 2**24, 0] * 3,  # near enough, but back and forth
    ],
)
def test_an_outline_that_leads_far_out_is_refused_before_it_is_drawn(far: list[float]) -> None:
    with pytest.raises(UnreadableImage, match="leads far out of the image"):
        regions.of_polygons([far], (9, 9), 1)


def test_an_outline_may_lead_out_of_the_image() -> None:
    assert regions.of_polygons([[-50, -50, 50, -50, 50, 50, -50, 50]], (9, 9), 1).area == 81
