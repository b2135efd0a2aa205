"""Which of many images would teach most: those on which the members of an ensemble disagree, and
that are far from all that are labelled or chosen already.

Greedy: the image of the best score is chosen, distances are taken anew, and so on. So of images
that are alike one is chosen, however uncertain all of them are. The same images always give the
same choice; of equal scores the first name wins.

Shapes: N candidates, M known images, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_DIGITS = 9
"""Scores are compared to so many digits: what sums of features add beyond is noise."""


@dataclass(frozen=True)
class Chosen:
    """A candidate that was chosen, and why."""

    number: int
    """Its place among the candidates."""
    score: float
    distance: float
    """To the nearest image that was known or chosen before; 1 is the median distance of the
    candidates to known images. 0 where there was none."""
    nearest: int | None
    """The place of that image among known images, then candidates; None where there was none."""


def choose(
    uncertainties: Floats,
    features: Floats,
    known: Floats,
    names: Sequence[str],
    num: int,
    uncertainty_weight: float,
) -> list[Chosen]:
    """The num images of the best scores, the best first.

    The score is uncertainty^w * distance^(1 - w), both as shares of their medians: so neither needs
    a unit, and an image of no uncertainty, or that is known, is of no use. uncertainties: (N,).
    features: (N, F), known: (M, F); see `standardised`.
    """
    some, rest = standardised(features, known)
    distances, nearest = _to_nearest(some, rest)
    usual = _median(distances[np.isfinite(distances)])
    certain = (uncertainties / _median(uncertainties)) ** uncertainty_weight
    order = np.argsort(np.array(names))
    chosen: list[Chosen] = []
    left = np.ones(len(names), bool)
    for _ in range(num):
        # Without any known image all are equally far.
        apart = np.where(np.isfinite(distances), distances / usual, 1.0)
        scores = np.round(certain * apart ** (1 - uncertainty_weight), _DIGITS)
        ranked = order[left[order]]
        best = int(ranked[scores[ranked].argmax()])
        is_first = not np.isfinite(distances[best])
        distance = 0.0 if is_first else float(distances[best] / usual)
        found = Chosen(
            best, float(scores[best]), distance, None if is_first else int(nearest[best])
        )
        chosen.append(found)
        left[best] = False
        if is_first:
            usual = _median(_distances(some, some[best])[left])
        _approach(distances, nearest, _distances(some, some[best]), len(known) + best)
    return chosen


def standardised(features: Floats, known: Floats) -> tuple[Floats, Floats]:
    """Both sets of features, each feature less its mean and divided by its deviation over both, so
    that a distance does not depend on units; features that are the same in all images are 0."""
    both = np.concatenate([features, known])
    mean, deviation = both.mean(axis=0), both.std(axis=0)
    scale = np.where(deviation > 0, deviation, 1.0) * np.sqrt(both.shape[1])
    return (features - mean) / scale, (known - mean) / scale


def _to_nearest(some: Floats, known: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """For each of some images the distance to the nearest known one, infinite where there is none,
    and the place of that."""
    distances, nearest = np.full(len(some), np.inf), np.zeros(len(some), np.int64)
    for i, row in enumerate(known):
        _approach(distances, nearest, _distances(some, row), i)
    return distances, nearest


def _approach(
    distances: Floats, nearest: npt.NDArray[np.int64], others: Floats, number: int
) -> None:
    """Puts the distances to one more image where they are smaller, in place."""
    nearer = others < distances
    distances[nearer], nearest[nearer] = others[nearer], number


def _distances(some: Floats, row: Floats) -> Floats:
    """(N,) the distances of images to one."""
    found: Floats = np.linalg.norm(some - row, axis=1)
    return found


def _median(values: Floats) -> float:
    """The median, or where that is 0 the mean, or 1: what a value is compared with."""
    if not len(values):
        return 1.0
    return float(np.median(values)) or float(values.mean()) or 1.0
