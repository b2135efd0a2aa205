"""Claims about factory.generation.watching: what is printed about a job, and when."""

from typing import Any

import pytest

from factory.cluster import Room
from factory.generation.job import Progress
from factory.generation.pool import PoolSize
from factory.generation.watching import Watch, Whole
from factory.progress import Bar


def progress(**more: object) -> Progress:
    usual: dict[str, object] = {
        "num_pairs": 0,
        "num_shards": 0,
        "num_retries": 0,
        "seconds": 0.0,
        "num_actors": 4,
        "notes": [],
        "lost": {},
        "crashed": {},
        "failures": {},
        "num_failures": 0,
        "stop_reason": "",
        "is_complete": False,
    }
    fields: dict[str, Any] = {**usual, **more}
    return Progress(**fields)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(
        whole=Whole(pairs=1000, shards=10, pairs_before=200, shards_before=2),
        size=PoolSize(num_actors=4, slots=2, cpus=2.0, gpus=1.0),
        progress_seconds=5.0,
        bar=Bar(None, "generate", 1000, 200),
        clock=clock,
        names=lambda: {"n1": "10.0.0.7 worker-3"},
        room=lambda: Room(2.0, 1.0),
    )


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_progress_is_told_when_it_is_due_with_the_time_left(watch, clock, capsys) -> None:
    working = progress(num_pairs=100, num_shards=1, seconds=50.0)
    watch.show(working)
    assert printed(capsys) == []
    clock.now += 5
    watch.show(working)
    watch.show(working)
    [line] = printed(capsys)
    assert line == (
        "generate | shards 3/10 | 300/1,000 pairs | 2.00 pairs/s | ETA 5m 50s | tried again 0"
    )


def test_before_the_first_shard_is_begun_no_rate_is_told(watch, clock, capsys) -> None:
    clock.now += 9
    watch.show(progress())
    assert printed(capsys) == []


def test_while_actors_are_awaited_a_line_every_30_seconds_says_what_is_there(
    watch, clock, capsys
) -> None:
    lines = []
    for _ in range(100):
        watch.show(progress(num_actors=1))
        lines += printed(capsys)
        clock.now += 1
    assert len(lines) == 3 and set(lines) == {
        "generate | waiting for actors: 1 of 4 are ready; 8 CPUs and 4 GPUs are asked for, "
        "the cluster has 2 CPUs and 1 GPU"
    }


def test_actors_that_start_in_a_few_seconds_are_not_told_as_awaited(watch, clock, capsys) -> None:
    for _ in range(9):
        watch.show(progress(num_actors=0))
        clock.now += 1
    clock.now += 60
    watch.show(progress())
    assert printed(capsys) == []


def test_a_lost_node_is_told_in_one_line_with_its_name_and_its_shards(watch, capsys) -> None:
    watch.show(progress(lost={"n1": [3, 4], "n2": [7]}))
    assert printed(capsys) == [
        "generate | node 10.0.0.7 worker-3 is lost; begun again: shards 3, 4",
        "generate | node n2 is lost; begun again: shard 7",
    ]


def test_what_actors_note_is_told_even_at_the_end(watch, capsys) -> None:
    watch.show(progress(notes=["other hardware"], is_complete=True))
    assert printed(capsys) == ["generate | other hardware"]


def test_a_dead_actor_is_told_in_one_line_with_its_node_and_its_shards(watch, capsys) -> None:
    watch.show(progress(crashed={"n1": [3, 4]}))
    assert printed(capsys) == [
        "generate | an actor on node 10.0.0.7 worker-3 died; begun again: shards 3, 4"
    ]


def test_nothing_is_still_that_finishes_or_fails_shards(watch, clock) -> None:
    for count in range(1, 5):
        clock.now += 10
        watch.show(progress(num_shards=count // 2, num_failures=count - count // 2))
        assert watch.still_seconds() == 0
    clock.now += 10
    watch.show(progress(num_shards=2, num_failures=2, num_pairs=50))
    assert watch.still_seconds() == 10
