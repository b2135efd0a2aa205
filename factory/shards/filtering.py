"""Filters pairs by how certain they are: a reader keeps those within a bound, or a share.

Receipts hold quantiles of uncertainty, and of the expected IoU where votes tell it, so that no
shard is read for a filter, unless many pairs have the very number at which a share ends. Receipts
of version 0.1 have none, and their shards are read once.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from factory.errors import UserError, counted
from factory.progress import tell
from factory.shards.columns import EXPECTED_IOU
from factory.shards.packing import merged_rows
from factory.shards.plan import Plan, StoredRow
from factory.shards.reading import NUM_READERS, read_shard
from factory.shards.receipts import Receipt

_SIDES: tuple[Literal["left", "right"], ...] = ("left", "right")
_SLACK = 1e-6
"""The rounding error that sums and logarithms may have."""


_TIES_ENDURED = 0.01
"""The share of all pairs that a bound may keep beyond what was asked for, since their numbers are
equal, before shards are read to tell them apart."""

_Order = tuple[float, int, str]
"""That of pairs of one number: by uncertainty, then by key, which is a number."""


def _order(row: StoredRow) -> _Order:
    key = str(row.fields["key"])
    return float(row.fields["uncertainty"]), len(key), key


@dataclass(frozen=True)
class Bound:
    """The bound of a column of numbers, within which pairs are kept."""

    column: Literal["uncertainty", "expected_iou"]
    value: float
    last: _Order | None = None
    """The last one that is kept of the pairs of this very number; None: all of them are."""
    num_left_out: int = 0
    """The number of those that are not."""

    def keeps(self, row: StoredRow) -> bool:
        """True if the pair is within the bound."""
        number = float(row.fields[self.column])
        if self.last is not None and number == self.value:
            return _order(row) <= self.last
        return number >= self.value if self.column == EXPECTED_IOU else number <= self.value

    def __str__(self) -> str:
        if self.column == EXPECTED_IOU:
            return f"{EXPECTED_IOU} of at least {self.value:.4g}"
        return f"at most {self.value:.4g} nats"


class Pairs:
    """How certain the pairs of some shards are."""

    def __init__(self, url: str, plan: Plan, receipts: Sequence[Receipt]) -> None:
        self.url = url
        self.plan = plan
        self.receipts = receipts

    @property
    def num(self) -> int:
        """The number of pairs."""
        return sum(receipt.rows for receipt in self.receipts)

    @cached_property
    def uncertainty(self) -> "Spread":
        """The distribution of their uncertainty, in nats."""
        return Spread(self.url, self.plan, self.receipts, "uncertainty")

    @cached_property
    def expected_iou(self) -> "Spread":
        """The distribution of the IoU that is expected of their masks, of a dataset whose votes
        tell it."""
        return Spread(self.url, self.plan, self.receipts, EXPECTED_IOU)

    @property
    def certainty(self) -> "Spread":
        """The distribution by which they are the most certain ones: that of the expected IoU where
        votes tell it, else of the uncertainty."""
        return self.expected_iou if self.plan.expects_by_votes else self.uncertainty

    def most_certain(self, share: float) -> Bound:
        """The bound within which about this share of them lies, the most certain ones. Those of
        which the same IoU is expected are told apart by uncertainty, then by key."""
        spread = self.certainty
        if self.plan.expects_by_votes and spread.ends[0] == spread.ends[1]:
            spread = self.uncertainty
        return spread.bound(share)

    def num_within(self, bound: Bound) -> int:
        """The approximate number of pairs that are kept."""
        spread = self.uncertainty if bound.column == "uncertainty" else self.expected_iou
        return spread.num_within(bound.value) - bound.num_left_out


class Spread:
    """The distribution of a column over the pairs of some shards, the most certain ones first."""

    def __init__(
        self,
        url: str,
        plan: Plan,
        receipts: Sequence[Receipt],
        column: Literal["uncertainty", "expected_iou"],
    ) -> None:
        self.url = url
        self.plan = plan
        self.receipts = receipts
        self.column = column
        self._sign = -1 if column == EXPECTED_IOU else 1

    @property
    def ends(self) -> tuple[float, float]:
        """The number of the most certain pair, and of the least certain one."""
        of_shards = [self._ends_of(receipt) for receipt in self.receipts]
        known = [most for most, _ in of_shards if most is not None]
        most = min(known) if len(known) == len(of_shards) else float(self._values[0])
        return self._sign * most, self._sign * max(least for _, least in of_shards)

    def _ends_of(self, receipt: Receipt) -> tuple[float | None, float]:
        """Those of a shard, to be sorted; the first is None where its receipt does not tell it."""
        if self.column == EXPECTED_IOU:
            least, most = receipt.expected_iou_min, receipt.expected_iou_max
            assert least is not None and most is not None, "datasets with the column tell both"
            return -most, -least
        return receipt.uncertainty_min, receipt.uncertainty_max

    def reaches(self, limit: float) -> bool:
        """True if at least one pair is within the limit."""
        means = [receipt.uncertainty_mean for receipt in self.receipts]
        if self.column == "uncertainty" and limit >= min(means):
            # Some pair is no more uncertain than the mean: nothing need be read to know it.
            return True
        return self._sign * limit >= self._sign * self.ends[0]

    def leaves_out(self, limit: float) -> bool:
        """True if at least one pair is not within the limit."""
        return self._sign * limit < self._sign * self.ends[1]

    def bound(self, share: float) -> Bound:
        """The bound within which about this share of the pairs lies, above 0; at least one does."""
        num = float(self._num_within[-1])
        asked = share * num - _SLACK
        reached = min(int(np.searchsorted(self._num_within, asked)), len(self._values) - 1)
        value = float(self._values[reached])
        first, end = (int(np.searchsorted(self._values, value, side)) for side in _SIDES)
        more = self._num_within[end - 1] - self._num_within[reached]
        bound = Bound(self.column, self._sign * value)
        if more < max(1, _TIES_ENDURED * num):
            return bound
        better = float(self._num_within[first - 1]) if first else 0.0
        return self._among_ties(bound, math.ceil(asked - better))

    def _among_ties(self, bound: Bound, num: int) -> Bound:
        """The bound that keeps only so many of the pairs of this very number."""
        with ThreadPoolExecutor(NUM_READERS) as pool:
            found = chain.from_iterable(pool.map(partial(self._tied, bound.value), self.receipts))
            tied = sorted(found)
        return replace(bound, last=tied[:num][-1], num_left_out=len(tied[num:]))

    def _tied(self, value: float, receipt: Receipt) -> list[_Order]:
        """The pairs of a shard that have this number; it is read only if it may hold one."""
        most, least = self._ends_of(receipt)
        if self._sign * value > least or (most is not None and self._sign * value < most):
            return []
        rows = merged_rows(self.plan, read_shard(self.url, receipt))
        return [_order(row) for row in rows if float(row.fields[self.column]) == value]

    def num_within(self, limit: float) -> int:
        """The approximate number of pairs that are within the limit."""
        reached = int(np.searchsorted(self._values, self._sign * limit, side="right"))
        return round(float(self._num_within[reached - 1])) if reached else 0

    @property
    def _values(self) -> npt.NDArray[np.float64]:
        return self._distribution[0]

    @property
    def _num_within(self) -> npt.NDArray[np.float64]:
        return self._distribution[1]

    @cached_property
    def _distribution(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Values in ascending order, those of the most certain pairs first, and how many pairs each
        one and all before it stand for."""
        with ThreadPoolExecutor(NUM_READERS) as pool:
            known = list(pool.map(self._known, self.receipts))
        values = self._sign * np.concatenate(known)
        stands_for = np.repeat(
            [receipt.rows / len(each) for receipt, each in zip(self.receipts, known, strict=True)],
            [len(each) for each in known],
        )
        order = np.argsort(values, kind="stable")
        return values[order], np.cumsum(stands_for[order])

    def _known(self, receipt: Receipt) -> npt.NDArray[np.float64]:
        told = receipt.uncertainty_quantiles
        if self.column == EXPECTED_IOU:
            told = receipt.expected_iou_quantiles
        if told is not None:
            return np.array(told)
        rows = merged_rows(self.plan, read_shard(self.url, receipt))
        return np.array([row.fields[self.column] for row in rows], np.float64)


