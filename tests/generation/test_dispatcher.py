"""Claims about the dispatcher: every shard is made once, and failures are bounded."""

import random
import statistics
import subprocess
import sys
import tracemalloc

import pytest

from factory.generation.dispatcher import (
    DEADLINE_FACTOR,
    SHORTEST_DEADLINE_SECONDS,
    Dispatcher,
    runs,
)
from factory.generation.failures import NUM_LISTED
from factory.generation.job import (
    ActorCounts,
    Limits,
    Outcome,
    Progress,
)


class Job(Dispatcher):
    """A job of shards of four pairs, on nodes that are alive as long as they are listed."""

    def __init__(self, shards: list[range], limits: Limits) -> None:
        self.nodes = ["a", "b", "c", "d", "frozen", "lost"]
        # Some are of another pool, before.
        self.ready, self.restarts = 0, 40
        super().__init__(
            shards,
            limits,
            live_nodes=lambda: self.nodes,
            count_actors=lambda: ActorCounts(self.ready, self.restarts),
        )


def of(*shards: int, attempts: int = 3, failed_shards: int = 3, restarts: int = 12) -> Job:
    return Job(runs(shards), Limits(attempts, failed_shards, restarts))


def begin(dispatcher: Dispatcher, slot: int, node: str = "a") -> int:
    """Begins a shard at the slot; the attempt's number."""
    attempt = dispatcher.assign(slot, node)
    assert attempt is not None
    dispatcher.record_start(attempt.number)
    return attempt.number


def shard_in(dispatcher: Dispatcher, slot: int, node: str = "a") -> int | None:
    """The shard that the slot gets."""
    attempt = dispatcher.assign(slot, node)
    return attempt.shard if attempt else None


def report(dispatcher: Job, *nodes: str) -> Progress:
    dispatcher.nodes = list(nodes)
    return dispatcher.report()


@pytest.mark.parametrize(
    ("numbers", "joined"),
    [
        ([], []),
        ([4], [range(4, 5)]),
        ([0, 1, 2, 5, 7, 8], [range(3), range(5, 6), range(7, 9)]),
        (range(9), [range(9)]),
    ],
)
def test_runs_hold_the_same_numbers(numbers, joined) -> None:
    assert runs(numbers) == joined
    assert [number for run in joined for number in run] == list(numbers)


def test_each_shard_is_given_once_and_then_none() -> None:
    dispatcher = of(0, 1, 5)
    attempts = [dispatcher.assign(slot, "a") for slot in range(3)]
    assert [attempt.shard for attempt in attempts] == [0, 1, 5]
    assert dispatcher.assign(3, "a") is None and not report(dispatcher, "a").is_complete
    for attempt in attempts:
        dispatcher.record_outcome(Outcome(attempt.number, 4, 1.0))
    assert report(dispatcher, "a").is_complete
    assert report(dispatcher, "a").num_shards == 3 and report(dispatcher, "a").num_pairs == 12


def test_a_seat_that_is_taken_anew_begins_the_same_shard_again() -> None:
    dispatcher = of(3, 4)
    begin(dispatcher, slot=0)
    assert shard_in(dispatcher, slot=0) == 3
    assert shard_in(dispatcher, slot=1) == 4
    assert report(dispatcher, "a").num_retries == 1


def test_a_shard_that_kills_its_actors_ends_the_job_with_what_the_last_one_said() -> None:
    dispatcher = of(3, attempts=2)
    first = begin(dispatcher, slot=0)
    dispatcher.record_fatal_error(first, "CUDA error")
    begin(dispatcher, slot=0)
    assert not report(dispatcher, "a").stop_reason
    assert dispatcher.assign(0, "a") is None
    reason = report(dispatcher, "a").stop_reason
    assert reason == "shard 3: its actor died or hung 2 times while making it. CUDA error"


def test_a_shard_that_only_waited_in_a_dead_actor_is_not_to_blame() -> None:
    dispatcher = of(3, attempts=1)
    dispatcher.assign(0, "a")
    assert shard_in(dispatcher, slot=0) == 3
    assert not report(dispatcher, "a").stop_reason and report(dispatcher, "a").num_retries == 0


def test_shards_of_a_lost_node_are_given_to_the_next_who_asks() -> None:
    dispatcher = of(3, 4, attempts=1)
    begin(dispatcher, slot=0, node="lost")
    begin(dispatcher, slot=1, node="a")
    assert dispatcher.assign(2, "a") is None
    progress = report(dispatcher, "a")
    assert progress.lost == {"lost": [3]} and not progress.is_complete
    assert report(dispatcher, "a").lost == {}, "reported once"
    assert shard_in(dispatcher, slot=2) == 3, "without a restart of its actor"


def test_what_several_actors_note_is_told_once() -> None:
    dispatcher = of(0)
    for note in ("one", "one", "other"):
        dispatcher.note(note)
    assert dispatcher.report().notes == ["one", "other"]
    dispatcher.note("one")
    assert dispatcher.report().notes == []


def test_a_lost_node_is_not_held_against_its_shard() -> None:
    dispatcher = of(3, attempts=2)
    for node in ("a", "b", "c"):
        begin(dispatcher, slot=0, node=node)
        # Asked for as soon as the slot is taken again.
        dispatcher.nodes.remove(node)
    begin(dispatcher, slot=0, node="d")
    assert report(dispatcher, "d").num_retries == 3 and not report(dispatcher, "d").stop_reason


