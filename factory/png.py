"""PNG bytes from pixels and back: one row filter, one deflate stream, the same bytes every time.

Shapes: H height, W width.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache

import deflate
import numpy as np

from factory.classes import Color
from factory.errors import UnreadableImage
from factory.images import MAX_PIXELS, UInt8, open_image

DEFLATE_LEVEL = 1
"""The level of libdeflate, 1..12; `benchmarks/writing.py` measures other levels and filters."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE = 0, 2, 3
_PLAIN, _UP = 0, 2
# Adjacent rows of a photograph are similar; differences of class ids do not compress better.
_FILTERS = {_GREY: (_PLAIN, _UP), _RGB: (_UP,)}
_BODY = slice(41, -16)


def encode_png(pixels: UInt8) -> bytes:
    """(H, W, 3) RGB, (H, W, 1) grey or (H, W) ids, all at least 1 -> a plain 8-bit PNG.

    The same pixels give the same bytes, as long as libdeflate's version stays.
    """
    assert pixels.dtype == np.uint8, pixels.dtype
    assert pixels.shape[2:] in ((), (1,), (3,)), pixels.shape
    height, width = pixels.shape[:2]
    color = _RGB if pixels.shape[2:] == (3,) else _GREY
    rows = pixels.reshape(height, width * _channels(color))
    lines = np.empty((height, 1 + rows.shape[1]), np.uint8)
    is_photograph = pixels.ndim == 3
    lines[:, 0] = _UP if is_photograph else _PLAIN
    lines[:, 1:] = rows
    if is_photograph:
        lines[1:, 1:] -= rows[:-1]
    return _png(width, height, color, deflate.zlib_compress(lines, DEFLATE_LEVEL))


def decode_png(data: bytes) -> UInt8:
    """PNG bytes -> (H, W, 3) RGB, or (H, W) ids or grey; one of `encode_png` without Pillow.

    Raises UnreadableImage if they do not decode, have another mode than RGB and L, or a chunk whose
    checksum is not that of its bytes.
    """
    pixels = _decode_own(data)
    if pixels is None:
        image = open_image(data, ("PNG",))
        if image.mode not in ("RGB", "L"):
            raise UnreadableImage(f"a picture of mode {image.mode}, not RGB or L")
        _check_chunks(data)
        pixels = np.asarray(image, np.uint8)
    return pixels


def with_palette(data: bytes, colors: Iterable[Color]) -> bytes:
    """A PNG of ids as one with a palette: the same ids, which other programs show in these colours.

    colors: those of ids 0, 1, ..., as many as there are ids at least, 256 at most. A PNG of
    `encode_png` keeps its pixels' bytes. Raises UnreadableImage if data is no PNG of ids.
    """
    body, size = data[_BODY], data[16:24]
    width, height = struct.unpack(">II", size) if len(size) == 8 else (0, 0)
    if data != _png(width, height, _GREY, body):
        ids = decode_png(data)
        if ids.ndim != 2:
            raise UnreadableImage("a picture of mode RGB, not L")
        return with_palette(encode_png(ids), colors)
    palette = _chunk(b"PLTE", b"".join(map(bytes, colors)))
    head = _head(width, height, _PALETTE)
    return b"".join([head, *palette, *_chunk(b"IDAT", body), _END])


def _decode_own(data: bytes) -> UInt8 | None:
    """The pixels of a PNG that `encode_png` wrote, every byte checked; None for any other."""
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
    # The checksum must be the end: nothing may follow it.
    if len(inflated) != size or body[-4:] != deflate.adler32(inflated).to_bytes(4):
        return None
    lines = np.frombuffer(inflated, np.uint8).reshape(height, -1)
    filter = lines[0, 0]
    if filter not in _FILTERS[color] or (lines[:, 0] != filter).any():
        return None
    rows = lines[:, 1:].copy()
    if filter == _PLAIN:
        return rows
    # Each row is the sum of all differences above it. Each of the log2(height) steps doubles how
    # many of them a row holds.
    for step in (1 << i for i in range((height - 1).bit_length())):
        rows[step:] += rows[:-step]
    return rows.reshape(height, width, 3) if color == _RGB else rows


def _check_chunks(data: bytes) -> None:
    """Raises UnreadableImage if a PNG is cut off, or a chunk is altered.

    Pillow does not look at the checksums of those that hold the pixels.
    """
    start, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8]
        stop = start + 8 + length
        checksum = deflate.crc32(data[start + 4 : stop])
        if data[stop : stop + 4] != checksum.to_bytes(4):
            raise UnreadableImage("a PNG that is cut off, or whose bytes do not fit its checksums")
        start = stop + 4


def _png(width: int, height: int, color: int, body: bytes | bytearray) -> bytes:
    """A whole PNG file from its deflated lines."""
    return b"".join([_head(width, height, color), *_chunk(b"IDAT", body), _END])


@lru_cache(maxsize=64)
def _head(width: int, height: int, color: int) -> bytes:
    """The signature of PNG and the chunk IHDR."""
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"".join([_SIGNATURE, *_chunk(b"IHDR", header)])


def _chunk(kind: bytes, body: bytes | bytearray) -> Iterable[bytes | bytearray]:
    checksum = deflate.crc32(body, deflate.crc32(kind))
    return len(body).to_bytes(4), kind, body, checksum.to_bytes(4)


_END = b"".join(_chunk(b"IEND", b""))


def _channels(color: int) -> int:
    return 3 if color == _RGB else 1
