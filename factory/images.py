"""Pixels: uint8 arrays, PNG bytes and tensors in [-1, 1].

Shapes: H height, W width, B batch, C classes.
"""

import io
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import deflate
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, UnidentifiedImageError

from factory.classes import IGNORE_ID, Classes
from factory.errors import UnreadableImage

UInt8 = npt.NDArray[np.uint8]

READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = 64_000_000
_SIGNATURES = b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM"
"""How files of READABLE_FORMATS start."""
DEFLATE_LEVEL = 1
"""libdeflate's, 1..12. What other levels, filters and libraries cost: `benchmarks/writing.py`."""

_GREY, _RGB = 0, 2
_PLAIN, _UP = 0, 2
# Neighbouring rows of a photograph are alike; differences of ids are nothing but more ids.
_FILTERS = {_GREY: _PLAIN, _RGB: _UP}
_BODY = slice(41, -16)


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
    """(H, W, 3) RGB or (H, W) ids, both at least 1 -> a plain 8-bit PNG.

    The same pixels give the same bytes, as long as libdeflate's version stays.
    """
    assert pixels.dtype == np.uint8 and pixels.shape[2:] in ((), (3,)), (pixels.dtype, pixels.shape)
    height, width = pixels.shape[:2]
    color = _RGB if pixels.shape[2:] == (3,) else _GREY
    rows = pixels.reshape(height, width * _channels(color))
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 0] = _FILTERS[color]
    lines[:, 1:] = rows
    if color == _RGB:
        lines[1:, 1:] -= rows[:-1]
    return _png(width, height, color, deflate.zlib_compress(lines, DEFLATE_LEVEL))


def decode_png(data: bytes) -> UInt8:
    """PNG bytes -> (H, W, 3) RGB or (H, W) ids; those of `encode_png` the faster way.

    Raises UnreadableImage where they do not decode, or are of another mode.
    """
    pixels = _decode_own(data)
    if pixels is None:
        image = open_image(data)
        if image.mode not in ("RGB", "L"):
            raise UnreadableImage(f"a picture of mode {image.mode}, not RGB or L")
        pixels = np.asarray(image, np.uint8)
    return pixels


def _decode_own(data: bytes) -> UInt8 | None:
    """What `encode_png` wrote, every byte of it checked; None for anything else."""
    if len(data) < _BODY.start - _BODY.stop:
        return None
    width, height, _, color = struct.unpack_from(">IIBB", data, 16)
    body = data[_BODY]
    if color not in _FILTERS or not 0 < width * height <= MAX_PIXELS:
        return None
    if data != _png(width, height, color, body):
        return None
    size = height * (1 + width * _channels(color))
    try:
        inflated = deflate.zlib_decompress(body, size)
    except deflate.DeflateError:
        return None
    # The checksum comes last: behind it nothing else may lie.
    if len(inflated) != size or body[-4:] != deflate.adler32(inflated).to_bytes(4):
        return None
    lines = np.frombuffer(inflated, np.uint8).reshape(height, -1)
    if (lines[:, 0] != _FILTERS[color]).any():
        return None
    rows = lines[:, 1:].copy()
    if color == _GREY:
        return rows
    # A sum over all rows above, in log2(height) steps: each doubles how many are summed up.
    for step in (1 << i for i in range((height - 1).bit_length())):
        rows[step:] += rows[:-step]
    return rows.reshape(height, width, 3)


def _png(width: int, height: int, color: int, body: bytes | bytearray) -> bytes:
    """The file around the deflated lines."""
    return b"".join([_head(width, height, color), *_chunk(b"IDAT", body), _END])


@lru_cache(maxsize=64)
def _head(width: int, height: int, color: int) -> bytes:
    """Signature and first chunk."""
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"".join([b"\x89PNG\r\n\x1a\n", *_chunk(b"IHDR", header)])


def _chunk(kind: bytes, body: bytes | bytearray) -> Iterable[bytes | bytearray]:
    checksum = deflate.crc32(body, deflate.crc32(kind))
    return len(body).to_bytes(4), kind, body, checksum.to_bytes(4)


_END = b"".join(_chunk(b"IEND", b""))


def _channels(color: int) -> int:
    return 3 if color == _RGB else 1


def open_image(data: bytes) -> Image.Image:
    """Decodes fully, or raises UnreadableImage with the reason."""
    if not data:
        raise UnreadableImage("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=READABLE_FORMATS)
        if image.width * image.height > MAX_PIXELS:
            # Pillow only warns at this size; changing its warnings is not safe among threads.
            raise UnreadableImage(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS}")
        # MPO is what cameras write: a JPEG with further pictures, often previews, behind it.
        if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
            raise UnreadableImage(f"an animation of {getattr(image, 'n_frames', 1)} frames")
        image.load()
    except UnidentifiedImageError:
        if data.startswith(_SIGNATURES):
            raise UnreadableImage("damaged image (in its header)") from None
        raise UnreadableImage(
            f"not a {'/'.join(READABLE_FORMATS)} image (starts with {data[:12]!r})"
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
