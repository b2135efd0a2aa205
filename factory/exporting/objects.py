"""Masks as objects of categories, which COCO and YOLO know, and what polygons lose of them.

Shapes: H height, W width, C categories.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID, NUM_IDS
from factory.data.pixels.regions import connected_regions
from factory.errors import counted
from factory.exporting.format import Source, Summary
from factory.exporting.outlines import Polygon, outlines
from factory.images import UInt8

_COMMON, _EITHER, _IGNORED = "intersections", "unions", "ignored"

Counts = dict[str, list[int]]
"""Numbers that add up over shards, by name; see `PairFiles.counts`."""


def categories(source: Source) -> list[int]:
    """The class ids that are categories, in order: all, but for a class 0 that is called
    background, unless that is asked for."""
    classes = source.classes
    leaves_out = not source.options.background and classes.has_background
    return list(range(1 if leaves_out else 0, len(classes)))


def category_problems(source: Source) -> list[str]:
    """A sentence's end if no class of a dataset is a category; empty if one is."""
    return [] if categories(source) else ["has no class but the background. Add --background."]


@dataclass(frozen=True, eq=False)
class Region:
    """A connected region of a class: pixels that touch, by their corners too."""

    class_id: int
    number: int
    """The value of its pixels in the array of regions."""
    polygon: Polygon
    """The outline; see `outlines`."""


def regions_of(
    mask: UInt8, ids: Sequence[int], near: float, far: float
) -> tuple[npt.NDArray[np.intp], list[Region]]:
    """(H, W) the region of each pixel of a mask, and the regions that are of the classes ids.

    near, far: as in `outlines`.
    """
    numbers, class_ids = connected_regions(mask)
    polygons = outlines(numbers, near, far)
    found = zip(class_ids.tolist(), range(len(class_ids)), polygons, strict=True)
    return numbers, [Region(*each) for each in found if each[0] in ids]


def overlaps(pixels: Iterable[tuple[int, int, int]], ids: Sequence[int]) -> Counts:
    """How polygons overlap with the masks that they stand for, for each class of ids.

    pixels: for something of a class, its id, the pixels that its mask and its polygons have in
    common, and those that either has.
    """
    common, either = [0] * len(ids), [0] * len(ids)
    for class_id, both, any_of_them in pixels:
        common[ids.index(class_id)] += both
        either[ids.index(class_id)] += any_of_them
    return {_COMMON: common, _EITHER: either}


def overlaps_of_classes(mask: UInt8, read: UInt8, ids: Sequence[int]) -> Counts:
    """`overlaps` of a mask (H, W) with what a tool reads of its polygons (H, W)."""
    num, num_read, common = (
        np.bincount(pixels.ravel(), minlength=NUM_IDS)
        for pixels in (mask, read, mask[mask == read])
    )
    either = num + num_read - common
    return overlaps(((i, int(common[i]), int(either[i])) for i in ids), ids)


def ignored(mask: UInt8) -> Counts:
    """The number of pixels of 255."""
    return {_IGNORED: [int(np.count_nonzero(mask == IGNORE_ID))]}


def loss_note(summary: Summary, source: Source, reader: str) -> list[str]:
    """A sentence on what polygons lost, if they were compared; reader: what read them."""
    if _COMMON not in summary.counts:
        return []
    pairs = zip(summary.counts[_COMMON], summary.counts[_EITHER], strict=True)
    scores: Mapping[str, float] = {
        source.classes.names[class_id]: common / either
        for class_id, (common, either) in zip(categories(source), pairs, strict=True)
        if either
    }
    if not scores:
        return []
    each = ", ".join(f"{name} {score:.4f}" for name, score in scores.items())
    mean = sum(scores.values()) / len(scores)
    return [f"IoU of the polygons with the masks, as {reader} fills them: mean {mean:.4f}; {each}"]


def left_out_note(summary: Summary, source: Source) -> list[str]:
    """Sentences on what is no category."""
    names, kept = source.classes.names, categories(source)
    notes = [] if 0 in kept else [f"class 0, {names[0]}, is no category; --background makes it one"]
    if (num := sum(summary.counts.get(_IGNORED, []))) > 0:
        notes.append(f"{counted(num, 'pixel')} of {IGNORE_ID}: of no class")
    return notes
