"""An image/mask pair and the columns of a dataset, which all formats follow.

Shapes: H height, W width. Masks hold class ids, 255 = ignore.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factory import png
from factory.classes import IGNORE_ID, Classes
from factory.errors import DamagedShard, UnreadableImage, counted
from factory.images import UInt8

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The type of a picture: PNG bytes, and a name, at which there is no file."""

MASK_COLUMNS = ("mask", "label", "annotation")
"""The names that the column of masks may have."""

NO_CLASS = -1
"""The value that fills `labels` up to the number of classes; `datasets` knows it as no class."""

_PARSERS: dict[str, Callable[[Any], Any]] = {
    "string": str,
    "int32": int,
    "int64": int,
    "float32": float,
}
_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, eq=False)
class Sample:
    """An image and its labels."""

    key: str
    """Unique in the dataset, without dots: see `sample_key`."""
    image: UInt8
    """(H, W, 3) RGB or (H, W, 1) grey."""
    mask: UInt8
    """(H, W) class ids; 255 belongs to no class."""
    seed: int
    """0..2^63-1 (in datasets of version 0.1, 0..2^64-1): the random stream that made it."""
    uncertainty: float
    """Nats, float32: mean Jensen-Shannon divergence of the 10 % most uncertain pixels."""
    model_id: str
    """Short content hash of the models."""
    source: str = ""
    """The name of the image in the source that it is from; empty for an image that was drawn."""

    def __repr__(self) -> str:
        height, width = self.mask.shape
        return f"Sample({self.key}, {height}x{width} px, uncertainty={self.uncertainty:.3g})"

    @cached_property
    def _counts(self) -> npt.NDArray[np.int64]:
        return np.bincount(self.mask.reshape(-1), minlength=IGNORE_ID + 1)

    @property
    def labels(self) -> list[int]:
        """Sorted class ids present, without 255."""
        labels: list[int] = np.flatnonzero(self._counts[:IGNORE_ID]).tolist()
        return labels

    def class_pixels(self, num_classes: int) -> npt.NDArray[np.int64]:
        """The number of pixels per class id, (C,). Raises DamagedShard for other ids, 255 aside."""
        if self._counts[num_classes:IGNORE_ID].any():
            raise DamagedShard(
                f"sample {self.key}: ids {self.labels} in a mask of {num_classes} classes"
            )
        return self._counts[:num_classes]

    def class_fractions(self, num_classes: int) -> list[float]:
        """The share of all pixels, ignored ones included, per class id; float32 values in 0..1.

        Raises DamagedShard if the mask holds other ids, 255 aside.
        """
        shares = self.class_pixels(num_classes) / self.mask.size
        fractions: list[float] = shares.astype(np.float32).tolist()
        return fractions


_Value = Callable[[Sample, int], Any]


@dataclass(frozen=True)
class Column:
    """A column of a dataset. Formats, readers and the card follow from the rows of COLUMNS."""

    name: str
    dtype: Literal["string", "int32", "int64", "float32", "image"]
    meaning: str
    """The words of the card about it."""
    value: _Value | None = None
    """Computes it from a sample and the number of classes; None: it is the sample's attribute of
    this name, which is read back."""
    is_list: bool = False
    """True if it holds several values, the same number throughout a dataset."""
    of_classes: bool = False
    """True if its values are class ids."""
    repeats: bool = False
    """True if many rows have the same value."""
    is_later: bool = False
    """True if there are older datasets without it, for which `Sample` has a default."""

    @property
    def arrow(self) -> pa.DataType:
        """The type of its Parquet column."""
        if self.dtype == "image":
            return PICTURE
        scalar = pa.type_for_alias(self.dtype)
        return pa.list_(scalar) if self.is_list else scalar

    def of(self, sample: "Sample", num_classes: int) -> Any:
        """Its value for a sample; floats hold float32 values in every format."""
        value = self.value(sample, num_classes) if self.value else getattr(sample, self.name)
        return float(np.float32(value)) if self.dtype == "float32" and not self.is_list else value

    def feature(self, classes: Classes) -> dict[str, Any]:
        """Its feature as `datasets` 5.2 writes it into a schema's metadata."""
        if self.dtype == "image":
            return {"_type": "Image"}
        scalar: dict[str, Any] = {"dtype": self.dtype, "_type": "Value"}
        if self.of_classes:
            scalar = {"names": list(classes.names), "_type": "ClassLabel"}
        return {"feature": scalar, "_type": "List"} if self.is_list else scalar


