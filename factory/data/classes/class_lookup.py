"""The values or colours of a mask's pixels to class ids, by the rules of its source.

Shapes: H height, W width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID, Color
from factory.data.classes.class_rules import MAX_VALUE, ClassRules
from factory.images import UInt8

Values = npt.NDArray[np.integer[Any]]
"""(H, W) values, 0..65535."""
Packed = npt.NDArray[np.uint32]
"""(H, W) colours, red * 2^16 + green * 2^8 + blue."""
Value = int | Color
"""A value, or a colour where masks are read by colour."""
_T = TypeVar("_T", int, Value)
_MAX_AWAY, _MAX_OF_EDGES = 64, 0.05
"""A colour that is further from all that are named, and has a larger share of a mask, is no edge's,
and of no class."""
MAX_KEPT = 256
"""As many different values of a mask are counted, the most frequent ones."""


@dataclass(frozen=True)
class ClassIds:
    """A mask's class ids, and what its values were."""

    ids: UInt8
    """(H, W) class ids, 255 = ignore, or covered by no rule."""
    values: Mapping[int, int]
    """Value -> number of its pixels, the most frequent first, `MAX_KEPT` at most; empty where
    colours are read."""
    uncovered: Mapping[Value, int]
    """The same of values, or colours, that no rule covers."""
    has_fractions: bool = False
    """True if values are no whole numbers; `values` has those below them."""
    num_missing: int = 0
    """The number of pixels that are no numbers, and ignored."""
    nearest: Mapping[Value, int] = field(default_factory=dict)
    """The number of pixels of each colour that is of the class of the nearest one."""


def ids_of_values(rules: ClassRules, values: Values) -> ClassIds:
    """The class ids of a mask that is read by its values."""
    assert not rules.by_color, rules
    classes, covered = _table(rules)
    counts = count_values(values)
    present = np.flatnonzero(counts)
    occurring = dict(zip(present.tolist(), counts[present].tolist(), strict=True))
    uncovered: dict[Value, int] = {v: n for v, n in occurring.items() if not covered[v]}
    are_ids = values.dtype == np.uint8 and np.array_equal(classes[present], present)
    ids = np.asarray(values, np.uint8) if are_ids else classes[values]
    return ClassIds(ids, _most_frequent(occurring), _most_frequent(uncovered))


def ids_of_colors(rules: ClassRules, packed: Packed) -> ClassIds:
    """The class ids of a mask that is read by its colours."""
    assert rules.by_color, rules
    ids = _color_table(rules)[packed]
    others = packed[ids == IGNORE_ID]
    known = np.array([pack(color) for color in rules.class_of_color], np.uint32)
    others = others[~np.isin(others, known)]
    if rules.nearest_colors and others.size:
        return _with_nearest(rules, ids, packed, known)
    return ClassIds(ids, {}, count_colors(others))


def _with_nearest(rules: ClassRules, ids: UInt8, packed: Packed, known: Packed) -> ClassIds:
    """The class ids of a mask in which colours that no rule names are those of the nearest ones,
    but for flat areas of a colour that is far from all of them."""
    is_other = ~np.isin(packed, known)
    others, inverse, nums = np.unique(packed[is_other], return_inverse=True, return_counts=True)
    found = np.full(len(others), IGNORE_ID, np.uint8)
    away = np.full(len(others), np.inf)
    for color, class_id in rules.class_of_color.items():
        distance = np.linalg.norm(_channels(others) - color, axis=1)
        found[distance < away] = class_id
        away = np.minimum(away, distance)
    is_flat = (away > _MAX_AWAY) & (nums > _MAX_OF_EDGES * packed.size)
    found[is_flat] = IGNORE_ID
    ids[is_other] = found[inverse]
    others_of = packed[is_other]
    uncovered, nearest = (count_colors(others_of[f[inverse]]) for f in (is_flat, ~is_flat))
    return ClassIds(ids, {}, uncovered, nearest=nearest)


