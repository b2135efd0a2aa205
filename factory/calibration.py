"""What votes and uncertainty mean: the IoU that is expected of a mask and of its classes, and which
pixels are likelier wrong than right.

All of it is learned from images with known masks, labelled by classifiers that had not seen them.

Shapes: N images, P pixels, C classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from factory.scores import Counts, Score

Floats = npt.NDArray[np.float64]
_DIGITS = 6
MIN_IMAGES = 10
"""Fewer images do not tell a line from chance."""
NOT_THERE = -1.0
"""In place of the IoU of a class that a mask does not have."""
_PRIOR_IMAGES = 2
"""A class stands as far from all classes together as if so many more images had shown it there: few
images of a rare class tell little."""


class ClassLines(BaseModel):
    """Parallel lines, one a class, from the IoU that votes alone make expect to that which is
    expected.

    Parallel, because few images tell how far a class lies from others, and not how steep its own
    line is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slope: Annotated[float, Field(ge=0)]
    intercepts: tuple[float, ...]
    """(C,)."""
    error: Annotated[float, Field(ge=0)]
    """The mean distance of the IoU of a class in an image from lines that were fitted without the
    image."""


class Calibration(BaseModel):
    """The IoU that is expected of masks.

    Where there are lines of `classes`, that of a mask is a line over the mean of what is expected
    of its classes. Ensembles that an older version fitted have none: there it is a line over the
    uncertainty of the mask.

    Straight, because with few images no curve and no table of steps was nearer to the IoU of
    further ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    intercept: float
    """The IoU that is expected at 0 of what the line is over, before it is cut to 0..1."""
    slope: float
    """What each unit adds to it: at least 0, and over the uncertainty, in nats, at most 0."""
    error: Annotated[float, Field(ge=0)]
    """The mean distance of the IoU of an image from a line that was fitted without the image."""
    wrong_above: Annotated[float, Field(ge=0)] | None
    """Pixels of larger uncertainty, in nats, are wrong more often than right; None if those of none
    are."""
    num_images: Annotated[int, Field(ge=1)]
    """The number of images that it is learned from."""
    classes: Annotated[ClassLines | None, Field(exclude_if=lambda classes: classes is None)] = None
    """Those by which the IoU of classes is expected; None of an older version's."""

    @model_validator(mode="after")
    def _is_monotone(self) -> "Calibration":
        if self.slope < 0 if self.classes else self.slope > 0:
            raise ValueError(f"slope = {self.slope:g}: worse masks would have more to expect")
        return self

    def expected(self, uncertainty: float, overlap: Counts) -> "Expected":
        """What is expected of a mask.

        uncertainty: its own, in nats. overlap: (3, C) the pixels of each class that it is expected
        to share with the true mask, those of the true mask, and its own; in any unit.
        """
        if self.classes is None:
            return Expected(self.iou_of_uncertainty(uncertainty))
        ious = np.array(self.classes.intercepts) + self.classes.slope * _own_ious(overlap)
        of_classes = np.nan_to_num(ious.clip(0, 1), nan=NOT_THERE).astype(np.float32).tolist()
        return Expected(self.iou_of_classes(of_classes), tuple(of_classes))

    def iou_of_classes(self, class_ious: Sequence[float]) -> float:
        """The mean IoU that is expected of a mask, 0 to 1, of whose classes this is expected."""
        there = [iou for iou in class_ious if iou != NOT_THERE]
        return _cut(self.intercept + self.slope * math.fsum(there) / max(1, len(there)))

    def iou_of_uncertainty(self, uncertainty: float) -> float:
        """The mean IoU that is expected of a mask of this uncertainty, where the line is over it;
        0 to 1."""
        return _cut(self.intercept + self.slope * uncertainty)

    def largest_uncertainty(self, expected_iou: float) -> float:
        """The uncertainty within which masks are expected to have this IoU, above 0, or a better
        one, where the line is over it; infinite if all are, negative if none is."""
        if self.slope == 0:
            return math.inf if _cut(self.intercept) >= expected_iou else -1.0
        return (self.intercept - expected_iou) / -self.slope

    def words(self) -> str:
        what = "uncertainty"
        error = ""
        if self.classes is not None:
            what = "the mean over its classes"
            error = f", that of a class {self.classes.error:.3f}"
        sign = "-" if self.slope < 0 else "+"
        return (
            f"expected IoU = {self.intercept:.3f} {sign} {abs(self.slope):.3f} x {what}, by "
            f"{self.num_images:,} held-out images, whose own IoU is {self.error:.3f} off on "
            f"average{error}"
        )

    def shortcomings(self) -> list[str]:
        """What votes do not tell, in words, and what would help."""
        found = list[str]()
        remedy = (
            "Label more images, easy ones and hard ones, or set fit.calibration_folds=5, so that "
            "each part is labelled by what more images taught."
        )
        if self.slope == 0:
            found.append(
                "votes say nothing of the IoU of a mask on these images: the same, "
                f"{_cut(self.intercept):.3f}, is expected of all masks, and the most certain ones "
                f"are those of the least uncertainty. {remedy}"
            )
        if self.classes is not None and self.classes.slope == 0:
            found.append(
                "votes say nothing of the IoU of a class on these images: the same is expected of "
                f"it in all masks. {remedy}"
            )
        return found


