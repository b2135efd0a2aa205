"""A picture of a few images of each section: the images, and with masks their overlays."""

from collections.abc import Mapping, Sequence

import numpy as np

from factory import pictures
from factory.classes import Classes
from factory.data.passes import Pair
from factory.images import UInt8
from factory.png import encode_png

NUM_SHOWN = 6
"""Images of a section that are shown."""
_NUM_COLUMNS = 6
_MIN_SIDE = 128
"""Smaller images are enlarged to about as many pixels."""


def shown_positions(num: int) -> set[int]:
    """The positions of the items to show, of this number: evenly spread."""
    return {i * num // NUM_SHOWN for i in range(NUM_SHOWN)} if num else set()


def contact_sheet(sections: Mapping[str, tuple[Sequence[Pair], Classes | None]]) -> bytes | None:
    """A PNG of the sections by their names, each with the pairs to show and its classes.

    None if there is nothing to show.
    """
    parts = [_section(name, pairs, classes) for name, (pairs, classes) in sections.items() if pairs]
    if not parts:
        return None
    width = max(part.shape[1] for part in parts)
    padded = [
        np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255)
        for part in parts
    ]
    return encode_png(np.concatenate(padded))


def _section(name: str, pairs: Sequence[Pair], classes: Classes | None) -> UInt8:
    """The images of a section in rows, under its name."""
    cells: list[UInt8] = []
    for pair in pairs:
        cells.append(pair.image)
        if pair.mask is not None and classes is not None:
            cells.append(pictures.colorize(pair.mask, classes))
            cells.append(pictures.overlay(pair.image, pair.mask, classes))
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % _NUM_COLUMNS)
    rows = [cells[i : i + _NUM_COLUMNS] for i in range(0, len(cells), _NUM_COLUMNS)]
    scale = max(1, _MIN_SIDE // cells[0].shape[0])
    what = f"{name}: image, mask, overlay" if len(cells) > len(pairs) and classes else name
    return pictures.captioned(pictures.tile(rows, scale), [what])
