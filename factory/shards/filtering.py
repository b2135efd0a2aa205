"""Filters pairs by their uncertainty: a reader keeps those within a bound in nats, or a share.

Receipts hold quantiles of uncertainty, so that no shard is read for a filter. Receipts of version
0.1 have none, and their shards are read once.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.errors import UserError, counted
from factory.progress import tell
from factory.shards.packing import merged_rows
from factory.shards.plan import Plan
from factory.shards.reading import NUM_READERS, read_shard
from factory.shards.receipts import Receipt

_SLACK = 1e-6
"""The rounding error that sums and logarithms may have."""


class Uncertainties:
    """The distribution of the uncertainty of some shards' pairs, in nats."""

    def __init__(self, url: str, plan: Plan, receipts: Sequence[Receipt]) -> None:
        self.url = url
        self.plan = plan
        self.receipts = receipts

    @property
    def num(self) -> int:
        """The number of pairs."""
        return sum(receipt.rows for receipt in self.receipts)

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and the largest uncertainty."""
        least = [receipt.uncertainty_min for receipt in self.receipts]
        known = [value for value in least if value is not None]
        largest = max(receipt.uncertainty_max for receipt in self.receipts)
        return (min(known) if len(known) == len(least) else float(self._values[0])), largest

    def reaches(self, limit: float) -> bool:
        """True if at least one pair is no more uncertain than the limit."""
        # Some pair is no more uncertain than the mean: nothing need be read to know it.
        within_mean = limit >= min(receipt.uncertainty_mean for receipt in self.receipts)
        return within_mean or limit >= self.range[0]

    def quantile(self, share: float) -> float:
        """The bound within which about this share of the pairs lies, above 0; at least one does."""
        reached = np.searchsorted(self._num_within, share * self.num - _SLACK)
        return float(self._values[min(int(reached), len(self._values) - 1)])

    def num_within(self, limit: float) -> int:
        """The approximate number of pairs that are no more uncertain than the limit."""
        reached = int(np.searchsorted(self._values, limit, side="right"))
        return round(float(self._num_within[reached - 1])) if reached else 0

    @property
    def _values(self) -> npt.NDArray[np.float64]:
        return self._distribution[0]

    @property
    def _num_within(self) -> npt.NDArray[np.float64]:
        return self._distribution[1]

    @cached_property
    def _distribution(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Values in ascending order, and how many pairs each one and all before it stand for."""
        with ThreadPoolExecutor(NUM_READERS) as pool:
            known = list(pool.map(self._known, self.receipts))
        values = np.concatenate(known)
        stands_for = np.repeat(
            [receipt.rows / len(each) for receipt, each in zip(self.receipts, known, strict=True)],
            [len(each) for each in known],
        )
        order = np.argsort(values, kind="stable")
        return values[order], np.cumsum(stands_for[order])

    def _known(self, receipt: Receipt) -> npt.NDArray[np.float64]:
        if receipt.uncertainty_quantiles is not None:
            return np.array(receipt.uncertainty_quantiles)
        rows = merged_rows(self.plan, read_shard(self.url, receipt))
        return np.array([row.uncertainty for row in rows])


def limit_of(
    pairs: Uncertainties,
    max_uncertainty: float | None,
    keep: float | None,
    min_expected_iou: float | None = None,
) -> float | None:
    """The largest uncertainty, in nats, that a reader keeps; None: all are kept.

    max_uncertainty: nats; keep: a share of all pairs, 0..1; min_expected_iou: above 0 and at most
    1; what it keeps is told. Raises UserError if several are given, one is out of range, or nothing
    would be left.
    """
    asked = {"max_uncertainty": max_uncertainty, "keep": keep, "min_expected_iou": min_expected_iou}
    if len(given := [name for name, value in asked.items() if value is not None]) > 1:
        number = {2: "two", 3: "three"}[len(given)]
        raise UserError(f"{' and '.join(given)} are {number} ways to say what is kept: give one.")
    if min_expected_iou is not None:
        return _limit_of_iou(pairs, min_expected_iou)
    if keep is not None:
        if not _is_number(keep) or not 0 < keep <= 1:
            raise UserError(
                f"keep = {keep!r}: must be a share above 0 and at most 1, such as 0.8 for the most "
                "certain 80 %."
            )
        return None if keep == 1 else pairs.quantile(keep)
    if max_uncertainty is not None:
        _check_nats(pairs, max_uncertainty)
    return max_uncertainty


def _kept_in_words(pairs: Uncertainties, limit: float | None) -> str:
    """The number of pairs within a limit, and their share of all, in words."""
    if limit is None:
        return f"all of {counted(pairs.num, 'pair')}"
    num = pairs.num_within(limit)
    return (
        f"about {num:,} of {counted(pairs.num, 'pair')}, {100 * num / pairs.num:.0f} %, those of "
        f"at most {limit:.4g} nats"
    )


def _limit_of_iou(pairs: Uncertainties, min_expected_iou: float) -> float | None:
    if not _is_number(min_expected_iou) or not 0 < min_expected_iou <= 1:
        raise UserError(
            f"min_expected_iou = {min_expected_iou!r}: must be above 0 and at most 1, such as 0.8."
        )
    if (calibration := pairs.plan.calibration) is None:
        raise UserError(
            f"{pairs.url}: has no expected_iou, by which min_expected_iou chooses: the ensemble "
            "that labelled it does not know what uncertainty means. Fit one with --set "
            "fit.calibration_folds=3, and make another dataset with it. Or keep a share, such as "
            "the most certain 80 %, with keep=0.8."
        )
    limit = calibration.largest_uncertainty(min_expected_iou)
    if not pairs.reaches(limit):
        most, least = (calibration.expected_iou(each) for each in pairs.range)
        raise UserError(
            f"{pairs.url}: min_expected_iou = {min_expected_iou:g} keeps none of "
            f"{counted(pairs.num, 'pair')}: of these {least:.3f} to {most:.3f} is expected. Lower "
            "it."
        )
    kept = None if limit >= pairs.range[1] else limit
    tell(f"min_expected_iou = {min_expected_iou:g} keeps {_kept_in_words(pairs, kept)}")
    return kept


def _check_nats(pairs: Uncertainties, max_uncertainty: float) -> None:
    url, most = pairs.url, math.log(len(pairs.plan.class_names))
    remedy = "To keep a share, such as the most certain 80 %, give keep=0.8 instead."
    if not _is_number(max_uncertainty) or not 0 <= max_uncertainty <= most + _SLACK:
        raise UserError(
            f"max_uncertainty = {max_uncertainty!r}: must be nats, 0 to {most:.3g} for the "
            f"{len(pairs.plan.class_names)} classes of {url}. {remedy}"
        )
    if not pairs.reaches(max_uncertainty):
        least, largest = pairs.range
        raise UserError(
            f"{url}: max_uncertainty = {max_uncertainty:g} keeps none of "
            f"{counted(pairs.num, 'pair')}: they have {least:.4g} to {largest:.4g} nats. Raise it. "
            f"{remedy}"
        )


def _is_number(value: Any) -> bool:
    of_numbers = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return of_numbers and math.isfinite(value)
