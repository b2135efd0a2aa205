"""The end of a training, in which its learning rate falls, and which steps two of them share.

Until the rate falls, a run computes the same whatever its length. So a run that is made longer
goes on from the last checkpoint before the fall, and those of the fall are passed over: they are
of a run of another length. Each checkpoint says for which one it was made.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from factory.config.train import falls_from

RESUMED, BEFORE = "resumed", "before"
"""Keys of run.json that note when the run went on as another one, and what it was before."""


@dataclass(frozen=True)
class End:
    """What decides in which steps the learning rate falls; without decay the length does not."""

    num_steps: int = 0
    decay: float = 0.0

    @classmethod
    def of(cls, train: Mapping[str, Any]) -> "End":
        """That of a section `train`, or of what is noted in its words."""
        decay = float(train.get("decay", 0.0))
        return cls(int(train.get("num_steps", 0)), decay) if decay else cls()

    @property
    def falls_from(self) -> float:
        """The number of steps after which the learning rate falls; infinity if it does not."""
        return falls_from(self.num_steps, self.decay)

    @property
    def last_before(self) -> int | None:
        """The last step before the fall, of which a checkpoint is kept; None without a fall."""
        return int(self.falls_from) if self.decay else None

    def shares(self, other: "End", step: int) -> bool:
        """True if runs of both ends have the same weights after so many steps."""
        return self == other or step <= min(self.falls_from, other.falls_from)


def settings_at(run: Mapping[str, Any], step: int) -> tuple[Mapping[str, Any], list[Any]]:
    """The settings with which a run came to this step, and its earlier changes, by its run.json."""
    before = {name: value for name, value in run.items() if name != RESUMED}
    resumed = list(run.get(RESUMED, []))
    # What was before is not known where run.json was lost, nor did an older version note it.
    while resumed and resumed[-1]["step"] >= step and BEFORE in resumed[-1]:
        before = resumed.pop()[BEFORE]
    return before, resumed


def own_steps(run: Mapping[str, Any], made_for: Mapping[int, End | None]) -> list[int]:
    """The checkpoints that the run has made, or has gone on from, newest first.

    made_for: for which end each was made, by its step; None where it does not say so, as those of
    older versions.
    """
    own = []
    for step in sorted(made_for, reverse=True):
        noted = End.of(settings_at(run, step)[0]["train"])
        if (made_for[step] or noted).shares(noted, step):
            own.append(step)
    return own


def shared_steps(run: Mapping[str, Any], made_for: Mapping[int, End | None], now: End) -> list[int]:
    """The checkpoints that a run of the end `now` would have made just so, newest first; none where
    others are newer than these that are not of a fall, as their steps would be lost."""
    own, shared = own_steps(run, made_for), []
    for step in sorted(made_for, reverse=True):
        made = made_for[step]
        end = made or End.of(settings_at(run, step)[0]["train"])
        # What is not the run's own may have been made with other settings beside the end.
        if end.shares(now, step) and (step in own or not run.get(RESUMED)):
            shared.append(step)
        elif not shared and (made is None or step <= end.falls_from):
            return []
    return shared
