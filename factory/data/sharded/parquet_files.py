"""Parquet files as a whole: their columns, the number and the names of their rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from factory import storage
from factory.data.files.listing import IMAGE_SUFFIXES
from factory.data.files.trees import Tree
from factory.data.sharded import cells, parquet_schema
from factory.errors import UserError

KEY_COLUMNS = ("key", "id", "file_name")
"""Columns that name the rows, if no two have the same."""
DAMAGE = (pa.ArrowException, ValueError, TypeError, AttributeError)
"""The errors that pyarrow raises of damaged files, beside OSError."""
_BUFFER = 2**20
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class FileFacts:
    """The facts known of a file before its rows are read."""

    schema: pa.Schema
    num_rows: int
    keys: Mapping[str, Sequence[str]]
    """The values of those of KEY_COLUMNS that it has."""
    may_lack_bytes: bool
    """True if cells may name pictures instead of holding their bytes."""
    paths: frozenset[str]
    """The columns of texts of which the first is the name of an image file."""


def open_file(tree: Tree, name: str) -> pq.ParquetFile:
    """A Parquet file, of which nothing but its list of columns and rows is read yet.

    Raises UserError if it is none or is damaged, OSError.
    """
    url = tree.url_of(name)
    size = None if storage.is_local(url) else storage.size_of(url)
    source = (
        url if storage.is_local(url) else pa.PythonFile(storage.RangedFile(url, size), mode="r")
    )
    try:
        return pq.ParquetFile(
            source, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
        )
    except DAMAGE as error:
        raise _damaged(url, error) from None


def look(tree: Tree, name: str) -> FileFacts:
    """The facts of a file. Raises UserError if it is no whole Parquet file, OSError."""
    with open_file(tree, name) as file:
        schema = file.schema_arrow
        columns = [
            column
            for column in KEY_COLUMNS
            if schema.names.count(column) == 1 and parquet_schema.is_name(schema.field(column).type)
        ]
        try:
            table = file.read(columns=columns)
            keys = {column: list(map(str, table[column].to_pylist())) for column in columns}
            paths = _columns_of_paths(file)
        except DAMAGE as error:
            raise _damaged(tree.url_of(name), error) from None
        return FileFacts(schema, file.metadata.num_rows, keys, _may_lack_bytes(file), paths)


def empty_cells(tree: Tree, name: str, column: str) -> npt.NDArray[np.bool_]:
    """True for each row of a file whose cell of the column is empty.

    Its cells are read where the file's statistics do not tell that all are full. Raises UserError
    if the file is damaged, OSError.
    """
    with open_file(tree, name) as file:
        if _are_full(file, column):
            return np.zeros(file.metadata.num_rows, bool)
        try:
            batches = file.iter_batches(_ROWS_AT_ONCE, columns=[column], use_threads=False)
            found = [cells.empty(batch.column(column)) for batch in batches]
        except DAMAGE as error:
            raise _damaged(tree.url_of(name), error) from None
    return np.concatenate([np.zeros(0, bool), *found])


def row_names(names: Sequence[str], files: Sequence[FileFacts]) -> list[str]:
    """The names of all rows: a column of KEY_COLUMNS whose values all differ, else file#row, the
    file without its folders if that tells them apart."""
    for column in KEY_COLUMNS:
        if all(column in file.keys for file in files):
            found = [key for file in files for key in file.keys[column]]
            if len(set(found)) == len(found) and not {"", "None"} & set(found):
                return found
    short = [storage.name_of(name) for name in names]
    shown = short if max(Counter(short).values(), default=0) == 1 else names
    width = len(str(max((file.num_rows for file in files), default=0)))
    return [
        f"{name}#{row:0{width}}"
        for name, file in zip(shown, files, strict=True)
        for row in range(file.num_rows)
    ]


def _columns_of_paths(file: pq.ParquetFile) -> frozenset[str]:
    """The columns of texts of which the first is the name of an image file."""
    texts = [field.name for field in file.schema_arrow if cells.is_text(field.type)]
    if not texts:
        return frozenset()
    first = next(file.iter_batches(1, columns=texts, use_threads=False), None)
    rows = first.to_pylist() if first is not None else []
    return frozenset(
        name
        for row in rows[:1]
        for name, text in row.items()
        if str(text).lower().endswith(IMAGE_SUFFIXES)
    )


def _may_lack_bytes(file: pq.ParquetFile) -> bool:
    """True unless the statistics of all columns of bytes count no empty cell."""
    about = file.metadata
    for group in map(about.row_group, range(about.num_row_groups)):
        for part in map(group.column, range(about.num_columns)):
            if part.path_in_schema.endswith(".bytes"):
                stored = part.statistics
                if stored is None or not stored.has_null_count or stored.null_count:
                    return True
    return False


def _are_full(file: pq.ParquetFile, column: str) -> bool:
    """True if the statistics say that all cells of a column have bytes, or a text, or numbers."""
    about = file.metadata
    for group in map(about.row_group, range(about.num_row_groups)):
        parts = [group.column(i) for i in range(about.num_columns)]
        own = [part for part in parts if part.path_in_schema.split(".")[0] == column]
        counts = [part.statistics.null_count for part in own if _counts_nulls(part)]
        # A structure is full where a part of it is.
        if 0 not in counts:
            return False
    return True


def _counts_nulls(part: pq.ColumnChunkMetaData) -> bool:
    return part.statistics is not None and part.statistics.has_null_count


def _damaged(url: str, error: BaseException) -> UserError:
    return UserError(
        f"{url}: is no whole Parquet file ({error}). Write or download it again, or remove it."
    )
