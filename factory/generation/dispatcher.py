"""Assigns the shards of a job one by one, counts what is made, and bounds failures.

Plain Python: the process that runs it imports nothing heavy. What it holds grows with the number of
actors and of failed shards, not with the number of shards.
"""

import bisect
import random
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from factory.errors import counted
from factory.generation.failures import Failures
from factory.generation.job import (
    ActorCounts,
    Attempt,
    Limits,
    Outcome,
    Progress,
)

DEADLINE_FACTOR = 10
"""A shard that takes so many times the median shard hangs."""
SHORTEST_DEADLINE_SECONDS = 600.0
NUM_DURATIONS = 1000
"""The median is that of so many durations, drawn evenly from all: in 19 of 20 cases, between 46.9
and 53.1 % of all shards took less time than it says."""


@dataclass
class _Running:
    """An attempt that has not ended."""

    shard: int
    slot: int
    node: str
    num_pairs: int = 0
    is_begun: bool = False


class Dispatcher:
    """Serves all actors of a job; see `job` for what they tell each other.

    An actor makes several shards at once, each in a slot. Each slot asks for an attempt at one
    shard, and then for the next, with the outcome of the last. If the actor dies, its slots ask
    again when it is restarted, and the shards that it was making are attempted again. If its node
    is lost, whichever slot asks next attempts them.

    live_nodes: returns the ids of the nodes that are alive. count_actors: counts the job's actors.
    """

    def __init__(
        self,
        shards: Iterable[range],
        limits: Limits,
        live_nodes: Callable[[], Collection[str]],
        count_actors: Callable[[], ActorCounts],
    ) -> None:
        self._limits = limits
        self._live_nodes = live_nodes
        self._count_actors = count_actors
        self._waiting = deque(shards)
        self._waiting_again: deque[int] = deque()
        self._running: dict[int, _Running] = {}
        """The attempts in progress, by the attempt's number."""
        self._num_attempts = 0
        self._num_crashes: Counter[int] = Counter()
        """Deaths of actors at each shard that is neither finished nor failed."""
        self._errors: dict[int, str] = {}
        """The error that an actor reported before it ended itself, by such shards."""
        self._durations = _Durations()
        self._started: float | None = None
        self._num_pairs = self._num_shards = self._num_retries = 0
        self._restarts = self._restarts_before = count_actors().num_restarts
        """Restarts at the last report, and when a shard was last finished."""
        self._failures = Failures(limits.failed_shards)
        self._lost: dict[str, list[int]] = {}
        self._crashed: dict[str, list[int]] = {}
        self._notes: dict[str, bool] = {}
        """Each note, and whether it was reported."""
        self._stop_reason = ""

    def note(self, line: str) -> None:
        """Records something that the user should know; equal notes are reported once."""
        self._notes.setdefault(line, False)

    def assign(self, slot: int, node: str, outcome: Outcome | None = None) -> Attempt | None:
        """Returns the slot's next attempt; None if no shard is left to begin, or the job stops.

        outcome: that of the slot's last attempt. An attempt without one is lost: its actor died.
        """
        if outcome is not None:
            self.record_outcome(outcome)
        if self._running_in(slot):
            # The shard is not to blame where the node is lost.
            self._requeue_of_lost_nodes()
        for number in self._running_in(slot):
            self._record_crash(number)
        shard = None if self._stop_reason else self._next_shard()
        if shard is None:
            return None
        self._num_attempts += 1
        self._running[self._num_attempts] = _Running(shard, slot, node)
        return Attempt(self._num_attempts, shard, self.deadline_seconds())

    def _next_shard(self) -> int | None:
        if self._waiting_again:
            return self._waiting_again.popleft()
        while self._waiting:
            shards = self._waiting.popleft()
            if len(shards) > 1:
                self._waiting.appendleft(shards[1:])
            if shards:
                return shards[0]
        return None

    def record_start(self, attempt: int) -> None:
        """Records that the shard is being sampled: if its actor dies now, it may be to blame."""
        if self._started is None:
            self._started = time.monotonic()
        if attempt in self._running:
            self._running[attempt].is_begun = True

    def record_pairs(self, attempt: int, num: int) -> None:
        """Records that num more pairs of the attempt's shard are made."""
        if attempt in self._running:
            self._running[attempt].num_pairs += num

    def record_fatal_error(self, attempt: int, error: str) -> None:
        """Records why the actor is about to end itself, and the attempt with it."""
        if attempt in self._running:
            self._errors[self._running[attempt].shard] = error

    def record_outcome(self, outcome: Outcome) -> None:
        """Ends an attempt.

        If its shard was meanwhile given to another slot, since the node seemed lost, the outcome of
        that attempt counts instead.
        """
        if outcome.attempt not in self._running:
            return
        shard = self._running.pop(outcome.attempt).shard
        self._num_crashes.pop(shard, None)
        self._errors.pop(shard, None)
        if outcome.error:
            if reason := self._failures.add(shard, outcome.error):
                self.stop(reason)
            return
        self._restarts_before = self._restarts
        self._failures.end_row()
        self._durations.add(outcome.seconds)
        self._num_shards += 1
        self._num_pairs += outcome.num_pairs

    def deadline_seconds(self) -> float | None:
        """Returns how long a shard may take, by the median of those that are finished; None as long
        as there is none."""
        median = self._durations.median()
        return None if median is None else max(SHORTEST_DEADLINE_SECONDS, DEADLINE_FACTOR * median)

    def report(self) -> Progress:
        """Returns how far the job is. Shards of lost nodes are queued again, and reported once."""
        self._requeue_of_lost_nodes()
        actors = self._count_actors()
        self._check_restarts(actors)
        lost, self._lost = self._lost, {}
        crashed, self._crashed = self._crashed, {}
        notes = [line for line, is_reported in self._notes.items() if not is_reported]
        self._notes = dict.fromkeys(self._notes, True)
        unfinished = sum(attempt.num_pairs for attempt in self._running.values())
        return Progress(
            num_pairs=self._num_pairs + unfinished,
            num_shards=self._num_shards,
            num_retries=self._num_retries,
            seconds=0.0 if self._started is None else time.monotonic() - self._started,
            num_actors=actors.num_ready,
            notes=notes,
            lost=lost,
            crashed=crashed,
            failures=dict(self._failures.listed),
            num_failures=self._failures.num,
            stop_reason=self._stop_reason,
            is_complete=not (self._running or self._waiting or self._waiting_again),
        )

    def _running_in(self, slot: int) -> list[int]:
        """Returns the attempts of a slot that have not ended."""
        return [number for number, attempt in self._running.items() if attempt.slot == slot]

    def _requeue_of_lost_nodes(self) -> None:
        """Queues what was being made on lost nodes again; such attempts do not count."""
        alive = self._live_nodes()
        for number in [n for n, attempt in self._running.items() if attempt.node not in alive]:
            attempt = self._running.pop(number)
            self._num_retries += attempt.is_begun
            self._waiting_again.append(attempt.shard)
            self._lost.setdefault(attempt.node, []).append(attempt.shard)

    def _check_restarts(self, actors: ActorCounts) -> None:
        self._restarts = actors.num_restarts
        in_a_row = self._restarts - self._restarts_before
        section = self._limits.section
        if in_a_row > self._limits.restarts and not actors.num_ready:
            self.stop(
                f"actors died {counted(in_a_row, 'time')}, and no shard was finished in between. "
                "Ray kills them where the memory of a node is used up: use nodes with more of it, "
                f"or have fewer actors on each by a lower {section}.max_actors or a higher "
                f"{section}.cpus_per_actor. Other reasons are in Ray's logs"
            )

    def _record_crash(self, number: int) -> None:
        """Records that an attempt's actor died while its node stays."""
        attempt = self._running.pop(number)
        shard = attempt.shard
        self._waiting_again.append(shard)
        if not attempt.is_begun:
            return
        self._num_retries += 1
        self._crashed.setdefault(attempt.node, []).append(shard)
        self._num_crashes[shard] += 1
        if self._num_crashes[shard] >= self._limits.attempts:
            advice = f"Where memory is short, lower {self._limits.section}.max_actors."
            times = counted(self._num_crashes[shard], "time")
            self.stop(
                f"shard {shard}: its actor died or hung {times} while making it. "
                f"{self._errors.get(shard) or advice}"
            )

    def stop(self, reason: str) -> None:
        """Begins no shard any more; the first reason counts."""
        self._stop_reason = self._stop_reason or reason


@dataclass
class _Durations:
    """A sample of NUM_DURATIONS, drawn evenly from however many were added."""

    num: int = 0
    kept: list[float] = field(default_factory=list)
    """The durations kept, in increasing order."""
    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def add(self, seconds: float) -> None:
        self.num += 1
        if len(self.kept) == NUM_DURATIONS:
            if self.rng.random() >= NUM_DURATIONS / self.num:
                return
            del self.kept[self.rng.randrange(NUM_DURATIONS)]
        bisect.insort(self.kept, seconds)

    def median(self) -> float | None:
        return statistics.median(self.kept) if self.kept else None


def runs(numbers: Sequence[int]) -> list[range]:
    """Returns the same numbers, in the same order, as ranges of consecutive ones."""
    found: list[range] = []
    start = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[i - 1] + 1:
            found.append(range(numbers[start], numbers[i - 1] + 1))
            start = i
    return found if numbers else []
