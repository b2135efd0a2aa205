"""The values or colours of a mask's pixels to class ids, by the rules of its source.

Shapes: H height, W width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID, Color
from factory.data.class_rules import MAX_VALUE, ClassRules
from factory.images import UInt8

Values = npt.NDArray[np.integer[Any]]
"""(H, W) values, 0..65535."""
Packed = npt.NDArray[np.uint32]
"""(H, W) colours, red * 2^16 + green * 2^8 + blue."""
Value = int | Color
"""A value, or a colour where masks are read by colour."""
MAX_KEPT = 256
"""As many different values of a mask are counted, the most frequent ones."""
_NO_CLASS = -1


@dataclass(frozen=True)
class ClassIds:
    """A mask's class ids, and what its values were."""

    ids: UInt8
    """(H, W) class ids, 255 = ignore, or covered by no rule."""
    values: Mapping[Value, int]
    """Value -> number of its pixels, the most frequent first, `MAX_KEPT` at most."""
    uncovered: Mapping[Value, int]
    """The same of values that no rule covers."""


def ids_of_values(rules: ClassRules, values: Values) -> ClassIds:
    """The class ids of a mask that is read by its values."""
    assert not rules.by_color, rules
    found = _table(rules)[values]
    counts = np.bincount(values.ravel())
    present = np.flatnonzero(counts)
    occurring: dict[Value, int] = {int(value): int(counts[value]) for value in present}
    uncovered: dict[Value, int] = {
        int(value): int(counts[value]) for value in present if _table(rules)[value] == _NO_CLASS
    }
    ids = np.where(found == _NO_CLASS, IGNORE_ID, found).astype(np.uint8)
    return ClassIds(ids, _most_frequent(occurring), _most_frequent(uncovered))


def ids_of_colors(rules: ClassRules, packed: Packed) -> ClassIds:
    """The class ids of a mask that is read by its colours."""
    assert rules.by_color, rules
    class_of = {pack(color): i for color, i in rules.class_of_color.items()}
    known = np.array(sorted(class_of), np.uint32)
    classes = np.array([class_of[int(color)] for color in known], np.uint8)
    at = np.searchsorted(known, packed).clip(max=len(known) - 1)
    covered = known[at] == packed
    ids = np.where(covered, classes[at], np.uint8(IGNORE_ID))
    counts = np.bincount(at[covered], minlength=len(known))
    occurring: dict[Value, int] = {
        unpack(int(c)): int(n) for c, n in zip(known, counts, strict=True) if n
    }
    uncovered = count_colors(packed[~covered])
    return ClassIds(ids, _most_frequent({**occurring, **uncovered}), uncovered)


def no_ids_of_colors(packed: Packed) -> ClassIds:
    """A mask of colours whose rules name none: none of its pixels is covered."""
    colors = count_colors(packed)
    return ClassIds(np.full(packed.shape, IGNORE_ID, np.uint8), colors, colors)


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


def _most_frequent(counts: Mapping[Value, int]) -> dict[Value, int]:
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:MAX_KEPT])


@lru_cache(maxsize=16)
def _table(rules: ClassRules) -> npt.NDArray[np.int16]:
    """(65536,) the class id of each value, 255 = ignore, -1 where no rule covers it."""
    table = np.full(MAX_VALUE + 1, _NO_CLASS, np.int16)
    table[IGNORE_ID] = IGNORE_ID
    values = np.arange(len(table))
    if rules.rest is not None:
        table[values <= rules.thresholds[0][0]] = rules.rest
    for above, i in rules.thresholds:
        table[values > above] = i
    for value, i in rules.class_of_id.items():
        table[value] = i
    return table
