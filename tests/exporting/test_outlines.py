"""Claims about the polygons around regions, as pycocotools, OpenCV's rules and Pillow fill them."""

import warnings

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as rle

from factory.data.pixels.regions import connected_regions
from factory.exporting.outlines import Polygon, outlines
from factory.images import UInt8

with warnings.catch_warnings():
    # It says that it does without OpenCV.
    warnings.simplefilter("ignore")
    from supervision.detection.utils.converters import polygon_to_mask


def noise(seed: int) -> UInt8:
    """Ids of a few classes of all shapes: holes in holes, corners that touch, single pixels."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 20, 2)
    return rng.integers(0, rng.integers(1, 5), (height, width)).astype(np.uint8)


def rings(size: int) -> UInt8:
    """Squares in squares."""
    y, x = np.indices((size, size))
    depth = np.minimum(np.minimum(x, y), size - 1 - np.maximum(x, y))
    return (depth % 2).astype(np.uint8)


MASKS = [*map(noise, range(60)), rings(15), np.zeros((1, 1), np.uint8), np.eye(9, dtype=np.uint8)]


def by_pycocotools(polygon: Polygon, height: int, width: int) -> UInt8:
    read: UInt8 = rle.decode(rle.frPyObjects([polygon.round(2).ravel().tolist()], height, width))
    return read[..., 0]


def by_cutting(polygon: Polygon, height: int, width: int) -> UInt8:
    return polygon_to_mask(np.trunc(polygon).astype(int), (width, height))


def by_rounding(polygon: Polygon, height: int, width: int) -> UInt8:
    return polygon_to_mask(np.round(polygon).astype(int), (width, height))


def by_pillow(polygon: Polygon, height: int, width: int) -> UInt8:
    picture = Image.new("L", (width, height))
    corners = [(x, y) for x, y in np.trunc(polygon).tolist()]
    ImageDraw.Draw(picture).polygon(corners, fill=1, outline=1)
    return np.asarray(picture)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("far", "readers"),
    [
        (0.01, [by_pycocotools, by_cutting]),
        (0.51, [by_cutting, by_rounding, by_pillow]),
    ],
)
def test_readers_find_the_very_pixels_of_each_region(far, readers) -> None:
    num = 0
    for mask in MASKS:
        regions, _ = connected_regions(mask)
        for number, polygon in enumerate(outlines(regions, 0.01, far)):
            for read in readers:
                found = read(polygon, *mask.shape)
                assert np.array_equal(found.astype(bool), regions == number), (read, mask, number)
            num += 1
    assert num > 1000


def test_an_outline_has_vertices_only_where_it_turns() -> None:
    mask = np.zeros((9, 9), np.uint8)
    mask[2:5, 3:8] = 1
    regions, ids = connected_regions(mask)
    (square,) = [p for p, i in zip(outlines(regions, 0.0, 0.0), ids, strict=True) if i == 1]
    assert sorted(map(tuple, square.tolist())) == [(3, 2), (3, 5), (8, 2), (8, 5)]


def test_the_outline_of_a_whole_mask_is_its_frame() -> None:
    (frame,) = outlines(np.zeros((3, 7), np.intp), 0.0, 0.0)
    assert sorted(map(tuple, frame.tolist())) == [(0, 0), (0, 3), (7, 0), (7, 3)]
