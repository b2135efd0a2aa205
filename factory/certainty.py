"""Whether the certainty of masks tells how right they are, where true masks are known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.calibration import Calibration

_NUM_PARTS = 10


@dataclass(frozen=True)
class Part:
    """Images of like certainty."""

    num: int
    expected: float
    """The mean of their expected IoU."""
    measured: float
    """The mean of their IoU."""


@dataclass(frozen=True)
class Kept:
    """The most certain images."""

    share: float
    """Of all images."""
    iou: float
    """The mean of their IoU."""


@dataclass(frozen=True)
class Certainty:
    """How certain the masks of some images are, and the IoU of each; one image at least."""

    uncertainties: tuple[float, ...]
    ious: tuple[float, ...]
    """The mean over the classes that occur in the image or its mask."""
    calibration: Calibration | None = None
    """What the uncertainty was said to mean."""

    def reliability(self) -> list[Part]:
        """A tenth of the images each, the least certain first: the IoU that was expected of them,
        and theirs. None where nothing was expected."""
        if self.calibration is None:
            return []
        expected = np.array([self.calibration.expected_iou(each) for each in self.uncertainties])
        order, ious = self._most_certain_first[::-1], np.array(self.ious)
        parts = np.array_split(order, min(_NUM_PARTS, len(order)))
        return [Part(len(p), float(expected[p].mean()), float(ious[p].mean())) for p in parts]

    def coverage(self) -> list[Kept]:
        """The mean IoU of all images, and of ever fewer, the most certain ones: tenth by tenth."""
        ious = np.array(self.ious)[self._most_certain_first]
        nums = {share: max(1, round(len(ious) * share / _NUM_PARTS)) for share in range(10, 0, -1)}
        return [Kept(share / _NUM_PARTS, float(ious[:num].mean())) for share, num in nums.items()]

    @property
    def _most_certain_first(self) -> npt.NDArray[np.int64]:
        return np.argsort(self.uncertainties, kind="stable")

    def lines(self) -> list[str]:
        """What there is to know, in words."""
        everything, *_ = kept = self.coverage()
        fifth_left_out = next(each for each in kept if each.share == 0.8)
        lines = [
            f"mean IoU of an image {everything.iou:.3f}; without the least certain fifth "
            f"{fifth_left_out.iou:.3f}"
        ]
        if parts := self.reliability():
            errors = [abs(part.expected - part.measured) for part in parts]
            lines.append(
                f"expected IoU is {np.mean(errors):.3f} off on average over tenths of the images, "
                f"{max(errors):.3f} at most"
            )
        return lines

    def as_json(self) -> dict[str, Any]:
        """Both curves."""
        return {
            "reliability": [
                {"num": p.num, "expected_iou": _rounded(p.expected), "iou": _rounded(p.measured)}
                for p in self.reliability()
            ],
            "coverage": [
                {"share": each.share, "iou": _rounded(each.iou)} for each in self.coverage()
            ],
        }


def certainty_of(
    uncertainties: Sequence[float], ious: Sequence[float], calibration: Calibration | None
) -> Certainty | None:
    """The certainty of images whose IoU is known, which is nan for others; None if that is of
    none."""
    known = [(u, iou) for u, iou in zip(uncertainties, ious, strict=True) if iou == iou]
    if not known:
        return None
    first, second = zip(*known, strict=True)
    return Certainty(first, second, calibration)


def _rounded(value: float) -> float:
    return round(value, 4)
