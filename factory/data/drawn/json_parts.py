"""A large JSON file, element by element of its lists: only its text is in memory as a whole."""

import json
import re
from collections.abc import Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def parts(text: str) -> Iterator[tuple[str, Any, int]]:
    """Yields (key, value, offset in the text) of an object: of lists each element by itself.

    Raises ValueError for what is no JSON object, RecursionError.
    """
    at = _after(text, 0, "{")
    if text[at : at + 1] == "}":
        return
    while True:
        key, at = _DECODER.raw_decode(text, at)
        if not isinstance(key, str):
            raise ValueError(f"no key at character {at}")
        at = _after(text, _skip(text, at), ":")
        if text[at : at + 1] == "[":
            at = _skip(text, at + 1)
            while text[at : at + 1] != "]":
                value, end = _DECODER.raw_decode(text, at)
                yield key, value, at
                at = _skip(text, end)
                if text[at : at + 1] != "]":
                    at = _after(text, at, ",")
            at += 1
        else:
            value, end = _DECODER.raw_decode(text, at)
            yield key, value, at
            at = end
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return
        at = _after(text, at, ",")


def value_at(text: str, start: int) -> Any:
    """The value that begins at an offset of the text."""
    return _DECODER.raw_decode(text, start)[0]


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None, "it matches the empty text"
    return space.end()


def _after(text: str, at: int, character: str) -> int:
    """The offset of what follows a character and white space. Raises ValueError without it."""
    at = _skip(text, at)
    if text[at : at + 1] != character:
        raise ValueError(f"expected {character!r} at character {at}")
    return _skip(text, at + 1)
