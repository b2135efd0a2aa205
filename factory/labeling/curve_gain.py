"""What more labelled images are worth, by the last numbers of a curve.

The model: over the last numbers the IoU grows along a line over the logarithm of the number. Labels
that get better ever more slowly do so for a while; far beyond the last number they do not, so that
nothing is said of more than twice as many.

Shapes: P numbers, S seeds, B draws of the test images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factory.labeling.linear_probe import Floats

MORE = 10
"""The labelled images whose worth is told."""
LAST = 3
"""The numbers of the curve, the last ones, along which the line is laid."""


@dataclass(frozen=True)
class Gain:
    """What more labelled images add to an IoU."""

    gain: float
    noise: float
    """What chance makes of it: twice its standard error, as other draws of the labelled images, and
    other test images, would change it."""

    @property
    def is_told(self) -> bool:
        """True if it is more than chance makes of it."""
        return abs(self.gain) > self.noise

    def words(self) -> str:
        """In points of IoU: +0.8 ± 0.5."""
        return f"{100 * self.gain:+.1f} ± {100 * self.noise:.1f}"


def gain_of(nums: Sequence[int], ious: Floats, drawn: Floats, last: int = LAST) -> Gain:
    """The worth of `MORE` images after the last of the numbers.

    ious: (P, S). drawn: (P, S, B). last: along how many of the numbers, the last ones, the line is
    laid; at least two.
    """
    x = np.log(np.array(nums[-last:], np.float64))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    slope = weights @ ious[-last:].mean(1)
    # The draws of a seed lie in each other, which only makes slopes more alike than this says.
    # Those of the last number are the same images, so that others differ as for the one before.
    variances = ious[-last:].var(axis=1, ddof=1)
    variances[-1] = variances[-2:].max()
    of_seeds = weights**2 @ variances / ious.shape[1]
    of_test = np.nanvar(weights @ drawn[-last:].mean(1), ddof=1)
    times = math.log((nums[-1] + MORE) / nums[-1])
    return Gain(float(slope * times), float(2 * times * np.sqrt(of_seeds + of_test)))