def test_a_shard_that_is_finished_twice_counts_once() -> None:
    dispatcher = of(3)
    given_up = begin(dispatcher, slot=0, node="frozen")
    report(dispatcher, "a")
    again = begin(dispatcher, slot=1)
    dispatcher.record_outcome(Outcome(given_up, 4, 1.0))
    dispatcher.record_outcome(Outcome(again, 4, 1.0))
    progress = report(dispatcher, "a")
    assert (progress.num_shards, progress.num_pairs, progress.is_complete) == (1, 4, True)


def test_pairs_of_a_shard_that_is_begun_again_are_not_counted_twice() -> None:
    dispatcher = of(1)
    for _ in range(2):
        dispatcher.record_pairs(begin(dispatcher, slot=0), 4)
    assert report(dispatcher, "a").num_pairs == 4


def test_time_counts_from_the_first_shard_that_is_begun() -> None:
    dispatcher = of(1)
    dispatcher.assign(0, "a")
    assert report(dispatcher, "a").seconds == 0
    dispatcher.record_start(1)
    assert report(dispatcher, "a").seconds > 0


def test_the_deadline_follows_the_median_shard() -> None:
    dispatcher = of(1, 2, 3)
    assert dispatcher.deadline_seconds() is None
    dispatcher.record_outcome(Outcome(begin(dispatcher, slot=0), 4, 1.0))
    assert dispatcher.deadline_seconds() == SHORTEST_DEADLINE_SECONDS
    for seconds in (900.0, 1000.0):
        dispatcher.record_outcome(Outcome(begin(dispatcher, slot=0), 4, seconds))
    assert dispatcher.deadline_seconds() == DEADLINE_FACTOR * 900.0


@pytest.mark.slow
def test_the_median_of_many_shards_is_near_the_true_one() -> None:
    dispatcher, rng = of(*range(50_000)), random.Random(1)
    durations = [rng.lognormvariate(7.0, 1.0) for _ in range(50_000)]
    # As they may come: the fast ones first.
    durations.sort()
    for seconds in durations:
        dispatcher.record_outcome(Outcome(begin(dispatcher, slot=0), 4, seconds))
    deadline = dispatcher.deadline_seconds()
    assert deadline is not None
    usual = deadline / DEADLINE_FACTOR
    low, *_, high = statistics.quantiles(durations, n=1000)[468:532]
    assert low < usual < high


def test_only_failures_in_a_row_end_the_job() -> None:
    dispatcher = of(*range(9), failed_shards=2)
    for slot in range(2):
        dispatcher.record_outcome(Outcome(begin(dispatcher, slot), error="x"))
    dispatcher.record_outcome(Outcome(begin(dispatcher, 0), 4, 1.0))
    for slot in range(2):
        dispatcher.record_outcome(Outcome(begin(dispatcher, slot), error="x"))
    assert not report(dispatcher, "a").stop_reason
    dispatcher.record_outcome(Outcome(begin(dispatcher, 0), error="the disk is full"))
    reason = report(dispatcher, "a").stop_reason
    assert reason.startswith("3 shards failed and none succeeded in between; the last one, shard 5")
    assert reason.endswith("the disk is full")
    assert dispatcher.assign(0, "a") is None


def test_of_many_failures_the_first_are_told_and_all_counted() -> None:
    dispatcher = of(*range(100))
    for shard in range(50):
        dispatcher.record_outcome(Outcome(begin(dispatcher, 0), error=f"reason {shard}"))
        dispatcher.record_outcome(Outcome(begin(dispatcher, 0), 4, 1.0))
    progress = report(dispatcher, "a")
    assert progress.is_complete and progress.num_failures == 50
    assert list(progress.failures) == list(range(0, 2 * NUM_LISTED, 2))


def test_actors_that_never_finish_a_shard_end_the_job() -> None:
    dispatcher = of(1, 2, restarts=2)
    dispatcher.restarts += 2
    assert not report(dispatcher, "a").stop_reason
    dispatcher.record_outcome(Outcome(begin(dispatcher, 0), 4, 1.0))
    dispatcher.restarts += 2
    assert not report(dispatcher, "a").stop_reason
    dispatcher.restarts += 1
    dispatcher.ready = 1
    # It may be at a shard of hours, whatever becomes of the others.
    assert not report(dispatcher, "a").stop_reason and report(dispatcher, "a").num_actors == 1
    dispatcher.ready = 0
    reason = report(dispatcher, "a").stop_reason
    assert reason.startswith("actors died 3 times, and no shard was finished in between.")
    for remedy in ("more of it", "generate.max_actors", "generate.cpus_per_actor", "Ray's logs"):
        assert remedy in reason


def test_what_a_dead_actor_was_making_is_told_once_with_its_node() -> None:
    dispatcher = of(1, 2)
    begin(dispatcher, 0, "b")
    assert shard_in(dispatcher, 0, "b") == 1
    progress = report(dispatcher, "b")
    assert progress.crashed == {"b": [1]} and progress.lost == {}
    assert report(dispatcher, "b").crashed == {}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_shards() -> None:
    def peak(num_shards: int) -> int:
        tracemalloc.start()
        dispatcher = Job([range(num_shards)], Limits(3, 3, 12))
        while (attempt := dispatcher.assign(0, "a")) is not None:
            dispatcher.record_start(attempt.number)
            dispatcher.record_pairs(attempt.number, 4)
            dispatcher.record_outcome(Outcome(attempt.number, 4, 1.0))
        return tracemalloc.get_traced_memory()[1]

    try:
        small, large = peak(3_000), peak(30_000)
    finally:
        tracemalloc.stop()
    assert large < small + 20_000


@pytest.mark.slow
def test_its_process_imports_nothing_heavy() -> None:
    code = (
        "import factory.generation.pool, sys; sys.exit(any(m in sys.modules for m in "
        "('torch', 'numpy', 'pandas', 'ray.data')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