def bound_of(
    pairs: Pairs,
    max_uncertainty: float | None,
    keep: float | None,
    min_expected_iou: float | None = None,
) -> Bound | None:
    """The bound within which a reader keeps pairs; None: all are kept.

    max_uncertainty: nats; keep: a share of all pairs, 0..1; min_expected_iou: above 0 and at most
    1; what it keeps is told. Raises UserError if several are given, one is out of range, or nothing
    would be left.
    """
    asked = {"max_uncertainty": max_uncertainty, "keep": keep, "min_expected_iou": min_expected_iou}
    if len(given := [name for name, value in asked.items() if value is not None]) > 1:
        number = {2: "two", 3: "three"}[len(given)]
        raise UserError(f"{' and '.join(given)} are {number} ways to say what is kept: give one.")
    if min_expected_iou is not None:
        return _bound_of_iou(pairs, min_expected_iou)
    if keep is not None:
        if not _is_number(keep) or not 0 < keep <= 1:
            raise UserError(
                f"keep = {keep!r}: must be a share above 0 and at most 1, such as 0.8 for the most "
                "certain 80 %."
            )
        return None if keep == 1 else pairs.most_certain(keep)
    if max_uncertainty is None:
        return None
    _check_nats(pairs, max_uncertainty)
    return Bound("uncertainty", max_uncertainty)


