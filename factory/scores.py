"""Scores of masks: pixels counted over a whole set, and the measures that follow from the counts.

Shapes: C classes; masks of any equal shape.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID, Classes

Counts = npt.NDArray[np.int64]


def confusion_matrix(
    truth: npt.NDArray[Any], prediction: npt.NDArray[Any], num_classes: int
) -> Counts:
    """(C, C) pixel counts, row = truth, column = prediction; pixels that are ignored in either are
    left out."""
    kept = (truth != IGNORE_ID) & (prediction != IGNORE_ID)
    pairs = truth[kept].astype(np.int64) * num_classes + prediction[kept]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True, repr=False)
class Score:
    """The scores of the masks of a whole set, which follow from (C,) pixel counts."""

    hits: Counts
    """Pixels per class on which truth and prediction agree."""
    truth: Counts
    """Pixels per class of the truth."""
    predicted: Counts
    """Pixels per class of the prediction."""
    confusion: Counts | None = None
    """(C, C), row = truth, column = prediction; None where only its sums are known."""

    def __repr__(self) -> str:
        return f"Score(mean_iou={self.mean_iou:.4f}, pixel_accuracy={self.pixel_accuracy:.4f})"

    @classmethod
    def of(cls, confusion: Counts) -> "Score":
        """The scores that follow from the confusion matrix of a whole set."""
        return cls(np.diag(confusion), confusion.sum(1), confusion.sum(0), confusion)

    @classmethod
    def sum_of(cls, parts: Iterable[tuple[Any, Any, Any]]) -> "Score | None":
        """The scores of all parts of a set, each as its hits, truth and predicted; None of none."""
        stacked = np.array(list(parts), np.int64)
        return cls(*stacked.sum(axis=0)) if len(stacked) else None

    @property
    def num_pixels(self) -> int:
        """The number of pixels that are counted: neither truth nor prediction ignores them."""
        return int(self.truth.sum())

    @property
    def iou(self) -> npt.NDArray[np.float64]:
        """(C,) intersection over union per class; nan where neither truth nor prediction has it."""
        union = self.truth + self.predicted - self.hits
        iou: npt.NDArray[np.float64] = np.full(len(self.hits), np.nan)
        np.divide(self.hits, union, out=iou, where=union > 0)
        return iou

    @property
    def mean_iou(self) -> float:
        """Mean over the classes that occur in truth or prediction.

        The paper's code counts a class that occurs in neither as 0; here it is left out.
        """
        return float(np.nanmean(self.iou)) if self.num_pixels else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """Share of pixels whose class is right."""
        return float(self.hits.sum() / max(1, self.num_pixels))

    def lines(self, classes: Classes) -> tuple[str, str]:
        """The scores in words: the means on one line, the IoU of each class on another."""
        per_class = ", ".join(
            f"{name} {'none' if np.isnan(value) else f'{value:.3f}'}"
            for name, value in zip(classes.names, self.iou, strict=True)
        )
        means = f"mean IoU {self.mean_iou:.3f}, pixel accuracy {self.pixel_accuracy:.3f}"
        return f"{means} over {self.num_pixels:,} pixels", f"IoU: {per_class}"

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
