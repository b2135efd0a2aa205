"""Presets: the network's shape and its training, a row for each size of images.

A row is a starting point, and its keys are set only where a config does not name them. Its network
follows one rule: levels down to 8 pixels, six at most, of 64, 128, 192 and then 256 channels, with
attention at 16 pixels and below; only that of the drawn faces is smaller.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from factory.errors import counted

_MIN_PIXELS, _MAX_LEVELS, _ATTENTION_PIXELS = 8, 6, 16


@dataclass(frozen=True)
class Preset:
    """One row: all that `preset: NAME` sets."""

    image_size: int
    """Height and width in pixels."""
    block_out_channels: tuple[int, ...]
    norm_num_groups: int
    num_steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    num_parameters: int
    core_seconds: float
    """A step's seconds of one CPU core, by `benchmarks/presets.py`: docs/measurements has how."""

    def core_time(self, num_steps: int) -> str:
        """The time of so many steps on one CPU core, in words."""
        minutes = self.core_seconds * num_steps / 60
        for unit, length, most in (("minute", 1, 180), ("hour", 60, 6000)):
            if minutes < most:
                return counted(max(1, round(minutes / length)), unit)
        return counted(round(minutes / 1440), "day")

    def keys(self) -> dict[str, Any]:
        """The values by dotted key."""
        return {
            "data.image_size": self.image_size,
            "train.unet.block_out_channels": self.block_out_channels,
            "train.unet.attention_levels": attention_levels(
                self.image_size, self.block_out_channels
            ),
            "train.unet.norm_num_groups": self.norm_num_groups,
            "train.num_steps": self.num_steps,
            "train.batch_size": self.batch_size,
            "train.learning_rate": self.learning_rate,
            "train.warmup_steps": self.warmup_steps,
        }


def widths(image_size: int) -> tuple[int, ...]:
    """Channels of each level of the network for images of a size, in pixels."""
    levels = min(_MAX_LEVELS, 1 + int(math.log2(max(1, image_size / _MIN_PIXELS))))
    return tuple(64 * min(level + 1, 4) for level in range(levels))


def attention_levels(image_size: int, block_out_channels: Sequence[Any]) -> tuple[int, ...]:
    """Levels with attention of a network of these widths for images of a size, in pixels."""
    levels = range(len(block_out_channels))
    return tuple(level for level in levels if image_size / 2**level <= _ATTENTION_PIXELS)


def _own(image_size: int, num_steps: int, num_parameters: int, core_seconds: float) -> Preset:
    shape = image_size, widths(image_size), 32
    return Preset(*shape, num_steps, 32, 2e-4, 500, num_parameters, core_seconds)


PRESETS = {
    "toy": Preset(32, (32, 64, 128), 16, 3000, 32, 6e-4, 300, 2_786_403, 1.8),
    "32px": _own(32, 20_000, 7_401_603, 5.2),
    "64px": _own(64, 20_000, 15_141_827, 19.0),
    "128px": _own(128, 40_000, 21_851_459, 65.0),
    "256px": _own(256, 60_000, 28_215_875, 295.0),
}


def nearest(image_size: int) -> Preset:
    """The preset whose training fits one's own images of a size: the largest that is not above, or
    else the smallest."""
    own = [preset for name, preset in PRESETS.items() if name != "toy"]
    return [preset for preset in own if preset.image_size <= max(image_size, 32)][-1]


def preset_table() -> list[str]:
    """All presets as lines of a table, its headings first."""
    rows = [
        ("preset", "pixels", "channels", "parameters", "training", "one CPU core", "a GPU"),
        *(_row(name, preset) for name, preset in PRESETS.items()),
    ]
    lengths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(length) for cell, length in zip(row, lengths, strict=True)).rstrip()
        for row in rows
    ]


def _row(name: str, preset: Preset) -> tuple[str, ...]:
    return (
        name,
        str(preset.image_size),
        ", ".join(map(str, preset.block_out_channels)),
        f"{preset.num_parameters / 1e6:.1f} million",
        f"{preset.num_steps:,} steps of {preset.batch_size}",
        preset.core_time(preset.num_steps),
        "not measured",
    )
