"""The classes of a domain: what each id in a mask means, and the colour that shows it."""

import colorsys
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from factory.errors import UserError, some

IGNORE_ID = 255
"""Pixels with this id belong to no class: they are neither learned from nor counted."""

MAX_CLASSES = 255

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


def parse_classes(text: str, location: str) -> Classes:
    """Reads classes from a JSON object {"0": name, ...} or list [name, ...].

    location: where the text comes from, for messages. Raises UserError if ids have gaps or repeat,
    names repeat or are blank, or there are more than 255.
    """
    try:
        # Editors on Windows write a byte order mark, which JSON does not allow.
        content = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_without_repeats)
    except ValueError as error:
        raise UserError(f"{location}: not JSON ({error}). {_FORM}") from None
    names: Any = _in_order(content, location) if isinstance(content, Mapping) else content
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{location}: is no object of ids and names, and no list of names. {_FORM}")
    if blank := [str(i) for i, name in enumerate(names) if not name.strip()]:
        raise UserError(f"{location}: id {some(blank)} has no name. {_FORM}")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(
            f"{location}: {some(repeated)} is the name of several ids. Give each id another name."
        )
    if not 2 <= len(names) <= MAX_CLASSES:
        raise UserError(
            f"{location}: needs 2 to {MAX_CLASSES} classes, the background among them, got "
            f"{len(names)}. {_FORM}"
        )
    return Classes.named(names)


_FORM = 'Write {"0": "background", "1": "cat", ...}, or ["background", "cat", ...].'


def _in_order(content: Mapping[str, object], location: str) -> list[object]:
    """The values of ids 0, 1, ...; raises UserError saying what the keys are instead of ids."""
    expected = [str(i) for i in range(len(content))]
    if sorted(content) == sorted(expected):
        return [content[i] for i in expected]
    inner = [key for key, value in content.items() if isinstance(value, Mapping | list)]
    if inner:
        remedy = f"If {some(inner)} holds the classes, let the file be what is in it alone. {_FORM}"
    elif all(type(value) is int for value in content.values()):
        remedy = 'Each name stands before its id: write the id first, {"0": "background", ...}.'
    elif str(IGNORE_ID) in content:
        remedy = f'Leave "{IGNORE_ID}" out: pixels of {IGNORE_ID} are of no class in any case.'
    elif all(key.isdecimal() for key in content):
        remedy = 'Name the ids between, too, such as "unused", or renumber the masks from 0 on.'
    else:
        remedy = _FORM
    raise UserError(
        f"{location}: class ids must be 0..{len(content) - 1} without gaps, got "
        f"{some(list(content))}. {remedy}"
    )


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuses equal ids, of which json.loads would keep the last one silently."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"an id occurs twice in {[key for key, _ in pairs]}")
    return content
