"""The `intensity` of a new config's sections: which stored values become black and white, where 8
bits would lose them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from factory import storage
from factory.data.items import Item
from factory.data.pixels import decoding
from factory.data.pixels.intensity import Range
from factory.data.pixels.reading import Intensity, Reading
from factory.errors import UnreadableImage
from factory.threads import NUM_THREADS

_FAR = 4
"""Ranges are far from each other if one is so many times as wide."""

Name = TypeVar("Name")


@dataclass(frozen=True)
class Values:
    """The stored values of an image."""

    item: Item
    range: Range | None
    """Nearly all of them; None of an image of 8 bits."""
    is_lost: bool
    """True if the image is not read without an intensity."""


def most_of(stored: Range | None, inner: Range | None) -> Range | None:
    """The range of an image's values, without those that are far from nearly all others.

    inner: the range of nearly all.
    """
    if stored is None or inner is None:
        return stored
    is_far = stored[1] - stored[0] > _FAR * (inner[1] - inner[0])
    return inner if is_far else stored


def choose(values: Mapping[Name, Sequence[Values]]) -> dict[Name, Intensity]:
    """The intensity of each section of which images are not all read without one. It is the same
    for all sections of similar values: a network that has learned of some reads the others.

    values: of some images of each section. Raises OSError.
    """
    deep = {name: found for name, found in values.items() if any(one.range for one in found)}
    lossy = [name for name, found in deep.items() if any(one.is_lost for one in found)]
    if not lossy:
        return {}
    widths = [high - low for low, high in map(_joint, deep.values())]
    if max(widths) <= _FAR * min(widths):
        return dict.fromkeys(deep, _of([*chain(*deep.values())]))
    return {name: _of(deep[name]) for name in lossy}


def _joint(values: Sequence[Values]) -> Range:
    ranges = [one.range for one in values if one.range is not None]
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def _of(values: Sequence[Values]) -> Intensity:
    """The range of all these images, or their percentiles where no range is good for all."""
    low, high = _joint(values)
    if low == high or any(one.range is None for one in values):
        return "percentiles"
    way = Reading(intensity=(low, high), frames="first")
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        are_read = pool.map(lambda one: _is_read(one.item, way), values)
        return (low, high) if all(are_read) else "percentiles"


def _is_read(item: Item, way: Reading) -> bool:
    try:
        decoding.decode_image(item.content(), way)
    except UnreadableImage:
        return False
    except OSError as error:
        if storage.is_transient(error):
            raise
        return False
    return True
