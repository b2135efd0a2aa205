"""The progress of a dataset, from listings, plan, `_SUCCESS` and one receipt, the newest.

Where masks are compared with those of the source, from all receipts.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from factory.scores import Score
from factory.shards.layout import SHARDS
from factory.shards.plan import Plan
from factory.shards.reading import (
    pending_shards,
    published_files,
    read_hardware,
    read_plan,
    read_receipt,
    read_success,
    receipts_of,
)
from factory.shards.receipts import Hardware, score_of
from factory.storage import Entry

_RECENT = 100
"""The rate is that of so many shards, or of more where they took less time than one of them."""


@dataclass(frozen=True)
class Status:
    """Counts of shards and pairs."""

    plan: Plan
    shards_done: int
    pairs_done: int
    hardware: Hardware | None
    """The hardware of the first process that made shards; None if nothing tells."""
    finished: bool
    """True if `_SUCCESS` is there for as many pairs as the plan has, and no shard is pending."""
    pairs_per_second: float | None
    """The rate over the last shards, by the store's clock; None if it cannot tell."""
    score: Score | None = None
    """The scores of the pairs that are done; None if there are none, or masks are not compared."""

    @property
    def seconds_left(self) -> float | None:
        """The time that the remaining pairs take at that rate."""
        if not self.pairs_per_second:
            return None
        return (self.plan.num - self.pairs_done) / self.pairs_per_second


def status(url: str) -> Status:
    """The status of a dataset. Raises UserError if there is none, OSError from the storage."""
    plan = read_plan(url)
    published = published_files(url, plan)
    success = read_success(url)
    pending = [spec.stop - spec.start for spec in pending_shards(plan, published)]
    return Status(
        plan=plan,
        shards_done=plan.num_shards - len(pending),
        pairs_done=plan.num - sum(pending),
        hardware=read_hardware(url),
        finished=not pending and success.get("rows") == plan.num,
        pairs_per_second=_rate(url, plan, published),
        score=score_of(receipts_of(url, plan).values()) if plan.is_scored else None,
    )


def _rate(url: str, plan: Plan, published: Mapping[str, Entry]) -> float | None:
    """Pairs a second between the times at which the last receipts were written.

    Times that lie nearer together than half of what the newest shard took tell nothing: they are
    those of a copy, or of the actors' first shards. Half, as an actor is at two shards at once.
    """
    receipts = [
        (entry.modified, name)
        for name, entry in published.items()
        if name.startswith(f"{SHARDS}/") and entry.modified is not None
    ]
    if not receipts:
        return None
    times = sorted(time for time, _ in receipts)
    newest = read_receipt(url, max(receipts)[1], plan)
    if newest is None:
        return None
    least = newest.seconds / 2
    start = bisect_left(times, times[-1] - least) - 1
    first = max(0, min(start, len(times) - _RECENT))
    seconds = times[-1] - times[first]
    if seconds <= 0 or seconds < least:
        return None
    return (len(times) - 1 - first) * plan.samples_per_shard / seconds
