"""Chooses the samples of a shard among what is drawn for it.

The draws of a shard are numbered: each row has a first one, then each a second one, and so on. How
many there are, and which of them are chosen, follows from the draws alone, however they are
batched.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from factory.config.generate import MAX_DRAWS
from factory.errors import CannotChoose
from factory.shards.choice import Choice
from factory.shards.plan import ShardSpec
from factory.shards.quotas import quotas_of
from factory.shards.receipts import Drawn
from factory.shards.schema import Sample, sample_key


@dataclass(frozen=True)
class _Candidate:
    """A draw that is fit to be chosen."""

    number: int
    sample: Sample
    shows: frozenset[str]
    """The classes with quotas that it shows."""


class Choosing:
    """Takes the draws of a shard one by one, in order, until its samples can be chosen.

    max_draws: how many images may be drawn for each sample.
    """

    def __init__(self, spec: ShardSpec, choice: Choice, max_draws: int) -> None:
        self.spec, self.choice = spec, choice
        self.num = spec.stop - spec.start
        self.quotas = quotas_of(spec.plan, spec)
        self._ids = {name: spec.plan.class_names.index(name) for name in self.quotas}
        self._least = math.ceil(self.num / (choice.keep or 1))
        self._max_draws = max_draws
        self._most = max(self._least, max_draws * self.num)
        self._candidates: list[_Candidate] = []
        self._reasons: Counter[str] = Counter()
        self._shown: Counter[str] = Counter()
        self._num_fit = self._num_drawn = 0

    @property
    def is_complete(self) -> bool:
        """True if enough is drawn."""
        return (
            self._num_drawn >= self._least
            and self._num_fit >= self.num
            and all(self._shown[name] >= num for name, num in self.quotas.items())
        )

    def take(self, batch: Sequence[Sample | None]) -> None:
        """Takes the next draws, as far as they are needed; None are those that are not finite.
        Raises CannotChoose where no more are allowed, and too few are fit."""
        for sample in batch:
            if not self.is_complete:
                self._offer(sample)
        self._forget()

    def _offer(self, sample: Sample | None) -> None:
        number = self._num_drawn
        self._num_drawn += 1
        reason = self._unfit(sample)
        if sample is None or reason:
            self._reasons[reason] += 1
        else:
            labels = set(sample.labels)
            shows = frozenset(name for name, i in self._ids.items() if i in labels)
            self._candidates.append(_Candidate(number, sample, shows))
            self._shown.update(shows)
            self._num_fit += 1
        if self._num_drawn == self._most and not self.is_complete:
            raise CannotChoose(self._refusal())

    def _unfit(self, sample: Sample | None) -> str:
        """The field of `Drawn` that counts such draws; empty if it is fit."""
        least, iou = self.choice.min_distance, self.choice.min_expected_iou
        if sample is None:
            return "not_finite"
        distance = sample.nearest_training_distance
        if least is not None and (distance is None or distance < least):
            return "near_copies"
        expected = sample.expected_iou
        if iou is not None and (expected is None or expected < iou):
            return "uncertain"
        return ""

    def _forget(self) -> None:
        """Lets go of the candidates that will never be chosen: shards of large images would fill
        the memory."""
        self._candidates.sort(key=self._rank)
        seen: Counter[str] = Counter()
        kept = []
        for place, each in enumerate(self._candidates):
            if place < self.num or any(seen[name] < self.quotas[name] for name in each.shows):
                kept.append(each)
            seen.update(each.shows)
        self._candidates = kept

    def _rank(self, candidate: _Candidate) -> tuple[float, float, int]:
        """What is chosen first has the lowest."""
        sample = candidate.sample
        if self.choice.keep is None:
            return 0.0, 0.0, candidate.number
        # The most certain are those of the largest expected IoU where votes tell that; of equal
        # ones, as a calibration without a slope expects them, those of the least uncertainty.
        iou = sample.expected_iou if self.spec.plan.expects_by_votes else None
        return 0.0 if iou is None else -iou, sample.uncertainty, candidate.number

    def chosen(self) -> list[Sample]:
        """The samples in order of their keys: a row whose first draw is chosen has that, and the
        others have the later ones in their order."""
        found = sorted(self._chosen(), key=lambda each: each.number)
        first = {each.number for each in found if each.number < self.num}
        free = (row for row in range(self.num) if row not in first)
        rows = {each.number if each.number in first else next(free): each.sample for each in found}
        return [
            replace(sample, key=sample_key(self.spec.start + row))
            for row, sample in sorted(rows.items())
        ]

    def _chosen(self) -> list[_Candidate]:
        """First those that quotas need, then others until there are enough."""
        assert self.is_complete, "too few are drawn"
        ordered = sorted(self._candidates, key=self._rank)
        seen: Counter[str] = Counter()
        needed, others = [], []
        for each in ordered:
            if any(seen[name] < self.quotas[name] for name in each.shows):
                needed.append(each)
                seen.update(each.shows)
            else:
                others.append(each)
        return needed + others[: self.num - len(needed)]

    def drawn(self) -> Drawn:
        """What was drawn, and what of it was left out."""
        return Drawn(
            drawn=self._num_drawn,
            **self._reasons,
            not_chosen=self._num_fit - self.num,
            showing={name: self._shown[name] for name in sorted(self.quotas)} or None,
        )

    def _refusal(self) -> str:
        """What was found, and which setting to change."""
        choice, found = self.choice, [f"{self._num_fit:,} are fit, of {self.num:,} that are needed"]
        remedies = []
        if num := self._reasons["not_finite"]:
            found.append(f"{num:,} are not finite")
        if num := self._reasons["near_copies"]:
            found.append(f"{num:,} are nearer to a training image than {choice.min_distance:.3g}")
            remedies.append("lower generate.min_training_distance")
        if num := self._reasons["uncertain"]:
            found.append(f"{num:,} have less than {choice.min_expected_iou:g} to expect")
            remedies.append("lower generate.select.min_expected_iou")
        for name, num in self.quotas.items():
            if self._shown[name] < num:
                found.append(f"{self._shown[name]:,} show {name}, of {num:,} that are needed")
                remedies.append(f"ask for less of {name} in generate.select.at_least")
        told = f"of {self._num_drawn:,} draws {'; '.join(found)}."
        if not remedies:
            return f"{told} The model's weights are broken."
        remedy = f"{', or '.join(remedies)} at another --out."
        if self._max_draws >= MAX_DRAWS:
            return f"{told} {remedy[:1].upper()}{remedy[1:]}"
        more = min(MAX_DRAWS, 10 * self._max_draws)
        return (
            f"{told} Raise generate.max_draws, with which the dataset goes on (--set "
            f"generate.max_draws={more}), or {remedy}"
        )
