"""Images that occur twice: of equal pixels, or nearly so, mirrored or saved again with loss.

Only what an image shows is compared: not bars around it, and no images that are blank, or as smooth
as the light on an empty slide, which are all alike. Shapes: N images, S image size.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

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
_MAX_BLANK = 8
"""The most levels by which pixels differ that are of one colour, as compression leaves them."""
_MIN_CONTRAST, _MIN_SHAPES = 4.0, 2.5
"""The least standard deviation of a thumbnail, and that around its smooth part: flatter and
smoother ones are all alike."""
_MIN_CELLS = 3
"""The least height and width of what an image shows in its thumbnail."""
_MIN_SHARED = 0.5
"""The least share of what two images show that they show at the same place."""
_TINY = 1e-6
_MIN_CORRELATION, _MAX_DIFFERENCE = 0.995, 4.0
"""The least correlation of images that are nearly the same, and the most mean difference of 255."""

Cells = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What an image is recognised by."""

    name: str
    pixels: bytes
    """A hash of its pixels."""
    thumbnail: UInt8
    """(16, 16) grey."""
    content: Cells
    """(16, 16) where it shows what the image shows, and no bar; nowhere if that has no shape."""
    is_blank: bool = False
    """True if it is of one colour."""


def fingerprint(name: str, image: UInt8) -> Fingerprint:
    """The fingerprint of an image (S, S, 3) or (S, S, 1)."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    grey = pillow_image(image).convert("L")
    thumbnail = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX))
    content = np.zeros((_SIDE, _SIDE), bool)
    inside = _without_bars(np.asarray(grey))
    content[inside] = _has_shapes(thumbnail[inside])
    return Fingerprint(name, digest, thumbnail, content, is_blank(image))


def is_blank(image: UInt8) -> bool:
    """True if no two pixels of an image (H, W, C) differ by more than compression makes them."""
    channels = (image[..., i] for i in range(image.shape[-1]))
    return all(int(each.max()) - int(each.min()) <= _MAX_BLANK for each in channels)


def _without_bars(grey: UInt8) -> tuple[slice, slice]:
    """The cells of the thumbnail of an image (S, S) that lie within bars of one grey, which run
    along its edges."""
    found = []
    for axis in (1, 0):
        shown = np.flatnonzero(grey.max(axis=axis) - grey.min(axis=axis) > _MAX_BLANK)
        first, last = (int(shown[0]), int(shown[-1]) + 1) if len(shown) else (0, 0)
        found.append(slice(-(-first * _SIDE // len(grey)), last * _SIDE // len(grey)))
    return found[0], found[1]


def _has_shapes(cells: UInt8) -> bool:
    """True if grey cells (H, W) hold more than a smooth course of light."""
    height, width = cells.shape  # Which may be 0.
    if min(height, width) < _MIN_CELLS:
        return False
    smooth, values = _smooth(height, width), cells.ravel().astype(np.float32)
    rest = values - smooth @ (smooth.T @ values)  # Its mean is 0.
    return bool(rest @ rest >= _MIN_SHAPES**2 * len(rest))


@lru_cache(maxsize=_SIDE * _SIDE)
def _smooth(height: int, width: int) -> Floats:
    """(height * width, 6) the courses of the second degree over cells, orthonormal."""
    y, x = (values.ravel() for values in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    courses = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    result: Floats = np.linalg.qr(courses)[0].astype(np.float32)
    return result


def equal(some: Sequence[Fingerprint], others: Sequence[Fingerprint]) -> list[str]:
    """The names of those of some whose pixels are among others, without blank ones."""
    known = {one.pixels for one in others}
    return [one.name for one in some if one.pixels in known and not one.is_blank]


def num_repeated(some: Sequence[Fingerprint]) -> int:
    """The number of images whose pixels an earlier one has, without blank ones."""
    shown = [one.pixels for one in some if not one.is_blank]
    return len(shown) - len(set(shown))


def nearly_equal(
    some: Sequence[Fingerprint], others: Sequence[Fingerprint] | None = None
) -> list[tuple[str, str]]:
    """Pairs of names of images that are nearly the same, but not of equal pixels: each of some,
    once, with one of others, or with an earlier one of some if there are no others."""
    compared = some if others is None else others
    if max(len(some), len(compared)) > MAX_COMPARED or not some or not compared:
        return []
    found: dict[int, int] = {}
    for first, second in _alike(_shown(some), _shown(compared), others is None):
        if some[first].pixels != compared[second].pixels:
            found.setdefault(first, second)
    return [(some[i].name, compared[j].name) for i, j in sorted(found.items())]


class _Shown(NamedTuple):
    """What images show, one after the other."""

    thumbnails: UInt8
    """(N, 16, 16)."""
    contents: Cells
    """(N, 16, 16)."""

    def mirrored(self) -> "_Shown":
        return _Shown(self.thumbnails[:, :, ::-1], self.contents[:, :, ::-1])

    def of(self, rows: npt.NDArray[np.intp]) -> "_Shown":
        return _Shown(self.thumbnails[rows], self.contents[rows])


def _shown(prints: Sequence[Fingerprint]) -> _Shown:
    thumbnails = np.stack([one.thumbnail for one in prints])
    return _Shown(thumbnails, np.stack([one.content for one in prints]))


def _alike(some: _Shown, others: _Shown, is_same: bool) -> Iterator[tuple[int, int]]:
    """Yields positions of images that are nearly the same, mirrored or not: of each, at most the
    likeliest one of the others, or of those before it."""
    known, num = _coarse(others), len(some.thumbnails)
    for turned in (some, some.mirrored()):
        vectors = _coarse(turned)
        for start in range(0, num, _ROWS):
            stop = min(start + _ROWS, num)
            rows = np.arange(start, stop)
            similar = vectors[start:stop] @ known[: stop if is_same else len(known)].T
            if is_same:
                similar[:, start:][~np.tri(len(rows), k=-1, dtype=bool)] = -1
            nearest = similar.argmax(axis=1)
            close = _are_close(turned.of(rows), others.of(nearest))
            yield from zip(rows[close].tolist(), nearest[close].tolist(), strict=True)


def _coarse(shown: _Shown) -> Floats:
    """(N, 64) what each image shows, of 8 x 8 cells, as `_normalised` has it."""
    half, num = _SIDE // _COARSE, len(shown.thumbnails)
    result = np.empty((num, _COARSE * _COARSE), np.float32)
    for start in range(0, num, _ROWS):
        rows = slice(start, start + _ROWS)
        values = _normalised(shown.thumbnails[rows], shown.contents[rows])
        blocks = values.reshape(-1, _COARSE, half, _COARSE, half).mean(axis=(2, 4))
        cells = blocks.reshape(-1, _COARSE * _COARSE)
        result[rows] = cells / np.maximum(np.linalg.norm(cells, axis=1, keepdims=True), _TINY)
    return result


def _normalised(thumbnails: UInt8, contents: Cells) -> Floats:
    """(N, 256) the cells of each content, of mean 0 and length 1, and 0 around it; all 0 of flat
    ones."""
    inside = contents.reshape(-1, _SIDE * _SIDE)
    values = thumbnails.reshape(inside.shape).astype(np.float32)
    sizes = np.maximum(inside.sum(axis=1, keepdims=True), 1)
    values = np.where(inside, values - (values * inside).sum(axis=1, keepdims=True) / sizes, 0)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    is_flat = lengths < _MIN_CONTRAST * np.sqrt(sizes)
    result: Floats = np.where(is_flat, 0, values / np.maximum(lengths, _TINY)).astype(np.float32)
    return result


def _are_close(some: _Shown, others: _Shown) -> Cells:
    """(N,) whether images are nearly the same, one by one, where both show something."""
    both = some.contents & others.contents
    sizes, either = both.sum(axis=(1, 2)), (some.contents | others.contents).sum(axis=(1, 2))
    correlations = _normalised(some.thumbnails, both) * _normalised(others.thumbnails, both)
    differences = np.abs(some.thumbnails.astype(np.float32) - others.thumbnails) * both
    close = correlations.sum(axis=1) >= _MIN_CORRELATION
    close &= differences.sum(axis=(1, 2)) <= _MAX_DIFFERENCE * sizes
    return np.asarray(close & (sizes >= _MIN_SHARED * either))
