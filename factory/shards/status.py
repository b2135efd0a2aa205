"""How far a dataset has come, from listings, plan and `_SUCCESS`: no receipt is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from factory import storage
from factory.shards.ledger import (
    Hardware,
    pending_among,
    published,
    read_hardware,
    read_plan,
    read_success,
)
from factory.shards.plan import Plan
from factory.shards.receipts import SHARDS

_RECENT = 100


@dataclass(frozen=True)
class Status:
    """Counts of shards and pairs."""

    plan: Plan
    shards_done: int
    pairs_done: int
    hardware: Hardware | None
    """What the first process had that came to make shards, where that is told."""
    finished: bool
    """Whether `_SUCCESS` is there, of as many pairs as the plan has, and no shard is pending."""
    pairs_per_second: float | None
    """Over the last hundred shards, by the store's clock; None where it cannot tell."""

    @property
    def seconds_left(self) -> float | None:
        """At that rate."""
        if not self.pairs_per_second:
            return None
        return (self.plan.num - self.pairs_done) / self.pairs_per_second


def status(url: str) -> Status:
    """Raises UserError where there is no dataset, OSError from the storage."""
    plan = read_plan(url)
    there = published(url)
    success = read_success(url)
    pending = [spec.stop - spec.start for spec in pending_among(plan, there)]
    left = sum(pending)
    return Status(
        plan=plan,
        shards_done=plan.num_shards - len(pending),
        pairs_done=plan.num - left,
        hardware=read_hardware(url),
        finished=not pending and success.get("rows") == plan.num,
        pairs_per_second=_rate(plan, there),
    )


def _rate(plan: Plan, there: Mapping[str, storage.Entry]) -> float | None:
    receipts = [entry for name, entry in there.items() if name.startswith(f"{SHARDS}/")]
    times = sorted(entry.modified for entry in receipts if entry.modified is not None)[-_RECENT:]
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (len(times) - 1) * plan.samples_per_shard / (times[-1] - times[0])
