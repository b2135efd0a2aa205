"""Claims about factory.tally: what bounds the failures of a job."""

import subprocess
import sys

from factory.tally import DEADLINE_FACTOR, SHORTEST_DEADLINE_SECONDS, Tally


def test_a_try_tells_how_often_and_what_went_wrong_before() -> None:
    tally = Tally()
    assert tally.try_shard(3, "a", ["a"]) == (1, "", None)
    tally.died_of(3, "CUDA error")
    assert tally.try_shard(3, "a", ["a"])[:2] == (2, "CUDA error")
    assert tally.try_shard(4, "a", ["a"])[:2] == (1, "")
    assert tally.num_tries() == 3 and tally.read() == (0, 0, 1)


def test_a_lost_node_is_not_held_against_its_shard() -> None:
    tally = Tally()
    assert tally.try_shard(3, "a", ["a", "b"])[0] == 1
    assert tally.try_shard(3, "b", ["a", "b"])[0] == 2
    assert tally.try_shard(3, "b", ["b", "c"])[0] == 2
    assert tally.try_shard(3, "c", ["c"])[0] == 1
    assert tally.num_tries() == 4


def test_pairs_of_a_shard_that_is_begun_again_are_not_counted_twice() -> None:
    tally = Tally()
    for shard in (1, 2, 2):
        tally.try_shard(shard, "a", ["a"])
        tally.made(shard, 4)
    assert tally.read()[0] == 8


def test_the_deadline_follows_the_median_shard() -> None:
    tally = Tally()
    assert tally.deadline_seconds() is None
    tally.finished(1.0)
    assert tally.deadline_seconds() == SHORTEST_DEADLINE_SECONDS
    for seconds in (900.0, 1000.0):
        tally.finished(seconds)
    assert tally.deadline_seconds() == DEADLINE_FACTOR * 900.0


def test_only_failures_in_a_row_count_against_the_budget() -> None:
    tally = Tally()
    assert [tally.failed(shard, "x") for shard in (1, 2, 3)] == [1, 2, 3]
    tally.finished(1.0)
    assert tally.failed(4, "x") == 1


def test_actors_that_never_finish_a_shard_are_counted() -> None:
    tally = Tally()
    assert [tally.start_actor() for _ in range(3)] == [1, 2, 3]
    tally.finished(1.0)
    assert tally.start_actor() == 1


def test_its_process_imports_nothing_heavy() -> None:
    code = "import factory.tally, sys; sys.exit(any(m in sys.modules for m in ('torch', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
