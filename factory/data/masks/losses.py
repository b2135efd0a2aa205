"""Counts what masks lose to cropping and to scaling: cut pixels and vanished regions."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from factory.classes import NUM_IDS
from factory.data.classes.class_lookup import count_values
from factory.data.pixels.coverage import Scaled
from factory.images import Int64, UInt8


@dataclass(frozen=True)
class Losses:
    """Counts per id, (256,) each; those of several masks add up."""

    pixels: Int64
    """Pixels of the whole masks."""
    pixels_outside: Int64
    """Pixels outside the centred square."""
    masks: Int64
    """Masks in which the class occurs."""
    masks_outside: Int64
    """Masks in which the class occurs, but nowhere in the centred square."""
    regions: Int64
    """Connected regions in the part that is used; none of masks that are not made smaller."""
    regions_vanished: Int64
    """Connected regions whose class no pixel has after scaling that they cover some of."""

    def __add__(self, other: "Losses") -> "Losses":
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Losses(*(mine + others for mine, others in pairs))


def total(parts: Iterable[Losses]) -> Losses:
    """The sum of the losses of several masks."""
    return sum(parts, Losses(*(np.zeros(NUM_IDS, np.int64) for _ in range(6))))


def measure(whole: UInt8, used: UInt8, scaled: Scaled) -> Losses:
    """The losses of a whole mask (H, W) of which this part is used, and scaled so."""
    pixels = count_values(whole, NUM_IDS)
    inside = pixels if used.shape == whole.shape else count_values(used, NUM_IDS)
    return Losses(
        pixels=pixels,
        pixels_outside=pixels - inside,
        masks=(pixels > 0).astype(np.int64),
        masks_outside=((pixels > 0) & (inside == 0)).astype(np.int64),
        regions=np.bincount(scaled.region_ids, minlength=NUM_IDS),
        regions_vanished=np.bincount(scaled.region_ids[scaled.vanished], minlength=NUM_IDS),
    )


def sentences(losses: Losses, names: Iterable[str], size: int) -> list[str]:
    """A sentence for each class that loses something."""
    found = []
    for i, name in enumerate(names):
        pixels, outside = int(losses.pixels[i]), int(losses.pixels_outside[i])
        if outside:
            whole = int(losses.masks_outside[i])
            all_lost = f", in {whole} of {losses.masks[i]} images all of them" if whole else ""
            found.append(
                f"class {name}: {outside / pixels:.2%} of its pixels lie outside the centred "
                f"square{all_lost}."
            )
        if vanished := int(losses.regions_vanished[i]):
            found.append(
                f"class {name}: {vanished} of {losses.regions[i]} connected regions vanish when "
                f"they are scaled to {size} px."
            )
    return found
