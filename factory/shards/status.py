"""The progress of a dataset, from listings, plan and `_SUCCESS`: no receipt is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from factory.shards.layout import SHARDS
from factory.shards.plan import Plan
from factory.shards.reading import (
    pending_shards,
    published_files,
    read_hardware,
    read_plan,
    read_success,
)
from factory.shards.receipts import Hardware
from factory.storage import Entry

_RECENT = 100
"""The rate is that of so many shards."""


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
    """The rate over the last hundred shards, by the store's clock; None if it cannot tell."""

    @property
    def seconds_left(self) -> float | None:
        """The time that the remaining pairs take at that rate."""
        if not self.pairs_per_second:
            return None
        return (self.plan.num - self.pairs_done) / self.pairs_per_second


def status(url: str) -> Status:
    """The status of a dataset. Raises UserError if there is none, OSError from the storage."""
    plan = read_plan(url)
    published = published_files(url)
    success = read_success(url)
    pending = [spec.stop - spec.start for spec in pending_shards(plan, published)]
    return Status(
        plan=plan,
        shards_done=plan.num_shards - len(pending),
        pairs_done=plan.num - sum(pending),
        hardware=read_hardware(url),
        finished=not pending and success.get("rows") == plan.num,
        pairs_per_second=_rate(plan, published),
    )


def _rate(plan: Plan, published: Mapping[str, Entry]) -> float | None:
    receipts = [entry for name, entry in published.items() if name.startswith(f"{SHARDS}/")]
    times = sorted(entry.modified for entry in receipts if entry.modified is not None)[-_RECENT:]
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (len(times) - 1) * plan.samples_per_shard / (times[-1] - times[0])
