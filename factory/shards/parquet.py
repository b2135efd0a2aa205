"""One shard as Parquet: opens in `datasets`, pandas, polars, DuckDB and Ray as it is."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from factory.classes import Classes
from factory.errors import DamagedShard
from factory.shards.columns import (
    COLUMNS,
    PICTURE,
    STORED,
    Column,
    arrow_schema,
    is_row,
    pictures_in,
    pictures_of,
)
from factory.shards.schema import EncodedSample

ROWS_PER_GROUP = 100
"""The rows that a reader without the page index reads for a random one."""
_GROUP_BYTES = 2**31 - 1
"""The bytes of the pictures of a row group at most: Arrow counts those of a column by 32 bits."""
_READ_BYTES = 2**20
"""The bytes that are read of a file at once."""
_BATCH_BYTES = 2**24
"""The bytes of the rows that are in memory together, about."""


def _path(column: Column) -> str:
    """The name of the column as Parquet's settings name it."""
    return f"{column.name}.list.element" if column.is_list else column.name


def encode(
    samples: Sequence[EncodedSample],
    classes: Classes,
    run: Mapping[str, str],
    columns: Sequence[Column] = COLUMNS,
) -> bytes:
    """The shard's bytes, the same for the same samples, classes, run and columns."""
    return b"".join(chunks(samples, classes, run, columns))


def chunks(
    samples: Iterable[EncodedSample],
    classes: Classes,
    run: Mapping[str, str],
    columns: Sequence[Column] = COLUMNS,
) -> Iterator[bytes]:
    """The bytes of `encode`, of which those of a row group are in memory."""
    sink = _Sink()
    with pq.ParquetWriter(sink, arrow_schema(classes, run, columns), **_settings(columns)) as file:
        for group in _groups(samples):
            file.write_table(_table(group, classes, run, columns), ROWS_PER_GROUP)
            yield from sink.take()
    yield from sink.take()


def _groups(samples: Iterable[EncodedSample]) -> Iterator[list[EncodedSample]]:
    """The samples of each row group: ROWS_PER_GROUP, or as many as _GROUP_BYTES hold."""
    group: list[EncodedSample] = []
    size = 0
    for sample in samples:
        more = len(sample.image_png) + len(sample.mask_png)
        if group and (len(group) == ROWS_PER_GROUP or size + more > _GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(sample)
        size += more
    if group:
        yield group


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._chunks.append(bytes(data))
        return len(data)

    def take(self) -> Iterator[bytes]:
        """The bytes that were written since they were last taken."""
        chunks, self._chunks = self._chunks, []
        return iter(chunks)


def _settings(columns: Sequence[Column]) -> dict[str, Any]:
    """How pyarrow writes these columns."""
    fields = [column for column in columns if column.dtype != "image"]
    pictures = pictures_of(columns)
    pngs = [f"{name}.bytes" for name in pictures]
    rest = [f"{name}.path" for name in pictures] + [_path(column) for column in fields]
    return {
        # PNG does not compress again, nor does it repeat.
        "compression": {**dict.fromkeys(pngs, "none"), **dict.fromkeys(rest, "zstd")},
        "compression_level": dict.fromkeys(rest, 3),
        "use_dictionary": [_path(column) for column in fields if column.repeats],
        "write_page_index": True,
        # Without checksums a flipped bit would go unnoticed.
        "write_page_checksum": True,
        "use_content_defined_chunking": True,
    }


def _table(
    samples: Sequence[EncodedSample],
    classes: Classes,
    run: Mapping[str, str],
    columns: Sequence[Column],
) -> pa.Table:
    """The table of samples, with the metadata of `arrow_schema`."""
    values: dict[str, Any] = {
        column.name: [sample.fields[column.name] for sample in samples]
        for column in columns
        if column.dtype != "image"
    }
    keys = values["key"]
    image, mask = pictures_of(columns)
    values[image] = _pictures([sample.image_png for sample in samples], keys, ".png")
    values[mask] = _pictures([sample.mask_png for sample in samples], keys, "_mask.png")
    return pa.Table.from_pydict(values, schema=arrow_schema(classes, run, columns))


def _pictures(pngs: list[bytes], keys: list[str], suffix: str) -> pa.Array:
    paths = [key + suffix for key in keys]
    parts = pa.array(pngs, pa.binary()), pa.array(paths, pa.string())
    return pa.StructArray.from_arrays(parts, fields=list(PICTURE))


def rows(shard: bytes | BinaryIO) -> Iterator[EncodedSample]:
    """The samples in order, a few in memory at a time; their fields are some of STORED.

    shard: the bytes of a Parquet file, or a file of them, of which pages are in memory. Raises
    DamagedShard if they are torn, altered, or no Parquet of ours; OSError where reading fails.
    """
    try:
        file = _opened(shard)
        if not is_row(file.schema_arrow):
            raise DamagedShard(f"not a Parquet shard: its columns are {file.schema_arrow.names}")
        # All columns are read, and so checked, although some are not used.
        names = [name for name in STORED if name in file.schema_arrow.names]
        pictures = pictures_in(file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=_rows_at_once(file.metadata)):
            values = zip(*(batch.column(name).to_pylist() for name in names), strict=True)
            images, masks = (batch.column(name).flatten()[0].to_pylist() for name in pictures)
            for row, image_png, mask_png in zip(values, images, masks, strict=True):
                fields = dict(zip(names, row, strict=True))
                yield EncodedSample(fields, image_png or b"", mask_png or b"")
    except DamagedShard:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, AttributeError) as error:
        # What the system refuses has a number; pyarrow's own errors have none.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        # Types that other libraries register with Arrow raise errors of their own.
        raise DamagedShard(f"not a whole Parquet shard ({error})") from None


def _opened(shard: bytes | BinaryIO) -> pq.ParquetFile:
    if isinstance(shard, bytes):
        return pq.ParquetFile(pa.BufferReader(shard), page_checksum_verification=True)
    # Without these two settings the whole file would be in memory, or columns of a row group.
    return pq.ParquetFile(
        shard, pre_buffer=False, buffer_size=_READ_BYTES, page_checksum_verification=True
    )


def _rows_at_once(metadata: Any) -> int:
    """The rows whose pictures are in memory together: few where pictures are large."""
    groups = (metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    per_row = sum(groups) // max(1, metadata.num_rows)
    return int(min(ROWS_PER_GROUP, max(1, _BATCH_BYTES // max(1, per_row))))
