"""Tells how far a job is, what it waits for and what was lost, and notices when nothing moves."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from factory import cluster
from factory.generation.dispatcher import Progress
from factory.generation.pool import Size
from factory.progress import duration, tell

_START_SECONDS = 10.0
"""That actors have to start before anything is said of it."""


@dataclass(frozen=True)
class Whole:
    """The dataset that a job completes: what it holds in the end, and what is there before."""

    pairs: int
    shards: int
    pairs_before: int
    shards_before: int


@dataclass
class Watch:
    """Told of a job's progress again and again, it says what a user should know, when it is due."""

    whole: Whole
    size: Size
    progress_seconds: float
    clock: Callable[[], float] = time.monotonic
    names: Callable[[], Mapping[str, str]] = cluster.node_names
    room: Callable[[], cluster.Room] = cluster.room
    _settled: int = 0
    """Shards that were finished or had failed at the last look."""
    _moved: float = field(init=False)
    """When a shard was last settled."""
    _told: float = field(init=False)
    _told_of_waiting: float = field(init=False)

    def __post_init__(self) -> None:
        self._moved = self._told = self.clock()
        # Where room is there, actors are ready sooner.
        self._told_of_waiting = self._moved - cluster.WAITING_SECONDS + _START_SECONDS

    def look(self, progress: Progress) -> None:
        """Tells what is due."""
        now = self.clock()
        if self._settled != progress.shards + progress.num_failures:
            self._settled, self._moved = progress.shards + progress.num_failures, now
        for note in progress.notes:
            tell(f"generate | {note}")
        for node, shards in progress.lost.items():
            tell(f"generate | node {self._name(node)} is lost; {_begun_again(shards)}")
        for node, shards in progress.died.items():
            tell(f"generate | an actor on node {self._name(node)} died; {_begun_again(shards)}")
        if progress.is_complete or progress.ended:
            return
        if progress.seconds and now - self._told >= self.progress_seconds:
            self._told = now
            tell(f"generate | {self._line(progress)}")
        if (
            progress.num_actors < self.size.num_actors
            and now - self._told_of_waiting >= cluster.WAITING_SECONDS
        ):
            self._told_of_waiting = now
            tell(f"generate | {self._waiting(progress)}")

    def still_seconds(self) -> float:
        """Since a shard was last finished, or failed."""
        return self.clock() - self._moved

    def _name(self, node: str) -> str:
        return self.names().get(node, node)

    def _line(self, progress: Progress) -> str:
        pairs = self.whole.pairs_before + progress.pairs
        rate = progress.pairs / progress.seconds
        left = duration((self.whole.pairs - pairs) / rate) if rate else "unknown"
        return (
            f"shards {self.whole.shards_before + progress.shards:,}/{self.whole.shards:,} | "
            f"{pairs:,}/{self.whole.pairs:,} pairs | {rate:.2f} pairs/s | ETA {left} | "
            f"tried again {progress.again}"
        )

    def _waiting(self, progress: Progress) -> str:
        return cluster.waiting_line(
            "actors",
            progress.num_actors,
            self.size.num_actors,
            cluster.Room(
                self.size.num_actors * self.size.cpus, self.size.num_actors * self.size.gpus
            ),
            self.room(),
        )


def _begun_again(shards: list[int]) -> str:
    some = ", ".join(map(str, shards[:5])) + (", ..." * (len(shards) > 5))
    return f"begun again: shard{'s' * (len(shards) > 1)} {some}"
