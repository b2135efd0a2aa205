"""An image of any size, and its mask, made the square that a network takes; and the way back.

Shapes: the square is size x size pixels; images and whole masks are W pixels wide and H high, in
their upright orientation.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from factory.classes import IGNORE_ID
from factory.data.pixels import coverage
from factory.data.pixels.coverage import Scaled
from factory.data.pixels.reading import Fit
from factory.images import UInt8


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns in an array."""
        return (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )


@dataclass(frozen=True)
class Placement:
    """The part of an image that is used, and the part of the square that it fills when scaled."""

    source: Box
    target: Box


def placement(image_size: tuple[int, int], size: int, fit: Fit, tile: Box | None) -> Placement:
    """The place in the square of an image of this width and height.

    `crop` uses the largest centred square; `pad` all of the image, centred; `stretch` all of it,
    with either direction scaled by itself; `tile` the tile, which the others have none of.
    """
    width, height = image_size
    square, image = Box(0, 0, size, size), Box(0, 0, width, height)
    if fit == "tile":
        assert tile is not None, "fit: tile cuts tiles while images are listed"
        return Placement(tile, square)
    if fit == "stretch":
        return Placement(image, square)
    if fit == "pad":
        long = max(width, height)
        inner_width, inner_height = (max(1, round(side * size / long)) for side in image_size)
        left, top = (size - inner_width) // 2, (size - inner_height) // 2
        return Placement(image, Box(left, top, inner_width, inner_height))
    side = min(width, height)
    return Placement(Box((width - side) // 2, (height - side) // 2, side, side), square)


def tiles(image_size: tuple[int, int], side: int) -> list[Box]:
    """Squares of this side that cover an image of this width and height, row by row.

    As few as can be, at equal distances, so that they overlap where the image is no multiple of
    them. Raises ValueError for an image that is smaller than a square.
    """
    if side > min(image_size):
        raise ValueError(f"{image_size[0]}x{image_size[1]} pixels are no {side}x{side}")
    lefts, tops = (_starts(length, side) for length in image_size)
    return [Box(left, top, side, side) for top in tops for left in lefts]


def square_pixels(image: Image.Image, size: int, place: Placement) -> UInt8:
    """(size, size, C): the part of an image of mode RGB or L at its place, smoothly scaled, black
    around it."""
    source, target, channels = place.source, place.target, len(image.getbands())
    box = (source.left, source.top, source.left + source.width, source.top + source.height)
    if (source.width, source.height) == (target.width, target.height):
        part = image.crop(box)
    else:
        part = image.resize((target.width, target.height), Image.Resampling.BICUBIC, box=box)
    pixels = np.asarray(part).reshape(target.height, target.width, channels)
    if part.size == (size, size):
        return pixels
    square = np.zeros((size, size, channels), np.uint8)
    square[target.slices] = pixels
    return square


def scaled_ids(ids: UInt8, place: Placement) -> Scaled:
    """The used part of a whole mask (H, W), at the size that it has in the square."""
    part = ids[place.source.slices]
    return coverage.scale(part, place.target.width, place.target.height)


def square_ids(scaled: UInt8, size: int, place: Placement) -> UInt8:
    """(size, size): the used part of a mask, already scaled, at its place; 255 around it."""
    square = np.full((size, size), IGNORE_ID, np.uint8)
    square[place.target.slices] = scaled
    return square


def whole_ids(squares: Iterable[tuple[UInt8, Placement]], image_size: tuple[int, int]) -> UInt8:
    """(H, W): the masks of an image's squares, (size, size) each, put back at their places.

    There is one square, or one of each tile, of which the later ones lie over the earlier ones.
    Pixels outside of them are 255.
    """
    width, height = image_size
    whole = np.full((height, width), IGNORE_ID, np.uint8)
    for square, place in squares:
        part = np.ascontiguousarray(square[place.target.slices])
        scaled = coverage.scale(part, place.source.width, place.source.height)
        whole[place.source.slices] = scaled.ids
    return whole


def _starts(length: int, side: int) -> list[int]:
    """Where pieces of this side begin that cover a line, from its start to its end."""
    num = -(-length // side)
    return [round(i * (length - side) / max(1, num - 1)) for i in range(num)]
