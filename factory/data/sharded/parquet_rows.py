"""The rows of Parquet files, read in their order a few at a time, whoever asks for them.

Several threads may ask at once: while they ask for rows in about their order, each is read once.
"""

import hashlib
import posixpath
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.data.classes.class_rules import ClassRules
from factory.data.files.listing import IMAGE_SUFFIXES
from factory.data.files.trees import MAX_BYTES, Tree
from factory.data.masks import mask_decoding
from factory.data.masks.mask_decoding import Mask
from factory.data.pixels import decoding
from factory.data.pixels.decoding import Picture
from factory.data.pixels.reading import Reading
from factory.data.sharded import cells
from factory.data.sharded.parquet_files import DAMAGE, open_file
from factory.data.sharded.parquet_schema import Columns
from factory.errors import UnreadableImage

_ROWS_AT_ONCE = 16
_MAX_KEPT, _MAX_KEPT_BYTES, _MIN_KEPT = 64, 2**26, 4
"""So many times _ROWS_AT_ONCE rows of a file are kept: threads are not all at the same row."""
_NUM_OPEN = 2
"""The number of files that are open at once: where one ends, some threads are at the next."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of the Parquet files of a tree."""

    tree: Tree
    columns: Columns
    may_lack_bytes: bool
    """True if cells may name pictures beside the files instead of holding their bytes."""
    _open: dict[str, "_File"] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def cells(self, file: str, row: int) -> list[pa.Scalar]:
        """The cells of a row of a file, one for each of the columns.

        Raises UnreadableImage if the file is damaged there, OSError.
        """
        with self._lock:
            if (found := self._open.pop(file, None)) is None:
                found = _File(open_file(self.tree, file), self.columns.names)
            while len(self._open) >= _NUM_OPEN:
                self._open.pop(next(iter(self._open))).file.close()
            self._open[file] = found  # the one that was used last is the last
            batch, i = found.batch_of(row)
        return [batch.column(name)[i] for name in self.columns.names]

    def picture(self, file: str, cell: pa.Scalar) -> bytes:
        """The bytes of the picture that a cell holds or names.

        Raises UnreadableImage for an empty cell, and for a path that leaves the folder; OSError.
        """
        data, path = cells.picture(cell)
        if not data and path:
            try:
                return self.tree.read(_beside(file, str(path)))
            except FileNotFoundError:
                raise UnreadableImage(
                    f"holds no bytes, but the path {path}, where no file is. Put it there, or save "
                    "the pictures' bytes in the table.",
                    str(path),
                ) from None
        if not data:
            raise UnreadableImage(
                "is empty. Fill it, leave such rows out with `unpaired: skip`, or list the rows to "
                "use in names_url."
            )
        if len(data) > MAX_BYTES:
            raise UnreadableImage(f"has more than {MAX_BYTES} bytes. Remove it.")
        return data


class _File:
    """An open file, and the rows that were read last."""

    def __init__(self, file: pq.ParquetFile, columns: Sequence[str]) -> None:
        self.file = file
        self._columns = list(columns)
        groups = range(file.metadata.num_row_groups)
        sizes = (file.metadata.row_group(i).num_rows for i in groups)
        self._starts = [0, *accumulate(sizes)]
        self._recent: deque[tuple[int, pa.RecordBatch]] = deque(maxlen=_MAX_KEPT)
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._group, self._next = -1, 0

    def batch_of(self, row: int) -> tuple[pa.RecordBatch, int]:
        """The rows that were read together with a row, and its position among them."""
        for start, batch in self._recent:
            if start <= row < start + batch.num_rows:
                return batch, row - start
        group = bisect_right(self._starts, row) - 1
        try:
            if group != self._group or row < self._next:
                self._group, self._next = group, self._starts[group]
                self._batches = self.file.iter_batches(
                    _ROWS_AT_ONCE, [group], self._columns, use_threads=False
                )
            for batch in self._batches:
                start, self._next = self._next, self._next + batch.num_rows
                self._keep(start, batch)
                if row < self._next:
                    return batch, row - start
        except (*DAMAGE, OSError) as error:
            self._group = -1
            raise UnreadableImage(
                f"its file is damaged there ({error}). Write or download the file again."
            ) from None
        raise UnreadableImage("is not in its file. Write or download the file again.")

    def _keep(self, start: int, batch: pa.RecordBatch) -> None:
        """Keeps rows, and forgets those that were read long ago."""
        self._recent.append((start, batch))
        num_bytes = sum(batch.nbytes for _, batch in self._recent)
        while len(self._recent) > _MIN_KEPT and num_bytes > _MAX_KEPT_BYTES:
            num_bytes -= self._recent.popleft()[1].nbytes


@dataclass(slots=True)
class Row:
    """A row of a Parquet file: an image, and its mask if it was asked for."""

    name: str
    rows: Rows
    file: str
    """The file's name in the tree."""
    row: int
    """The row's number in the file, from 0 on."""
    reading: Reading
    _mask_cell: Any = None
    """The mask of the row, if its image was read last."""

    @property
    def tile(self) -> None:
        """None: it is a whole image."""

    @property
    def image_url(self) -> str:
        """The file, the row and the column."""
        return self._url(self.rows.columns.image)

    @property
    def mask_url(self) -> str | None:
        """The file, the row and the column."""
        mask = self.rows.columns.mask
        return None if mask is None else self._url(mask)

    def _url(self, column: str) -> str:
        return f"{self.rows.tree.url_of(self.file)}#{self.row} {column}"

    def image(self, size: int) -> Picture:
        """The image in the row's cell."""
        cell, *mask = self.rows.cells(self.file, self.row)
        self._mask_cell = mask[0] if mask else None
        return decoding.decode_image(self.rows.picture(self.file, cell), self.reading)

    def content(self) -> bytes:
        """The bytes of the image in the row's cell."""
        return self.rows.picture(self.file, self.rows.cells(self.file, self.row)[0])

    def mask(self, size: int, rules: ClassRules) -> Mask:
        """The mask in the row's cell, which is kept from where its image was read."""
        cell, self._mask_cell = self._mask_cell, None
        if cell is None:
            cell = self.rows.cells(self.file, self.row)[1]
        return mask_decoding.decode_mask(self.rows.picture(self.file, cell), rules)


def versions(rows: Sequence[Any]) -> list[str]:
    """A text for each `Row`, another one after its file has changed, or a picture beside the files
    if cells may name some. Raises OSError."""
    mine = [row for row in rows if isinstance(row, Row)]
    if not mine:
        return []
    source, beside = mine[0].rows, ""
    files = sorted({row.file for row in mine})
    version_of = dict(zip(files, source.tree.versions(files), strict=True))
    if source.may_lack_bytes:
        pictures = [n for n in source.tree.names() if n.lower().endswith(IMAGE_SUFFIXES)]
        beside = hashlib.sha256(repr(source.tree.versions(pictures)).encode()).hexdigest()
    return [f"{version_of[row.file]} {row.row} {beside}" for row in mine]


def _beside(file: str, path: str) -> str:
    """The name in the tree of a file that a row names, relative to the file of the row."""
    below = path.replace("\\", "/")
    found = posixpath.normpath(posixpath.join(posixpath.dirname(file), below))
    if below.startswith("/") or found == ".." or found.startswith("../"):
        raise UnreadableImage(
            f"holds no bytes, but the path {path}, which leaves the folder. Save the pictures' "
            "bytes in the table, or put the file below `url:`.",
            path,
        )
    return found
