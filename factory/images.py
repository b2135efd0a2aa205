"""Pixels: uint8 arrays, PNG bytes and tensors in [-1, 1].

Shapes: H height, W width, B batch, C classes.
"""

import io
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, UnidentifiedImageError

from factory.classes import IGNORE_ID, Classes

UInt8 = npt.NDArray[np.uint8]

READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = 64_000_000
PNG_LEVEL = 1


class UnreadableImage(ValueError):
    """Bytes that are no image we read; says why."""


def to_signed(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 -> float32 in [-1, 1], any shape."""
    return pixels.to(torch.float32) / 127.5 - 1.0


def to_uint8(x_0: torch.Tensor) -> torch.Tensor:
    """Floats in [-1, 1], clipped there -> uint8 0..255, rounded to nearest."""
    return ((x_0.float().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)


def to_channels_last_arrays(x_0: torch.Tensor) -> UInt8:
    """(B, 3, H, W) in [-1, 1] -> (B, H, W, 3) uint8."""
    array: UInt8 = to_uint8(x_0).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def encode_png(pixels: UInt8) -> bytes:
    """(H, W, 3) RGB or (H, W) ids -> PNG bytes, the same for the same pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def open_image(data: bytes) -> Image.Image:
    """Decodes fully, or raises UnreadableImage with the reason."""
    if not data:
        raise UnreadableImage("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=READABLE_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            # Pillow only warns at this size; changing its warnings is not safe among threads.
            raise UnreadableImage(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS}")
        if getattr(image, "n_frames", 1) > 1:
            raise UnreadableImage(f"an animation of {getattr(image, 'n_frames', 1)} frames")
        image.load()
    except UnidentifiedImageError:
        start = data[:12]
        raise UnreadableImage(
            f"not a {'/'.join(READABLE_FORMATS)} image (starts with {start!r})"
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"more than {MAX_PIXELS} pixels") from None
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, UnreadableImage):
            raise
        raise UnreadableImage(f"damaged image ({error})") from None
    return image


def crop_and_resize(image: Image.Image, size: int, resample: Image.Resampling) -> Image.Image:
    """The largest centred square, scaled to size x size."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if side == size:
        return image.crop((left, top, left + side, top + side))
    return image.resize((size, size), resample, box=(left, top, left + side, top + side))


def overlay(pixels: UInt8, mask: UInt8, classes: Classes, opacity: float = 0.55) -> UInt8:
    """(H, W, 3) image under its coloured mask."""
    colors = colorize(mask, classes).astype(np.float32)
    blended = pixels.astype(np.float32) * (1 - opacity) + colors * opacity
    result: UInt8 = blended.round().astype(np.uint8)
    return result


def colorize(mask: UInt8, classes: Classes) -> UInt8:
    """(H, W) class ids -> (H, W, 3) colours; ignored pixels white."""
    table = np.full((256, 3), 255, np.uint8)
    table[: len(classes)] = classes.palette
    table[IGNORE_ID] = 255
    result: UInt8 = table[mask]
    return result


def heat(values: npt.NDArray[Any], top: float) -> UInt8:
    """(H, W) values in 0..top -> (H, W, 3), black over red to yellow to white."""
    v = np.clip(np.asarray(values, np.float32) / max(top, 1e-12), 0, 1) * 3
    channels = np.stack([np.clip(v, 0, 1), np.clip(v - 1, 0, 1), np.clip(v - 2, 0, 1)], axis=-1)
    result: UInt8 = (channels * 255).round().astype(np.uint8)
    return result


def tile(rows: Iterable[Iterable[UInt8]], scale: int = 1, gap: int = 2) -> UInt8:
    """One picture from rows of equal-sized (H, W, 3) pictures, enlarged by whole pixels."""
    table = [[np.kron(cell, np.ones((scale, scale, 1), np.uint8)) for cell in row] for row in rows]
    height, width, _ = table[0][0].shape
    num_columns = max(len(row) for row in table)
    sheet = np.full(
        (len(table) * (height + gap) + gap, num_columns * (width + gap) + gap, 3),
        255,
        np.uint8,
    )
    for r, row in enumerate(table):
        for c, cell in enumerate(row):
            top, left = gap + r * (height + gap), gap + c * (width + gap)
            sheet[top : top + height, left : left + width] = cell
    return sheet


def captioned(sheet: UInt8, captions: list[str]) -> UInt8:
    """The sheet under one line of captions, spread evenly over its columns."""
    line = Image.new("RGB", (sheet.shape[1], 16), "white")
    pen = ImageDraw.Draw(line)
    for i, caption in enumerate(captions):
        pen.text((4 + i * sheet.shape[1] // len(captions), 2), caption, fill="black")
    result: UInt8 = np.concatenate([np.asarray(line), sheet])
    return result
