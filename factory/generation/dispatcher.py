"""Hands out the shards of a job one by one, counts what is made, and bounds failures.

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

DEADLINE_FACTOR = 10
"""Times the median shard; what takes longer hangs."""
SHORTEST_DEADLINE_SECONDS = 600.0
NUM_DURATIONS = 1000
"""That the median is taken of, drawn evenly from all: in 19 of 20 cases, between 46.9 and 53.1 % of
all shards took less time than it says."""
NUM_FAILURES_TOLD = 20


@dataclass(frozen=True)
class Limits:
    """When a job stops, beside having no shard left."""

    tries: int
    """Of one shard, each ended by the death of its actor."""
    failed_shards: int
    """Each for good, in a row."""
    restarts: int
    """Of actors, in a row, without a shard finished in between, until none is left."""


@dataclass(frozen=True)
class Actors:
    """Of a job, as the cluster itself counts them: who is killed while it starts tells nothing."""

    num_ready: int
    num_restarts: int
    """So far, of all together."""


@dataclass(frozen=True)
class Turn:
    """One try of one shard."""

    number: int
    """No other turn of the job has it."""
    shard: int
    seconds: float | None
    """That it may take; None as long as no shard is finished."""


@dataclass(frozen=True)
class Outcome:
    """Of a turn."""

    number: int
    pairs: int = 0
    seconds: float = 0.0
    error: str = ""
    """Why the shard failed for good; empty where it is finished."""


@dataclass
class _Try:
    """A turn that is taken, and not yet given back."""

    shard: int
    seat: int
    node: str
    pairs: int = 0
    is_begun: bool = False


@dataclass(frozen=True)
class Progress:
    """Of a job, at one moment."""

    pairs: int
    shards: int
    """Finished."""
    again: int
    """Tries beyond the first of each shard."""
    seconds: float
    """Since the first shard was begun."""
    num_actors: int
    """That are ready to make shards."""
    notes: list[str]
    """What actors noted since the last look."""
    lost: dict[str, list[int]]
    """The shards that are begun again since the last look because their node is gone, by nodes."""
    died: dict[str, list[int]]
    """The same for those whose actor died, while its node goes on."""
    failures: dict[int, str]
    """Of the first NUM_FAILURES_TOLD shards that failed for good, by their numbers."""
    num_failures: int
    ended: str
    """Why the job stops before all shards are made; empty as long as it goes on."""
    is_complete: bool
    """Whether every shard is finished or has failed for good."""


class Dispatcher:
    """One for all actors of a job.

    An actor makes several shards at once, each at a seat. Whoever sits there takes a turn, which is
    one shard, and gives it back with what came of it. Where the actor dies, it comes back to its
    seats when it is started again, and begins again what was being made there; where the node is
    lost, whoever takes the next turn begins it again.

    live_nodes: tells the ids of the nodes that are there. actors: tells of the job's actors.
    """

    def __init__(
        self,
        shards: Iterable[range],
        limits: Limits,
        live_nodes: Callable[[], Collection[str]],
        actors: Callable[[], Actors],
    ) -> None:
        self._limits = limits
        self._live_nodes = live_nodes
        self._actors = actors
        self._waiting = deque(shards)
        self._waiting_again: deque[int] = deque()
        self._turns: dict[int, _Try] = {}
        """Those that are taken, by number."""
        self._num_turns = 0
        self._deaths: Counter[int] = Counter()
        """Of actors, for each shard that is neither finished nor failed."""
        self._errors: dict[int, str] = {}
        """What an actor said before it ended itself, by such shards."""
        self._durations = _Durations()
        self._started: float | None = None
        self._pairs = self._shards = self._again = 0
        self._restarts = self._restarts_before = actors().num_restarts
        """At the last look, and when a shard was last finished."""
        self._failures_in_a_row = self._num_failures = 0
        self._failures: dict[int, str] = {}
        self._lost: dict[str, list[int]] = {}
        self._orphaned: dict[str, list[int]] = {}
        self._notes: dict[str, bool] = {}
        """Whether each was told."""
        self._ended = ""

    def note(self, line: str) -> None:
        """Something that the user should know; what several actors note is told once."""
        self._notes.setdefault(line, False)

    def take(self, seat: int, node: str, outcome: Outcome | None = None) -> Turn | None:
        """The next turn of a seat; None where no shard is left to begin, or the job has ended.

        outcome: of the turn that the seat gives back. One that it does not give back is lost: the
        actor died that had taken it.
        """
        if outcome is not None:
            self.give_back(outcome)
        if self._taken_at(seat):
            # The shard is not to blame where the node is lost.
            self._leave_lost_nodes()
        for number in self._taken_at(seat):
            self._died(number)
        shard = None if self._ended else self._next_shard()
        if shard is None:
            return None
        self._num_turns += 1
        self._turns[self._num_turns] = _Try(shard, seat, node)
        return Turn(self._num_turns, shard, self.deadline_seconds())

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

    def begin(self, number: int) -> None:
        """The shard of a turn is begun: from now on it is to blame where its actor dies."""
        if self._started is None:
            self._started = time.monotonic()
        if number in self._turns:
            self._turns[number].is_begun = True

    def made(self, number: int, num: int) -> None:
        """num more pairs of a turn's shard are made."""
        if number in self._turns:
            self._turns[number].pairs += num

    def give_back(self, outcome: Outcome) -> None:
        """A turn ends. One that another seat was given since, as the node seemed lost, counts there
        alone."""
        if outcome.number not in self._turns:
            return
        shard = self._turns.pop(outcome.number).shard
        self._deaths.pop(shard, None)
        self._errors.pop(shard, None)
        if outcome.error:
            self._fail(shard, outcome.error)
            return
        self._restarts_before = self._restarts
        self._failures_in_a_row = 0
        self._durations.add(outcome.seconds)
        self._shards += 1
        self._pairs += outcome.pairs

    def _fail(self, shard: int, error: str) -> None:
        self._num_failures += 1
        if len(self._failures) < NUM_FAILURES_TOLD:
            self._failures[shard] = error
        self._failures_in_a_row += 1
        if self._failures_in_a_row > self._limits.failed_shards:
            self.end(
                f"{self._failures_in_a_row} shards failed and none succeeded in between; the last "
                f"one, shard {shard}: {error}"
            )

    def died_of(self, number: int, error: str) -> None:
        """The actor will end itself because of this error; the turn is lost with it."""
        if number in self._turns:
            self._errors[self._turns[number].shard] = error

    def deadline_seconds(self) -> float | None:
        """How long a shard may take, by the median of those so far; None as long as there is none.

        Of more than NUM_DURATIONS shards, the median is that of a sample.
        """
        usual = self._durations.median()
        return None if usual is None else max(SHORTEST_DEADLINE_SECONDS, DEADLINE_FACTOR * usual)

    def look(self) -> Progress:
        """How far the job is. What was being made on lost nodes is begun again, and told once."""
        self._leave_lost_nodes()
        actors = self._actors()
        self._count_restarts(actors)
        lost, self._lost = self._lost, {}
        died, self._orphaned = self._orphaned, {}
        notes = [line for line, told in self._notes.items() if not told]
        self._notes = dict.fromkeys(self._notes, True)
        return Progress(
            pairs=self._pairs + sum(turn.pairs for turn in self._turns.values()),
            shards=self._shards,
            again=self._again,
            seconds=0.0 if self._started is None else time.monotonic() - self._started,
            num_actors=actors.num_ready,
            notes=notes,
            lost=lost,
            died=died,
            failures=dict(self._failures),
            num_failures=self._num_failures,
            ended=self._ended,
            is_complete=not (self._turns or self._waiting or self._waiting_again),
        )

    def _taken_at(self, seat: int) -> list[int]:
        """Turns that the seat has not given back."""
        return [number for number, turn in self._turns.items() if turn.seat == seat]

    def _leave_lost_nodes(self) -> None:
        """What was being made on them is begun again; the tries do not count."""
        nodes = self._live_nodes()
        for number in [n for n, turn in self._turns.items() if turn.node not in nodes]:
            turn = self._turns.pop(number)
            self._again += turn.is_begun
            self._waiting_again.append(turn.shard)
            self._lost.setdefault(turn.node, []).append(turn.shard)

    def _count_restarts(self, actors: Actors) -> None:
        self._restarts = actors.num_restarts
        in_a_row = self._restarts - self._restarts_before
        if in_a_row > self._limits.restarts and not actors.num_ready:
            self.end(
                f"actors died {in_a_row} times, and no shard was finished in between. Ray kills "
                "them where the memory of a node is used up: use nodes with more of it, or have "
                "fewer actors on each by a lower generate.max_actors or a higher "
                "generate.cpus_per_actor. Other reasons are in Ray's logs"
            )

    def _died(self, number: int) -> None:
        """The actor of a turn died, while its node goes on."""
        turn = self._turns.pop(number)
        self._waiting_again.append(turn.shard)
        if not turn.is_begun:
            return
        self._again += 1
        self._orphaned.setdefault(turn.node, []).append(turn.shard)
        self._deaths[turn.shard] += 1
        if self._deaths[turn.shard] >= self._limits.tries:
            self.end(
                f"shard {turn.shard}: its actor died or hung {self._deaths[turn.shard]} times "
                "while making it. "
                + (
                    self._errors.get(turn.shard)
                    or "Where memory is short, lower generate.max_actors."
                )
            )

    def end(self, reason: str) -> None:
        """No shard is begun any more; the first reason counts."""
        self._ended = self._ended or reason


@dataclass
class _Durations:
    """A sample of NUM_DURATIONS, drawn evenly from however many were added."""

    num: int = 0
    kept: list[float] = field(default_factory=list)
    """Sorted."""
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
    """The same numbers, in the same order, as ranges of consecutive ones."""
    found: list[range] = []
    start = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[i - 1] + 1:
            found.append(range(numbers[start], numbers[i - 1] + 1))
            start = i
    return found if numbers else []
