"""What was proven: the scores of each kind of training, and a verdict in words.

Shapes: K classes.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory import storage
from factory.classes import Classes
from factory.errors import counted
from factory.proving.conditions import (
    BOTH,
    ENSEMBLE,
    PSEUDO,
    PSEUDO_BOTH,
    REAL,
    SYNTHETIC,
    TRAINED,
)
from factory.scores import Score
from factory.shards.layout import PROOF

_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Student's t of 95 %, for 1 to 9 degrees of freedom: a mean of few differences is told from chance
if it is so many standard errors away from 0."""
_NUMBERS = ("num_real", "num_synthetic", "num_pseudo", "num_test", "num_steps")
_MOST_CLASSES = 5
"""Classes that a verdict names."""


@dataclass(frozen=True)
class Difference:
    """How much better one kind of training is than another, in points of mean IoU."""

    mean: float
    error: float
    """The standard error of the mean, over seeds."""
    num_seeds: int

    @property
    def is_told(self) -> bool:
        """True if chance hardly makes such a difference between seeds."""
        is_printed = abs(self.mean) >= 0.05
        return is_printed and abs(self.mean) > _T[self.num_seeds - 2] * self.error

    def __str__(self) -> str:
        return f"{self.mean:+.1f} \N{PLUS-MINUS SIGN} {self.error:.1f} points"