def _channels(packed: Packed) -> npt.NDArray[np.int64]:
    """(N, 3) the channels of colours (N,)."""
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=-1).astype(np.int64)


def no_ids_of_colors(packed: Packed) -> ClassIds:
    """A mask of colours whose rules name none: none of its pixels is covered."""
    return ClassIds(np.full(packed.shape, IGNORE_ID, np.uint8), {}, count_colors(packed))


def count_values(values: Values, num: int = 0) -> npt.NDArray[np.int64]:
    """(at least num,) the number of pixels of each value 0, 1, ... of an array of any shape."""
    flat = values.ravel()
    # Masks consist of runs of one value, which are far fewer than pixels.
    begins = np.ones(len(flat), bool)
    np.not_equal(flat[1:], flat[:-1], out=begins[1:])
    starts = np.flatnonzero(begins)
    lengths = np.append(starts[1:], len(flat)) - starts
    return np.bincount(flat[starts], lengths, num).astype(np.int64)


def count_colors(packed: Packed) -> dict[Value, int]:
    """Colour -> number of its pixels, the most frequent first, `MAX_KEPT` at most."""
    colors, counts = np.unique(packed, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:MAX_KEPT]
    return {unpack(int(colors[i])): int(counts[i]) for i in first}


def packed(red: UInt8, green: UInt8, blue: UInt8) -> Packed:
    """(H, W) colours of three channels (H, W)."""
    return np.asarray(red.astype(np.uint32) << 16 | green.astype(np.uint32) << 8 | blue, np.uint32)


def pack(color: Color) -> int:
    """The colour as one number."""
    red, green, blue = color
    return red << 16 | green << 8 | blue


def unpack(packed: int) -> Color:
    """The colour that a number stands for."""
    return packed >> 16, packed >> 8 & 255, packed & 255


def _most_frequent(counts: Mapping[_T, int]) -> dict[_T, int]:
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:MAX_KEPT])


@lru_cache(maxsize=16)
def _table(rules: ClassRules) -> tuple[UInt8, npt.NDArray[np.bool_]]:
    """(65536,) the class id of each value, 255 = ignore, and whether a rule covers it."""
    classes = np.full(MAX_VALUE + 1, IGNORE_ID, np.uint8)
    covered = np.zeros(len(classes), bool)
    covered[IGNORE_ID] = True

    def cover(values: Any, class_id: int) -> None:
        classes[values], covered[values] = class_id, True

    every = np.arange(len(classes))
    if rules.rest is not None:
        cover(every <= rules.thresholds[0][0], rules.rest)
    for above, class_id in rules.thresholds:
        cover(every > above, class_id)
    for value, class_id in rules.class_of_id.items():
        cover(value, class_id)  # A negative one counts from the end, as it is stored in 16 bits.
    return (classes, covered) if rules.divisor is None else _divided(rules, classes, covered)


def _divided(
    rules: ClassRules, classes: UInt8, covered: npt.NDArray[np.bool_]
) -> tuple[UInt8, npt.NDArray[np.bool_]]:
    """The same for values that are divided to be ids."""
    assert rules.divisor is not None
    every = np.arange(len(classes))
    is_small = every < rules.divisor
    ids = np.where(is_small & (rules.smaller == "classes"), every, every // rules.divisor)
    is_meant = ~is_small | (every == 0) | (rules.smaller is not None)
    negative = [value for value in rules.class_of_id if value < 0]
    ids[negative] = negative
    are_covered = covered[ids] & is_meant
    return np.where(are_covered, classes[ids], np.uint8(IGNORE_ID)), are_covered


@lru_cache(maxsize=4)
def _color_table(rules: ClassRules) -> UInt8:
    """(2^24,) the class id of each packed colour, 255 where none has it."""
    classes = np.full(2**24, rules.class_of_other_colors, np.uint8)
    for color, class_id in rules.class_of_color.items():
        classes[pack(color)] = class_id
    return classes
