"""The shards of a job that fail for good, and when they are too many in a row.

Plain Python: the dispatcher's process imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from factory.errors import counted

NUM_LISTED = 20


@dataclass
class Failures:
    """The failures of a job; more than most_in_a_row, without a success in between, stop it."""

    most_in_a_row: int
    num: int = 0
    listed: dict[int, str] = field(default_factory=dict)
    """The first NUM_LISTED shards that failed, and why."""
    _num_in_a_row: int = 0

    def add(self, shard: int, error: str) -> str:
        """Counts a failure; returns why the job has to stop, empty as long as it need not."""
        self.num += 1
        self._num_in_a_row += 1
        if len(self.listed) < NUM_LISTED:
            self.listed[shard] = error
        if self._num_in_a_row <= self.most_in_a_row:
            return ""
        failed = counted(self._num_in_a_row, "shard")
        return (
            f"{failed} failed and none succeeded in between; the last one, shard {shard}: {error}"
        )

    def end_row(self) -> None:
        """Counts from 0 again, after a success."""
        self._num_in_a_row = 0


def told(listed: Mapping[int, str], num: int, num_shards: int) -> str:
    """What is said of the failures in the end: each of those that are listed on a line."""
    lines = [f"  shard {shard}: {why}" for shard, why in sorted(listed.items())]
    if num > len(lines):
        lines.append(f"  and {num - len(lines):,} more")
    return f"{num} of {counted(num_shards, 'shard')} failed:\n" + "\n".join(lines)
