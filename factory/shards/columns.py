"""The columns of a dataset, which all formats, readers and the card follow.

Shapes: C classes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import pyarrow as pa

from factory.classes import Classes

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""The type of a picture: PNG bytes, and a name, at which there is no file."""

MASK_COLUMNS = ("mask", "label", "annotation")
"""The names that the column of masks may have."""

EXPECTED_IOU: Final = "expected_iou"
"""The name of the column of datasets whose ensemble knows what its votes, or their uncertainty,
mean."""

EXPECTED_CLASS_IOU = "expected_class_iou"
"""The name of the column of datasets whose ensemble knows that for each class."""

EXPECTED_COLUMNS = (EXPECTED_IOU, EXPECTED_CLASS_IOU)
"""Both."""

NEAREST_COLUMNS = ("nearest_training_distance", "nearest_training_image")
"""The names of the columns of datasets whose DDPM's folder keeps how its training images look."""

NO_CLASS = -1
"""The value that fills `labels` up to the number of classes; `datasets` knows it as no class."""

_PARSERS: dict[str, Callable[[Any], Any]] = {
    "string": str,
    "int32": int,
    "int64": int,
    "float32": float,
}

_Value = Callable[[Any, int], Any]
"""Makes the value of a column of a sample and the number of classes."""


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
    """True if it holds several values, the same number throughout a dataset, so that rows make
    batches."""
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

    def of(self, sample: Any, num_classes: int) -> Any:
        """Its value for a `Sample`; floats hold float32 values in every format."""
        value = self.value(sample, num_classes) if self.value else getattr(sample, self.name)
        return float(np.float32(value)) if self.dtype == "float32" and not self.is_list else value

    def parsed(self, value: Any) -> Any:
        """A stored value as the sample's attribute. Raises TypeError and ValueError."""
        parse = _PARSERS[self.dtype]
        return tuple(map(parse, value)) if self.is_list else parse(value)

    def feature(self, classes: Classes) -> dict[str, Any]:
        """Its feature as `datasets` 5.2 writes it into a schema's metadata."""
        if self.dtype == "image":
            return {"_type": "Image"}
        scalar: dict[str, Any] = {"dtype": self.dtype, "_type": "Value"}
        if self.of_classes:
            scalar = {"names": list(classes.names), "_type": "ClassLabel"}
        return {"feature": scalar, "_type": "List"} if self.is_list else scalar


def _labels(sample: Any, num_classes: int) -> list[int]:
    labels: list[int] = sample.labels
    return labels + [NO_CLASS] * (num_classes - len(labels))


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
        value=lambda sample, num_classes: sample.class_fractions(num_classes),
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
    Column(
        "hit_pixels",
        "int64",
        "pixels per class id on which the mask and the source's own agree; as in the next two, of "
        "the pixels that neither ignores",
        is_list=True,
        is_later=True,
    ),
    Column(
        "truth_pixels",
        "int64",
        "pixels per class id of the source's own mask",
        is_list=True,
        is_later=True,
    ),
    Column(
        "predicted_pixels",
        "int64",
        "pixels per class id of the mask",
        is_list=True,
        is_later=True,
    ),
    Column(
        EXPECTED_IOU,
        "float32",
        "mean IoU over its classes that is expected of the mask, by `recipe.calibration`, which "
        "was learned from labelled images",
        is_later=True,
    ),
    Column(
        EXPECTED_CLASS_IOU,
        "float32",
        "IoU that is expected of each class id; -1 if the mask does not have it",
        is_list=True,
        is_later=True,
    ),
    Column(
        "nearest_training_distance",
        "float32",
        "distance of the image, or of its mirror image, to the nearest image that the DDPM learned "
        "from, in a fixed space of features; 1 is what is usual between two of these",
        is_later=True,
    ),
    Column(
        "nearest_training_image",
        "int64",
        "place of that image in the listing of the training images, from 0",
        is_later=True,
    ),
)
"""The columns that only some datasets have, behind all others: those that their plan names."""

SCORE_COLUMNS = ("hit_pixels", "truth_pixels", "predicted_pixels")
"""The columns by which masks are compared with those of the source; scores are made of their
sums."""

PICTURES = tuple(column for column in COLUMNS if column.dtype == "image")

FIELDS = tuple(column for column in COLUMNS if column.dtype != "image")

STORED = tuple(column.name for column in (*FIELDS, *MORE_COLUMNS) if column.value is None)
"""Fields that do not follow from the pictures: they are read back."""


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
