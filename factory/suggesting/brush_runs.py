"""The runs by which Label Studio stores what a brush painted: the bytes of an RGBA image, of which
the last one counts, packed bit by bit.

First 32 bits with the number of bytes, 5 with the bits of a byte less 1, and four times 4 bits: the
bits of the four ways to write a length, less 1. Then pieces: a bit that says whether one byte
repeats, 2 bits for the way in which the length is written, the length less 1, and that byte, or all
of them (the format of @thi.ng/rle-pack).

Shapes: H height, W width.
"""

import numpy as np

from factory.errors import UnreadableImage
from factory.suggesting.layers import Pixels

_NUM_CHANNELS, _BITS = 4, 8
_LENGTH_BITS = (3, 4, 8, 16)
_LONGEST = 2 ** _LENGTH_BITS[-1]
_PAINTED = 128
"""A pixel is painted whose opacity is this or more: the edge of a stroke is smooth."""
_OPAQUE = 255


def encode(pixels: Pixels) -> list[int]:
    """The runs of painted pixels (H, W): bytes of 0..255."""
    flat = pixels.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], changes])
    lengths = np.diff(np.concatenate([starts, [len(flat)]])) * _NUM_CHANNELS
    bits = [f"{flat.size * _NUM_CHANNELS:032b}{_BITS - 1:05b}"]
    bits += [f"{length - 1:04b}" for length in _LENGTH_BITS]
    for length, is_painted in zip(lengths.tolist(), flat[starts].tolist(), strict=True):
        value = _OPAQUE if is_painted else 0
        whole, rest = divmod(length, _LONGEST)
        bits += [_piece(_LONGEST, value)] * whole
        bits += [_piece(rest, value)] if rest else []
    text = "".join(bits)
    return np.packbits(np.frombuffer(text.encode(), np.uint8) - ord("0")).tolist()


def _piece(length: int, value: int) -> str:
    """The bits of so many equal bytes."""
    way = next(i for i, bits in enumerate(_LENGTH_BITS) if length <= 2**bits)
    return f"1{way:02b}{length - 1:0{_LENGTH_BITS[way]}b}{value:0{_BITS}b}"


def decode(runs: object, size: tuple[int, int]) -> Pixels:
    """(H, W) the pixels that are painted. size: width and height.

    Raises UnreadableImage, the end of a sentence.
    """
    width, height = size
    num = width * height * _NUM_CHANNELS
    if not isinstance(runs, list) or not all(type(n) is int and 0 <= n <= 255 for n in runs):
        raise UnreadableImage("runs of a brush that are no bytes")
    bits = _Bits(np.array(runs, np.uint8))
    if bits.number(32) != num or bits.number(5) != _BITS - 1:
        raise UnreadableImage(f"runs of a brush that are not those of {width}x{height} pixels")
    length_bits = [bits.number(4) + 1 for _ in _LENGTH_BITS]
    parts, done = [], 0
    while done < num:
        repeats = bits.number(1)
        length = bits.number(length_bits[bits.number(2)]) + 1
        parts.append(bits.bytes(1).repeat(length) if repeats else bits.bytes(length))
        done += length
    values = np.concatenate(parts)
    if len(values) != num:
        raise UnreadableImage(f"runs of a brush that do not end with {width}x{height} pixels")
    return values.reshape(height, width, _NUM_CHANNELS)[..., -1] >= _PAINTED


class _Bits:
    """Numbers of some bits each, one after the other."""

    def __init__(self, data: np.ndarray) -> None:
        self._bits, self._at = np.unpackbits(data), 0

    def _next(self, num: int) -> np.ndarray:
        """The next bits. Raises UnreadableImage where there are fewer."""
        found = self._bits[self._at : self._at + num]
        if len(found) < num:
            raise UnreadableImage("runs of a brush that are cut off")
        self._at += num
        return found

    def number(self, num_bits: int) -> int:
        """The next bits as a number, the highest first."""
        return int.from_bytes(np.packbits(self._padded(num_bits)).tobytes())

    def _padded(self, num_bits: int) -> np.ndarray:
        return np.concatenate([np.zeros(-num_bits % _BITS, np.uint8), self._next(num_bits)])

    def bytes(self, num: int) -> np.ndarray:
        """The next bytes."""
        return np.packbits(self._next(num * _BITS))
