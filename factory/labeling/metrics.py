"""Scores of masks: one confusion matrix over a whole set, and the measures that follow from it.

Shapes: C classes; masks of any equal shape.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID, Classes


def confusion_matrix(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int
) -> npt.NDArray[np.int64]:
    """(C, C) pixel counts, row = truth, column = prediction; ignored pixels left out."""
    kept = truth != IGNORE_ID
    pairs = truth[kept].astype(np.int64) * num_classes + prediction[kept]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class Score:
    """The scores that follow from the confusion matrix of a whole set."""

    confusion: npt.NDArray[np.int64]

    def __repr__(self) -> str:
        return f"Score(mean_iou={self.mean_iou:.4f}, pixel_accuracy={self.pixel_accuracy:.4f})"

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """(C,) intersection over union per class; nan where neither truth nor prediction has it."""
        hits = np.diag(self.confusion).astype(np.float64)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hits
        iou: npt.NDArray[np.float64] = np.full(len(hits), np.nan)
        np.divide(hits, union, out=iou, where=union > 0)
        return iou

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that occur in truth or prediction.

        The paper's code counts a class that occurs in neither as 0; here it is left out.
        """
        return float(np.nanmean(self.iou)) if self.confusion.any() else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of pixels whose class is right."""
        return float(np.diag(self.confusion).sum() / max(1, self.confusion.sum()))

    def as_json(self, classes: Classes) -> dict[str, Any]:
        """mean_iou, pixel_accuracy, and iou by class name (null where undefined)."""
        per_class = {
            name: None if np.isnan(value) else round(float(value), 4)
            for name, value in zip(classes.names, self.iou, strict=True)
        }
        return {
            "mean_iou": None if np.isnan(self.mean_iou) else round(self.mean_iou, 4),
            "pixel_accuracy": round(self.pixel_accuracy, 4),
            "iou": per_class,
        }
