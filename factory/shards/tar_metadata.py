"""The table beside a tar: all that the tar holds but the pictures, and where these lie in it.

So filters read a table of a few hundred bytes a sample, and a single sample is found without the
tar's headers.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factory.classes import Classes
from factory.errors import DamagedShard
from factory.shards import webdataset
from factory.shards.columns import Column, arrow_schema

PLACES = (
    Column("tar", "string", "the tar of the sample, relative to the dataset", repeats=True),
    Column("image_offset", "int64", "the byte of the tar at which the image's PNG begins"),
    Column("image_bytes", "int64", "the size of the image's PNG"),
    Column("mask_offset", "int64", "the byte of the tar at which the mask's PNG begins"),
    Column("mask_bytes", "int64", "the size of the mask's PNG"),
)
"""The columns behind those of the dataset."""


def encode(
    tar: bytes, path: str, classes: Classes, run: Mapping[str, str], columns: Sequence[Column]
) -> bytes:
    """The table of a tar as Parquet; the same for the same arguments.

    path: the tar's, relative to the dataset. columns: those of the dataset. Raises DamagedShard if
    the tar is none of ours.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        _table(tar, path, classes, run, columns),
        sink,
        compression="zstd",
        use_dictionary=[column.name for column in (*columns, *PLACES) if column.repeats],
        write_page_checksum=True,
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _table(
    tar: bytes, path: str, classes: Classes, run: Mapping[str, str], columns: Sequence[Column]
) -> pa.Table:
    fields = [column for column in columns if column.dtype != "image"]
    rows = [
        {
            **stored,
            "tar": path,
            "image_offset": image.offset,
            "image_bytes": image.size,
            "mask_offset": mask.offset,
            "mask_bytes": mask.size,
        }
        for stored, image, mask in webdataset.stored_samples(io.BytesIO(tar))
    ]
    schema = arrow_schema(classes, run, [*fields, *PLACES])
    try:
        return pa.Table.from_pylist(rows, schema=schema)
    except (pa.ArrowException, OverflowError, TypeError) as error:
        raise DamagedShard(f"{path}: fields that are no sample's ({error})") from None


def read(data: bytes) -> pa.Table:
    """The table. Raises DamagedShard if the bytes are torn, altered, or no Parquet."""
    try:
        return pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedShard(f"not a whole table of metadata ({error})") from None


def check(
    data: bytes,
    tar: bytes,
    path: str,
    classes: Classes,
    run: Mapping[str, str],
    columns: Sequence[Column],
) -> None:
    """Raises DamagedShard unless the bytes are a table of this tar; see `encode`."""
    if not read(data).equals(_table(tar, path, classes, run, columns)):
        raise DamagedShard(f"a table of metadata that is not that of {path}")


def picture_places(row: Mapping[str, Any]) -> tuple[slice, slice]:
    """Where the image and the mask of a row lie in its tar."""
    image, mask = (
        slice(row[f"{name}_offset"], row[f"{name}_offset"] + row[f"{name}_bytes"])
        for name in ("image", "mask")
    )
    return image, mask
