"""Single samples of a shard, of which only the ranges that hold them are read."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from factory.errors import DamagedShard, counted
from factory.shards import parquet_pages, tar_metadata, webdataset
from factory.shards.columns import STORED, is_row, pictures_in
from factory.shards.parquet_pages import Page
from factory.shards.plan import StoredRow
from factory.shards.schema import EncodedSample
from factory.storage import RangedFile

_TAIL_BYTES = 2**16
"""The end of a Parquet file that is read first: it mostly holds the whole footer."""
_MAGIC = b"PAR1"


class SingleRows(Protocol):
    """A shard's samples one by one; what was learned of where they lie is kept."""

    def row(self, row: int) -> StoredRow:
        """The sample of a row, 0 for the shard's first. Raises DamagedShard."""
        ...

    def image_names(self) -> list[str]:
        """The names of the images of all rows, in a dataset of labels. Raises DamagedShard."""
        ...


@dataclass(frozen=True)
class TableRows:
    """The rows of a table of mask files, which is in memory."""

    rows: Sequence[StoredRow]

    def row(self, row: int) -> StoredRow:
        """See `SingleRows`."""
        return self.rows[row]

    def image_names(self) -> list[str]:
        """See `SingleRows`."""
        return [row.fields["source"] for row in self.rows]


class ParquetRows:
    """Samples of a Parquet shard: the pages that hold one, with their checksums verified."""

    def __init__(self, file: RangedFile) -> None:
        """Reads the footer. Raises DamagedShard."""
        self._file = file
        footer = _footer(file)
        self._metadata = _parsed(footer)
        self._names = self._metadata.schema.to_arrow_schema().names
        self._indexes = parquet_pages.offset_indexes(footer)
        sizes = [self._metadata.row_group(i).num_rows for i in range(len(self._indexes))]
        self._starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self._pictures = pictures_in(self._names)
        self._fields: dict[int, list[dict[str, Any]]] = {}
        self._pages: dict[tuple[int, str], list[Page]] = {}

    def row(self, row: int) -> EncodedSample:
        """See `SingleRows`."""
        if row >= self._metadata.num_rows:
            raise DamagedShard(f"a Parquet shard of {counted(self._metadata.num_rows, 'row')}")
        group = bisect_right(self._starts, row) - 1
        within = row - self._starts[group]
        image_png, mask_png = (self._picture(group, name, within) for name in self._pictures)
        return EncodedSample(self._fields_of(group)[within], image_png, mask_png)

    def image_names(self) -> list[str]:
        """See `SingleRows`."""
        groups = range(len(self._starts))
        return [fields["source"] for group in groups for fields in self._fields_of(group)]

    def _picture(self, group: int, name: str, row: int) -> bytes:
        key = group, f"{name}.bytes"
        if key not in self._pages:
            if key[1] not in self._indexes[group]:
                raise DamagedShard(f"a Parquet shard without an index of the pages of {name}")
            chunk = self._indexes[group][key[1]]
            index = self._file.range(chunk.index.start, chunk.index.stop)
            self._pages[key] = parquet_pages.pages_of(index, chunk)
        page = parquet_pages.page_of_row(self._pages[key], row)
        values = parquet_pages.values_of(self._file.range(page.start, page.start + page.size))
        if len(values) != page.num_rows:
            raise DamagedShard(f"a page of {len(values)} pictures in place of {page.num_rows}")
        return values[row - page.first_row]

    def _fields_of(self, group: int) -> list[dict[str, Any]]:
        """The stored fields of all rows of a row group, which are small."""
        if group not in self._fields:
            names = [name for name in STORED if name in self._names]

            def read() -> list[dict[str, Any]]:
                # A file of its own: the place that is read next would be that of all threads.
                own = RangedFile(self._file.url, self._file.size)
                file = pq.ParquetFile(own, metadata=self._metadata, page_checksum_verification=True)
                table = file.read_row_group(group, columns=names, use_threads=False)
                rows: list[dict[str, Any]] = table.to_pylist()
                return rows

            rows = checked(read)
            size = self._metadata.row_group(group).num_rows
            if len(rows) != size:
                raise DamagedShard(f"a row group of {counted(len(rows), 'row')} in place of {size}")
            self._fields[group] = rows
        return self._fields[group]


def _footer(file: RangedFile) -> bytes:
    """The metadata at the end of a Parquet file. Raises DamagedShard."""
    tail = file.range(max(0, file.size - _TAIL_BYTES), file.size)
    size = int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] != _MAGIC or size + 8 > file.size:
        raise DamagedShard("not a whole Parquet file: its footer is missing")
    if size + 8 > len(tail):
        tail = file.range(file.size - size - 8, file.size)
    return tail[-size - 8 : -8]


def _parsed(footer: bytes) -> Any:
    """pyarrow's FileMetaData of a footer."""
    whole = b"".join([_MAGIC, footer, len(footer).to_bytes(4, "little"), _MAGIC])
    metadata = checked(lambda: pq.read_metadata(pa.BufferReader(whole)))
    schema = metadata.schema.to_arrow_schema()
    if not is_row(schema):
        raise DamagedShard(f"not a Parquet shard: its columns are {schema.names}")
    return metadata


def checked(read: Callable[[], Any]) -> Any:
    """What a function of pyarrow returns. Raises DamagedShard where it finds damage, and OSError
    where the store fails it."""
    try:
        return read()
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        # pyarrow's own have no number; those of stores have one, and pass through pyarrow.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedShard(f"not a whole Parquet shard ({error})") from None


class TarRows:
    """Samples of a tar without a table beside it: its headers are read once, from which follows
    where its members lie."""

    def __init__(self, file: RangedFile) -> None:
        """Reads all headers, half a kilobyte a member. Raises DamagedShard."""
        self._file = file
        self._places = webdataset.places_of_samples(file.range, file.size)

    def row(self, row: int) -> EncodedSample:
        """See `SingleRows`."""
        if row >= len(self._places):
            raise DamagedShard(f"a tar of {counted(len(self._places), 'sample')}")
        place = self._places[row]
        return webdataset.sample_of(self._file.range(place.start, place.stop))

    def image_names(self) -> list[str]:
        """See `SingleRows`."""
        return [self.row(row).fields["source"] for row in range(len(self._places))]


class ListedTarRows:
    """Samples of a tar with a table beside it, which has their fields and says where pictures
    are."""

    def __init__(self, file: RangedFile, table: bytes) -> None:
        """table: the bytes of that file, which are proven. Raises DamagedShard."""
        self._file = file
        self._table = tar_metadata.read(table)

    def row(self, row: int) -> EncodedSample:
        """See `SingleRows`."""
        if row >= self._table.num_rows:
            raise DamagedShard(f"a tar of {counted(self._table.num_rows, 'sample')}")
        (fields,) = self._table.slice(row, 1).to_pylist()
        places = tar_metadata.picture_places(fields)
        image_png, mask_png = webdataset.pictures_at(self._file.range, fields["key"], *places)
        return EncodedSample(fields, image_png, mask_png)

    def image_names(self) -> list[str]:
        """See `SingleRows`."""
        names: list[str] = self._table.column("source").to_pylist()
        return names
