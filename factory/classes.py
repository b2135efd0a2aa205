"""The classes of a domain: what each id in a mask means, and the colour that shows it."""

import colorsys
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from factory.errors import UserError

IGNORE_ID = 255
"""Pixels with this id belong to no class: they are neither learned from nor counted."""

MAX_CLASSES = 255

Intensity = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Intensity, Intensity, Intensity]
"""RGB."""


@dataclass(frozen=True)
class Classes:
    """Names and RGB colours (0..255) of the classes; the position is the id."""

    names: tuple[str, ...]
    palette: tuple[Color, ...]

    def __post_init__(self) -> None:
        assert len(self.names) == len(self.palette), (self.names, self.palette)

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def named(cls, names: Sequence[str], palette: Sequence[Color] | None = None) -> "Classes":
        """Classes of these names, with well separated colours where no palette is given."""
        return cls(tuple(names), tuple(palette or distinct_colors(len(names))))

    @property
    def id2label(self) -> dict[str, str]:
        """As `transformers` writes it: {"0": name, ...}."""
        return {str(i): name for i, name in enumerate(self.names)}


def distinct_colors(num: int) -> tuple[Color, ...]:
    """Class 0 dark, the others around the colour wheel by the golden angle."""

    def wheel(i: int) -> Color:
        hue = (0.05 + i * 0.6180339887) % 1.0
        value = (1.0, 0.82, 0.66)[i % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.62, value)
        return round(red * 255), round(green * 255), round(blue * 255)

    return ((28, 30, 38), *(wheel(i) for i in range(num - 1)))[:num]


def parse_classes(text: str, place: str) -> Classes:
    """Classes from a JSON object {"0": name, ...} or list [name, ...].

    Raises UserError where ids have gaps or repeat, names repeat, or there are more than 255.
    """
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except ValueError as error:
        raise UserError(f'{place}: not JSON ({error}). Write {{"0": "background", ...}}.') from None
    if isinstance(content, Mapping):
        expected = [str(i) for i in range(len(content))]
        if sorted(content) != sorted(expected):
            last = len(content) - 1
            raise UserError(
                f"{place}: class ids must be 0..{last} without gaps, got {list(content)}."
            )
        content = [content[i] for i in expected]
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise UserError(f"{place}: expected a JSON object of id: name, or a list of names.")
    if not 2 <= len(content) <= MAX_CLASSES or len(set(content)) != len(content):
        raise UserError(
            f"{place}: needs 2 to {MAX_CLASSES} classes of different names, got {content}."
        )
    return Classes.named(content)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """json.loads keeps the last of several equal ids, silently."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"an id occurs twice in {[key for key, _ in pairs]}")
    return content