def _labels(sample: Sample, num_classes: int) -> list[int]:
    return sample.labels + [NO_CLASS] * (num_classes - len(sample.labels))


IMAGE = Column("image", "image", "RGB picture, PNG")
COLUMNS = (
    Column("key", "string", "unique name: the nine-digit index of the sample"),
    IMAGE,
    Column("mask", "image", "8-bit grey PNG of the same size; value = class id, 255 = ignore"),
    Column(
        "labels",
        "int64",
        "class ids present in the mask, sorted, then -1 up to the number of classes",
        value=_labels,
        is_list=True,
        of_classes=True,
    ),
    Column("height", "int32", "pixels", value=lambda sample, _: sample.mask.shape[0]),
    Column("width", "int32", "pixels", value=lambda sample, _: sample.mask.shape[1]),
    Column("seed", "int64", "the random stream of this sample"),
    Column(
        "uncertainty",
        "float32",
        "disagreement of the ensemble: Jensen-Shannon divergence in nats, mean over the most "
        "uncertain 10 % of the pixels; filter by its quantiles",
    ),
    Column(
        "class_fractions",
        "float32",
        "share of all pixels per class id",
        value=Sample.class_fractions,
        is_list=True,
    ),
    Column("model_id", "string", "hash of the models that made the pair", repeats=True),
)
"""The columns of every dataset, in their order. A new one is a row here, and an attribute of
`Sample` unless it follows from the others."""

MORE_COLUMNS = (
    Column(
        "source",
        "string",
        "name of the image in the source that was labelled",
        is_later=True,
    ),
)
"""The columns that only some datasets have, behind all others: those that their plan names."""

PICTURES = tuple(column for column in COLUMNS if column.dtype == "image")
FIELDS = tuple(column for column in COLUMNS if column.dtype != "image")
STORED = tuple(column.name for column in (*FIELDS, *MORE_COLUMNS) if column.value is None)
"""Fields that do not follow from the pictures: they are read back."""

ROW = pa.schema([(column.name, column.arrow) for column in COLUMNS])
"""The Parquet row. Its lists have one length throughout a dataset, so that rows make batches."""


def with_columns(
    names: Sequence[str], mask_column: str = "mask", channels: int = 3
) -> tuple[Column, ...]:
    """COLUMNS, and those of MORE_COLUMNS with these names.

    mask_column: the name of the masks' column, one of MASK_COLUMNS. channels: those of the images.
    """
    more = (column for column in MORE_COLUMNS if column.name in names)
    image = IMAGE if channels == 3 else replace(IMAGE, meaning="8-bit grey picture, PNG")
    columns = tuple(image if column is IMAGE else column for column in COLUMNS)
    return (*with_mask_named(columns, mask_column), *more)


def with_mask_named(columns: Sequence[Column], name: str) -> tuple[Column, ...]:
    """The columns with another name of that of masks."""
    mask = pictures_of(columns)[1]
    return tuple(
        replace(column, name=name) if column.name == mask else column for column in columns
    )


def pictures_of(columns: Sequence[Column]) -> tuple[str, str]:
    """The names of the columns of images and of masks."""
    image, mask = (column.name for column in columns if column.dtype == "image")
    return image, mask


def pictures_in(names: Sequence[str]) -> tuple[str, str]:
    """The names of the columns of images and of masks among those of a row."""
    return "image", next((name for name in MASK_COLUMNS if name in names), "mask")


def is_row(schema: pa.Schema) -> bool:
    """True for the Parquet row of this or an older version.

    In version 0.1 seeds were unsigned, and `labels` had as many elements as a mask had classes.
    """
    known = with_mask_named((*COLUMNS, *MORE_COLUMNS), pictures_in(schema.names)[1])
    expected = [
        pa.field(column.name, column.arrow)
        for column in known
        if column.name in schema.names or not column.is_later
    ]
    of_0_1 = [pa.field("seed", pa.uint64()) if f.name == "seed" else f for f in expected]
    return any(schema.equals(pa.schema(fields)) for fields in (expected, of_0_1))


