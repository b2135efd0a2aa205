"""Classes as lines of text: names alone, or beside numbers that are the values or the colours of
masks, in columns that a comma, a semicolon, a tab, spaces, a colon or an equals sign parts.

All become forms of `factory.data.classes.class_forms`.
"""

import csv
import re
from collections.abc import Callable, Sequence
from typing import Any

from factory.errors import UserError, some

_NAMES = ("name", "class", "label", "class_name", "label_name", "category", "title")
_IDS = ("id", "value", "index", "idx", "pixel value", "class_id", "label_id", "class", "label")
_COLORS = ("color", "colour", "hex", "rgb", "color_rgb")
_CHANNELS = (("r", "red"), ("g", "green"), ("b", "blue"))
_DELIMITERS = ",;\t"
_NUMBER = re.compile(r"\d+(?:\.0+)?")
_HEX = re.compile("#[0-9a-fA-F]{6}")
_APART = r"\s*[\s,;:=]\s*"
_RGB = rf"(\d+){_APART}(\d+){_APART}(\d+)"
_NAMED = r"([^\d\s,;:=].*?)"
_COLOR_FIRST = re.compile(rf"{_RGB}{_APART}{_NAMED}")
_COLOR_LAST = re.compile(rf"{_NAMED}{_APART}{_RGB}")
_BOTH = re.compile(rf"(\d+){_APART}{_NAMED}{_APART}{_RGB}")
_ID_FIRST = re.compile(rf"(\d+){_APART}(.*\S)")
_ID_LAST = re.compile(rf"{_NAMED}{_APART}(\d+)")


def of_header(lines: Sequence[str], location: str) -> list[dict[str, Any]] | None:
    """The classes of a table with a header; None if the lines are none.

    Raises UserError for a table with numbers of whose header nothing is known.
    """
    for delimiter in _DELIMITERS:
        rows = [list(map(str.strip, row)) for row in csv.reader(lines, delimiter=delimiter)]
        width = len(rows[0])
        if width < 2 or len(rows) < 2 or any(len(row) > width for row in rows):
            continue
        header, *rows = ([*row, *[""] * (width - len(row))] for row in rows)
        found = _of_columns([column.lower() for column in header], rows)
        if found is not None:
            return found
        if not any(map(_NUMBER.fullmatch, header)) and any(
            all(_NUMBER.fullmatch(row[i]) for row in rows) for i in range(width)
        ):
            raise UserError(
                f"{location}: is a table of the columns {some(header)}, which do not say what is "
                "a name and what is a value. Call its columns name and id, or name, r, g and b."
            )
    return None


def of_lines(lines: Sequence[str], location: str) -> list[Any]:
    """The classes of lines: names, or in each line a name and its value, or its colour.

    Numbers behind names are part of them where two would be the same: `zone 1`, `zone 2`. Raises
    UserError for names with tabs in them.
    """
    for expression, make in _FORMS:
        found = [match.groups() for line in lines if (match := expression.fullmatch(line))]
        if len(found) < len(lines):
            continue
        classes = [make(*groups) for groups in found]
        values = [str(entry.get("ids") or entry.get("colors")) for entry in classes]
        names = {entry["name"] for entry in classes}
        if expression is _ID_FIRST or len(set(values)) == len(values) == len(names):
            if any("\t" in name for name in names):
                break
            return classes if "colors" in classes[0] else sorted(classes, key=lambda e: e["ids"])
    if any("\t" in line for line in lines):
        raise UserError(
            f"{location}: has columns, of which nothing says which is which. Put a header above "
            "them, such as id and name, or write names alone, one a line."
        )
    bullets = all(line.startswith("- ") for line in lines)
    return [_unquoted(line.removeprefix("- ") if bullets else line) for line in lines]


def _of_columns(
    header: Sequence[str], rows: Sequence[Sequence[str]]
) -> list[dict[str, Any]] | None:
    """The classes of a table whose header has a name, and a value or a colour."""

    def column(known: Sequence[str], fits: Callable[[str], object]) -> int | None:
        """The column of a known name whose cells fit, else one whose cells do not."""
        named = sorted((known.index(name), i) for i, name in enumerate(header) if name in known)
        fitting = [i for _, i in named if all(fits(row[i]) for row in rows)]
        return next(iter([*fitting, *(i for _, i in named)]), None)

    name = column(_NAMES, lambda cell: not _NUMBER.fullmatch(cell))
    value = column(
        [known for known in _IDS if name is None or header[name] != known], _NUMBER.fullmatch
    )
    channels = [column(names, _NUMBER.fullmatch) for names in _CHANNELS]
    color = column(_COLORS, _color)
    has_color = None not in channels or color is not None
    if name is None or (value is None and not has_color):
        return None
    classes = []
    for row in rows:
        entry: dict[str, Any] = {"name": _unquoted(row[name])}
        shown: Any = [_number(row[i]) for i in channels if i is not None]
        if None in channels and color is not None:
            shown = _color(row[color]) or row[color]
        if value is None:
            entry["colors"] = [shown]
        else:
            entry["ids"] = [_number(row[value])]
            entry["color"] = shown if has_color else None
        classes.append(entry)
    if value is not None:
        classes.sort(key=lambda entry: (isinstance(entry["ids"][0], str), entry["ids"][0]))
    return classes


def _with_color(red: str, green: str, blue: str, name: str) -> dict[str, Any]:
    return {"name": _unquoted(name), "colors": [[int(red), int(green), int(blue)]]}


def _with_id(number: str, name: str) -> dict[str, Any]:
    return {"name": _unquoted(name), "ids": [int(number)]}


def _with_both(number: str, name: str, *color: str) -> dict[str, Any]:
    return {**_with_id(number, name), "color": [int(part) for part in color]}


_FORMS: Sequence[tuple[re.Pattern[str], Callable[..., dict[str, Any]]]] = (
    (_COLOR_FIRST, _with_color),
    (_BOTH, _with_both),
    (_COLOR_LAST, lambda name, red, green, blue: _with_color(red, green, blue, name)),
    (_ID_FIRST, _with_id),
    (_ID_LAST, lambda name, number: _with_id(number, name)),
)
"""The forms of a line, the most telling first, and the class that its groups are."""


def _color(text: str) -> str | list[int] | None:
    """The colour of a cell: #RRGGBB, or three numbers; None if it is none."""
    if _HEX.fullmatch(text):
        return text
    numbers = re.findall(r"\d+", text)
    return [int(number) for number in numbers] if len(numbers) == 3 else None


def _number(text: str) -> int | str:
    return int(float(text)) if _NUMBER.fullmatch(text) else text


def _unquoted(text: str) -> str:
    """A name without the quotes around it."""
    quoted = len(text) > 2 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text
