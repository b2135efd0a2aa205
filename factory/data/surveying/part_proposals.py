"""Classes by the names of parts, where masks have a file for each and nothing names classes."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

_NUMBERED = re.compile(r"(.*?)[0-9]+")
_MAX_CLASSES = 64
_MIN_IMAGES = 2
"""The least mean number of images that have a part of a class, for the name to be one: others are
names of single objects."""


def propose(parts: Sequence[Sequence[str]]) -> list[str | dict[str, Any]]:
    """The key `classes`: parts that are alike but for a number are the objects of a class, whose
    name they begin with.

    parts: the parts of each image.

    >>> propose([["hair", "eye_1", "eye_2"], ["hair", "eye_1"]])
    ['background', {'name': 'eye', 'parts': ['eye_*']}, {'name': 'hair', 'parts': ['hair']}]
    """
    texts: dict[str, set[str]] = defaultdict(set)
    num_images: dict[str, int] = defaultdict(int)
    for of_image in parts:
        names = set()
        for part in of_image:
            found = _NUMBERED.fullmatch(part)
            name = (found[1] if found else part).strip(" _-.")
            texts[name].add(f"{found[1]}*" if found else part)
            names.add(name)
        for name in names:
            num_images[name] += 1
    are_classes = "" not in texts and len(texts) <= _MAX_CLASSES
    if not are_classes or sum(num_images.values()) < min(_MIN_IMAGES, len(parts)) * len(texts):
        return ["background", {"name": "class_1", "parts": ["*"]}]
    return ["background", *({"name": n, "parts": sorted(texts[n])} for n in sorted(texts))]
