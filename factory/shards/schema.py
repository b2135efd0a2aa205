"""An image/mask pair, and its fields as the columns of a dataset have them.

Shapes: H height, W width. Masks hold class ids, 255 = ignore.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from factory import png
from factory.calibration import NOT_THERE, Calibration
from factory.classes import IGNORE_ID
from factory.errors import DamagedShard, UnreadableImage, counted
from factory.images import UInt8
from factory.shards.choice import Choice
from factory.shards.columns import (
    COLUMNS,
    EXPECTED_CLASS_IOU,
    EXPECTED_IOU,
    FIELDS,
    MORE_COLUMNS,
    SCORE_COLUMNS,
    Column,
)

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
    hit_pixels: tuple[int, ...] = ()
    """Pixels per class id on which the mask and a true one agree; empty where there is none. As
    the next two, of the pixels that neither of the two ignores."""
    truth_pixels: tuple[int, ...] = ()
    """Pixels per class id of the true mask; empty where there is none."""
    predicted_pixels: tuple[int, ...] = ()
    """Pixels per class id of the mask; empty where there is no true one."""
    expected_iou: float | None = None
    """The mean IoU that is expected of the mask; None where nothing tells it."""
    expected_class_iou: tuple[float, ...] = ()
    """The IoU that is expected of each class id, float32, and -1 of those that the mask does not
    have; empty where nothing tells it."""
    nearest_training_distance: float | None = None
    """The distance to the nearest image that the DDPM learned from, where 1 is what is usual
    between two of these; None where nothing tells it."""
    nearest_training_image: int | None = None
    """The place of that image in the listing of the training images, from 0."""

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


def sample_key(index: int) -> str:
    """The key of the index-th sample, such as "000000042": nine digits at least, no dots."""
    return f"{index:09d}"


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

    def decoded(self) -> Sample:
        """The sample that was encoded. Raises DamagedShard as `from_fields` does."""
        return from_fields(self.fields, self.image_png, self.mask_png)


def check_sample(
    sample: Sample,
    num_classes: int,
    channels: int = 3,
    is_scored: bool = False,
    calibration: Calibration | None = None,
) -> None:
    """Raises DamagedShard if shapes disagree, ids are unknown, the uncertainty is not finite or the
    expected IoU is not what the calibration says.

    channels: those of the dataset's images. is_scored: True if it has SCORE_COLUMNS. calibration:
    that of the dataset's ensemble.
    """
    height, width = sample.mask.shape
    if sample.image.shape != (height, width, channels):
        raise DamagedShard(
            f"sample {sample.key}: image {sample.image.shape}, mask {sample.mask.shape}, where "
            f"images have {counted(channels, 'channel')}"
        )
    if not math.isfinite(sample.uncertainty):
        raise DamagedShard(f"sample {sample.key}: uncertainty is {sample.uncertainty}")
    _check_expected(sample, num_classes, calibration)
    for name in SCORE_COLUMNS:
        if len(getattr(sample, name)) != num_classes * is_scored:
            raise DamagedShard(f"sample {sample.key}: {name} is not of {num_classes} classes")
    sample.class_pixels(num_classes)


def check_choice(sample: Sample, tells_distances: bool, choice: Choice | None) -> None:
    """Raises DamagedShard if the sample is none that would have been chosen.

    tells_distances: True if the samples of its dataset tell how near they are to a training image.
    """
    distance, number = sample.nearest_training_distance, sample.nearest_training_image
    is_told = distance is not None and number is not None and number >= 0
    least, iou = (choice.min_distance, choice.min_expected_iou) if choice else (None, None)
    if is_told != tells_distances or (distance is not None and not distance >= (least or 0)):
        wanted = f"{least or 0:g} or more" if tells_distances else "none"
        raise DamagedShard(
            f"sample {sample.key}: the distance to the nearest training image, {number}, is "
            f"{distance}, where the dataset has {wanted}"
        )
    expected = sample.expected_iou
    if iou is not None and (expected is None or expected < np.float32(iou)):
        raise DamagedShard(
            f"sample {sample.key}: {EXPECTED_IOU} is {expected}, where the dataset has {iou:g} or "
            "more"
        )


def _check_expected(sample: Sample, num_classes: int, calibration: Calibration | None) -> None:
    """Raises DamagedShard if what is expected of a sample is not what a calibration says."""
    of_classes = sample.expected_class_iou
    wanted, by = None, "nothing"
    if calibration is not None and calibration.classes is None:
        wanted, by = calibration.iou_of_uncertainty(sample.uncertainty), "its uncertainty"
    elif calibration is not None:
        wanted, by = calibration.iou_of_classes(of_classes), EXPECTED_CLASS_IOU
    if sample.expected_iou != (None if wanted is None else float(np.float32(wanted))):
        raise DamagedShard(
            f"sample {sample.key}: {EXPECTED_IOU} is {sample.expected_iou}, where {by} means "
            f"{wanted}"
        )
    has_classes = calibration is not None and calibration.classes is not None
    are_ious = all(iou == NOT_THERE or 0 <= iou <= 1 for iou in of_classes)
    lacks = any(of_classes[i] == NOT_THERE for i in sample.labels if i < len(of_classes))
    if len(of_classes) != num_classes * has_classes or not are_ious or lacks:
        raise DamagedShard(
            f"sample {sample.key}: {EXPECTED_CLASS_IOU} is not the IoU of {num_classes} classes"
        )


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


def stored_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a sample that do not follow from its pictures, as its attributes.

    Raises DamagedShard if one is missing.
    """
    try:
        stored = {
            column.name: column.parsed(fields[column.name])
            for column in (*FIELDS, *MORE_COLUMNS)
            if column.value is None and (column.name in fields or not column.is_later)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedShard(f"fields that are no sample's ({error!r})") from None
    return {**stored, "key": check_key(stored["key"])}


def from_fields(fields: Mapping[str, Any], image_png: bytes, mask_png: bytes) -> Sample:
    """The sample of `to_fields` and its two pictures.

    Raises DamagedShard if a field of STORED is missing, a picture does not decode, or the mask is
    not `L`.
    """
    stored = stored_fields(fields)
    key = stored["key"]
    try:
        image, mask = png.decode_png(image_png), png.decode_png(mask_png)
    except UnreadableImage as error:
        raise DamagedShard(f"sample {key}: {error}") from None
    if mask.ndim != 2:
        raise DamagedShard(f"sample {key}: the mask is RGB, not L")
    return Sample(image=np.atleast_3d(image), mask=mask, **stored)
