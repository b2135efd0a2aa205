"""How masks show that their values number objects, or a class and an object in one number."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from factory.classes import IGNORE_ID
from factory.data.classes.class_lookup import Value
from factory.data.classes.class_rules import SmallerIds

Files = Sequence[Mapping[int, int]] | Sequence[Mapping[Value, int]]
"""Of each mask, its values with the number of their pixels."""
_PER_CLASS = (1000, 256)
"""Values that tell a class and an object are so many times the class, and the object's number."""


class Division(NamedTuple):
    """How values tell a class and an object in one number."""

    divisor: int
    smaller: SmallerIds | None
    """What values below the divisor are; None if there are none but 0."""
    classes: Sequence[int]
    """The ids of the classes, without 0 and the value that is ignored, sorted."""
    has_0: bool
    """True if class 0 occurs."""

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of a section that say so."""
        smaller = {"smaller_ids": self.smaller} if self.smaller else {}
        return {"ids_divided_by": self.divisor, **smaller}

    def id_of(self, value: Value) -> Value:
        """The id of a value."""
        if not isinstance(value, int) or (value < self.divisor and self.smaller == "classes"):
            return value
        return value // self.divisor


def most_numbered_anew(files: Sequence[Mapping[Value, int]]) -> int:
    """The most objects of a mask, where each mask numbers its own: it has the first of all values
    but 0, and some have fewer than others. 0 where values are not such.

    files: the values of each mask.
    """
    own = [_numbers(file) for file in files]
    every = sorted(set().union(*own))
    counts = {len(numbers) for numbers in own}
    is_anew = len(counts) > 1 and all(numbers == every[: len(numbers)] for numbers in own)
    return max(counts) if is_anew else 0


def division_of(files: Files) -> Division | None:
    """How values tell a class and an object of it in one number, as those of Cityscapes (1000 times
    the class) and KITTI (256 times) do; None where they are not such, or of one class.

    files: the values of each mask.
    """
    return next(filter(None, (_divided_by(number, files) for number in _PER_CLASS)), None)


def _divided_by(divisor: int, files: Files) -> Division | None:
    """The same for one number that values may be divided by.

    Smaller values are ids by themselves in Cityscapes, which gives large areas no number; where
    each value has a number, 0 among them, they are objects of class 0.
    """
    found: set[int] = set()
    small: set[int] = set()
    has_numbers = False
    for file in files:
        objects: dict[int, list[int]] = defaultdict(list)
        for value in _numbers(file):
            if value >= divisor:
                objects[value // divisor].append(value % divisor)
            else:
                small.add(value)
        # Few numbers are left out, as those of objects that others hide.
        if any(numbers[-1] > 2 * len(numbers) + 1 for numbers in objects.values()):
            return None
        has_numbers |= any(numbers != [0] for numbers in objects.values())
        found |= objects.keys()
    if not has_numbers or len(found) < 2 or not _are_numbered(divisor, files):
        return None
    smaller: SmallerIds | None = "classes" if divisor == _PER_CLASS[0] else "objects"
    has_0 = any(0 in file for file in files) or (bool(small) and smaller == "objects")
    if smaller == "classes":
        found |= small
    return Division(divisor, smaller if small else None, sorted(found - {0, IGNORE_ID}), has_0)


def _are_numbered(divisor: int, files: Files) -> bool:
    """True if a mask has several objects of a class, or several classes have their number 0."""
    quotients = [[v // divisor for v in _numbers(file) if v >= divisor] for file in files]
    whole = {v // divisor for file in files for v in _numbers(file) if v and v % divisor == 0}
    return len(whole) > 1 or any(len(set(ids)) < len(ids) for ids in quotients)


def _numbers(file: Mapping[int, int] | Mapping[Value, int]) -> list[int]:
    return sorted(value for value in file if isinstance(value, int) and value != 0)
