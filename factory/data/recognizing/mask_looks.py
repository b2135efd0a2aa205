"""Which pictures look like masks: those of few flat colours."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from factory.data.files.trees import Tree
from factory.data.pixels import decoding
from factory.errors import UnreadableImage
from factory.images import Int64

MAX_COLORS = 64
"""A picture with more colours than this is no mask."""
_MAX_OF_DRAWINGS = 16
"""With no more colours it need not be flat, as where pixels are classified one by one."""
_NUM_TOP, _TOP_SHARE = 4, 0.95
_NUM_LOOKED_INTO = 6


def looks_like_mask(data: bytes) -> bool:
    """True if a picture has few colours in flat areas, or four that nearly all of its pixels have.

    Raises UnreadableImage.
    """
    image = decoding.open_file(data)
    counts, is_whole = _counts(image)
    if image.format == "JPEG":  # which blurs flat colours: levels that are near count as one
        counts = np.pad(counts, 4).reshape(-1, 8).sum(axis=1) if len(counts) == 256 else counts
    elif is_whole and (0 < (num := (counts > 0).sum()) <= MAX_COLORS):
        return bool(num <= _MAX_OF_DRAWINGS or _is_flat(image))
    top = np.sort(counts)[::-1][:_NUM_TOP].sum()
    return bool(top >= _TOP_SHARE * image.width * image.height)


def _counts(image: Image.Image) -> tuple[Int64, bool]:
    """The pixels of each colour, and True; where there are many colours, those of each level of
    grey, and False."""
    if image.mode.startswith("I") or image.mode == "F":
        return np.unique(np.asarray(image), return_counts=True)[1], True
    if image.mode in ("1", "L", "P"):
        return np.array(image.histogram()), True
    if few := image.getcolors(MAX_COLORS):
        return np.array([count for count, _ in few]), True
    return np.array(decoding.to_rgb(image).convert("L").histogram()), False


def _is_flat(image: Image.Image) -> bool:
    """True if neighbours are mostly equal, as they are not in a dark or pale photograph."""
    pixels = np.asarray(image)
    equal = pixels[:, 1:] == pixels[:, :-1]
    equal = equal.all(axis=2) if equal.ndim == 3 else equal
    return bool(equal.size == 0 or 2 * np.count_nonzero(equal) >= equal.size)


def share_of_masks(tree: Tree, names: Sequence[str]) -> float:
    """The share of a few files that look like masks; those that cannot be read do not."""
    few = _few(names)
    return sum(_looks(tree, name) for name in few) / max(1, len(few))


def are_binary(tree: Tree, names: Sequence[str]) -> bool:
    """True if a few files hold two colours at most each, as the files of parts do."""
    return all(_num_colors(tree, name) <= 2 for name in _few(names))


def _num_colors(tree: Tree, name: str) -> int:
    """The number of colours of a file, of those that are told apart in spite of compression."""
    try:
        image = decoding.open_file(tree.read(name))
    except (OSError, UnreadableImage):
        return 0  # which its reader tells
    if image.format == "JPEG":
        return len(np.unique(np.asarray(decoding.to_rgb(image).convert("L")) // 128))
    return len(np.unique(np.asarray(image)))


def _few(names: Sequence[str]) -> Sequence[str]:
    return names[:: max(1, len(names) // _NUM_LOOKED_INTO)]


def _looks(tree: Tree, name: str) -> bool:
    try:
        return looks_like_mask(tree.read(name))
    except (OSError, UnreadableImage):
        return False
