"""How much people changed of an ensemble's masks, and how wrong these were by that.

Shapes: H height, W width, C classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from factory.classes import NUM_IDS, Classes
from factory.errors import counted
from factory.images import UInt8
from factory.scores import Counts, Score, confusion_matrix
from factory.suggesting.layers import Labels

_NUM_TOLD = 3
"""The changes from one class to another that a line tells, the largest first."""


@dataclass(frozen=True, eq=False)
class Change:
    """What changed of the mask of an image."""

    name: str
    num_pixels: int
    moves: Counter[tuple[int, int]]
    """The number of pixels that went from one id to another, both of `Labels.ids`."""
    confusion: Counts
    """(C, C) row = corrected, column = as the ensemble had it, without ignored pixels."""
    expected_iou: float | None
    """What was expected of the ensemble's mask."""

    @property
    def num_changed(self) -> int:
        """The number of pixels that another class has now."""
        return self.moves.total()


def change_of(
    name: str, before: UInt8, after: UInt8, num_classes: int, expected_iou: float | None
) -> Change:
    """What changed from one mask (H, W) to another."""
    pairs = before.astype(np.int64) * NUM_IDS + after
    numbers, counts = np.unique(pairs[before != after], return_counts=True)
    moves = Counter(
        {divmod(int(n), NUM_IDS): int(num) for n, num in zip(numbers, counts, strict=True)}
    )
    confusion = confusion_matrix(after, before, num_classes)
    return Change(name, before.size, moves, confusion, expected_iou)


@dataclass(frozen=True, eq=False)
class Changes:
    """What changed of all masks that came back."""

    changes: Sequence[Change]
    classes: Classes
    num_missing: int
    """Suggested images that did not come back."""

    @cached_property
    def score(self) -> Score:
        """How right the ensemble's masks were, by the corrected ones."""
        return Score.of(np.sum([each.confusion for each in self.changes], axis=0))

    def lines(self) -> list[str]:
        """What changed, a line for each image and then for all."""
        num_same = sum(not each.num_changed for each in self.changes)
        changed, pixels = (sum(n) for n in zip(*map(_numbers, self.changes), strict=True))
        moves = sum((each.moves for each in self.changes), Counter[tuple[int, int]]())
        missing = f", {self.num_missing:,} did not" if self.num_missing else ""
        means, of_classes = self.score.lines(self.classes)
        known = [each.expected_iou for each in self.changes if each.expected_iou is not None]
        expected = f" (of an image {np.mean(known):.3f} was expected)" if known else ""
        return [
            *(
                f"{each.name}: {_share(*_numbers(each))}{self._moved(each.moves)}"
                for each in self.changes
            ),
            f"{counted(len(self.changes), 'mask')} came back, {num_same:,} as it was{missing}: "
            f"{_share(changed, pixels)}{self._moved(moves)}",
            f"the ensemble's masks by the corrected ones: {means}{expected}",
            of_classes,
        ]

    def as_json(self) -> dict[str, Any]:
        """All that changed, as values that JSON has."""
        return {
            "num_missing": self.num_missing,
            "ensemble": self.score.as_json(self.classes),
            "images": [
                {
                    "name": each.name,
                    "num_pixels": each.num_pixels,
                    "num_changed": each.num_changed,
                    "changes": {
                        f"{self._label(one)} -> {self._label(other)}": num
                        for (one, other), num in each.moves.most_common()
                    },
                    "ensemble": Score.of(each.confusion).as_json(self.classes),
                    "expected_iou": each.expected_iou,
                }
                for each in self.changes
            ],
        }

    def _moved(self, moves: Counter[tuple[int, int]]) -> str:
        """The largest moves, as the end of a line."""
        parts = [
            f"{self._label(one)} -> {self._label(other)} {num:,}"
            for (one, other), num in moves.most_common(_NUM_TOLD)
        ]
        rest = len(moves) - len(parts)
        more = f" and {rest} more" if rest > 0 else ""
        return f" | {', '.join(parts)}{more}" if parts else ""

    def _label(self, class_id: int) -> str:
        return {i: label for label, i in Labels(self.classes).ids.items()}[class_id]


def _numbers(change: Change) -> tuple[int, int]:
    """The pixels that changed, and all."""
    return change.num_changed, change.num_pixels


def _share(num: int, total: int) -> str:
    return f"{num:,} of {total:,} pixels changed ({num / max(1, total):.1%})"
