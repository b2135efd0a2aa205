"""The ways in which a source's files are read, as the keys of its section choose them.

A config is read without numpy and Pillow, so nothing here imports them.
"""

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

from factory.values import Number

Intensity = tuple[Number, Number] | Literal["percentiles"]
Exif = Literal["apply", "ignore", "apply_to_masks", "apply_to_images"]
Fit = Literal["crop", "pad", "stretch", "tile"]
Frames = Literal["refuse", "first"]


@dataclass(frozen=True)
class Reading:
    """The keys of a source that decide the pixels of its files; absent keys have their defaults."""

    intensity: Intensity | None = None
    exif: Exif = "apply"
    fit: Fit = "crop"
    tile_size: int | None = None
    frames: Frames = "refuse"

    @property
    def facts(self) -> dict[str, Any]:
        """The keys, as plans and caches know files by them: keys that older versions did not have
        only where they are set."""
        keys = asdict(self)
        if self.frames == "refuse":
            del keys["frames"]
        return keys


DEFAULT_READING = Reading()


@lru_cache
def reading_of(*keys: Any) -> Reading:
    """These keys, in their order: one object for all items of a source, however many there are."""
    return Reading(*keys)


def check_intensity(intensity: Intensity | None) -> Intensity | None:
    """The intensity of a config. Raises ValueError if it leaves nothing between black and white."""
    if isinstance(intensity, tuple):
        low, high = intensity
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(
                f"[{low:g}, {high:g}]: the first value becomes black and must be less than the "
                "second, which becomes white"
            )
    return intensity