@dataclass(frozen=True, eq=False)
class EncodedSample:
    """A sample as every format stores it."""

    fields: dict[str, Any]
    """The fields of `to_fields`; of a sample that was read, at least those of STORED."""
    image_png: bytes
    mask_png: bytes

    @property
    def uncertainty(self) -> float:
        """The sample's uncertainty in nats."""
        return float(self.fields["uncertainty"])


def sample_key(index: int) -> str:
    """The key of the index-th sample, such as "000000042": nine digits at least, no dots."""
    return f"{index:09d}"


def check_sample(sample: Sample, num_classes: int, channels: int = 3) -> None:
    """Raises DamagedShard if shapes disagree, ids are unknown or the uncertainty is not finite.

    channels: those of the dataset's images.
    """
    height, width = sample.mask.shape
    if sample.image.shape != (height, width, channels):
        raise DamagedShard(
            f"sample {sample.key}: image {sample.image.shape}, mask {sample.mask.shape}, where "
            f"images have {counted(channels, 'channel')}"
        )
    if not math.isfinite(sample.uncertainty):
        raise DamagedShard(f"sample {sample.key}: uncertainty is {sample.uncertainty}")
    sample.class_pixels(num_classes)


def to_fields(
    sample: Sample, num_classes: int, columns: Sequence[Column] = COLUMNS
) -> dict[str, Any]:
    """All columns but image and mask; floats hold float32 values in every format."""
    return {
        column.name: column.of(sample, num_classes) for column in columns if column.dtype != "image"
    }


def encode_sample(
    sample: Sample, num_classes: int, columns: Sequence[Column] = COLUMNS
) -> EncodedSample:
    """Does all the costly work of writing a sample that needs no other sample.

    Raises DamagedShard if the mask holds an id beyond the classes, 255 aside.
    """
    fields = to_fields(sample, num_classes, columns)
    return EncodedSample(fields, png.encode_png(sample.image), png.encode_png(sample.mask))


def check_key(key: str) -> str:
    """The key. Raises DamagedShard if it is none that a sample may have."""
    if not _KEY.fullmatch(key):
        raise DamagedShard(f"the key {key!r} is not made of letters, digits, - and _")
    return key


def from_fields(fields: Mapping[str, Any], image_png: bytes, mask_png: bytes) -> Sample:
    """The sample of `to_fields` and its two pictures.

    Raises DamagedShard if a field of STORED is missing, a picture does not decode, or the mask is
    not `L`.
    """
    try:
        stored = {
            column.name: _PARSERS[column.dtype](fields[column.name])
            for column in (*FIELDS, *MORE_COLUMNS)
            if column.value is None and (column.name in fields or not column.is_later)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedShard(f"fields that are no sample's ({error!r})") from None
    key = check_key(stored["key"])
    try:
        image, mask = png.decode_png(image_png), png.decode_png(mask_png)
    except UnreadableImage as error:
        raise DamagedShard(f"sample {key}: {error}") from None
    if mask.ndim != 2:
        raise DamagedShard(f"sample {key}: the mask is RGB, not L")
    return Sample(image=np.atleast_3d(image), mask=mask, **stored)


def decode_sample(encoded: EncodedSample) -> Sample:
    """The sample that was encoded. Raises DamagedShard as `from_fields` does."""
    return from_fields(encoded.fields, encoded.image_png, encoded.mask_png)


def arrow_schema(
    classes: Classes, run: Mapping[str, str], columns: Sequence[Column] = COLUMNS
) -> pa.Schema:
    """The Parquet row of these columns, with the metadata by which `datasets` decodes it alone.

    Metadata: `huggingface` (its features JSON), `id2label` and `factory` (JSON of run).
    """
    features = {column.name: column.feature(classes) for column in columns}
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "id2label": json.dumps(classes.id2label),
        "factory": json.dumps(dict(run), sort_keys=True),
    }
    row = pa.schema([(column.name, column.arrow) for column in columns])
    return row.with_metadata(metadata)
