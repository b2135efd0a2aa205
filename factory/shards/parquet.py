"""One shard as Parquet: opens in `datasets`, pandas, polars, DuckDB and Ray as it is."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.classes import Classes
from factory.errors import DamagedShard
from factory.shards.schema import (
    PICTURE,
    PICTURES,
    ROW,
    ROW_OF_0_1,
    TOLD,
    EncodedSample,
    Sample,
    arrow_schema,
    decode_sample,
)

ROWS_PER_GROUP = 100
"""One random row costs at most one row group where a reader ignores the page index."""

_PNGS = tuple(f"{name}.bytes" for name in PICTURES)
_REST = (
    "key",
    "image.path",
    "mask.path",
    "labels.list.element",
    "height",
    "width",
    "seed",
    "uncertainty",
    "class_fractions.list.element",
    "model_id",
)


def encode(samples: Sequence[EncodedSample], classes: Classes, run: Mapping[str, str]) -> bytes:
    """The shard's bytes, the same for the same samples, classes and run."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        _table(samples, arrow_schema(classes, run)),
        sink,
        row_group_size=ROWS_PER_GROUP,
        # PNG does not compress again, nor does it repeat.
        compression={
            **dict.fromkeys(_PNGS, "none"),
            **dict.fromkeys(_REST, "zstd"),
        },
        compression_level=dict.fromkeys(_REST, 3),
        use_dictionary=["model_id"],
        write_page_index=True,
        # Without checksums a flipped bit is read without a word.
        write_page_checksum=True,
        use_content_defined_chunking=True,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _table(samples: Sequence[EncodedSample], schema: pa.Schema) -> pa.Table:
    columns: dict[str, Any] = {
        name: [sample.fields[name] for sample in samples]
        for name in schema.names
        if name not in PICTURES
    }
    keys = columns["key"]
    columns["image"] = _pictures([sample.image_png for sample in samples], keys, ".png")
    columns["mask"] = _pictures([sample.mask_png for sample in samples], keys, "_mask.png")
    return pa.Table.from_pydict(columns, schema=schema)


def _pictures(pngs: list[bytes], keys: list[str], suffix: str) -> pa.Array:
    paths = [key + suffix for key in keys]
    parts = pa.array(pngs, pa.binary()), pa.array(paths, pa.string())
    return pa.StructArray.from_arrays(parts, fields=list(PICTURE))


def rows(data: bytes) -> Iterator[EncodedSample]:
    """The samples in order, a few in memory at a time; their fields are those of `TOLD`.

    Raises DamagedShard where the bytes are torn, altered, or no Parquet of ours.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if not any(file.schema_arrow.equals(row) for row in (ROW, ROW_OF_0_1)):
            raise DamagedShard(f"not a Parquet shard: its columns are {file.schema_arrow.names}")
        # All columns are read, and so checked, though some are not looked at.
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
            told = zip(*(batch.column(name).to_pylist() for name in TOLD), strict=True)
            images, masks = (batch.column(name).flatten()[0].to_pylist() for name in PICTURES)
            for row, image_png, mask_png in zip(told, images, masks, strict=True):
                fields = dict(zip(TOLD, row, strict=True))
                yield EncodedSample(fields, image_png or b"", mask_png or b"")
    except DamagedShard:
        raise
    except (pa.ArrowException, OSError, ValueError, TypeError, AttributeError) as error:
        # Types that other libraries register with Arrow fail in ways of their own.
        raise DamagedShard(f"not a whole Parquet shard ({error})") from None


def decode(data: bytes) -> list[Sample]:
    """All samples in order. Raises DamagedShard as `rows` and `decode_sample` do."""
    return [decode_sample(row) for row in rows(data)]
