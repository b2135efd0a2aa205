"""Which pictures look like masks: those of few flat colours."""

from collections.abc import Sequence

import numpy as np

from factory.data import decoding
from factory.data.trees import Tree
from factory.errors import UnreadableImage

MAX_COLORS = 64
"""A picture with more colours than this is no mask."""
_NUM_TOP, _TOP_SHARE = 4, 0.95
_NUM_LOOKED_INTO = 6


def looks_like_mask(data: bytes) -> bool:
    """True if a picture has few colours, or four that nearly all of its pixels have.

    Raises UnreadableImage.
    """
    image = decoding.open_file(data)
    if image.mode.startswith("I") or image.mode == "F":
        counts = np.unique(np.asarray(image), return_counts=True)[1]
    elif image.mode in ("1", "L", "P"):
        counts = np.array(image.histogram())
    else:
        few = image.getcolors(MAX_COLORS)
        counts = np.array([count for count, _ in few] if few else image.convert("L").histogram())
    if image.format == "JPEG":  # which blurs flat colours: levels that are near count as one
        counts = np.pad(counts, 4).reshape(-1, 8).sum(axis=1) if len(counts) == 256 else counts
    elif 0 < (counts > 0).sum() <= MAX_COLORS:
        return True
    top = np.sort(counts)[::-1][:_NUM_TOP].sum()
    return bool(top >= _TOP_SHARE * image.width * image.height)


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
        return len(np.unique(np.asarray(image.convert("L")) // 128))
    return len(np.unique(np.asarray(image)))


def _few(names: Sequence[str]) -> Sequence[str]:
    return names[:: max(1, len(names) // _NUM_LOOKED_INTO)]


def _looks(tree: Tree, name: str) -> bool:
    try:
        return looks_like_mask(tree.read(name))
    except (OSError, UnreadableImage):
        return False