@dataclass(frozen=True)
class Proof:
    """The scores on real labelled images of all kinds of training, seed by seed."""

    dataset: str
    """The root hash of the dataset."""
    classes: Classes
    num_real: int
    num_synthetic: int
    num_pseudo: int
    num_test: int
    num_steps: int
    scores: Mapping[str, tuple[Score, ...]]
    """By kind: a score for each seed, and one of the ensemble."""

    @property
    def num_seeds(self) -> int:
        """Trainings of each kind."""
        return len(self.scores[REAL])

    def mean_ious(self, kind: str) -> npt.NDArray[np.float64]:
        """The mean IoU of each seed."""
        return np.array([score.mean_iou for score in self.scores[kind]])

    def difference(self, better: str, than: str) -> Difference:
        """How much better one kind of training is than another, seed by seed."""
        points = 100 * (self.mean_ious(better) - self.mean_ious(than))
        error = float(points.std(ddof=1)) / math.sqrt(len(points))
        return Difference(float(points.mean()), error, len(points))

    def names(self) -> dict[str, str]:
        """What each kind learns from, in words."""
        real = counted(self.num_real, "real pair")
        synthetic = counted(self.num_synthetic, "synthetic pair")
        pseudo = counted(self.num_pseudo, "unlabelled image")
        return {
            REAL: real,
            SYNTHETIC: synthetic,
            BOTH: f"{synthetic}, {real}",
            PSEUDO: f"{pseudo} with masks of the ensemble",
            PSEUDO_BOTH: f"{pseudo} with masks of the ensemble, {real}",
            ENSEMBLE: "(the ensemble itself)",
        }

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """What is learned from, mean IoU and pixel accuracy, as text."""
        for kind, name in self.names().items():
            ious = 100 * self.mean_ious(kind)
            right = 100 * np.mean([score.pixel_accuracy for score in self.scores[kind]])
            spread = (
                "" if kind == ENSEMBLE else f" \N{PLUS-MINUS SIGN} {float(ious.std(ddof=1)):.1f}"
            )
            yield name, f"{float(ious.mean()):.1f}{spread}", f"{right:.1f}"

    def table(self) -> list[str]:
        """Lines of text for a terminal."""
        rows = [("learned from", "mean IoU, %", "accuracy, %"), *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return [
            f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}".rstrip() for a, b, c in rows
        ]

    def verdict(self) -> list[str]:
        """Sentences: whether synthetic pairs help, by how much, and which classes."""
        gain, control = self.difference(BOTH, REAL), self.difference(BOTH, PSEUDO_BOTH)
        beside = f"{counted(self.num_real, 'real pair')}, over {self.num_seeds} seeds"
        if not gain.is_told:
            said = f"Whether synthetic pairs help beside {beside} cannot be told: {gain}."
        elif gain.mean > 0:
            said = f"Synthetic pairs help: {gain} of mean IoU beside {beside}."
        else:
            said = f"Synthetic pairs do not help: {gain} of mean IoU beside {beside}."
        return [said, self._alone(), self._control(control), self._by_class()]

    def _alone(self) -> str:
        synthetic = 100 * float(self.mean_ious(SYNTHETIC).mean())
        below = 100 * float(self.mean_ious(ENSEMBLE).mean()) - synthetic
        side = "below" if below > 0 else "above"
        return (
            f"Synthetic pairs alone come to {synthetic:.1f}, {abs(below):.1f} points {side} the "
            "ensemble that labelled them."
        )

    def _control(self, control: Difference) -> str:
        if not control.is_told:
            return (
                "Unlabelled real images with masks of the same ensemble do as well in their place: "
                f"the synthetic ones are {control} from them, which chance makes, too."
            )
        which = "better" if control.mean > 0 else "worse"
        return (
            f"In place of unlabelled real images with masks of the same ensemble they are {which}: "
            f"{control}."
        )

    def _by_class(self) -> str:
        """The classes that gain most by synthetic pairs, and those that lose."""
        gains = 100 * (self._class_ious(BOTH) - self._class_ious(REAL))
        known = [i for i in np.argsort(-gains) if not np.isnan(gains[i])]

        def told(ids: list[Any]) -> str:
            return ", ".join(f"{self.classes.names[i]} {gains[i]:+.1f}" for i in ids)

        gaining = [i for i in known if gains[i] >= 0.05][:_MOST_CLASSES]
        losing = [i for i in reversed(known) if gains[i] <= -0.05][:_MOST_CLASSES]
        parts = [
            *([f"gain most: {told(gaining)}"] if gaining else []),
            *([f"lose most: {told(losing)}"] if losing else []),
        ]
        return f"Of the classes {'; '.join(parts)}." if parts else "No class gains or loses."

    def _class_ious(self, kind: str) -> npt.NDArray[np.float64]:
        """(K,) the mean IoU over seeds of each class; nan where a seed has none."""
        mean: npt.NDArray[np.float64] = np.mean([each.iou for each in self.scores[kind]], axis=0)
        return mean

    def as_json(self) -> dict[str, Any]:
        """All of it; `read_proof` makes an equal one of it."""
        return {
            "dataset": self.dataset,
            "verdict": self.verdict(),
            "classes": {
                "names": list(self.classes.names),
                "palette": [list(color) for color in self.classes.palette],
            },
            **{name: getattr(self, name) for name in _NUMBERS},
            "mean_iou": {
                kind: [round(iou, 4) for iou in self.mean_ious(kind).tolist()]
                for kind in self.scores
            },
            "scores": {
                kind: [score_json(score) for score in scores]
                for kind, scores in self.scores.items()
            },
        }


def score_json(score: Score) -> dict[str, list[int]]:
    """The pixel counts that a score follows from."""
    return {name: getattr(score, name).tolist() for name in ("hits", "truth", "predicted")}


def score_from(content: Mapping[str, Any]) -> Score:
    """The score that `score_json` wrote. Raises KeyError, TypeError and ValueError of others."""
    counts = (np.array(content[name], np.int64) for name in ("hits", "truth", "predicted"))
    return Score(*counts)


def read_proof(dataset_url: str, root: str) -> Proof | None:
    """What was proven of a finished dataset with this root hash; None where nothing was, or of
    another one in its place. Raises OSError."""
    try:
        found = json.loads(storage.read_bytes(storage.join(dataset_url, PROOF)))
        proof = _parsed(found)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return proof if proof.dataset == root else None


def _parsed(found: Mapping[str, Any]) -> Proof:
    scores = {
        kind: tuple(score_from(each) for each in found["scores"][kind])
        for kind in (*TRAINED, ENSEMBLE)
    }
    classes = found["classes"]
    palette = tuple((int(r), int(g), int(b)) for r, g, b in classes["palette"])
    return Proof(
        str(found["dataset"]),
        Classes(tuple(classes["names"]), palette),
        **{name: int(found[name]) for name in _NUMBERS},
        scores=scores,
    )
