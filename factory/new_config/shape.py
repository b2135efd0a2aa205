"""The size, the length and the shape of a training that fit one's images."""

from collections.abc import Sequence
from dataclasses import dataclass

from factory.config.presets import PRESETS, Preset
from factory.data.pixels.reading import Fit
from factory.new_config.looking import Images

MAX_PASSES = 1000
"""A training sees each image this often at most; of few images more would be learned by heart."""
_MIN_STEPS = 1000
_SQUARE, _CROPPED = 1.02, 1.35
"""Ratios of sides up to which images count as square, and up to which cropping loses little."""
_SMALL = 48
"""Images whose shorter side has fewer pixels are taken at 32 px."""


@dataclass(frozen=True)
class Shape:
    """What a config says of size and training."""

    preset: str
    row: Preset
    num_steps: int

    @property
    def core_hours(self) -> float:
        """Hours of one CPU core."""
        return self.row.core_seconds * self.num_steps / 3600

    @property
    def cost(self) -> str:
        """The same in words."""
        return f"about {self.row.core_time(self.num_steps)} of one CPU core"


def shape_of(images: Images, preset: str | None = None) -> Shape:
    """The shape for images that are stored so. preset: the one that is asked for, if any."""
    preset = preset or ("64px" if images.shorter_side >= _SMALL else "32px")
    row = PRESETS[preset]
    enough = MAX_PASSES * images.num // row.batch_size // 100 * 100
    num_steps = min(row.num_steps, max(_MIN_STEPS, enough))
    return Shape(preset, row, num_steps)


def fit_of(sizes: Sequence[tuple[int, int]]) -> Fit | None:
    """How images of these widths and heights become square: their centre, or tiles where that would
    lose much; None if they are square."""
    aspect = max((max(size) / min(size) for size in sizes), default=1.0)
    if aspect <= _SQUARE:
        return None
    return "crop" if aspect <= _CROPPED else "tile"
