"""How masks show that their values number objects, or a class and an object in one number."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from factory.data.classes.class_lookup import Value

PER_CLASS = 1000
"""Values that tell a class and an object are so many times the class, and the object's number."""


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


def classes_in(files: Sequence[Mapping[Value, int]]) -> list[int]:
    """The classes of values that are 1000 times a class and the number of an object of it, as
    Cityscapes writes them; none where values are not such, or of one class.

    files: the values of each mask.
    """
    found: set[int] = set()
    has_several = False
    for file in files:
        objects: dict[int, list[int]] = defaultdict(list)
        for value in _numbers(file):
            if value >= PER_CLASS:
                objects[value // PER_CLASS].append(value % PER_CLASS)
        # Few numbers are left out, as those of objects that others hide.
        if any(numbers[-1] > 2 * len(numbers) + 1 for numbers in objects.values()):
            return []
        has_several |= any(len(numbers) > 1 for numbers in objects.values())
        found |= objects.keys()
    return sorted(found) if has_several and len(found) > 1 else []


def _numbers(file: Mapping[Value, int]) -> list[int]:
    return sorted(value for value in file if isinstance(value, int) and value != 0)
