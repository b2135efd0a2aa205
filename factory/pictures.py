"""Pictures for people: masks in colour, heat maps, and sheets of many pictures.

Shapes: H height, W width.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from factory.classes import IGNORE_ID, Classes
from factory.images import UInt8

_MARK = (255, 214, 10)


def overlay(pixels: UInt8, mask: UInt8, classes: Classes, opacity: float = 0.55) -> UInt8:
    """Blends an (H, W, 3) image, or a grey one (H, W, 1), with the colours of its (H, W) mask."""
    colors = colorize(mask, classes).astype(np.float32)
    blended = pixels.astype(np.float32) * (1 - opacity) + colors * opacity
    result: UInt8 = blended.round().astype(np.uint8)
    return result


def colorize(mask: UInt8, classes: Classes) -> UInt8:
    """Maps (H, W) class ids to (H, W, 3) colours; ignored pixels become white."""
    table = np.full((256, 3), 255, np.uint8)
    table[: len(classes)] = classes.palette
    table[IGNORE_ID] = 255
    result: UInt8 = table[mask]
    return result


def marked(pixels: UInt8, where: npt.NDArray[np.bool_]) -> UInt8:
    """The pixels of an (H, W, 3) image, or a grey one (H, W, 1), at which the (H, W) values are
    true in yellow, all others dark and grey."""
    grey = pixels.astype(np.float32).mean(axis=2, keepdims=True)
    yellow = np.array(_MARK, np.float32) * 0.75 + grey * 0.25
    result: UInt8 = np.where(where[..., None], yellow, grey * 0.35).round().astype(np.uint8)
    return result


def heat(values: npt.NDArray[Any], top: float) -> UInt8:
    """Maps (H, W) values in 0..top to (H, W, 3) colours: black, red, yellow, white."""
    v = np.clip(np.asarray(values, np.float32) / max(top, 1e-12), 0, 1) * 3
    channels = np.stack([np.clip(v, 0, 1), np.clip(v - 1, 0, 1), np.clip(v - 2, 0, 1)], axis=-1)
    result: UInt8 = (channels * 255).round().astype(np.uint8)
    return result


def tile(rows: Iterable[Iterable[UInt8]], scale: int = 1, gap: int = 2) -> UInt8:
    """Makes one picture (H, W, 3) of rows of pictures, enlarged by whole pixels.

    The pictures are RGB (H, W, 3) or grey (H, W, 1); each has the place that the largest needs.
    """
    table = [[np.kron(cell, np.ones((scale, scale, 1), np.uint8)) for cell in row] for row in rows]
    height, width = (max(cell.shape[axis] for row in table for cell in row) for axis in (0, 1))
    num_columns = max(len(row) for row in table)
    sheet = np.full(
        (len(table) * (height + gap) + gap, num_columns * (width + gap) + gap, 3),
        255,
        np.uint8,
    )
    for r, row in enumerate(table):
        for c, cell in enumerate(row):
            top, left = gap + r * (height + gap), gap + c * (width + gap)
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def captioned(sheet: UInt8, captions: list[str]) -> UInt8:
    """Puts a line of captions above a picture, spread evenly over its width."""
    line = Image.new("RGB", (sheet.shape[1], 16), "white")
    pen = ImageDraw.Draw(line)
    for i, caption in enumerate(captions):
        pen.text((4 + i * sheet.shape[1] // len(captions), 2), caption, fill="black")
    result: UInt8 = np.concatenate([np.asarray(line), sheet])
    return result
