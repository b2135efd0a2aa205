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

    Raises UserError where ids have gaps or repeat, names repeat or are blank, or there are more
    than 255.
    """
    try:
        # Editors of Windows write a byte order mark, which JSON has no place for.
        content = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=_without_repeats)
    except ValueError as error:
        raise UserError(f"{place}: not JSON ({error}). {_FORM}") from None
    names: Any = _in_order(content, place) if isinstance(content, Mapping) else content
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{place}: is no object of ids and names, and no list of names. {_FORM}")
    if blank := [str(i) for i, name in enumerate(names) if not name.strip()]:
        raise UserError(f"{place}: id {some(blank)} has no name. {_FORM}")
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(
            f"{place}: {some(repeated)} is the name of several ids. Give each id another name."
        )
    if not 2 <= len(names) <= MAX_CLASSES:
        raise UserError(
            f"{place}: needs 2 to {MAX_CLASSES} classes, the background among them, got "
            f"{len(names)}. {_FORM}"
        )
    return Classes.named(names)


_FORM = 'Write {"0": "background", "1": "cat", ...}, or ["background", "cat", ...].'


def _in_order(content: Mapping[str, object], place: str) -> list[object]:
    """The values of ids 0, 1, ...; raises UserError that says what the keys are instead of ids."""
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
        f"{place}: class ids must be 0..{len(content) - 1} without gaps, got {some(list(content))}."
        f" {remedy}"
    )


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """json.loads keeps the last of several equal ids, silently."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"an id occurs twice in {[key for key, _ in pairs]}")
    return content
