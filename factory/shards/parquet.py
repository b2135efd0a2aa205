"""One shard as Parquet: opens in `datasets`, pandas, polars, DuckDB and Ray as it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
    return _write(_table(samples, classes, run, columns), columns)


def _write(table: pa.Table, columns: Sequence[Column]) -> bytes:
    fields = [column for column in columns if column.dtype != "image"]
    pictures = pictures_of(columns)
    pngs = [f"{name}.bytes" for name in pictures]
    rest = [f"{name}.path" for name in pictures] + [_path(column) for column in fields]
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        row_group_size=ROWS_PER_GROUP,
        # PNG does not compress again, nor does it repeat.
        compression={**dict.fromkeys(pngs, "none"), **dict.fromkeys(rest, "zstd")},
        compression_level=dict.fromkeys(rest, 3),
        use_dictionary=[_path(column) for column in fields if column.repeats],
        write_page_index=True,
        # Without checksums a flipped bit would go unnoticed.
        write_page_checksum=True,
        use_content_defined_chunking=True,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


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


def rows(data: bytes) -> Iterator[EncodedSample]:
    """The samples in order, a few in memory at a time; their fields are some of STORED.

    Raises DamagedShard if the bytes are torn, altered, or no Parquet of ours.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if not is_row(file.schema_arrow):
            raise DamagedShard(f"not a Parquet shard: its columns are {file.schema_arrow.names}")
        # All columns are read, and so checked, although some are not used.
        names = [name for name in STORED if name in file.schema_arrow.names]
        pictures = pictures_in(file.schema_arrow.names)
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
            values = zip(*(batch.column(name).to_pylist() for name in names), strict=True)
            images, masks = (batch.column(name).flatten()[0].to_pylist() for name in pictures)
            for row, image_png, mask_png in zip(values, images, masks, strict=True):
                fields = dict(zip(names, row, strict=True))
                yield EncodedSample(fields, image_png or b"", mask_png or b"")
    except DamagedShard:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, AttributeError) as error:
        # Types that other libraries register with Arrow raise errors of their own.
        raise DamagedShard(f"not a whole Parquet shard ({error})") from None
