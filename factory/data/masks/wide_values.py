"""Masks of more than 8 bits a pixel to class ids: large and negative ids, fractions, no numbers.

Shapes: H height, W width.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID
from factory.data.classes import class_lookup, rule_yaml
from factory.data.classes.class_lookup import ClassIds
from factory.data.classes.class_rules import MAX_VALUE, NO_RULE, ClassRules, Rule
from factory.data.masks.mask_values import MASK_REMEDY
from factory.errors import UnreadableImage, some

_MAX_IGNORED = 8
"""The most values that a message proposes to ignore."""
_HALF = 0.5
"""The threshold that is proposed for fractions."""


def class_ids(values: npt.NDArray[Any], rules: ClassRules) -> ClassIds:
    """The class ids of an array (H, W) of any numbers; pixels that are no numbers are ignored.

    Fractions are read where all that is not above a threshold is one class. Raises UnreadableImage
    for others, for negative values that no rule names, and for ids beyond 16 bits.
    """
    is_missing = np.isnan(values)
    num_missing = int(np.count_nonzero(is_missing))
    if num_missing == values.size:
        ids = np.full(values.shape, IGNORE_ID, np.uint8)
        return ClassIds(ids, {}, {}, num_missing=num_missing)
    numbers = np.where(is_missing, values[~is_missing][0], values) if num_missing else values
    _check_negative(numbers, rules)
    read = _of_fractions if (np.floor(numbers) != numbers).any() else _of_whole_numbers
    found = read(numbers, rules)
    if not num_missing:
        return found
    return replace(
        found, ids=np.where(is_missing, np.uint8(IGNORE_ID), found.ids), num_missing=num_missing
    )


def _of_whole_numbers(values: npt.NDArray[Any], rules: ClassRules) -> ClassIds:
    """The class ids of whole numbers.

    Negative ones are looked up as they are in 16 bits without a sign; those above 65535 as 65535
    where all that is above a threshold is one class.
    """
    low, high = values.min(), values.max()
    if high > MAX_VALUE and not rules.has_thresholds:
        raise UnreadableImage(
            f"a mask whose {_range(values)}: class ids are whole numbers from 0 to {MAX_VALUE}. "
            f"{MASK_REMEDY} If they number objects of one class, let that be what is `above: 0`.",
            _range(values),
        )
    if low < 0 and high > MAX_VALUE + low:
        told = f"a mask whose {_range(values)}, which are too far apart. {MASK_REMEDY}"
        raise UnreadableImage(told, _range(values))
    whole = np.minimum(values, MAX_VALUE).astype(np.int64).astype(np.uint16)
    found = class_lookup.ids_of_values(rules, whole)
    if low >= 0:
        return found
    signed = {
        value - MAX_VALUE - 1 if value > high else value: n for value, n in found.values.items()
    }
    return replace(found, values=signed)


def _of_fractions(values: npt.NDArray[Any], rules: ClassRules) -> ClassIds:
    """The class ids of fractions, by thresholds; those of whole numbers that rules name, by these.

    What is told of their values are the whole numbers below them.
    """
    if rules.rest is None:
        raise UnreadableImage(
            f"a mask whose {_range(values)}, with fractions: class ids are whole numbers from 0 to "
            f"{MAX_VALUE}. {MASK_REMEDY}{_threshold(rules.classes.names)}",
            _range(values),
        )
    thresholds = rules.thresholds
    classes = np.array([rules.rest, *(i for _, i in thresholds)], np.uint8)
    ids = classes[np.searchsorted([above for above, _ in thresholds], values, side="left")]
    for value, class_id in rules.class_of_id.items():
        ids[values == value] = class_id
    floors = np.clip(np.floor(values.astype(np.float64)), 0, MAX_VALUE).astype(np.uint16)
    counts = class_lookup.count_values(floors)
    told = {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    return ClassIds(ids, told, {}, has_fractions=True)


def _threshold(names: Sequence[str]) -> str:
    """The threshold of two classes; begins with a space, or is empty of others."""
    if len(names) != 2:
        return ""
    key = rule_yaml.classes_key(names, [NO_RULE, Rule(above=_HALF)])
    return f" If they say how likely {names[1]} is, set `{key}`."


def _check_negative(values: npt.NDArray[Any], rules: ClassRules) -> None:
    """Raises UnreadableImage for negative values that no rule names."""
    if values.min() >= 0:
        return
    named = rules.class_of_id
    others = [value for value in np.unique(values[values < 0]).tolist() if value not in named]
    if not others:
        return
    unnamed = [int(value) if value == int(value) else value for value in others[-_MAX_IGNORED:]]
    advice = f"If they stand for not labelled, write one value for that. {MASK_REMEDY}"
    if all(isinstance(value, int) for value in unnamed) and len(others) <= _MAX_IGNORED:
        advice = (
            f"If that means not labelled, set `{_ignoring(unnamed, rules)}`; of a class, add it to "
            "its ids."
        )
    listed = some([f"{value:g}" for value in unnamed])
    raise UnreadableImage(
        f"a mask whose {_range(values)}: of no class are {listed}. {advice}", listed
    )


def _ignoring(values: Sequence[Any], rules: ClassRules) -> str:
    """The key that ignores values, and what is ignored already."""
    known = [value for value in rules.ignored.ids if value not in values]
    return rule_yaml.ignore_key([*known, *values])


def _range(values: npt.NDArray[Any]) -> str:
    return f"values lie in {values.min():g}..{values.max():g}"
