"""Claims about factory.data.masks.losses: what the centred square and scaling take from a mask."""

import numpy as np

from factory.data.masks import losses
from factory.data.pixels import geometry
from factory.images import UInt8


def measured(ids: UInt8, size: int) -> losses.Losses:
    """What a mask loses whose centred square is scaled to this size."""
    place = geometry.placement((ids.shape[1], ids.shape[0]), size, "crop", None)
    return losses.measure(ids, ids[place.source.slices], geometry.scaled_ids(ids, place))


def test_regions_that_no_pixel_is_left_for_are_counted() -> None:
    ids = np.zeros((8, 8), np.uint8)
    ids[1::2, 1:4:2] = 1  # single pixels in the left half
    ids[0, 7] = 2
    found = measured(ids, 2)
    assert found.regions[:3].tolist() == [1, 8, 1]
    assert losses.sentences(found, ["ground", "dot", "corner"], 2) == []
    found = measured(ids, 1)
    assert losses.sentences(found, ["ground", "dot", "corner"], 1) == [
        "class dot: 8 of 8 connected regions vanish when they are scaled to 1 px.",
        "class corner: 1 of 1 connected regions vanish when they are scaled to 1 px.",
    ]


def test_nothing_vanishes_from_a_mask_that_is_not_made_smaller() -> None:
    ids = np.eye(8, dtype=np.uint8)
    for size in (8, 20):
        assert losses.sentences(measured(ids, size), ["ground", "line"], size) == []


def test_pixels_outside_the_centred_square_are_told_for_each_class() -> None:
    ids = np.zeros((4, 12), np.uint8)
    ids[:, :2] = 1  # outside: columns 0..3 and 8..11
    ids[:, 3:5] = 2  # half outside
    found = losses.total([measured(ids, 4), measured(np.zeros((4, 4), np.uint8), 4)])
    sentences = losses.sentences(found, ["ground", "sign", "bar"], 4)
    assert sentences[1:] == [
        "class sign: 100.00% of its pixels lie outside the centred square, in 1 of 1 images all "
        "of them.",
        "class bar: 50.00% of its pixels lie outside the centred square.",
    ]
    assert "class ground: 41.67%" in sentences[0]


def test_no_masks_lose_nothing() -> None:
    assert losses.sentences(losses.total([]), ["a", "b"], 8) == []
