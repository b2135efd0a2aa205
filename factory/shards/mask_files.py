"""One shard as files: a PNG for each mask, and a table of what is known of each image.

The table is the shard: it has the hash of each mask, so that its receipt stands for all of them.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from factory import png
from factory.classes import Classes
from factory.errors import DamagedShard, UnreadableImage
from factory.images import UInt8
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

_MAX_NAME = 255
"""The bytes that a disk takes at most for the name of a file."""

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
    folder of the masks, is hidden, or is too long with the mask's ending.
    """
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or any(part.startswith(".") for part in path.parts):
        raise DamagedShard(f"the name {name!r} is none of a file below a folder")
    inner = PurePosixPath(f"{path}.png") if with_ending else path.with_suffix(".png")
    if len(os.fsencode(inner.name)) > _MAX_NAME:
        raise DamagedShard(
            f"the name {name!r}, with .png, has more than {_MAX_NAME} bytes, which no disk takes"
        )
    return f"{MASKS}/{inner}"


def shared(paths: Sequence[str]) -> list[str]:
    """The names that several masks would have, or a mask and a folder of others, sorted."""
    counts = Counter(paths)
    folders = {str(PurePosixPath(folder)) for folder in {os.path.dirname(path) for path in counts}}
    folders |= {str(above) for folder in folders for above in PurePosixPath(folder).parents}
    return sorted(path for path, num in counts.items() if num > 1 or path in folders)


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


def files(data: bytes) -> list[MaskFile]:
    """The masks of a table. Raises DamagedShard."""
    return [_file(row) for row in _table(data)]


class RowImages(Protocol):
    """The images of a dataset of mask files, which lie elsewhere."""

    def image(self, row: int, name: str) -> UInt8:
        """(H, W, C): the image of a row.

        row: its number throughout the dataset. name: that of the image in its source, empty if it
        has none. Raises UserError, also where it is no longer the one that was labelled; OSError.
        """


@dataclass(frozen=True)
class FileRow:
    """A row of a table of masks; its mask and its image are read when they are asked for."""

    fields: dict[str, Any]
    channels: int
    """The channels of the images."""
    read: Read
    images: RowImages | None = None
    """None: an image is black."""

    @property
    def uncertainty(self) -> float:
        """The sample's uncertainty in nats."""
        return float(self.fields["uncertainty"])

    def decoded(self) -> Sample:
        """The sample. Raises as `mask_png` does, DamagedShard also for a mask that does not decode;
        and what `RowImages` does."""
        return self._decoded(self.mask_png())

    def encoded(self) -> EncodedSample:
        """The sample as rows with pictures have it: its image is a PNG, too. Raises as `decoded`
        does."""
        mask_png = self.mask_png()
        image = self._decoded(mask_png).image
        return EncodedSample(self.fields, png.encode_png(image), mask_png)

    def mask_png(self) -> bytes:
        """The file of the mask. Raises DamagedShard if it is missing or is not that of the table;
        OSError."""
        file = _file(self.fields)
        try:
            mask_png = self.read(file.name)
        except FileNotFoundError:
            raise DamagedShard(f"{file.name} is missing") from None
        if hashlib.sha256(mask_png).hexdigest() != file.sha256:
            raise DamagedShard(f"{file.name} is not the mask of its table")
        return mask_png

    def _decoded(self, mask_png: bytes) -> Sample:
        stored = stored_fields(self.fields)
        try:
            mask = png.decode_png(mask_png)
        except UnreadableImage as error:
            raise DamagedShard(f"{_file(self.fields).name}: {error}") from None
        image = np.broadcast_to(np.uint8(0), (*mask.shape, self.channels))
        if self.images is not None:
            image = self.images.image(int(stored["key"]), stored.get("source", ""))
        return Sample(image=image, mask=mask, **stored)


def rows(
    data: bytes, channels: int, read: Read, images: RowImages | None = None
) -> Iterator[FileRow]:
    """The rows of a table, in order. Raises DamagedShard."""
    return (FileRow(row, channels, read, images) for row in _table(data))


def _file(row: Mapping[str, Any]) -> MaskFile:
    try:
        return MaskFile(*(row[column.name] for column in FILE_COLUMNS))
    except KeyError as error:
        raise DamagedShard(f"a table of masks without {error}") from None


def _table(data: bytes) -> list[dict[str, Any]]:
    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        found: list[dict[str, Any]] = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedShard(f"not a whole table of masks ({error})") from None
    return found
