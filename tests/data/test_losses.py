"""Claims about factory.data.losses: what the centred square and scaling take from a mask."""

from itertools import product

import numpy as np
import pytest

from factory.data import losses
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
    regions, ids_of = losses.connected_regions(ids)
    assert len(ids_of) == flooded(ids) == len(np.unique(regions))
    assert np.array_equal(ids_of[regions], ids)


def test_a_spiral_is_one_region() -> None:
    ids = np.zeros((9, 9), np.uint8)
    ids[0], ids[:, 8], ids[8], ids[2:, 0], ids[2, :7], ids[2:7, 6] = 1, 1, 1, 1, 1, 1
    _, ids_of = losses.connected_regions(ids)
    assert ids_of.tolist().count(1) == 1


def test_regions_of_which_no_pixel_is_picked_are_counted() -> None:
    ids = np.zeros((64, 64), np.uint8)
    for y, x in product(range(0, 64, 16), range(0, 64, 16)):
        ids[y, x] = 1  # single pixels at corners of the cells, of which the middle is picked
        ids[y + 6 : y + 11, x + 6 : x + 11] = 2
    found = losses.measure(ids, 4)
    assert (found.regions[1], found.regions_vanished[1]) == (16, 16)
    assert (found.regions[2], found.regions_vanished[2]) == (16, 0)
    assert losses.sentences(found, ["ground", "dot", "block"], 4) == [
        "class ground: 1 of 1 connected regions vanish when they are scaled to 4 px.",
        "class dot: 16 of 16 connected regions vanish when they are scaled to 4 px.",
    ]


def test_nothing_vanishes_from_a_mask_that_is_not_made_smaller() -> None:
    ids = np.eye(8, dtype=np.uint8)
    for size in (8, 20):
        assert losses.sentences(losses.measure(ids, size), ["ground", "line"], size) == []


def test_pixels_outside_the_centred_square_are_told_for_each_class() -> None:
    ids = np.zeros((4, 12), np.uint8)
    ids[:, :2] = 1  # outside: columns 0..3 and 8..11
    ids[:, 3:5] = 2  # half outside
    found = losses.total([losses.measure(ids, 4), losses.measure(np.zeros((4, 4), np.uint8), 4)])
    sentences = losses.sentences(found, ["ground", "sign", "bar"], 4)
    assert sentences[1:] == [
        "class sign: 100.00% of its pixels lie outside the centred square, in 1 of 1 images all "
        "of them.",
        "class bar: 50.00% of its pixels lie outside the centred square, in 0 of 1 images all of "
        "them.",
    ]
    assert "class ground: 41.67%" in sentences[0]


def test_no_masks_lose_nothing() -> None:
    assert losses.sentences(losses.total([]), ["a", "b"], 8) == []