@dataclass(frozen=True)
class Expected:
    """The IoU that is expected of a mask."""

    iou: float
    """The mean over its classes, 0 to 1."""
    class_ious: tuple[float, ...] = ()
    """(C,) that of each class, float32 values, 0 to 1, or NOT_THERE; empty where it is not known.
    """


def fit_calibration(
    overlaps: Sequence[Counts],
    ious: Sequence[Floats],
    pixel_uncertainties: npt.NDArray[Any],
    pixels_are_right: npt.NDArray[np.bool_],
) -> Calibration:
    """The lines of least squares through N images, and the bound for pixels, from (P,) of them.

    overlaps: (3, C) of each image; see `Calibration.expected`. ious: (C,) the true IoU of each
    class, nan where neither mask has it, and a number for one class at least.
    """
    x, y = np.array([_own_ious(each) for each in overlaps]), np.array(ious, np.float64)
    lines = _lines(x, y)
    others = [_lines(*(np.delete(each, i, axis=0) for each in (x, y))) for i in range(len(x))]
    missed = [_missed(*each) for each in zip(others, x, y, strict=True)]
    return Calibration(
        intercept=round(lines.intercept, _DIGITS),
        slope=round(lines.slope, _DIGITS),
        error=round(float(np.mean([of_image for of_image, _ in missed])), _DIGITS),
        wrong_above=_wrong_above(pixel_uncertainties, pixels_are_right),
        num_images=len(x),
        classes=ClassLines(
            slope=round(lines.class_slope, _DIGITS),
            intercepts=tuple(lines.class_intercepts.round(_DIGITS).tolist()),
            error=round(float(np.concatenate([each for _, each in missed]).mean()), _DIGITS),
        ),
    )


def _own_ious(overlap: Counts) -> Floats:
    """(C,) the IoU that votes alone make expect; nan for classes that the mask does not have."""
    score = Score(*overlap)
    return np.where(score.predicted > 0, score.iou, np.nan)


@dataclass(frozen=True)
class _Lines:
    """The lines of some images."""

    intercept: float
    slope: float
    class_intercepts: Floats
    class_slope: float

    def of_classes(self, x: Floats) -> Floats:
        """(..., C) what is expected of classes, nan for those that are not there."""
        return (self.class_intercepts + self.class_slope * x).clip(0, 1)


def _lines(x: Floats, y: Floats) -> _Lines:
    """x, y: (N, C) the IoU that votes make expect, nan for classes that the mask does not have, and
    the true one, nan where neither mask has it."""
    y_there = np.where(np.isnan(x), np.nan, y)
    num = (~np.isnan(x)).sum(axis=0)
    means = [np.nansum(each, axis=0) / np.maximum(num, 1) for each in (x, y_there)]
    # Within a class: between classes, size alone makes a difference.
    slope = _slope(*(np.nan_to_num(each - m) for each, m in zip((x, y_there), means, strict=True)))
    common = np.nanmean(y_there) - slope * np.nanmean(x)
    apart = num * (means[1] - common - slope * means[0]) / (num + _PRIOR_IMAGES)
    lines = _Lines(0.0, 1.0, common + apart, slope)
    expected, true = np.nanmean(lines.of_classes(x), axis=1), np.nanmean(y, axis=1)
    slope_of_means = _slope(expected - expected.mean(), true - true.mean())
    intercept = float(true.mean() - slope_of_means * expected.mean())
    return _Lines(intercept, slope_of_means, lines.class_intercepts, slope)


def _slope(x: Floats, y: Floats) -> float:
    """The slope of least squares, at least 0, of values less their means."""
    spread = float((x * x).sum())
    return max(0.0, float((x * y).sum()) / spread) if spread > 0 else 0.0


def _missed(lines: _Lines, x: Floats, y: Floats) -> tuple[float, Floats]:
    """How far the IoU of an image, and those of its classes, are from what lines make expect."""
    of_classes = lines.of_classes(x)
    expected = _cut(lines.intercept + lines.slope * float(np.nanmean(of_classes)))
    apart = np.abs(of_classes - y)
    return abs(expected - float(np.nanmean(y))), apart[~np.isnan(apart)]


def _cut(iou: float) -> float:
    return min(1.0, max(0.0, iou))


def _wrong_above(uncertainties: npt.NDArray[Any], are_right: npt.NDArray[np.bool_]) -> float | None:
    """The bound at which the right pixels below exceed the wrong ones below by most: beyond it, a
    further pixel is likelier wrong."""
    order = np.argsort(uncertainties, kind="stable")
    excess = np.cumsum(np.where(are_right[order], 1, -1))
    last = int(excess.argmax())
    if excess[last] <= 0:
        return 0.0
    if last == len(order) - 1:
        return None
    return round(float(uncertainties[order[last]]), _DIGITS)
