"""Classes by the names of parts, where masks have a file for each and nothing names classes."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

_NUMBERED = re.compile(r"(.*?)[0-9]+")
_WORDS = re.compile("([0-9A-Za-z]*[A-Za-z][0-9A-Za-z]*)([_. -]).+")
_MAX_CLASSES = 64
_MIN_IMAGES = 2
"""The least mean number of images that have a part of a class, for the name to be one: others are
names of single objects."""


def propose(parts: Sequence[Sequence[str]]) -> list[str | dict[str, Any]]:
    """The key `classes`: parts that are alike but for a number are the objects of a class, whose
    name they begin with; so are parts of which only the first word is that of many images.

    parts: the parts of each image.

    >>> propose([["hair", "eye_1", "eye_2"], ["hair", "eye_1"]])
    ['background', {'name': 'eye', 'parts': ['eye_*']}, {'name': 'hair', 'parts': ['hair']}]
    >>> propose([["cat_3f", "dog_a0"], ["cat_77"], ["dog_1e"]])
    ['background', {'name': 'cat', 'parts': ['cat_*']}, {'name': 'dog', 'parts': ['dog_*']}]
    """
    for named in (_without_number, _first_word):
        texts: dict[str, set[str]] = defaultdict(set)
        num_images: dict[str, int] = defaultdict(int)
        for of_image in parts:
            found = [named(part) for part in of_image]
            for name, text in found:
                texts[name].add(text)
            for name in {name for name, _ in found}:
                num_images[name] += 1
        are_classes = "" not in texts and len(texts) <= _MAX_CLASSES
        least = min(_MIN_IMAGES, len(parts)) * len(texts)
        if are_classes and sum(num_images.values()) >= least:
            every = sorted(texts)
            return ["background", *({"name": n, "parts": sorted(texts[n])} for n in every)]
    return ["background", {"name": "class_1", "parts": ["*"]}]


def _without_number(part: str) -> tuple[str, str]:
    """The name of a class, without the number of an object, and the parts that begin so."""
    found = _NUMBERED.fullmatch(part)
    return (found[1] if found else part).strip(" _-."), f"{found[1]}*" if found else part


def _first_word(part: str) -> tuple[str, str]:
    """The first word of a part, and the parts that begin so; "" of one that has no other."""
    found = _WORDS.fullmatch(part)
    return (found[1], f"{found[1]}{found[2]}*") if found else ("", part)
