"""Shows how far a job is, what it waits for and what was lost, and notices when nothing moves."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from factory import cluster
from factory.generation.job import Progress
from factory.generation.pool import PoolSize
from factory.progress import Bar, duration, tell

_START_SECONDS = 10.0
"""Actors may take so long to start before anything is said of it."""


@dataclass(frozen=True)
class Whole:
    """The dataset that a job completes: what it holds in the end, and before the job."""

    pairs: int
    shards: int
    pairs_before: int
    shards_before: int


@dataclass
class Watch:
    """Is shown a job's progress again and again, and prints what a user should know when due."""

    whole: Whole
    size: PoolSize
    progress_seconds: float
    bar: Bar
    """It shows the pairs; with a terminal to show it on, no line does."""
    clock: Callable[[], float] = time.monotonic
    names: Callable[[], Mapping[str, str]] = cluster.node_names
    room: Callable[[], cluster.Room] = cluster.room
    stage: str = "generate"
    """The name of the command, with which lines begin."""
    _num_settled: int = 0
    """Shards that were finished or had failed at the last report."""
    _moved: float = field(init=False)
    """The time at which a shard was last settled."""
    _last_line: float = field(init=False)
    _last_waiting_line: float = field(init=False)

    def __post_init__(self) -> None:
        self._moved = self._last_line = self.clock()
        # Where room is there, actors are ready sooner.
        self._last_waiting_line = self._moved - cluster.WAITING_SECONDS + _START_SECONDS

    def show(self, progress: Progress) -> None:
        """Prints what is due."""
        now = self.clock()
        if self._num_settled != progress.num_shards + progress.num_failures:
            self._num_settled, self._moved = progress.num_shards + progress.num_failures, now
        for note in progress.notes:
            tell(f"{self.stage} | {note}")
        for node, shards in progress.lost.items():
            tell(f"{self.stage} | node {self._name(node)} is lost; {_begun_again(shards)}")
        for node, shards in progress.crashed.items():
            tell(f"{self.stage} | an actor on node {self._name(node)} died; {_begun_again(shards)}")
        if progress.is_complete or progress.stop_reason:
            return
        self.bar.move(self.whole.pairs_before + progress.num_pairs)
        line_is_due = now - self._last_line >= self.progress_seconds and not self.bar.is_shown
        if progress.seconds and line_is_due:
            self._last_line = now
            tell(f"{self.stage} | {self._progress_line(progress)}")
        if (
            progress.num_actors < self.size.num_actors
            and now - self._last_waiting_line >= cluster.WAITING_SECONDS
        ):
            self._last_waiting_line = now
            tell(f"{self.stage} | {self._waiting_line(progress)}")

    def still_seconds(self) -> float:
        """Returns the time since a shard was last finished, or failed."""
        return self.clock() - self._moved

    def _name(self, node: str) -> str:
        return self.names().get(node, node)

    def _progress_line(self, progress: Progress) -> str:
        pairs = self.whole.pairs_before + progress.num_pairs
        rate = progress.num_pairs / progress.seconds
        left = duration((self.whole.pairs - pairs) / rate) if rate else "unknown"
        return (
            f"shards {self.whole.shards_before + progress.num_shards:,}/{self.whole.shards:,} | "
            f"{pairs:,}/{self.whole.pairs:,} pairs | {rate:.2f} pairs/s | ETA {left} | "
            f"tried again {progress.num_retries}"
        )

    def _waiting_line(self, progress: Progress) -> str:
        num_actors = self.size.num_actors
        asked = cluster.Room(num_actors * self.size.cpus, num_actors * self.size.gpus)
        return cluster.waiting_line("actors", progress.num_actors, num_actors, asked, self.room())


def _begun_again(shards: list[int]) -> str:
    some = ", ".join(map(str, shards[:5])) + (", ..." * (len(shards) > 5))
    return f"begun again: shard{'s' * (len(shards) > 1)} {some}"
