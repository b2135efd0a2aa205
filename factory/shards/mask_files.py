"""One shard as files: a PNG for each mask, and a table of what is known of each image.

The table is the shard: it has the hash of each mask, so that its receipt stands for all of them.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from factory import png
from factory.classes import Classes
from factory.errors import DamagedShard, UnreadableImage, UserError
from factory.shards.columns import Column, arrow_schema
from factory.shards.schema import EncodedSample, Sample, stored_fields, to_fields

MASKS = "masks"
"""The folder of the masks, relative to the URL of the dataset."""
FILE_COLUMNS = (
    Column("mask_path", "string", "file of the mask, relative to the dataset", is_later=True),
    Column("mask_bytes", "int64", "size of that file", is_later=True),
    Column("mask_sha256", "string", "sha256 of that file", is_later=True),
)
"""The columns in place of the pictures."""

Read = Callable[[str], bytes]
"""Reads a file of the dataset by its name. Raises FileNotFoundError."""


@dataclass(frozen=True)
class MaskFile:
    """The file of a mask, as a table tells of it."""

    name: str
    """Relative to the URL of the dataset."""
    bytes: int
    sha256: str


def path_of(name: str, with_ending: bool) -> str:
    """The name of the mask's file for an image of this name, relative to the URL of the dataset.

    with_ending: a.jpg has a.jpg.png, not a.png. Raises DamagedShard for a name that leaves the
    folder of the masks, or is hidden.
    """
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or any(part.startswith(".") for part in path.parts):
        raise DamagedShard(f"the name {name!r} is none of a file below a folder")
    inner = f"{path}.png" if with_ending else str(path.with_suffix(".png"))
    return f"{MASKS}/{inner}"


def encode_sample(
    sample: Sample, num_classes: int, columns: Sequence[Column], with_ending: bool
) -> EncodedSample:
    """A sample without its image. Raises DamagedShard as `to_fields` and `path_of` do."""
    mask_png = png.encode_png(sample.mask)
    file = {
        "mask_path": path_of(sample.source or sample.key, with_ending),
        "mask_bytes": len(mask_png),
        "mask_sha256": hashlib.sha256(mask_png).hexdigest(),
    }
    own = [column for column in columns if column.name not in file]
    return EncodedSample({**to_fields(sample, num_classes, own), **file}, b"", mask_png)


def encode(
    samples: Sequence[EncodedSample],
    classes: Classes,
    run: Mapping[str, str],
    columns: Sequence[Column],
) -> bytes:
    """The table of the samples; the same for the same samples, classes, run and columns."""
    values = {column.name: [sample.fields[column.name] for sample in samples] for column in columns}
    table = pa.Table.from_pydict(values, schema=arrow_schema(classes, run, columns))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def rows(data: bytes) -> Iterator[EncodedSample]:
    """Raises UserError: there are no images here to make samples of."""
    raise UserError(
        "a dataset of mask files has no images: read its masks/ and the tables in its data/, or "
        "label with --as parquet."
    )


def files(data: bytes) -> list[MaskFile]:
    """The masks of a table. Raises DamagedShard."""
    found = []
    for row in _table(data):
        try:
            found.append(MaskFile(*(row[column.name] for column in FILE_COLUMNS)))
        except KeyError as error:
            raise DamagedShard(f"a table of masks without {error}") from None
    return found


def samples(data: bytes, read: Read, channels: int) -> Iterator[Sample]:
    """The samples of a table, in order, with black images, of so many channels, in place of those
    that it has not.

    Raises DamagedShard, also for a mask that is missing or is not that of the table.
    """
    for row, file in zip(_table(data), files(data), strict=True):
        try:
            mask_png = read(file.name)
        except FileNotFoundError:
            raise DamagedShard(f"{file.name} is missing") from None
        if hashlib.sha256(mask_png).hexdigest() != file.sha256:
            raise DamagedShard(f"{file.name} is not the mask of its table")
        yield _sample(row, mask_png, channels)


def _sample(row: Mapping[str, Any], mask_png: bytes, channels: int) -> Sample:
    stored = stored_fields(row)
    try:
        mask = png.decode_png(mask_png)
    except UnreadableImage as error:
        raise DamagedShard(f"the mask of {stored['key']}: {error}") from None
    return Sample(image=np.broadcast_to(np.uint8(0), (*mask.shape, channels)), mask=mask, **stored)


def _table(data: bytes) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        found: list[dict[str, Any]] = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedShard(f"not a whole table of masks ({error})") from None
    return found
