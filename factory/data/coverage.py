"""Masks made smaller by coverage, so that small objects survive.

A target pixel takes the class that covers most of it. Afterwards each connected region that has no
pixel left takes the one that it covers most, unless another region would lose its last one.

Shapes: H height, W width, R regions, P pairs of a target pixel and a region that covers some of it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory.classes import IGNORE_ID
from factory.data.regions import connected_regions
from factory.images import UInt8

Ints = npt.NDArray[np.int64]
_NUM_IDS = 256


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
    regions, region_ids = connected_regions(ids)
    only, pairs = _laid_over(regions, width, height)
    winners = np.where(only >= 0, region_ids[only], 0).ravel()
    classes = region_ids[pairs.region]
    _choose_most(winners, pairs.target, classes, pairs.area)
    shown = np.bincount(only[only >= 0], minlength=len(region_ids))
    here = pairs.region[winners[pairs.target] == classes]
    shown += np.bincount(here, minlength=len(region_ids))
    lost = np.flatnonzero((shown == 0) & (region_ids != IGNORE_ID))
    if len(lost):
        _bring_back(lost, pairs, region_ids, winners, shown)
    return Scaled(winners.reshape(height, width), region_ids, shown == 0)


@dataclass(frozen=True)
class _Pairs:
    """Target pixels that several regions cover, each with each of these; sorted by both."""

    target: Ints
    """(P,) y * width + x."""
    region: Ints
    """(P,)."""
    area: Ints
    """(P,) the area that the region has of the pixel, in a unit in which all are whole numbers."""


def _laid_over(
    regions: npt.NDArray[np.intp], width: int, height: int
) -> tuple[npt.NDArray[np.int32], _Pairs]:
    """(height, width) the region that covers all of a target pixel, -1 where several do; and these
    pairs."""
    rows, columns = _cuts(regions.shape[0], height), _cuts(regions.shape[1], width)
    grid = regions.astype(np.int32)[rows.source][:, columns.source]

    def cells(part: np.ufunc) -> npt.NDArray[np.int32]:
        return part.reduceat(part.reduceat(grid, rows.first, axis=0), columns.first, axis=1)

    least = cells(np.minimum)
    several = least != cells(np.maximum)
    row, column = np.nonzero(several[rows.target][:, columns.target])
    num = int(grid.max()) + 1
    keys = (rows.target[row] * width + columns.target[column]) * num + grid[row, column]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    areas = rows.length[row] * columns.length[column]
    areas = np.add.reduceat(areas, first) if len(first) else areas
    keys, area = _summed(keys[first], areas)
    return np.where(several, -1, least), _Pairs(*np.divmod(keys, num), area)


def _summed(keys: Ints, areas: Ints) -> tuple[Ints, Ints]:
    """The keys without repeats, sorted, and the sum of the areas of each."""
    order = np.argsort(keys)
    keys = keys[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[first], np.add.reduceat(areas[order], first) if len(first) else areas


@dataclass(frozen=True)
class _Cuts:
    """A line of source pixels laid over a line of target pixels, cut at the edges of both."""

    source: Ints
    target: Ints
    length: Ints
    first: Ints
    """For each target pixel its first piece."""


def _cuts(num_source: int, num_target: int) -> _Cuts:
    edges = np.union1d(
        np.arange(num_source + 1) * num_target, np.arange(num_target + 1) * num_source
    )
    starts = edges[:-1]
    target = starts // num_source
    first = np.flatnonzero(np.diff(target, prepend=-1))
    return _Cuts(starts // num_target, target, np.diff(edges), first)


def _choose_most(winners: UInt8, target: Ints, classes: UInt8, area: Ints) -> None:
    """Sets the class that covers most of each of these target pixels, the smallest of equals."""
    keys, areas = _summed(target * _NUM_IDS + classes, area)
    targets = keys // _NUM_IDS
    starts = np.flatnonzero(np.diff(targets, prepend=-1))
    if len(starts):
        most = np.repeat(np.maximum.reduceat(areas, starts), np.diff(starts, append=len(keys)))
        best = np.flatnonzero(areas == most)[::-1]  # the smallest class is written last
        winners[targets[best]] = keys[best] % _NUM_IDS


def _bring_back(lost: Ints, pairs: _Pairs, region_ids: UInt8, winners: UInt8, shown: Ints) -> None:
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
