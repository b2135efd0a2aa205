"""Which pictures look like masks: those of few flat colours."""

import random
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
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
MAX_GROUPS, NUM_A_GROUP = 32, 3
"""The most groups of files of which some are looked into, and how many of each."""
_SAME_SHARE = 0.8
"""The least share of an area, and of what is around it, that two pictures have in common to be the
same: small objects that lie elsewhere have none."""
_MAX_OVERLAP = 0.02
"""The largest share of what parts cover that is of two of them: borders, drawn on both sides."""
T = TypeVar("T")
Bools = npt.NDArray[np.bool_]


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


def share_of_masks(tree: Tree, names: Sequence[str], num: int = _NUM_LOOKED_INTO) -> float:
    """The share of a few files, num at most, that look like masks; those that cannot be read do
    not."""
    few = _few(names, num)
    return sum(_looks(tree, name) for name in few) / max(1, len(few))


def are_binary(tree: Tree, groups: Sequence[Sequence[str]]) -> bool:
    """True if a few files of each of some groups hold two colours at most, as those of parts do."""
    names = [name for group in _few(groups, MAX_GROUPS) for name in _few(group, NUM_A_GROUP)]
    return all(_num_colors(tree, name) <= 2 for name in names)


def are_of_one_channel(tree: Tree, names: Sequence[str]) -> bool:
    """True if a few files hold no colours but those of a palette, as those of class ids do."""
    return all(_num_channels(tree, name) <= 1 for name in _few(names))


def are_apart(tree: Tree, groups: Sequence[Sequence[str]]) -> bool:
    """True if the bright areas of the files of a few groups do not overlap, as those of an image's
    parts do not, whereas two people's masks of one thing do."""
    several = [group for group in groups if len(group) > 1]
    overlap = covered = 0
    for group in several[:: max(1, len(several) // _NUM_LOOKED_INTO)]:
        areas = [area for name in group if (area := _bright(tree, name)) is not None]
        times = np.sum(areas, axis=0)
        overlap += int((times > 1).sum())
        covered += int((times > 0).sum())
    return covered > 0 and overlap <= _MAX_OVERLAP * covered


def are_one_picture(tree: Tree, names: Sequence[str]) -> bool:
    """True if a few files show nearly the same flat picture of two colours, as fields of view do,
    which carry no labels."""
    first: Bools | None = None
    for name in _few(names):
        area = _bright(tree, name)
        if area is None or area.all() or not area.any():
            return False
        first = area if first is None else first
        if not (_agree(first, area) and _agree(~first, ~area)):
            return False
    return first is not None


def _bright(tree: Tree, name: str) -> Bools | None:
    """(64, 64) the brighter half of a picture that looks like a mask; None of others."""
    try:
        data = tree.read(name)
        if not looks_like_mask(data):
            return None
        small = decoding.open_file(data).convert("L").resize((64, 64), Image.Resampling.NEAREST)
    except (OSError, UnreadableImage, ValueError):
        return None
    grey = np.asarray(small).astype(np.int16)
    found: Bools = 2 * grey > int(grey.max()) + int(grey.min())
    return found


def _agree(one: Bools, other: Bools) -> bool:
    """True if two areas are nearly the same."""
    return bool((one & other).sum() >= _SAME_SHARE * (one | other).sum())


def _num_colors(tree: Tree, name: str) -> int:
    """The number of colours of a file, of those that are told apart in spite of compression; one
    more than `MAX_COLORS` stands for all that are more."""
    try:
        image = decoding.open_file(tree.read(name))
    except (OSError, UnreadableImage):
        return 0  # which its reader tells
    if image.format == "JPEG":
        return len(np.unique(np.asarray(decoding.to_rgb(image).convert("L")) // 128))
    if len(image.getbands()) == 1:
        return len(np.unique(np.asarray(image)))
    return len(image.getcolors(MAX_COLORS) or range(MAX_COLORS + 1))


def _num_channels(tree: Tree, name: str) -> int:
    try:
        return len(decoding.open_file(tree.read(name)).getbands())
    except (OSError, UnreadableImage):
        return 0  # which its reader tells


def _few(names: Sequence[T], num: int = _NUM_LOOKED_INTO) -> list[T]:
    """A few of many, always the same, at no even steps: every sixth may be of one kind."""
    chosen = random.Random(len(names)).sample(range(len(names)), min(num, len(names)))
    return [names[i] for i in sorted(chosen)]


def _looks(tree: Tree, name: str) -> bool:
    try:
        return looks_like_mask(tree.read(name))
    except (OSError, UnreadableImage):
        return False
