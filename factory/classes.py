"""The classes of a domain: what each id in a mask means, and the colour that shows it."""

import colorsys
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

IGNORE_ID = 255
"""Pixels with this id belong to no class: they are neither learned from nor counted."""

NUM_IDS = 256
"""The values that a pixel of a mask can have: ids of classes, and IGNORE_ID."""

MAX_CLASSES = 255

_BACKGROUND = re.compile(r"[\W_]*(background|bg)[\W_]*", re.IGNORECASE)

Intensity = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Intensity, Intensity, Intensity]
"""Red, green and blue, 0..255 each."""


@dataclass(frozen=True)
class Classes:
    """The classes' names and RGB colours (0..255); the position is the id."""

    names: tuple[str, ...]
    palette: tuple[Color, ...]

    def __post_init__(self) -> None:
        assert len(self.names) == len(self.palette), (self.names, self.palette)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def named(cls, names: Sequence[str], palette: Sequence[Color] | None = None) -> "Classes":
        """The classes of these names, with well separated colours unless a palette is given."""
        return cls(tuple(names), tuple(palette or distinct_colors(len(names))))

    @property
    def has_background(self) -> bool:
        """True if class 0 is called background: what is left of an image without all others."""
        return _BACKGROUND.fullmatch(self.names[0]) is not None

    @property
    def id2label(self) -> dict[str, str]:
        """The mapping that `transformers` writes: {"0": name, ...}."""
        return {str(i): name for i, name in enumerate(self.names)}


def distinct_colors(num: int) -> tuple[Color, ...]:
    """Colours for classes: dark for class 0, the others by the golden angle around the wheel."""

    def wheel(i: int) -> Color:
        hue = (0.05 + i * 0.6180339887) % 1.0
        value = (1.0, 0.82, 0.66)[i % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.62, value)
        return round(red * 255), round(green * 255), round(blue * 255)

    return ((28, 30, 38), *(wheel(i) for i in range(num - 1)))[:num]


def css_color(color: Color) -> str:
    """A colour in CSS: #rrggbb."""
    return "#" + bytes(color).hex()
