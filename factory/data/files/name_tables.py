"""Tables that list images: beside their names, columns hold masks, sizes, numbers or splits.

What a column names decides which is that of the images, and where several do, the header.
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from factory.data.files import listing
from factory.data.files.split_words import SPLITS
from factory.errors import UserError, counted, some

_DELIMITERS = "\t,;"
_IMAGE = re.compile(r"(image|img|photo|picture|rgb|file|input)[\w .-]*", re.IGNORECASE)
_MASK = re.compile("mask|label|annot|gt|seg|target|truth", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class NameTable:
    """Rows of a table that lists images."""

    rows: Sequence[Sequence[str]]
    """Cells, as many in each row; the first row may be a header."""

    @property
    def header(self) -> Sequence[str]:
        """The first row."""
        return self.rows[0]

    def column(self, i: int) -> list[str]:
        """The cells of a column below the first row."""
        return [row[i] for row in self.rows[1:]]

    @property
    def split_column(self) -> int | None:
        """The column that says which split each image is of; None if there is none."""
        for i in range(len(self.header)):
            if (cells := self.column(i)) and all(cell.lower() in SPLITS for cell in cells):
                return i
        return None

    @property
    def splits(self) -> list[str]:
        """The splits as the table writes them, in its order; empty if it tells none."""
        i = self.split_column
        if i is None:
            return []
        first = [self.header[i]] if self.header[i].lower() in SPLITS else []
        return list(dict.fromkeys([*first, *self.column(i)]))

    def of_split(self, split: str) -> "NameTable | None":
        """The rows of a split, behind the first one if that is a header; None if it has none."""
        i = self.split_column
        if i is None or split not in self.splits:
            return None
        is_header = self.header[i].lower() not in SPLITS
        kept = [row for row in self.rows if row[i] == split]
        rows = [[cell for j, cell in enumerate(row) if j != i] for row in kept]
        header = [cell for j, cell in enumerate(self.header) if j != i] if is_header else []
        # Rows without a header have an empty one, so that the first is read like the others.
        return NameTable([header or [""] * len(rows[0]), *rows])


@dataclass(frozen=True)
class ListedImages:
    """What a table says of images."""

    names: Sequence[str]
    masks: Sequence[str]
    """The mask of each; empty if no column names masks."""
    has_text: bool
    """True if a column holds something else than names of pictures and numbers."""


def of_rows(rows: Sequence[Sequence[str]]) -> NameTable:
    """The table of rows of which some may be shorter than the longest."""
    width = max(map(len, rows))
    return NameTable([[*map(str.strip, row), *[""] * (width - len(row))] for row in rows])


def of_lines(lines: Sequence[str]) -> NameTable | None:
    """The table that lines are, of two columns or more; None if they are none."""
    if not lines:
        return None
    for delimiter in _DELIMITERS:
        try:
            rows = [list(map(str.strip, row)) for row in csv.reader(lines, delimiter=delimiter)]
        except csv.Error:
            continue
        if rows and len(rows[0]) > 1 and len({len(row) for row in rows}) == 1:
            return NameTable(rows)
    rows = [line.split() for line in lines]
    is_table = len(rows[0]) > 1 and len({len(row) for row in rows}) == 1
    return NameTable(rows) if is_table else None


def listed_images(
    table: NameTable, find: Callable[[str], Sequence[str]], url: str
) -> ListedImages | None:
    """The images of a table, and their masks if a column names those; None if no column names
    images.

    find: the images that a name may mean. url: of the table. Raises UserError where several columns
    name different images, where names are missing, and where the table has several splits.
    """
    if table.splits:
        raise UserError(
            f"{url}: holds the splits {some(table.splits)} in a column. Set names_key to one."
        )
    columns = {i: [*map(find, table.column(i))] for i in range(len(table.header))}
    first = [i for i, cell in enumerate(table.header) if cell and len(find(cell)) == 1]
    hits = {i: sum(len(f) == 1 for f in found) + (i in first) for i, found in columns.items()}
    if not (most := max(hits.values())):
        return None
    best = [i for i, num in hits.items() if num == most]
    if len({str(columns[i]) for i in best}) > 1:
        best = [i for i in best if _IMAGE.fullmatch(table.header[i])]
    if not best or len({str(columns[i]) for i in best}) > 1:
        raise no_column(table, url)
    rows = table.rows if best[0] in first else table.rows[1:]
    if num := sum(not row[best[0]] for row in rows):
        raise UserError(
            f"{url}: has no name of an image in {counted(num, 'row')}. Fill it in, or take the "
            "row out."
        )
    beside = {i: [row[i] for row in rows] for i in range(len(table.header)) if i != best[0]}
    has_text = not all(_are_pictures(c) or all(map(_NUMBER.fullmatch, c)) for c in beside.values())
    pictures = [i for i, cells in beside.items() if _are_pictures(cells)]
    says = [i for i in pictures if _MASK.search(f"{table.header[i]} {beside[i][0]}")]
    masks = pictures if len(pictures) == 1 else says
    of_masks = beside[masks[0]] if len(masks) == 1 else ()
    return ListedImages([row[best[0]] for row in rows], of_masks, has_text)


def no_column(table: NameTable, url: str) -> UserError:
    """The problem of a table of which nothing tells the column of the images."""
    named = [name for name in table.header if name]
    return UserError(f"{url}: has the columns {some(named)}. Set names_key to one of them.")


def _are_pictures(cells: Sequence[str]) -> bool:
    return bool(cells) and all(cell.lower().endswith(listing.IMAGE_SUFFIXES) for cell in cells)
