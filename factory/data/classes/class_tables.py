"""Classes as tables whose header says which column is what: names, values, colours; and as lists of
objects, whose keys say the same.

All become forms of `factory.data.classes.class_forms`. `factory.data.classes.class_lines` reads
tables without a header.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from factory.classes import Color
from factory.data.classes.written_colors import color_of, colors_of
from factory.errors import UserError, some

_NAMES = (
    *("name", "classname", "labelname", "class", "label", "category", "categoryname", "title"),
    *("value", "names", "classes", "labels"),
)
_IDS = (
    *("id", "value", "index", "idx", "pixelvalue", "maskvalue", "classid", "labelid", "categoryid"),
    *("classindex", "classvalue", "labelvalue", "grayvalue", "greyvalue"),
)
_PERHAPS_IDS = ("pixel", "gray", "grey", "code", "class", "label")
"""The words of ids; the second ones mean something else where their column holds no numbers."""
_COLORS = (
    *("color", "colour", "colors", "colours", "hex", "rgb", "colorrgb", "rgbcolor", "hexcolor"),
    *("colorhex", "hexcode", "rgbvalue", "rgbvalues", "colorcode", "background"),
)
_CHANNELS = (
    ("r", "red", "colorr", "rgbr"),
    ("g", "green", "colorg", "rgbg"),
    ("b", "blue", "colorb", "rgbb"),
)
"""Words of headers and keys, in lower case and without what parts words, the likeliest ones
first."""
_DELIMITERS = ",;\t"
_NUMBER = re.compile(r"-?\d+(?:\.0+)?")
_PICTURE = re.compile(r".*\.(?:png|jpe?g|tiff?|bmp|webp)", re.IGNORECASE)
Row = Sequence[Any]


def of_header(lines: Sequence[str], location: str) -> list[Any] | None:
    """The classes of a table with a header; None if the lines are none.

    Raises UserError for a table with numbers or colours of whose header nothing is known, and for
    one of which two columns may be the values.
    """
    for header, *rows in tables(lines):
        if not rows:
            continue
        if (found := of_columns(header, rows, location)) is not None:
            return found
        columns = list(zip(*rows, strict=True))
        is_header = not any(_is_number(cell) or colors_of([cell]) for cell in header)
        if is_header and any(all(map(_is_number, c)) or colors_of(c) for c in columns):
            raise UserError(
                f"{location}: is a table of the columns {some(header)}, which do not say what is "
                "a name and what is a value. Call its columns name and id, or name, r, g and b."
            )
    words = [line.split() for line in lines]
    if len(words) > 1 and len({len(row) for row in words}) == 1:
        found = of_columns(words[0], words[1:], location)
        return found if found and isinstance(found[0], dict) else None
    return None


def tables(lines: Sequence[str]) -> Iterator[list[list[str]]]:
    """Yields the rows of lines for each character that parts them into two columns or more, as many
    of each row as the first has."""
    for delimiter in _DELIMITERS:
        rows = [list(map(str.strip, row)) for row in csv.reader(lines, delimiter=delimiter)]
        width = len(rows[0])
        if width >= 2 and all(len(row) <= width for row in rows):
            yield [[*row, *[""] * (width - len(row))] for row in rows]


def knows(word: str) -> bool:
    """True of words that say what a column or key is."""
    return any(_squeezed(word) in words for words in (_NAMES, _IDS, _PERHAPS_IDS, _COLORS))


def is_header_of_one(line: str) -> bool:
    """True of the header of a table of one column, that of the names."""
    return _squeezed(line) in _NAMES


def of_objects(entries: Sequence[object], location: str) -> list[Any] | None:
    """The classes of a list of objects whose keys say what is a name, a value and a colour; None if
    they are none, or are names alone. Raises UserError as `of_header` does."""
    rows = [entry for entry in entries if isinstance(entry, Mapping)]
    if not rows or len(rows) < len(entries):
        return None
    keys = list(dict.fromkeys(str(key) for row in rows for key in row))
    found = of_columns(keys, [[row.get(key) for key in keys] for row in rows], location)
    return found if found and isinstance(found[0], dict) else None


def of_columns(header: Sequence[str], rows: Sequence[Row], location: str) -> list[Any] | None:
    """The classes of a table of which a column holds names, and others values, colours or neither.

    Where there are both, masks are read by the values, and the colours show the classes. None if
    the header has no names, or nothing says what columns of numbers or colours are. Raises
    UserError where two columns may be the values.
    """
    words = [_squeezed(cell) for cell in header]

    def fitting(known: Sequence[str], fits: Callable[[Any], object]) -> list[int]:
        """The columns of known words whose cells all fit, the likeliest ones first."""
        named = sorted((known.index(word), i) for i, word in enumerate(words) if word in known)
        return [i for _, i in named if all(fits(row[i]) for row in rows)]

    names = fitting(_NAMES, _is_name)
    if not names:
        return None
    values = [i for i in fitting((*_IDS, *_PERHAPS_IDS), _is_number) if i != names[0]]
    if len({tuple(int(float(row[i])) for row in rows) for i in values}) > 1:
        raise UserError(
            f"{location}: has values in the columns {some([header[i] for i in values])}, which "
            "differ. Leave out those that are not the values of masks."
        )
    # What is called an id, or a colour, and is none, is refused as such.
    values = values or [i for i in fitting(_IDS[:1], bool) if i != names[0]]
    channels = [i for known in _CHANNELS for i in fitting(known, _is_number)[:1]]
    colors = fitting(_COLORS, _color) or fitting(_COLORS[:4], bool)
    own = [unquoted(row[names[0]]) for row in rows]
    ids = [_number(row[values[0]]) for row in rows] if values else []
    shown: list[Any] = []
    if len(channels) == len(_CHANNELS):
        shown = [[_number(row[i]) for i in channels] for row in rows]
    elif colors:
        shown = [_color(row[colors[0]]) or row[colors[0]] for row in rows]
    if ids or shown:
        return entries_of(own, ids, shown)
    return None if _hold_more(rows) else own


def _hold_more(rows: Sequence[Row]) -> bool:
    """True of rows with a column of numbers, colours or pictures, of which nothing is known."""
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    return any(
        all(map(_is_number, cells)) or colors_of(cells) or any(map(_is_picture, cells))
        for cells in columns
    )


def entries_of(names: Sequence[str], ids: Sequence[Any], colors: Sequence[Any]) -> list[Any]:
    """The classes of these names, by their ids, if there are any, or else by their colours."""
    if not ids:
        return [{"name": n, "colors": [color]} for n, color in zip(names, colors, strict=True)]
    shown = colors or [None] * len(ids)
    classes = [
        {"name": name, "ids": [value], "color": color}
        for name, value, color in zip(names, ids, shown, strict=True)
    ]
    return sorted(classes, key=lambda entry: (isinstance(entry["ids"][0], str), entry["ids"][0]))


def _squeezed(word: object) -> str:
    """A word of a header in lower case, without what parts words."""
    return re.sub(r"[\s_.-]", "", str(word)).lower()


def _color(cell: object) -> Color | None:
    return color_of(cell, is_color=True)


def _is_number(cell: object) -> bool:
    return type(cell) is int or (isinstance(cell, str) and bool(_NUMBER.fullmatch(cell)))


def _is_name(cell: object) -> bool:
    return isinstance(cell, str) and not _NUMBER.fullmatch(cell)


def _is_picture(cell: object) -> bool:
    return isinstance(cell, str) and bool(_PICTURE.fullmatch(cell))


def _number(cell: Any) -> Any:
    return int(float(cell)) if _is_number(cell) else cell


def unquoted(text: str) -> str:
    """A name without the quotes around it."""
    quoted = len(text) > 2 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text
