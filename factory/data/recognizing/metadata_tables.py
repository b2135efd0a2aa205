"""Tables beside images that say which mask is whose, as the Hugging Face Hub has them for folders
of images: metadata.jsonl or metadata.csv with a column file_name, and one of masks under any name.

Sections do not read them: names pair images with masks. So what they say is compared with that.
"""

import csv
import json
import posixpath
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from factory.data.files.trees import Tree
from factory.errors import UnreadableImage

_NAMES = ("metadata.jsonl", "metadata.csv")
_IMAGE = "file_name"
_MAX_BYTES = 64 * 2**20


class Said(NamedTuple):
    """What a table says of an image."""

    table: str
    """The table, as messages name it."""
    column: str
    mask: str
    """The name of the mask in the tree."""


def masks_said(tree: Tree, pictures: Collection[str]) -> dict[str, Said]:
    """Image -> what a table says of its mask, for those of which one does.

    pictures: names of the tree. Raises OSError.
    """
    found: dict[str, Said] = {}
    for table in tree.names():
        if posixpath.basename(table) not in _NAMES:
            continue
        folder = posixpath.dirname(table)
        for row in _rows(tree, table):
            image = posixpath.join(folder, str(row.get(_IMAGE)))
            for column, value in row.items():
                mask = posixpath.normpath(posixpath.join(folder, str(value)))
                if column != _IMAGE and image in pictures and mask in pictures:
                    found.setdefault(image, Said(tree.url_of(table), column, mask))
    return found


def _rows(tree: Tree, table: str) -> Iterator[Mapping[str, Any]]:
    """Yields the rows of a table; none of one that cannot be read."""
    try:
        data = tree.read(table)
        lines = data.decode("utf-8-sig").splitlines() if len(data) <= _MAX_BYTES else []
        if table.endswith(".csv"):
            yield from csv.DictReader(lines)
            return
        rows = [json.loads(line) for line in lines if line.strip()]
        yield from (row for row in rows if isinstance(row, dict))
    except (UnreadableImage, UnicodeDecodeError, ValueError, RecursionError, csv.Error):
        return