def _kept_in_words(pairs: Pairs, bound: Bound | None) -> str:
    """The number of pairs within a bound, and their share of all, in words."""
    if bound is None:
        return f"all of {counted(pairs.num, 'pair')}"
    num = pairs.num_within(bound)
    kept = f"about {num:,} of {counted(pairs.num, 'pair')}, {100 * num / pairs.num:.0f} %"
    return kept if bound.column == EXPECTED_IOU else f"{kept}, those of {bound}"


def _bound_of_iou(pairs: Pairs, min_expected_iou: float) -> Bound | None:
    if not _is_number(min_expected_iou) or not 0 < min_expected_iou <= 1:
        raise UserError(
            f"min_expected_iou = {min_expected_iou!r}: must be above 0 and at most 1, such as 0.8."
        )
    if (calibration := pairs.plan.calibration) is None:
        raise UserError(
            f"{pairs.url}: has no expected_iou, by which min_expected_iou chooses: the ensemble "
            "that labelled it does not know what its votes mean. Fit one with --set "
            "fit.calibration_folds=3, and make another dataset with it. Or keep a share, such as "
            "the most certain 80 %, with keep=0.8."
        )
    spread, bound = pairs.certainty, Bound(EXPECTED_IOU, min_expected_iou)
    most, least = spread.ends
    if not pairs.plan.expects_by_votes:
        bound = Bound("uncertainty", calibration.largest_uncertainty(min_expected_iou))
        most, least = map(calibration.iou_of_uncertainty, spread.ends)
    if not spread.reaches(bound.value):
        raise UserError(
            f"{pairs.url}: min_expected_iou = {min_expected_iou:g} keeps none of "
            f"{counted(pairs.num, 'pair')}: of these {least:.3f} to {most:.3f} is expected. Lower "
            "it."
        )
    kept = bound if spread.leaves_out(bound.value) else None
    tell(f"min_expected_iou = {min_expected_iou:g} keeps {_kept_in_words(pairs, kept)}")
    return kept


def _check_nats(pairs: Pairs, max_uncertainty: float) -> None:
    url, most = pairs.url, math.log(len(pairs.plan.class_names))
    remedy = "To keep a share, such as the most certain 80 %, give keep=0.8 instead."
    if not _is_number(max_uncertainty) or not 0 <= max_uncertainty <= most + _SLACK:
        raise UserError(
            f"max_uncertainty = {max_uncertainty!r}: must be nats, 0 to {most:.3g} for the "
            f"{len(pairs.plan.class_names)} classes of {url}. {remedy}"
        )
    if not pairs.uncertainty.reaches(max_uncertainty):
        least, largest = pairs.uncertainty.ends
        raise UserError(
            f"{url}: max_uncertainty = {max_uncertainty:g} keeps none of "
            f"{counted(pairs.num, 'pair')}: they have {least:.4g} to {largest:.4g} nats. Raise it. "
            f"{remedy}"
        )


def _is_number(value: Any) -> bool:
    of_numbers = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return of_numbers and math.isfinite(value)
