"""Claims about factory.data.pixels.coverage: masks made smaller, and the small objects in them."""

from itertools import product

import numpy as np
import pytest
from PIL import Image

from factory.data.pixels import coverage
from factory.data.pixels.coverage import scale
from factory.images import UInt8


def areas(ids: UInt8, x: int, y: int, width: int, height: int) -> dict[int, int]:
    """The area that each class has of a target pixel, one source pixel after the other."""
    found: dict[int, int] = {}
    for i, j in product(range(ids.shape[0]), range(ids.shape[1])):
        rows = min((i + 1) * height, (y + 1) * ids.shape[0]) - max(i * height, y * ids.shape[0])
        columns = min((j + 1) * width, (x + 1) * ids.shape[1]) - max(j * width, x * ids.shape[1])
        if rows > 0 and columns > 0:
            found[int(ids[i, j])] = found.get(int(ids[i, j]), 0) + rows * columns
    return found


@pytest.mark.parametrize("seed", range(60))
def test_a_pixel_takes_the_class_that_covers_most_and_the_smaller_of_equals(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "_bring_back", lambda *arguments: None)
    random = np.random.default_rng(seed)
    ids = random.choice([0, 1, 2, 255], random.integers(2, 12, 2)).astype(np.uint8)
    width, height = random.integers(1, 12, 2).tolist()
    if width >= ids.shape[1] and height >= ids.shape[0]:
        width = ids.shape[1] - 1
    found = scale(ids, width, height).ids
    for y, x in product(range(height), range(width)):
        each = areas(ids, x, y, width, height)
        assert found[y, x] == min(each, key=lambda i: (-each[i], i))


def test_a_mask_of_the_right_size_stays_as_it_is_and_a_smaller_one_takes_nearest_pixels() -> None:
    ids = np.random.default_rng(0).integers(0, 9, (12, 9), np.uint8)
    assert np.array_equal(scale(ids, 9, 12).ids, ids)
    nearest = np.asarray(Image.fromarray(ids).resize((20, 30), Image.Resampling.NEAREST))
    larger = scale(ids, 20, 30)
    assert np.array_equal(larger.ids, nearest) and len(larger.region_ids) == 0


@pytest.mark.parametrize("size", [128, 64, 100, 50])
def test_many_small_objects_all_survive(size: int) -> None:
    random = np.random.default_rng(size)
    ids = np.zeros((512, 512), np.uint8)
    corners = [(40 * i + random.integers(0, 30), 40 * j + random.integers(0, 30))
               for i, j in product(range(12), range(12))]  # fmt: skip
    for y, x in corners:
        ids[y : y + 6, x : x + 6] = random.integers(1, 3)
    scaled = scale(ids, size, size)
    assert len(scaled.region_ids) == 145 and not scaled.vanished.any()
    for y, x in corners:
        first, last = (np.array([y, x]) * size // 512), (np.array([y, x]) + 5) * size // 512
        there = scaled.ids[first[0] : last[0] + 1, first[1] : last[1] + 1]
        assert (there == ids[y, x]).any()


def test_a_lost_region_takes_the_pixel_that_it_covers_most() -> None:
    ids = np.zeros((8, 8), np.uint8)
    ids[3, 1:5] = 1  # three pixels in the left quarter, one in the right
    assert scale(ids, 2, 2).ids.tolist() == [[1, 0], [0, 0]]


def test_a_lost_region_does_not_take_the_last_pixel_of_another() -> None:
    ids = np.array([[0, 0, 0, 2], [0, 0, 0, 0]], np.uint8)
    assert scale(ids, 2, 1).ids.tolist() == [[0, 2]]
    scaled = scale(ids, 1, 1)
    assert scaled.ids.tolist() == [[0]]
    assert dict(zip(scaled.region_ids.tolist(), scaled.vanished.tolist(), strict=True)) == {
        0: False,
        2: True,
    }


def test_a_lost_region_takes_another_pixel_than_the_one_that_it_may_not() -> None:
    ids = np.zeros((4, 16), np.uint8)
    ids[:, 4:8] = 1  # all that class 1 has is the second pixel
    ids[1:3, 6:8] = 2
    ids[1, 8] = 2
    assert scale(ids, 4, 1).ids.tolist() == [[0, 1, 2, 0]]


def test_ignored_pixels_lose_ties_and_are_not_brought_back() -> None:
    ids = np.zeros((4, 4), np.uint8)
    ids[:, 1] = 255
    assert scale(ids, 2, 2).ids.tolist() == [[0, 0], [0, 0]]
    ids[0, 0] = 255
    assert scale(ids, 2, 2).ids.tolist() == [[255, 0], [0, 0]]
    ids[0, 0] = 1  # an object may take the last pixel of what is ignored
    assert scale(ids, 1, 1).ids.tolist() == [[0]]


def test_the_largest_of_lost_regions_chooses_first() -> None:
    ids = np.zeros((6, 12), np.uint8)
    ids[0, 0], ids[0, 2], ids[2:4, 2:4] = 1, 2, 3
    assert scale(ids, 2, 1).ids.tolist() == [[3, 0]]
