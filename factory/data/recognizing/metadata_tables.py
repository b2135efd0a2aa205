"""Tables beside images that say which mask is whose: metadata.jsonl or metadata.csv of the Hugging
Face Hub, or any other table with columns of images and of masks.

Sections do not read them: names pair images with masks. So what they say is compared with that.
"""

import csv
import json
import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from factory.data.files.listing import IMAGE_SUFFIXES
from factory.data.files.trees import Tree
from factory.data.recognizing.name_words import mask_word
from factory.errors import UnreadableImage

_OF_HUB = ("metadata.jsonl", "metadata.csv")
_ENDINGS = (".jsonl", ".csv", ".tsv")
_IMAGE = "file_name"
_DELIMITERS = ",;\t|"
_MAX_BYTES, _MAX_TABLES = 64 * 2**20, 16
"""Larger tables, and more of them, are not read."""


class Said(NamedTuple):
    """What a table says of an image."""

    table: str
    """The table, as messages name it."""
    masks: Mapping[str, str]
    """Column -> the name in the tree of the picture that it names beside the image."""
    is_sure: bool
    """True if the table or the column says that these are masks: others may be any pictures."""


class _Pictures:
    """The pictures of a tree, found by what cells of tables say of them."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = set(names)
        self._of_end: dict[str, list[str]] = defaultdict(list)
        """The last parts of a path -> the pictures whose paths end so."""
        for name in names:
            for end in _ends(name):
                self._of_end[end].append(name)

    def named(self, cell: object, folder: str) -> str | None:
        """The picture that a cell of a table in a folder names: counted from there or from the top,
        or with folders of another machine, if that tells which."""
        if not isinstance(cell, str) or not cell.strip().lower().endswith(IMAGE_SUFFIXES):
            return None
        text = posixpath.normpath(cell.strip().replace("\\", "/"))
        for name in (posixpath.normpath(posixpath.join(folder, text)), text):
            if name in self._names:
                return name
        longest = next((end for end in _ends(text) if end in self._of_end), None)
        alike = [] if longest is None else self._of_end[longest]
        return alike[0] if len(alike) == 1 else None


def _ends(path: str) -> list[str]:
    """The last parts of a path, the longest end first: a/b/c.png, b/c.png, c.png."""
    parts = path.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]


def masks_said(tree: Tree, pictures: Collection[str]) -> dict[str, Said]:
    """Image -> what a table says of its mask, for those of which one does.

    pictures: names of the tree. Raises OSError.
    """
    found: dict[str, Said] = {}
    tables = [name for name in tree.names() if name.lower().endswith(_ENDINGS)]
    known = _Pictures(pictures if tables else ())
    for table in sorted(tables, key=_is_no_hub_table)[:_MAX_TABLES]:
        folder = posixpath.dirname(table)
        for row in _rows(tree, table):
            named = {key: name for key, cell in row.items() if (name := known.named(cell, folder))}
            column = _IMAGE if _IMAGE in named else next(iter(named), "")
            image = named.pop(column, None)
            masks = {key: name for key, name in named.items() if name != image}
            if image and masks:
                is_sure = not _is_no_hub_table(table) or any(map(mask_word, masks))
                found.setdefault(image, Said(tree.url_of(table), masks, is_sure))
    return found


def _is_no_hub_table(table: str) -> bool:
    return posixpath.basename(table) not in _OF_HUB


def _rows(tree: Tree, table: str) -> Iterator[Mapping[str, Any]]:
    """Yields the rows of a table; none of one that cannot be read."""
    try:
        data = tree.read(table)
        lines = data.decode("utf-8-sig").splitlines() if len(data) <= _MAX_BYTES else []
        if not table.lower().endswith(".jsonl"):
            yield from csv.DictReader(lines, delimiter=_delimiter(lines))
            return
        rows = [json.loads(line) for line in lines if line.strip()]
        yield from (row for row in rows if isinstance(row, dict))
    except (UnreadableImage, UnicodeDecodeError, ValueError, RecursionError, csv.Error):
        return


def _delimiter(lines: Sequence[str]) -> str:
    """What stands between the cells of a table, by its first line."""
    return max(_DELIMITERS, key=lines[0].count) if lines else ","
