"""Colours as people and their tools write them: `#ff8000`, `#f80`, `0xff8000`, `ff8000`, `rgb(255,
128, 0)`, `255 128 0`, or three numbers."""

import re
from collections.abc import Sequence
from typing import Any

from factory.classes import Color

_MARKED = re.compile("(?:#|0[xX])(?P<six>[0-9a-fA-F]{6})|#(?P<three>[0-9a-fA-F]{3})")
_BARE = re.compile("[0-9a-fA-F]{6}")
_APART = r"(?:\s*[,;]\s*|\s+)"
_NUMBERS = re.compile(
    rf"(?:rgb)?[\[({{]?\s*(\d{{1,3}}){_APART}(\d{{1,3}}){_APART}(\d{{1,3}})\s*[\])}}]?"
)
_MAX_PADDED = 1000
"""Six digits below this are numbers with leading zeros, if all are such."""


def color_of(value: object, is_color: bool = False) -> Color | None:
    """The colour that a value stands for; None if it is none.

    is_color: whether the place of the value says that it is one: then six digits need no mark.
    """
    if isinstance(value, list | tuple):
        return _of_numbers(value)
    if not isinstance(value, str):
        return None
    text = value.strip()
    if marked := _MARKED.fullmatch(text):
        return _of_hex(marked["six"] or "".join(2 * digit for digit in marked["three"]))
    if is_color and _BARE.fullmatch(text):
        return _of_hex(text)
    numbers = _NUMBERS.fullmatch(text)
    return _of_numbers([int(number) for number in numbers.groups()]) if numbers else None


def colors_of(values: Sequence[object]) -> list[Color] | None:
    """The colours of a column or of keys, if each is one; None otherwise.

    Six digits without a mark are colours where all are such, but for words and for small numbers
    that begin with zeros.
    """
    texts = [value.strip() for value in values if isinstance(value, str)]
    are_bare = len(texts) == len(values) and all(map(_BARE.fullmatch, texts))
    are_padded = are_bare and all(text.isdigit() and int(text) < _MAX_PADDED for text in texts)
    if are_bare and (are_padded or all(map(str.isalpha, texts))):
        return None
    found = [color for value in values if (color := color_of(value, are_bare)) is not None]
    return found if values and len(found) == len(values) else None


def _of_numbers(numbers: Sequence[Any]) -> Color | None:
    """Red, green and blue, of which an opaque alpha may come behind."""
    if len(numbers) == 4 and numbers[3] == 255:
        numbers = numbers[:3]
    if len(numbers) != 3 or not all(type(n) is int and 0 <= n <= 255 for n in numbers):
        return None
    return numbers[0], numbers[1], numbers[2]


def _of_hex(digits: str) -> Color:
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue
