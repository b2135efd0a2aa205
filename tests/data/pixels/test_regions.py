"""Claims about factory.data.pixels.regions: which pixels of a mask hang together."""

from itertools import product

import numpy as np
import pytest

from factory.data.pixels import regions
from factory.images import UInt8


def flooded(ids: UInt8) -> int:
    """The number of connected regions, pixel by pixel."""
    seen: set[tuple[int, int]] = set()
    count = 0
    for start in product(*map(range, ids.shape)):
        if start in seen:
            continue
        count += 1
        waiting = [start]
        while waiting:
            y, x = waiting.pop()
            for near in product((y - 1, y, y + 1), (x - 1, x, x + 1)):
                inside = all(0 <= a < b for a, b in zip(near, ids.shape, strict=True))
                if inside and near not in seen and ids[near] == ids[start]:
                    seen.add(near)
                    waiting.append(near)
    return count


@pytest.mark.parametrize("seed", range(40))
def test_regions_are_those_that_a_flood_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 20, 2))
    ids = random.integers(0, random.integers(2, 5), shape).astype(np.uint8)
    found, ids_of = regions.connected_regions(ids)
    assert len(ids_of) == flooded(ids) == len(np.unique(found))
    assert np.array_equal(ids_of[found], ids)


def test_a_spiral_is_one_region() -> None:
    ids = np.zeros((9, 9), np.uint8)
    ids[0], ids[:, 8], ids[8], ids[2:, 0], ids[2, :7], ids[2:7, 6] = 1, 1, 1, 1, 1, 1
    _, ids_of = regions.connected_regions(ids)
    assert ids_of.tolist().count(1) == 1


def test_regions_are_numbered_in_the_order_of_their_first_pixels() -> None:
    ids = np.array([[1, 1, 0, 2], [0, 0, 0, 2], [2, 0, 1, 1]], np.uint8)
    found, ids_of = regions.connected_regions(ids)
    assert found.tolist() == [[0, 0, 1, 2], [1, 1, 1, 2], [3, 1, 4, 4]]
    assert ids_of.tolist() == [1, 0, 2, 2, 1]
