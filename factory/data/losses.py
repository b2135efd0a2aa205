"""Finds what masks lose to the centred square and to scaling: cut pixels and vanished regions."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory import images
from factory.images import UInt8

Counts = npt.NDArray[np.int64]
_NUM_IDS = 256


@dataclass(frozen=True)
class Losses:
    """Counts per id, (256,) each; those of several masks add up."""

    pixels: Counts
    """Pixels of the whole masks."""
    pixels_outside: Counts
    """Pixels outside the centred square."""
    masks: Counts
    """Masks in which the class occurs."""
    masks_outside: Counts
    """Masks in which the class occurs, but nowhere in the centred square."""
    regions: Counts
    """Connected regions in the centred square (pixels of one class that touch, by corners too)."""
    regions_vanished: Counts
    """Connected regions of which no pixel is left after scaling."""


def total(parts: Iterable[Losses]) -> Losses:
    """The sum of the losses of several masks."""
    columns = zip(*([*vars(part).values()] for part in parts), strict=True)
    sums = [np.sum(column, axis=0) for column in columns]
    return Losses(*sums) if sums else Losses(*(np.zeros(_NUM_IDS, np.int64) for _ in range(6)))


def measure(ids: UInt8, size: int) -> Losses:
    """The losses of a whole mask (H, W) that is cut to its centred square and scaled to
    (size, size) by picking nearest pixels."""
    height, width = ids.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = np.s_[top : top + side, left : left + side]
    pixels, inside = _count(ids), _count(ids[square])
    regions = vanished = np.zeros(_NUM_IDS, np.int64)
    if side > size:  # otherwise every pixel is picked
        region_of, ids_of = connected_regions(ids[square])
        whole = np.zeros(ids.shape, np.int32)
        whole[square] = region_of
        picked = images.crop_and_resize(Image.fromarray(whole), size, Image.Resampling.NEAREST)
        gone = np.ones(len(ids_of), bool)
        gone[np.asarray(picked).ravel()] = False
        regions, vanished = _count(ids_of), _count(ids_of[gone])
    return Losses(
        pixels=pixels,
        pixels_outside=pixels - inside,
        masks=(pixels > 0).astype(np.int64),
        masks_outside=((pixels > 0) & (inside == 0)).astype(np.int64),
        regions=regions,
        regions_vanished=vanished,
    )


def sentences(losses: Losses, names: Iterable[str], size: int) -> list[str]:
    """A sentence for each class that loses something."""
    found = []
    for i, name in enumerate(names):
        pixels, outside = int(losses.pixels[i]), int(losses.pixels_outside[i])
        if outside:
            whole = int(losses.masks_outside[i])
            found.append(
                f"class {name}: {outside / pixels:.2%} of its pixels lie outside the centred "
                f"square, in {whole} of {losses.masks[i]} images all of them."
            )
        if vanished := int(losses.regions_vanished[i]):
            found.append(
                f"class {name}: {vanished} of {losses.regions[i]} connected regions vanish when "
                f"they are scaled to {size} px."
            )
    return found


def _count(ids: UInt8) -> Counts:
    """(256,) pixels per id."""
    return np.bincount(ids.ravel(), minlength=_NUM_IDS)


def connected_regions(ids: UInt8) -> tuple[npt.NDArray[np.intp], UInt8]:
    """(H, W) the region of each pixel, 0..R-1, and (R,) the id of each region.

    Pixels of one id that touch, by their corners too, are of one region. Rows are cut into runs of
    one id; runs that touch are joined.
    """
    starts = np.ones(ids.shape, bool)
    starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
    runs = np.cumsum(starts.ravel()).reshape(ids.shape) - 1
    joined = _joined(int(runs[-1, -1]) + 1, *_touching(ids, starts, runs))
    first, regions = np.unique(joined, return_inverse=True)
    return regions[runs], ids[starts][first]


def _touching(
    ids: UInt8, starts: npt.NDArray[np.bool_], runs: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Pairs of runs of one id, one in the row above the other, each pair at least once."""
    above, below = [], []
    ends = np.roll(starts, -1, axis=1)
    width = ids.shape[1]
    for shift, edges in (
        (0, starts[:-1] | starts[1:]),  # straight below, where one of the two begins
        (1, ends[:-1]),
        (-1, starts[:-1]),
    ):
        upper = slice(max(0, -shift), width - max(0, shift))
        lower = slice(max(0, shift), width - max(0, -shift))
        touch = edges[:, upper] & (ids[:-1, upper] == ids[1:, lower])
        above.append(runs[:-1, upper][touch])
        below.append(runs[1:, lower][touch])
    return np.concatenate(above), np.concatenate(below)


def _joined(
    num: int, above: npt.NDArray[np.intp], below: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """(num,) for each run the smallest run that it is joined with, over any number of others."""
    root = np.arange(num)
    while True:
        a, b = root[above], root[below]
        apart = a != b
        if not apart.any():
            return root
        above, below, a, b = above[apart], below[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while (shorter := root[root]).tobytes() != root.tobytes():
            root = shorter
