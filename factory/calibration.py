"""What an uncertainty means: the IoU that is expected of a mask, and which pixels are likelier
wrong than right.

Both are learned from images with known masks, labelled by classifiers that had not seen them.

Shapes: N images, P pixels.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Floats = npt.NDArray[np.float64]
_DIGITS = 6
MIN_IMAGES = 10
"""Fewer images do not tell a line from chance."""


class Calibration(BaseModel):
    """A line from the uncertainty of an image's mask to its expected IoU.

    Straight, because with few images no curve and no table of steps was nearer to the IoU of
    further ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    intercept: float
    """The IoU that is expected where all members agree, before it is cut to 0..1."""
    slope: Annotated[float, Field(le=0)]
    """What each nat of uncertainty adds to it; 0 if uncertainty does not tell the IoU."""
    error: Annotated[float, Field(ge=0)]
    """The mean distance of the IoU of an image from a line that was fitted without the image."""
    wrong_above: Annotated[float, Field(ge=0)] | None
    """Pixels of larger uncertainty, in nats, are wrong more often than right; None if those of none
    are."""
    num_images: Annotated[int, Field(ge=1)]
    """The number of images that it is learned from."""

    def expected_iou(self, uncertainty: float) -> float:
        """The mean IoU that is expected of a mask of this uncertainty, 0 to 1."""
        return min(1.0, max(0.0, self.intercept + self.slope * uncertainty))

    def largest_uncertainty(self, expected_iou: float) -> float:
        """The uncertainty within which masks are expected to have this IoU, above 0, or a better
        one; infinite if all are, negative if none is."""
        if self.slope == 0:
            return math.inf if self.expected_iou(0.0) >= expected_iou else -1.0
        return (self.intercept - expected_iou) / -self.slope

    def words(self) -> str:
        return (
            f"expected IoU = {self.intercept:.3f} - {-self.slope:.3f} x uncertainty, by "
            f"{self.num_images:,} held-out images, whose own IoU is {self.error:.3f} off on average"
        )


def fit_calibration(
    uncertainties: Sequence[float],
    ious: Sequence[float],
    pixel_uncertainties: npt.NDArray[Any],
    pixels_are_right: npt.NDArray[np.bool_],
) -> Calibration:
    """The line of least squares through N images, and the bound for pixels, from (P,) of them.

    ious: the mean IoU of each image's mask.
    """
    x, y = np.array(uncertainties, np.float64), np.array(ious, np.float64)
    from_mean = x - x.mean()
    spread = float(from_mean @ from_mean)
    slope = min(0.0, float(from_mean @ y) / spread) if spread > 0 else 0.0
    intercept = float(y.mean()) - slope * float(x.mean())
    # A line that is fitted without an image misses it by so much more than one fitted with it.
    leverage = 1 / len(x) + (from_mean**2 / spread if slope else 0.0)
    errors = np.abs(y - intercept - slope * x) / np.maximum(1 - leverage, 1e-9)
    return Calibration(
        intercept=round(intercept, _DIGITS),
        slope=round(slope, _DIGITS),
        error=round(float(errors.mean()), _DIGITS),
        wrong_above=_wrong_above(pixel_uncertainties, pixels_are_right),
        num_images=len(x),
    )


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
