"""Whether the certainty of masks tells how right they are, where true masks are known."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.calibration import NOT_THERE
from factory.classes import Classes

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
class Known:
    """What is known of an image whose true mask is known."""

    uncertainty: float
    """Nats."""
    iou: float
    """The mean over the classes that occur in the image or its mask; nan where all is ignored."""
    expected: float | None = None
    """What was expected of it; None where nothing was."""
    class_ious: Sequence[float] = ()
    """(C,) that of each class; nan where neither has it."""
    expected_class_ious: Sequence[float] = ()
    """(C,) what was expected of it, or NOT_THERE; empty where nothing was."""


@dataclass(frozen=True)
class Certainty:
    """How certain the masks of some images are, and the IoU of each, which is known; one image at
    least."""

    images: Sequence[Known]

    @property
    def is_expected(self) -> bool:
        """True if an IoU was expected of the images."""
        return self.images[0].expected is not None

    def reliability(self) -> list[Part]:
        """A tenth of the images each, the least certain first: the IoU that was expected of them,
        and theirs. None where nothing was expected."""
        if not self.is_expected:
            return []
        expected = np.array([image.expected for image in self.images])
        order, ious = self._most_certain_first[::-1], self._ious
        parts = np.array_split(order, min(_NUM_PARTS, len(order)))
        return [Part(len(p), float(expected[p].mean()), float(ious[p].mean())) for p in parts]

    def of_classes(self) -> dict[int, Part]:
        """The same of each class that occurs in masks, by its id: over those that have it. None
        where nothing was expected of classes."""
        expected = np.array([image.expected_class_ious for image in self.images])
        ious = np.array([image.class_ious for image in self.images])
        found = {}
        for i, (of_class, true) in enumerate(zip(expected.T, ious.T, strict=False)):
            there = (of_class != NOT_THERE) & ~np.isnan(true)
            if there.any():
                means = float(of_class[there].mean()), float(true[there].mean())
                found[i] = Part(int(there.sum()), *means)
        return found

    def coverage(self) -> list[Kept]:
        """The mean IoU of all images, and of ever fewer, the most certain ones: tenth by tenth."""
        ious = self._ious[self._most_certain_first]
        nums = {share: max(1, round(len(ious) * share / _NUM_PARTS)) for share in range(10, 0, -1)}
        return [Kept(share / _NUM_PARTS, float(ious[:num].mean())) for share, num in nums.items()]

    @property
    def _ious(self) -> npt.NDArray[np.float64]:
        return np.array([image.iou for image in self.images])

    @property
    def _most_certain_first(self) -> npt.NDArray[np.int64]:
        """By expected IoU; where that is the same or unknown, by uncertainty."""
        expected = [-(image.expected or 0.0) for image in self.images]
        return np.lexsort(([image.uncertainty for image in self.images], expected))

    def lines(self) -> list[str]:
        """What there is to know, in words."""
        everything, *_ = kept = self.coverage()
        fifth_left_out = next(each for each in kept if each.share == 0.8)
        lines = [
            f"mean IoU of an image {everything.iou:.3f}; without the least certain fifth "
            f"{fifth_left_out.iou:.3f}"
        ]
        for parts, of_what in (
            (self.reliability(), "over tenths of the images"),
            (self.of_classes().values(), "over classes"),
        ):
            if parts:
                errors = [abs(part.expected - part.measured) for part in parts]
                lines.append(
                    f"expected IoU is {np.mean(errors):.3f} off on average {of_what}, "
                    f"{max(errors):.3f} at most"
                )
        return lines

    def as_json(self, classes: Classes) -> dict[str, Any]:
        """Both curves, and expected and measured IoU by class name."""
        return {
            "reliability": [_as_json(part) for part in self.reliability()],
            "coverage": [
                {"share": each.share, "iou": _rounded(each.iou)} for each in self.coverage()
            ],
            "classes": {classes.names[i]: _as_json(part) for i, part in self.of_classes().items()},
        }


def certainty_of(images: Iterable[Known]) -> Certainty | None:
    """The certainty of those images whose IoU is known; None if that is of none."""
    known = [image for image in images if not math.isnan(image.iou)]
    return Certainty(known) if known else None


def _as_json(part: Part) -> dict[str, Any]:
    ious = {"expected_iou": _rounded(part.expected), "iou": _rounded(part.measured)}
    return {"num": part.num, **ious}


def _rounded(value: float) -> float:
    return round(value, 4)
