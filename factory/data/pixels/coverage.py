"""Masks made smaller by coverage, so that small objects survive.

A target pixel takes the class that covers most of it. Afterwards each connected region that has no
pixel left takes the one that it covers most, unless another region would lose its last one.

Shapes: H height, W width, R regions, P pairs of a target pixel and a region that covers some of it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory.classes import IGNORE_ID, NUM_IDS
from factory.data.pixels.regions import connected_regions
from factory.images import Int64, UInt8


@dataclass(frozen=True)
class Scaled:
    """A mask of another size, and what became of its regions."""

    ids: UInt8
    """(H, W) class ids, 255 = ignore."""
    region_ids: UInt8
    """(R,) the class of each connected region; none if the mask was not made smaller."""
    vanished: npt.NDArray[np.bool_]
    """(R,) True of a region whose class no pixel has that it covers some of."""


def scale(ids: UInt8, width: int, height: int) -> Scaled:
    """A mask at another size.

    At its own size it stays as it is; one that grows in both directions is made of nearest pixels.
    Of classes that cover a pixel alike the smallest wins. Ignored regions (255) are no objects:
    nothing is done to keep them.
    """
    if width >= ids.shape[1] and height >= ids.shape[0]:
        larger = Image.fromarray(ids).resize((width, height), Image.Resampling.NEAREST)
        none = np.zeros(0, np.uint8)
        return Scaled(np.asarray(larger), none, none.astype(bool))
    rows, columns = _cuts(ids.shape[0], height), _cuts(ids.shape[1], width)
    least, most = _extremes(ids, rows, columns)
    # The pixels below a target pixel touch: if they are of one class, they are of one region.
    several = least != most
    regions, region_ids = connected_regions(ids)
    pairs = _pairs(regions, several, rows, columns)
    winners = np.where(several, 0, least).ravel()
    classes = region_ids[pairs.region]
    _choose_most(winners, pairs.target, classes, pairs.area)
    only = regions[rows.steps[0][:, None], columns.steps[0]][~several]
    shown = np.bincount(only, minlength=len(region_ids))
    here = pairs.region[winners[pairs.target] == classes]
    shown += np.bincount(here, minlength=len(region_ids))
    lost = np.flatnonzero((shown == 0) & (region_ids != IGNORE_ID))
    if len(lost):
        _bring_back(lost, pairs, region_ids, winners, shown)
    return Scaled(winners.reshape(height, width), region_ids, shown == 0)


@dataclass(frozen=True)
class _Pairs:
    """Target pixels that several regions cover, each with each of these; sorted by both."""

    target: Int64
    """(P,) y * width + x."""
    region: Int64
    """(P,)."""
    area: Int64
    """(P,) the area that the region has of the pixel, in a unit in which all are whole numbers."""


def _extremes(ids: UInt8, rows: "_Cuts", columns: "_Cuts") -> tuple[UInt8, UInt8]:
    """(height, width) the least and the largest id of the pixels below each target pixel."""
    least = most = ids
    for cuts in (rows, columns):
        parts = [(least.take(step, axis=0), most.take(step, axis=0)) for step in cuts.steps]
        (least, most), *others = parts
        for low, high in others:
            np.minimum(least, low, out=least)
            np.maximum(most, high, out=most)
        least, most = np.ascontiguousarray(least.T), np.ascontiguousarray(most.T)
    return least, most


def _pairs(
    regions: npt.NDArray[np.intp], several: npt.NDArray[np.bool_], rows: "_Cuts", columns: "_Cuts"
) -> _Pairs:
    """The regions below each of these target pixels."""
    y, x = np.nonzero(several)
    widths = columns.num[x]
    sizes = rows.num[y] * widths
    cell = np.repeat(np.arange(len(y)), sizes)
    within = np.arange(len(cell)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    row, column = np.divmod(within, widths[cell])
    row += rows.first[y][cell]
    column += columns.first[x][cell]
    num = int(regions.max()) + 1
    keys = cell * num + regions[rows.source[row], columns.source[column]]
    keys, area = _summed(keys, rows.length[row] * columns.length[column])
    at, region = np.divmod(keys, num)
    return _Pairs((y * several.shape[1] + x)[at], region, area)


def _summed(keys: Int64, areas: Int64) -> tuple[Int64, Int64]:
    """The keys without repeats, sorted, and the sum of the areas of each."""
    keys, areas = _added_up(keys, areas)  # most repeats follow each other
    order = np.argsort(keys, kind="stable")  # which is fast where much is in order already
    return _added_up(keys[order], areas[order])


def _added_up(keys: Int64, areas: Int64) -> tuple[Int64, Int64]:
    """The keys without repeats that follow each other, and the sum of the areas of each."""
    first = _first_of_each(keys)
    return keys[first], np.add.reduceat(areas, first) if len(first) else areas


def _first_of_each(values: Int64) -> Int64:
    """The positions of values that differ from the one before."""
    begins = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=begins[1:])
    return np.flatnonzero(begins)


@dataclass(frozen=True)
class _Cuts:
    """A line of source pixels laid over a line of target pixels, cut at the edges of both."""

    source: Int64
    """For each piece the source pixel that it is of."""
    length: Int64
    first: Int64
    """For each target pixel its first piece."""
    num: Int64
    """For each target pixel the number of its pieces, which lie below it."""
    steps: tuple[Int64, ...]
    """For each target pixel the first source pixel below it, the second one, ... up to the number
    that any has; where there are fewer, the last one again."""


@lru_cache(maxsize=256)
def _cuts(num_source: int, num_target: int) -> _Cuts:
    edges = np.union1d(
        np.arange(num_source + 1) * num_target, np.arange(num_target + 1) * num_source
    )
    starts = edges[:-1]
    source = starts // num_target
    first = _first_of_each(starts // num_source)
    num = np.diff(first, append=len(source))
    steps = tuple(source[first + np.minimum(i, num - 1)] for i in range(num.max()))
    return _Cuts(source, np.diff(edges), first, num, steps)


def _choose_most(winners: UInt8, target: Int64, classes: UInt8, area: Int64) -> None:
    """Sets the class that covers most of each of these target pixels, the smallest of equals."""
    keys, areas = _summed(target * NUM_IDS + classes, area)
    targets = keys // NUM_IDS
    starts = _first_of_each(targets)
    if len(starts):
        most = np.repeat(np.maximum.reduceat(areas, starts), np.diff(starts, append=len(keys)))
        best = np.flatnonzero(areas == most)[::-1]  # the smallest class is written last
        winners[targets[best]] = keys[best] % NUM_IDS


def _bring_back(
    lost: Int64, pairs: _Pairs, region_ids: UInt8, winners: UInt8, shown: Int64
) -> None:
    """Gives each lost region a target pixel, in place: changes winners and the counts in shown.

    The largest region comes first.
    """
    by_region = np.argsort(pairs.region, kind="stable")
    begins = np.searchsorted(pairs.region[by_region], lost)
    ends = np.searchsorted(pairs.region[by_region], lost, side="right")
    places = [by_region[begin:end] for begin, end in zip(begins, ends, strict=True)]
    sizes = [int(pairs.area[place].sum()) for place in places]
    for i in sorted(range(len(lost)), key=lambda i: -sizes[i]):
        region, place = lost[i], places[i]
        if shown[region]:
            continue
        for pixel in pairs.target[place[np.argsort(-pairs.area[place], kind="stable")]]:
            here = pairs.region[slice(*np.searchsorted(pairs.target, [pixel, pixel + 1]))]
            ids = region_ids[here]
            losing = here[ids == winners[pixel]]
            if winners[pixel] == IGNORE_ID or (shown[losing] > 1).all():
                winners[pixel] = region_ids[region]
                shown[losing] -= 1
                shown[here[ids == region_ids[region]]] += 1
                break
