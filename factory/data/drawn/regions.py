"""Outlines and runs of pixels to regions of an image, as pycocotools draws them.

Shapes: H height, W width. What is wrong raises UnreadableImage, the end of a sentence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as rle

from factory.data.drawn.items import Size
from factory.errors import UnreadableImage
from factory.images import MAX_PIXELS, UInt8

_MAX_LENGTH = MAX_PIXELS
"""Outlines may be as long as this, in pixels: drawing a pixel of them takes memory."""
_FARTHEST = 2**24
_REMEDY = "Draw it again, or remove it."


@dataclass(frozen=True)
class Region:
    """Pixels of an image."""

    runs: Mapping[str, Any]
    """As pycocotools has them."""
    class_id: int

    @property
    def area(self) -> int:
        """The number of its pixels."""
        return int(rle.area(self.runs))


def of_polygons(polygons: Sequence[Any], size: Size, class_id: int) -> Region:
    """The pixels inside any of the outlines, each [x, y, x, y, ...] in pixels."""
    width, height = size
    outlines = [_outline(polygon) for polygon in polygons]
    if not outlines:
        raise UnreadableImage(f"an outline without points. {_REMEDY}")
    return Region(rle.merge(rle.frPyObjects(outlines, height, width)), class_id)


def of_box(box: Any, size: Size, class_id: int) -> Region:
    """The pixels of a box [left, top, width, height] in pixels."""
    if not (isinstance(box, list) and len(box) == 4 and all(type(n) in (int, float) for n in box)):
        raise UnreadableImage(f"neither an outline nor a box. {_REMEDY}")
    left, top, width, height = box
    right, bottom = left + width, top + height
    return of_polygons([[left, top, right, top, right, bottom, left, bottom]], size, class_id)


def of_runs(counts: Any, size: Any, class_id: int) -> Region:
    """The pixels of runs: lengths of background and region in turn, down the columns; or COCO's
    text of them. size: height and width."""
    if not (isinstance(size, list) and len(size) == 2 and all(type(n) is int for n in size)):
        raise UnreadableImage(f"runs of pixels without a size [height, width]. {_REMEDY}")
    height, width = size
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise UnreadableImage(f"runs of {width}x{height} pixels, more than {MAX_PIXELS} or none.")
    lengths: Any = _unpacked(counts) if isinstance(counts, str) else counts
    whole = isinstance(lengths, list) and all(type(n) is int and n >= 0 for n in lengths)
    if not whole or sum(lengths) != height * width:
        raise UnreadableImage(f"runs of pixels that do not add up to {width}x{height}. {_REMEDY}")
    return Region(rle.frPyObjects({"counts": lengths, "size": size}, height, width), class_id)


def paint(regions: Sequence[Region], size: Size) -> UInt8:
    """(H, W) class ids, the larger regions below the smaller ones, 0 where there is none."""
    width, height = size
    ids = np.zeros((height, width), np.uint8, order="F")  # column by column, as runs are
    # Regions of one size stay in their order.
    for region in sorted(regions, key=lambda region: -region.area):
        np.copyto(ids, region.class_id, where=rle.decode(region.runs).view(bool))
    return np.ascontiguousarray(ids)


def _outline(polygon: Any) -> list[float]:
    """The coordinates of an outline."""
    numbers = isinstance(polygon, list) and set(map(type, polygon)) <= {int, float}
    if not numbers or len(polygon) % 2 or len(polygon) < 6:
        raise UnreadableImage(f"an outline that is no list of 3 or more points x, y. {_REMEDY}")
    outline = list(map(float, polygon))
    is_near = all(abs(n) <= _FARTHEST for n in outline)  # no number that is not finite is
    if not is_near or _is_long(outline):
        raise UnreadableImage(f"an outline that leads far out of the image. {_REMEDY}")
    return outline


def _is_long(outline: Sequence[float]) -> bool:
    """True of an outline of more than _MAX_LENGTH pixels, where a step has those of its longer
    side."""
    # No step is longer than twice the farthest number, so that most outlines need no closer look.
    if len(outline) * max(map(abs, outline)) <= _MAX_LENGTH:
        return False
    points = np.reshape(outline, (-1, 2))
    steps = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1)
    return bool(steps.sum() > _MAX_LENGTH)


def _unpacked(text: str) -> list[int] | None:
    """The lengths of runs in COCO's text: numbers of 5 bits a character, the least first, from the
    third on differences to the last but one. None if it is no such text."""
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 35:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return None if shift else lengths
