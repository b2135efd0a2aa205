"""Classes as lines of text without a header: names alone, or in each line numbers and colours, too,
in columns that a comma, a semicolon, a tab, spaces, a colon or an equals sign parts.

What the columns hold says which is what; where that leaves it open, the lines are refused. All
become forms of `factory.data.classes.class_forms`.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from factory.data.classes import class_tables
from factory.data.classes.written_colors import color_of, colors_of
from factory.errors import UserError

_APART = r"\s*[\s,;:=]\s*"
_NUMBER = re.compile(r"\d+(?:\.0+)?")
_TOKEN = r"(?:\d+|(?:#|0[xX])?[0-9a-fA-F]{6}|#[0-9a-fA-F]{3})"
_LINE = re.compile(
    rf"(?P<before>(?:{_TOKEN}{_APART})*)(?P<name>[^\s,;:=].*?)(?P<after>(?:{_APART}{_TOKEN})*)"
)
"""A name, and the numbers and colours before and behind it."""
_ID_FIRST = re.compile(rf"(?P<id>\d+){_APART}(?P<name>.*\S)")
_ID_LAST = re.compile(rf"(?P<name>[^\d\s,;:=].*?){_APART}(?P<id>\d+)")
_BRACKETED = re.compile(r"[\[({]?(\d+)[\])}]?")
_COLOR_FIRST = re.compile(rf"#[0-9a-fA-F]{{3,6}}{_APART}.*")
Column = tuple[str, ...]


def is_comment(line: str) -> bool:
    """True of a line that begins with # and is no colour with its name."""
    return line.startswith("#") and not _COLOR_FIRST.fullmatch(line)


def of_lines(lines: Sequence[str], location: str) -> list[Any]:
    """The classes of lines: names, or in each line a name with its value, its colour or both.

    Numbers behind names are part of them where two would be the same: `zone 1`, `zone 2`. Raises
    UserError for columns of which nothing says which is which.
    """
    is_csv = location.lower().endswith((".csv", ".tsv"))
    problem: UserError | None = None
    for rows in class_tables.tables(lines):
        full = [[_plain(cell) for cell in row if cell] for row in rows]
        if len({len(row) for row in full}) > 1 or len(full[0]) < 2:
            continue
        try:
            found = _of_columns(list(zip(*full, strict=True)), location)
        except UserError as error:
            problem = error
            continue
        if found is not None:
            return found
        problem = _unclear(location) if is_csv else problem
    if (found := _of_tokens(lines, location)) is not None and not (
        problem and any(set(entry["name"]) & set(",;\t") for entry in found)
    ):
        return found
    if problem is not None:
        raise problem
    if any("\t" in line for line in lines):
        raise _unclear(location)
    if is_csv and class_tables.is_header_of_one(lines[0]):
        lines = lines[1:]
    bullets = all(line.startswith("- ") for line in lines)
    return [class_tables.unquoted(line.removeprefix("- ") if bullets else line) for line in lines]


def _of_tokens(lines: Sequence[str], location: str) -> list[Any] | None:
    """The classes of lines of which each has a name, and as many numbers or colours before and
    behind it as the others; None of others."""
    found = [match for line in lines if (match := _LINE.fullmatch(line))]
    split = [(_tokens(m["before"]), m["name"], _tokens(m["after"])) for m in found]
    if len(found) == len(lines) and len({(len(a), len(b)) for a, _, b in split}) == 1:
        columns = list(zip(*([*a, name, *b] for a, name, b in split), strict=True))
        names = [name for _, name, _ in split]
        is_behind = len(split[0][2]) == 1 and not split[0][0]
        if not is_behind or len(set(columns[1])) == len(set(names)) == len(names):
            return _of_columns(columns, location) if len(columns) > 1 else None
        return None  # Numbers of which two are the same are part of names.
    for expression in (_ID_FIRST, _ID_LAST):
        found = [match for line in lines if (match := expression.fullmatch(line))]
        ids, names = [int(m["id"]) for m in found], [m["name"] for m in found]
        are_apart = len(set(ids)) == len(set(names)) == len(lines)
        if len(found) == len(lines) and (are_apart or expression is _ID_FIRST):
            return class_tables.entries_of([*map(class_tables.unquoted, names)], ids, ())
    return None


def _of_columns(columns: Sequence[Column], location: str) -> list[Any] | None:
    """The classes of columns, by what they hold; None if all hold names."""
    colors = [i for i, column in enumerate(columns) if colors_of(column)]
    numbers = [
        i for i, c in enumerate(columns) if i not in colors and all(map(_NUMBER.fullmatch, c))
    ]
    texts = [i for i in range(len(columns)) if i not in (*colors, *numbers)]
    if not colors and not numbers:
        return None
    apart = [i for i in texts if len(set(columns[i])) == len(columns[i])]
    named = texts if len(texts) == 1 else apart
    triple, ids = _color_and_id(columns, colors, numbers)
    if len(named) != 1 or not (triple or ids) or len(triple) + len(ids) < len(colors + numbers):
        raise _unclear(location)
    parts = list(zip(*(columns[i] for i in triple), strict=True))
    shown = [color_of(" ".join(cells), is_color=True) for cells in parts]
    values = [int(float(cell)) for i in ids for cell in columns[i]]
    return class_tables.entries_of([*map(class_tables.unquoted, columns[named[0]])], values, shown)


def _color_and_id(
    columns: Sequence[Column], colors: Sequence[int], numbers: Sequence[int]
) -> tuple[Sequence[int], Sequence[int]]:
    """The columns of the colours, and that of the values, each empty if there are none; both empty
    where nothing says which is which."""
    if len(colors) == 1 and len(numbers) < 2:
        return colors, numbers
    if not colors and len(numbers) == 1:
        return (), numbers
    if colors or len(numbers) not in (3, 4):
        return (), ()
    ways = [(numbers[:3], numbers[3:]), (numbers[1:], numbers[:1])][: len(numbers) - 2]
    fit = [way for way in ways if _are_channels(columns, way[0]) and _are_ids(columns, way[1])]
    counted = [way for way in fit if way[1] and _count_up(columns[way[1][0]])]
    fit = counted if len(fit) > 1 else fit
    return fit[0] if len(fit) == 1 else ((), ())


def _are_channels(columns: Sequence[Column], triple: Sequence[int]) -> bool:
    """True of columns beside each other whose cells are colours, no two of which are the same."""
    cells = list(zip(*(columns[i] for i in triple), strict=True))
    are_beside = all(b - a == 1 for a, b in pairwise(triple))
    return (
        are_beside and len(set(cells)) == len(cells) and all(color_of(" ".join(c)) for c in cells)
    )


def _are_ids(columns: Sequence[Column], ids: Sequence[int]) -> bool:
    return all(len(set(columns[i])) == len(columns[i]) for i in ids)


def _count_up(column: Column) -> bool:
    """True of numbers of which each but the lowest is one more than another."""
    values = sorted(int(float(cell)) for cell in column)
    return all(b - a == 1 for a, b in pairwise(values))


def _tokens(text: str) -> list[str]:
    return [token for token in re.split(r"[\s,;:=]+", text) if token]


def _plain(cell: str) -> str:
    """A cell without the bracket that a number in it stands behind or before: (128, or 64]."""
    number = _BRACKETED.fullmatch(cell)
    return number[1] if number else cell


def _unclear(location: str) -> UserError:
    return UserError(
        f"{location}: has columns, of which nothing says which is which. Put a header above them, "
        "such as id and name, or write names alone, one a line."
    )
