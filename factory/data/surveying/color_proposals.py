"""What the colours of masks are likely to mean, where nobody has said it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.classes import Color
from factory.data.surveying.mask_sampling import MaskSample
from factory.data.surveying.proposal import Proposal, name_of

_BLACK: Color = (0, 0, 0)
_VOC_BORDER: Color = (224, 224, 192)
_MAX_COLORS = 64
"""More colours than these are objects, or edges that were smoothed."""
_MIN_MASKS, _MIN_OBJECTS = 3, 6
"""The least masks, and colours, of which it is seen that each mask has colours of its own."""
_MIN_OWN = 0.8
"""The least share of the pixels of objects whose colours are in one mask alone."""
_MIN_WITH_GROUND = 0.9
"""The least share of masks that have the colour of the ground."""
NEAR, _APART = 24, 48
"""Compression changes most colours by less than the first; those of classes differ by more than the
second."""
_MIN_FLAT, _MIN_FLAT_BETWEEN, _MIN_OF_REST = 0.005, 0.08, 0.15
"""The least share of pixels of a class's colour: of all, of all if it lies between two others, as
that of edges does, and of those that are near no other."""
_MIN_OF_FLAT = 0.8
"""The least share of pixels that have the colours of classes where others are smoothed edges."""
_BETWEEN, _MIN_BETWEEN = 12, 0.9
"""Colours of edges are no further from the line between those of two classes, but for few pixels,
where several classes meet."""
Colors = npt.NDArray[np.float64]
"""(N, 3)"""


def propose(sample: MaskSample) -> Proposal | None:
    """Classes of the colours of masks; None if these are too many for it."""
    pixels = Counter({c: num for c, num in sample.pixels.items() if isinstance(c, tuple)})
    if not sample.is_blurred and (ground := _ground_of_objects(sample)) is not None:
        return _of_objects(ground, pixels)
    flat = _flat(pixels)
    if _are_edges_beside(flat, pixels, sample.is_blurred):
        return _nearest(flat, pixels, sample.is_blurred)
    if sample.is_blurred or len(pixels) > _MAX_COLORS:
        return None
    ignored = [color for color in pixels if color == _VOC_BORDER]
    palettes = " of palettes whose indices are no classes" if sample.palettes_differ else ""
    seen = f"{len(pixels)} colours{palettes}"
    ignore = {"colors": [list(_VOC_BORDER)]} if ignored else {}
    colors = [color for color, _ in pixels.most_common() if color not in ignored]
    return Proposal(_classes(colors), ignore, seen, ("the names of the classes",))


def _classes(colors: Sequence[Color]) -> tuple[Mapping[str, Any], ...]:
    """A class for each colour: black is the background, the others as they come."""
    ordered = sorted(colors, key=lambda color: color != _BLACK)
    return tuple(
        {"name": name_of(i, has_background=_BLACK in colors), "colors": [list(color)]}
        for i, color in enumerate(ordered)
    )


def _ground_of_objects(sample: MaskSample) -> Color | None:
    """The colour around objects of which each mask has colours of its own; None of others."""
    files = [{c: n for c, n in file.items() if isinstance(c, tuple)} for file in sample.files]
    num_with = Counter(color for file in files for color in file)
    if len(files) < _MIN_MASKS or len(num_with) <= _MIN_OBJECTS:
        return None
    total: Counter[Color] = Counter()
    for file in files:
        total.update(file)
    ground = max(num_with, key=lambda color: (num_with[color], total[color]))
    of_objects = total.total() - total[ground]
    own = sum(num for color, num in total.items() if num_with[color] == 1)
    is_around = num_with[ground] >= _MIN_WITH_GROUND * len(files)
    return ground if is_around and own >= _MIN_OWN * of_objects else None


def _of_objects(ground: Color, pixels: Mapping[Color, int]) -> Proposal:
    """Two classes: the ground, and all other colours."""
    classes = (
        {"name": name_of(0), "colors": [list(ground)]},
        {"name": name_of(1), "colors": "others"},
    )
    doubt = (
        f"whether all colours but {ground} are objects of one class, as each mask has others: if a "
        "colour is a class, name it in the `colors` of that class"
    )
    return Proposal(classes, {}, f"{len(pixels)} colours that differ from mask to mask", (doubt,))


def _flat(pixels: Counter[Color]) -> list[Color]:
    """The colours that many pixels have, or have nearly, the most frequent first."""
    every = np.array(list(pixels), np.float64).reshape(-1, 3)
    nums = np.array(list(pixels.values()))
    rest = nums.copy()
    found: list[Color] = []
    for color, _ in pixels.most_common(2 * _MAX_COLORS):
        if any(np.linalg.norm(np.subtract(color, other)) < _APART for other in found):
            continue
        near = np.linalg.norm(every - color, axis=1) <= NEAR
        is_between = _are_between(np.array([color], np.float64), np.array(found, np.float64))
        least = _MIN_FLAT_BETWEEN if is_between.any() else _MIN_FLAT
        if rest[near].sum() >= max(least * nums.sum(), _MIN_OF_REST * rest.sum()):
            found.append(color)
            rest[near] = 0
    return found


def _are_edges_beside(flat: Sequence[Color], pixels: Mapping[Color, int], is_blurred: bool) -> bool:
    """True if nearly all pixels have some flat colours, and the others lie between two of them, or
    anywhere where compression has blurred them."""
    others = [color for color in pixels if color not in flat]
    if not 2 <= len(flat) <= _MAX_COLORS or len(others) <= 2 * len(flat):
        return False
    known, rest = np.array(flat, np.float64), np.array(others, np.float64)
    near = np.linalg.norm(rest[:, None] - known, axis=2).min(axis=1) <= NEAR
    nums = np.array([pixels[color] for color in others])
    total = sum(pixels.values())
    num_flat = sum(pixels[color] for color in flat)
    if is_blurred:
        return bool(num_flat + nums[near].sum() >= _MIN_OF_FLAT * total)
    between = nums[_are_between(rest, known)].sum()
    return bool(num_flat >= _MIN_OF_FLAT * total and between >= _MIN_BETWEEN * nums.sum())


def _are_between(colors: Colors, ends: Colors) -> npt.NDArray[np.bool_]:
    """(N,) True of colours that lie near a line between two of the ends (M, 3)."""
    found = np.zeros(len(colors), bool)
    for i, start in enumerate(ends):
        for along in ends[i + 1 :] - start:
            share = np.clip((colors - start) @ along / (along @ along), 0, 1)
            found |= np.linalg.norm(colors - start - share[:, None] * along, axis=1) <= _BETWEEN
    return found


def _nearest(flat: Sequence[Color], pixels: Mapping[Color, int], is_blurred: bool) -> Proposal:
    """Classes of the flat colours, of which the others are the nearest."""
    total = sum(pixels.values())
    num = total - sum(pixels[color] for color in flat)
    why = "compression has blurred" if is_blurred else "smoothed edges have"
    doubt = (
        f"whether these {len(flat)} colours are all: {num / total:.1%} of the pixels have others, "
        f"which {why}, and are the class of the nearest"
    )
    doubts = ("the names of the classes", doubt)
    seen = f"{len(flat)} colours, and those of edges,"
    return Proposal(_classes(flat), {}, seen, doubts, nearest_colors=True)
