"""What further labelled images teach: the ensemble without them against the one with them, on the
same images, which neither has seen.

Shapes: N images, C classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.config import Config
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.errors import counted
from factory.labeling.fitting import fit_head, label_in_batches
from factory.labeling.folds import folds_of, part_of
from factory.labeling.head import Head
from factory.labeling.linear_probe import Counts
from factory.progress import tell
from factory.scores import Score, confusion_matrix

Confusions = npt.NDArray[np.int64]
"""(N, C, C) of each image, row = truth, column = prediction."""


@dataclass(frozen=True, eq=False)
class Gain:
    """Both ensembles on the same images."""

    before: Confusions
    after: Confusions
    where: str
    """What they were measured on, in words."""

    @cached_property
    def mean_ious(self) -> tuple[float, float]:
        """The mean IoU of both, over the pixels of all images, as `factory evaluate` tells it."""
        before, after = (Score.of(each.sum(axis=0)).mean_iou for each in (self.before, self.after))
        return before, after

    @cached_property
    def noise(self) -> float | None:
        """Twice the standard error of the difference, as other images would change it; None where
        one image alone was measured."""
        if len(self.before) < 2:
            return None
        before, after = (_counts(each) for each in (self.before, self.after))
        return after.noise_of_gain(before)

    def line(self) -> str:
        """What was gained."""
        before, after = self.mean_ious
        noise = "" if self.noise is None else f", chance {self.noise:.3f}"
        return (
            f"mean IoU {before:.3f} -> {after:.3f} ({after - before:+.3f}{noise}) on {self.where}"
        )

    def as_json(self) -> dict[str, Any]:
        """What was gained, as values that JSON has."""
        before, after = (None if np.isnan(each) else round(each, 4) for each in self.mean_ious)
        noise = None if self.noise is None or np.isnan(self.noise) else round(self.noise, 4)
        return {"before": before, "after": after, "noise": noise, "where": self.where}


def _counts(confusions: Confusions) -> Counts:
    """The pixels of each class in each image (N, C): right ones, those of truth, of prediction."""
    right, truth, predicted = (
        confusions.diagonal(axis1=1, axis2=2),
        confusions.sum(axis=2),
        confusions.sum(axis=1),
    )
    return Counts(*(each.astype(np.float64) for each in (right, truth, predicted)))


def gain_on_test(model: Model, before: Head, after: Head, test: Labelled, config: Config) -> Gain:
    """Both ensembles on test images, on the device of the model."""
    found, learned = (confusions(model, head, test, config) for head in (before, after))
    return Gain(found, learned, f"{counted(len(test), 'image')} of data.test")


def gain_by_parts(
    model: Model, labelled: Labelled, is_new: npt.NDArray[np.bool_], config: Config
) -> Gain:
    """Ensembles that are fitted without and with the new images (N,), each part of all images being
    labelled by what the others taught: two fits a part.

    At least two of the old images have labels. Raises UserError where all pixels of the images to
    fit on are ignored.
    """
    folds = np.zeros(len(labelled), np.int64)
    num = config.adopt.num_folds
    for kind in (is_new, ~is_new):
        some = part_of(labelled, kind)
        if len(some):
            folds[kind] = folds_of(some, num, config.fit.seed).numpy()
    num = int(folds.max()) + 1
    where = f"all {counted(len(labelled), 'labelled image')}, in {num} parts"
    without, with_new = list[Confusions](), list[Confusions]()
    for fold in range(num):
        tell(f"adopt | gain {fold + 1} of {num}: fitted without and with the new images")
        held_out, others = part_of(labelled, folds == fold), folds != fold
        arms = (part_of(labelled, some) for some in (others & ~is_new, others))
        for arm, found in zip(arms, (without, with_new), strict=True):
            found.append(confusions(model, fit_head(model, arm, config), held_out, config))
    return Gain(np.concatenate(without), np.concatenate(with_new), where)


def confusions(model: Model, head: Head, labelled: Labelled, config: Config) -> Confusions:
    """The confusion matrix of each image, by the soft vote."""
    found = [
        confusion_matrix(truth, mask, len(labelled.classes))
        for truth, mask in zip(labelled.masks, _masks(model, head, labelled, config), strict=True)
    ]
    return np.stack(found)


def _masks(
    model: Model, head: Head, labelled: Labelled, config: Config
) -> Iterator[npt.NDArray[np.uint8]]:
    for labels in label_in_batches(model, head, labelled.images, config.evaluate.batch_size):
        yield from labels.soft.cpu().numpy()
