"""Images that occur twice: of equal pixels, or nearly so, mirrored or saved again with loss.

Shapes: N images, S image size.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory.images import UInt8, pillow_image

MAX_COMPARED = 50_000
"""Of more images than these, only equal pixels are found: all are compared with all."""
_SIDE, _COARSE = 16, 8
"""Height and width of what images are compared by, closely and first."""
_ROWS = 128
"""Images that are compared with all others at once."""
_MIN_CONTRAST = 4.0
"""The least standard deviation of a thumbnail: flatter ones are all alike."""
_MIN_CORRELATION, _MAX_DIFFERENCE = 0.995, 4.0
"""The least correlation of images that are nearly the same, and the most mean difference of 255."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an image is recognised by."""

    name: str
    pixels: bytes
    """A hash of its pixels."""
    thumbnail: UInt8
    """(16, 16) grey."""


def fingerprint(name: str, image: UInt8) -> Fingerprint:
    """The fingerprint of an image (S, S, 3) or (S, S, 1)."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    grey = pillow_image(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return Fingerprint(name, digest, np.asarray(grey))


def equal(some: Sequence[Fingerprint], others: Sequence[Fingerprint]) -> list[str]:
    """The names of those of some whose pixels are among others."""
    known = {one.pixels for one in others}
    return [one.name for one in some if one.pixels in known]


def num_repeated(some: Sequence[Fingerprint]) -> int:
    """The number of images whose pixels an earlier one has."""
    return len(some) - len({one.pixels for one in some})


def nearly_equal(
    some: Sequence[Fingerprint], others: Sequence[Fingerprint] | None = None
) -> list[tuple[str, str]]:
    """Pairs of names of images that are nearly the same, but not of equal pixels: each of some,
    once, with one of others, or with an earlier one of some if there are no others."""
    compared = some if others is None else others
    if max(len(some), len(compared)) > MAX_COMPARED or not some or not compared:
        return []
    found: dict[int, int] = {}
    for first, second in _alike(_thumbnails(some), _thumbnails(compared), others is None):
        if some[first].pixels != compared[second].pixels:
            found.setdefault(first, second)
    return [(some[i].name, compared[j].name) for i, j in sorted(found.items())]


def _thumbnails(prints: Sequence[Fingerprint]) -> UInt8:
    return np.stack([one.thumbnail for one in prints])


def _alike(some: UInt8, others: UInt8, is_same: bool) -> Iterator[tuple[int, int]]:
    """Yields positions of thumbnails (N, 16, 16) that are nearly the same, mirrored or not: of
    each, at most the likeliest one of the others, or of those before it."""
    known = _normalised(_coarse(others))
    for turned in (some, some[:, :, ::-1]):
        vectors = _normalised(_coarse(turned))
        for start in range(0, len(some), _ROWS):
            stop = min(start + _ROWS, len(some))
            rows = np.arange(start, stop)
            similar = vectors[start:stop] @ known[: stop if is_same else len(known)].T
            if is_same:
                similar[:, start:][~np.tri(len(rows), k=-1, dtype=bool)] = -1
            nearest = similar.argmax(axis=1)
            close = _are_close(turned[rows], others[nearest])
            yield from zip(rows[close].tolist(), nearest[close].tolist(), strict=True)


def _coarse(thumbnails: UInt8) -> UInt8:
    """(N, 8, 8) of (N, 16, 16)."""
    half = _SIDE // _COARSE
    blocks = thumbnails.reshape(-1, _COARSE, half, _COARSE, half)
    result: UInt8 = blocks.mean(axis=(2, 4)).astype(np.uint8)
    return result


def _normalised(pictures: UInt8) -> Floats:
    """(N, P) the pixels of each picture, of mean 0 and length 1; all 0 of flat ones."""
    values = pictures.reshape(len(pictures), np.prod(pictures.shape[1:])).astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    is_flat = lengths < _MIN_CONTRAST * np.sqrt(values.shape[1])
    result: Floats = np.where(is_flat, 0, values / np.maximum(lengths, 1e-6))
    return result


def _are_close(some: UInt8, others: UInt8) -> npt.NDArray[np.bool_]:
    """(N,) whether pictures (N, 16, 16) are nearly the same, one by one."""
    correlations = (_normalised(some) * _normalised(others)).sum(axis=1)
    differences = np.abs(some.astype(np.float32) - others).mean(axis=(1, 2))
    close = (correlations >= _MIN_CORRELATION) & (differences <= _MAX_DIFFERENCE)
    return np.asarray(close)
