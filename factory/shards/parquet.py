"""One shard as Parquet: opens in `datasets`, pandas, polars, DuckDB and Ray as it is."""

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from factory.classes import Classes
from factory.images import encode_png
from factory.shards.schema import (
    DamagedShard,
    Sample,
    arrow_schema,
    from_fields,
    to_fields,
)

ROWS_PER_GROUP = 100
"""One random row costs at most one row group where a reader ignores the page index."""

_PICTURES = ("image.bytes", "mask.bytes")
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


def encode(samples: Sequence[Sample], classes: Classes, run: Mapping[str, str]) -> bytes:
    """The shard's bytes, the same for the same samples, classes and run.

    Raises DamagedShard where a mask holds an id beyond the classes, 255 aside.
    """
    rows = []
    for sample in samples:
        row = to_fields(sample, len(classes))
        row["image"] = {"bytes": encode_png(sample.image), "path": f"{sample.key}.png"}
        row["mask"] = {
            "bytes": encode_png(sample.mask),
            "path": f"{sample.key}_mask.png",
        }
        rows.append(row)
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_pylist(rows, schema=arrow_schema(classes, run)),
        sink,
        row_group_size=ROWS_PER_GROUP,
        # PNG does not compress again, nor does it repeat.
        compression={
            **dict.fromkeys(_PICTURES, "none"),
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


def iterate(data: bytes) -> Iterator[Sample]:
    """The samples in order, a few in memory at a time.

    Raises DamagedShard where the bytes are torn, altered, or no Parquet of ours.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
            for row in batch.to_pylist():
                yield from_fields(row, row["image"]["bytes"], row["mask"]["bytes"])
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:
        raise DamagedShard(f"not a whole Parquet shard ({error})") from None


def decode(data: bytes) -> list[Sample]:
    """All samples in order. Raises DamagedShard as `iterate` does."""
    return list(iterate(data))
