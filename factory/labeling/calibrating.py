"""Measures what votes and uncertainty of a head mean, on labelled images that it has not seen.

The images are split into folds, and each fold is labelled by a head that was fitted, in the very
same way, on all others.

Shapes: N images, S image size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factory.calibration import MIN_IMAGES, Calibration, fit_calibration
from factory.classes import IGNORE_ID
from factory.config import Config
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.errors import UserError, counted
from factory.labeling.fitting import fit_head, label_in_batches
from factory.labeling.folds import folds_of, part_of, with_labels
from factory.labeling.head import Head
from factory.progress import tell
from factory.scores import Counts, Score, confusion_matrix

_BATCH_PIXELS = 2**16
"""The pixels of the images that are labelled together."""


def check_calibration(labelled: Labelled, num_folds: int) -> None:
    """Raises UserError where there are too few labelled images, or folds, to learn from."""
    if num_folds == 0:
        return
    if num_folds == 1:
        raise UserError(
            "fit.calibration_folds: 1 leaves no image to learn from. Set it to 3, or to 0 for no "
            "calibration."
        )
    if (num := int(with_labels(labelled).sum())) < MIN_IMAGES:
        raise UserError(
            f"fit.calibration_folds: data.labelled has {counted(num, 'image')} with pixels that "
            f"are not ignored, and what votes mean is learned from {MIN_IMAGES} at least. "
            "Label more, or set it to 0 for no calibration."
        )
    if num_folds > num:
        raise UserError(
            f"fit.calibration_folds: {num_folds:,} is more than the {counted(num, 'image')} of "
            "data.labelled with pixels that are not ignored. Set it to 3, or 5 for few images."
        )


def calibrate(model: Model, labelled: Labelled, config: Config) -> Calibration:
    """What votes and uncertainty mean for heads of this config. Raises UserError as
    `check_calibration` does, and where all pixels of the images to fit on are ignored."""
    check_calibration(labelled, config.fit.calibration_folds)
    folds = folds_of(labelled, config.fit.calibration_folds, config.fit.seed).numpy()
    num_folds, found = int(folds.max()) + 1, list[_Compared]()
    for fold in range(num_folds):
        held_out = part_of(labelled, folds == fold)
        images = counted(len(held_out), "image")
        tell(f"fit | calibration {fold + 1} of {num_folds}: {images} held out")
        head = fit_head(model, part_of(labelled, folds != fold), config)
        found += _compared(model, head, held_out)
    return fit_calibration(
        [image.overlap for image in found],
        [image.ious for image in found],
        np.concatenate([image.pixel_uncertainties for image in found]),
        np.concatenate([image.pixels_are_right for image in found]),
    )


@dataclass(frozen=True)
class _Compared:
    """An image that was labelled: how right its labels are expected to be, and are."""

    overlap: Counts
    """(3, C); see `Calibration.expected`."""
    ious: npt.NDArray[np.float64]
    """(C,) that of each class; see `Score.iou`."""
    pixel_uncertainties: npt.NDArray[np.float32]
    """Those of its pixels that are not ignored."""
    pixels_are_right: npt.NDArray[np.bool_]


def _compared(model: Model, head: Head, held_out: Labelled) -> Iterator[_Compared]:
    """Labels images, and compares the soft vote with their masks, where these are not ignored."""
    batch_size = max(1, _BATCH_PIXELS // model.image_size**2)
    known = held_out.masks != IGNORE_ID
    truths = zip(held_out.masks, known, strict=True)
    for labels in label_in_batches(model, head, held_out.images, batch_size, known):
        parts = labels.soft, labels.uncertainty, labels.soft_overlaps
        for mask, pixels, overlap in zip(*(part.cpu().numpy() for part in parts), strict=True):
            truth, is_known = next(truths)
            if is_known.any():
                ious = Score.of(confusion_matrix(truth, mask, len(held_out.classes))).iou
                yield _Compared(overlap, ious, pixels[is_known], (truth == mask)[is_known])
