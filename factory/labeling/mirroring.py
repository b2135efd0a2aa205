"""The classes of mirrored images: what is left and what is right of something change places."""

import re

import numpy as np

from factory.classes import Classes
from factory.images import UInt8

_OTHER_SIDE = {
    form(side): form(other)
    for side, other in (("left", "right"), ("right", "left"), ("l", "r"), ("r", "l"))
    for form in (str.lower, str.capitalize, str.upper)
}
_SIDE = re.compile("[Ll]eft|[Rr]ight|LEFT|RIGHT|(?<![A-Za-z])[LlRr](?![A-Za-z])")
"""A side in the name of a class: l_eye, lung_right, rightMask, Left Kidney, ear (L)."""


def mirror_ids(classes: Classes) -> UInt8:
    """(256,) the id of each class in a mirrored image: what is left of something and what is right
    of it change places."""
    table = np.arange(256, dtype=np.uint8)
    for i, name in enumerate(classes.names):
        partner = _SIDE.sub(lambda side: _OTHER_SIDE[side[0]], name)
        if partner in classes.names:
            table[i] = classes.names.index(partner)
    return table


def partners(classes: Classes) -> tuple[int, ...]:
    """The id of each class, in order, in a mirrored image."""
    return tuple(mirror_ids(classes)[: len(classes)].tolist())
