"""One image/mask pair, and what every format says about it.

Shapes: H height, W width. Masks hold class ids, 255 = ignore.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factory import png
from factory.classes import IGNORE_ID, Classes
from factory.errors import DamagedShard, UnreadableImage
from factory.images import UInt8

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""PNG bytes, and a name that nothing lies at."""

PICTURES = ("image", "mask")

ROW = pa.schema(
    [
        ("key", pa.string()),
        ("image", PICTURE),
        ("mask", PICTURE),
        ("labels", pa.list_(pa.int64())),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("seed", pa.int64()),
        ("uncertainty", pa.float32()),
        ("class_fractions", pa.list_(pa.float32())),
        ("model_id", pa.string()),
    ]
)
"""The Parquet row. Its lists have one length throughout a dataset, so that rows make batches."""

ROW_OF_0_1 = ROW.set(ROW.get_field_index("seed"), pa.field("seed", pa.uint64()))
"""As version 0.1 wrote it, whose `labels` had as many elements as a mask had classes."""

NO_CLASS = -1
"""Fills `labels` up to the number of classes; no class to `datasets` either."""

TOLD = ("key", "seed", "uncertainty", "model_id")
"""The fields that do not follow from the pictures."""


_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, eq=False)
class Sample:
    """A generated image and its labels."""

    key: str
    """Unique in the dataset, without dots: see `sample_key`."""
    image: UInt8
    """(H, W, 3) RGB."""
    mask: UInt8
    """(H, W) class ids; 255 belongs to no class."""
    seed: int
    """0..2^63-1 (in datasets of version 0.1, 0..2^64-1): the random stream that made it."""
    uncertainty: float
    """Nats, float32: mean Jensen-Shannon divergence of the 10 % most uncertain pixels."""
    model_id: str
    """Short content hash of the models."""

    @cached_property
    def _counts(self) -> npt.NDArray[np.int64]:
        return np.bincount(self.mask.reshape(-1), minlength=IGNORE_ID + 1)

    @property
    def labels(self) -> list[int]:
        """Sorted class ids present, without 255."""
        labels: list[int] = np.flatnonzero(self._counts[:IGNORE_ID]).tolist()
        return labels

    def class_pixels(self, num_classes: int) -> npt.NDArray[np.int64]:
        """(C,) pixels per class id. Raises DamagedShard where the mask holds others, 255 aside."""
        if self._counts[num_classes:IGNORE_ID].any():
            raise DamagedShard(
                f"sample {self.key}: ids {self.labels} in a mask of {num_classes} classes"
            )
        return self._counts[:num_classes]

    def class_fractions(self, num_classes: int) -> list[float]:
        """Share of all pixels, ignored ones included, per class id; float32 values in 0..1.

        Raises DamagedShard where the mask holds other ids, 255 aside.
        """
        shares = self.class_pixels(num_classes) / self.mask.size
        fractions: list[float] = shares.astype(np.float32).tolist()
        return fractions


@dataclass(frozen=True, eq=False)
class EncodedSample:
    """A sample as every format stores it."""

    fields: dict[str, Any]
    """Of `to_fields`; where they were read, at least those of `TOLD`."""
    image_png: bytes
    mask_png: bytes

    @property
    def uncertainty(self) -> float:
        """Nats."""
        return float(self.fields["uncertainty"])


def sample_key(index: int) -> str:
    """The key of the index-th sample, such as "000000042": nine digits at least, no dots."""
    return f"{index:09d}"


def check_sample(sample: Sample, num_classes: int) -> None:
    """Raises DamagedShard where shapes disagree, ids are unknown or uncertainty is not finite."""
    height, width = sample.mask.shape
    if sample.image.shape != (height, width, 3):
        raise DamagedShard(
            f"sample {sample.key}: image {sample.image.shape}, mask {sample.mask.shape}"
        )
    if not math.isfinite(sample.uncertainty):
        raise DamagedShard(f"sample {sample.key}: uncertainty is {sample.uncertainty}")
    sample.class_pixels(num_classes)


def to_fields(sample: Sample, num_classes: int) -> dict[str, Any]:
    """All columns but image and mask; floats hold float32 values in every format."""
    height, width = sample.mask.shape
    return {
        "key": sample.key,
        "labels": sample.labels + [NO_CLASS] * (num_classes - len(sample.labels)),
        "height": height,
        "width": width,
        "seed": sample.seed,
        "uncertainty": float(np.float32(sample.uncertainty)),
        "class_fractions": sample.class_fractions(num_classes),
        "model_id": sample.model_id,
    }


def encode_sample(sample: Sample, num_classes: int) -> EncodedSample:
    """All that costs time in writing a sample, and that needs no other sample.

    Raises DamagedShard where the mask holds an id beyond the classes, 255 aside.
    """
    fields = to_fields(sample, num_classes)
    return EncodedSample(fields, png.encode_png(sample.image), png.encode_png(sample.mask))


def from_fields(fields: Mapping[str, Any], image_png: bytes, mask_png: bytes) -> Sample:
    """The sample of `to_fields` and its two pictures.

    Raises DamagedShard where a field of `TOLD` is missing, a picture does not decode, the image is
    not RGB, or the mask not `L`.
    """
    try:
        key, model_id = str(fields["key"]), str(fields["model_id"])
        seed, uncertainty = int(fields["seed"]), float(fields["uncertainty"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedShard(f"fields that are no sample's ({error!r})") from None
    if not _KEY.fullmatch(key):
        raise DamagedShard(f"the key {key!r} is not made of letters, digits, - and _")
    try:
        image, mask = png.decode_png(image_png), png.decode_png(mask_png)
    except UnreadableImage as error:
        raise DamagedShard(f"sample {key}: {error}") from None
    if (image.ndim, mask.ndim) != (3, 2):
        raise DamagedShard(f"sample {key}: image {image.shape}, mask {mask.shape}, not RGB and L")
    return Sample(key, image, mask, seed, uncertainty, model_id)


def decode_sample(encoded: EncodedSample) -> Sample:
    """The sample that was encoded. Raises DamagedShard as `from_fields` does."""
    return from_fields(encoded.fields, encoded.image_png, encoded.mask_png)


def arrow_schema(classes: Classes, run: Mapping[str, str]) -> pa.Schema:
    """The Parquet row, with the metadata by which `datasets` decodes it without further words.

    Metadata: `huggingface` (its features JSON), `id2label` and `factory` (JSON of run).
    """
    metadata = {
        "huggingface": json.dumps({"info": {"features": _features(classes)}}),
        "id2label": json.dumps(classes.id2label),
        "factory": json.dumps(dict(run), sort_keys=True),
    }
    return ROW.with_metadata(metadata)


def _features(classes: Classes) -> dict[str, Any]:
    # What datasets 5.2 writes for Features(...).
    def value(dtype: str) -> dict[str, str]:
        return {"dtype": dtype, "_type": "Value"}

    label = {"names": list(classes.names), "_type": "ClassLabel"}
    return {
        "key": value("string"),
        "image": {"_type": "Image"},
        "mask": {"_type": "Image"},
        "labels": {"feature": label, "_type": "List"},
        "height": value("int32"),
        "width": value("int32"),
        "seed": value("int64"),
        "uncertainty": value("float32"),
        "class_fractions": {"feature": value("float32"), "_type": "List"},
        "model_id": value("string"),
    }
