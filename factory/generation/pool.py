"""A pool of Ray Data actors that make the shards of a job.

Ray Data asks for the actors, places them as room is found, and starts them again where they die. A
row is a seat: whoever sits there takes turns at the dispatcher's until no shard is left. So a row
costs the same whether there are ten shards or a million, the last shards are spread evenly, and
those of a lost node are begun again by the others.

Ray Data runs beside the dispatcher in a process of its own, which owns the actors: when it is
ended, so are they, whatever they wait for.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import ray
from ray.exceptions import RayActorError, RayError, UserCodeException

from factory import cluster
from factory.errors import PoolFailed
from factory.generation.dispatcher import (
    Actors,
    Dispatcher,
    Limits,
    Outcome,
    Progress,
    Turn,
    runs,
)
from factory.ray_internals import session
from factory.ray_internals.messages import root_cause

_LOOK_SECONDS = 1.0
"""Between two looks at the job, unless it ends."""


class Maker(Protocol):
    """What an actor needs to make shards: models in memory, for one."""

    def make(self, turn: Turn) -> Outcome:
        """Makes the turn's shard; runs in a thread for each seat.

        It tells the dispatcher when it begins, where that may kill this process.
        """


@dataclass(frozen=True)
class Size:
    """Of a pool: how many actors, and what each needs."""

    num_actors: int
    seats: int
    """In each actor: how many shards it makes at once."""
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Work:
    """What the actors of a pool do."""

    open_maker: Callable[[Any], Maker]
    """Called in each actor, with the dispatcher's handle."""
    ends_job: tuple[type[Exception], ...]
    """What it and its Maker may raise that no other actor would do better with."""


class Seats:
    """In an actor: its maker, and whoever makes shards with it."""

    def __init__(self, work: list[Any], dispatcher: Any) -> None:
        self.dispatcher = dispatcher
        self.node = cluster.this_node()
        told: Work = ray.get(work[0])
        self.ends_job = told.ends_job
        # Ray would tell an error in here on pages of its own.
        with self._ending_the_job():
            self.maker = told.open_maker(dispatcher)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Runs in a thread for each seat."""
        seat = int(row["seat"][0])
        take = partial(self.dispatcher.take.remote, seat, self.node)
        with self._ending_the_job():
            # None, too, where the job ended before there was a maker.
            turn = ray.get(take())
            while turn is not None:
                turn = ray.get(take(self.maker.make(turn)))
        return {"seat": [seat]}

    @contextmanager
    def _ending_the_job(self) -> Iterator[None]:
        try:
            yield
        except self.ends_job as error:
            ray.get(self.dispatcher.end.remote(str(error)))


class Coordinator(Dispatcher):
    """The dispatcher, and the pool that it serves."""

    def __init__(self, shards: Sequence[range], limits: Limits) -> None:
        super().__init__(shards, limits, cluster.live_nodes, _actors)

    @ray.method(concurrency_group="pool")  # type: ignore[untyped-decorator]
    def run(self, work: list[Any], size: Size) -> None:
        """Returns when no seat finds a shard any more. Raises PoolFailed.

        work: a reference to Work, in a list, or Ray would read it here: only the actors need what
        it imports.
        """
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # It counts rows, which last as long as the job.
        context.execution_no_progress_timeout_s = -1
        seats = [{"seat": seat} for seat in range(size.num_actors * size.seats)]
        taken = ray.data.from_items(seats, override_num_blocks=len(seats)).map_batches(
            Seats,
            batch_size=1,
            # All are asked for at once, so that a cluster brings their nodes up together.
            compute=ray.data.ActorPoolStrategy(
                size=size.num_actors,
                max_tasks_in_flight_per_actor=size.seats,
                max_concurrent_calls_per_actor=size.seats,
                enable_true_multi_threading=True,
            ),
            num_cpus=size.cpus,
            num_gpus=size.gpus or None,
            fn_constructor_kwargs={
                "work": work,
                "dispatcher": ray.get_runtime_context().current_actor,
            },
        )
        try:
            taken.materialize()
        except (RayError, UserCodeException) as error:
            raise PoolFailed(root_cause(error)) from None


def _actors() -> Actors:
    """Counts the actors of this job."""
    states = session.actors_of_class(Seats)
    return Actors(
        num_ready=sum(state.is_ready for state in states),
        num_restarts=sum(state.num_restarts for state in states),
    )


@contextmanager
def _coordinator(shards: Sequence[int], limits: Limits) -> Iterator[Any]:
    """Beside the driver, as other nodes come and go; ended with all actors at the end."""
    beside = cluster.at_node(cluster.this_node())
    remote = ray.remote(num_cpus=0, scheduling_strategy=beside, concurrency_groups={"pool": 1})(
        Coordinator
    )
    coordinator = remote.remote(runs(shards), limits)
    try:
        yield coordinator
    finally:
        ray.kill(coordinator)


def make(
    shards: Sequence[int], limits: Limits, work: Work, size: Size
) -> Generator[Progress, None, None]:
    """Has the shards made; tells about once a second how far they are, and at the end.

    Raises PoolFailed where actors cannot be started, or the process that coordinates them died.
    """
    with _coordinator(shards, limits) as coordinator:
        try:
            running = coordinator.run.remote([ray.put(work)], size)
            while True:
                left, _ = ray.wait([running], timeout=_LOOK_SECONDS)
                progress = ray.get(coordinator.look.remote())
                yield progress
                if progress.is_complete or progress.ended:
                    return
                if left:
                    # Tells what made it end early.
                    ray.get(running)
                    raise PoolFailed("the actors ended before all shards were made")
        except RayActorError as error:
            cause = root_cause(error)
            raise PoolFailed(f"the process that coordinates the actors is lost: {cause}") from None
        except RayError as error:
            raise PoolFailed(root_cause(error)) from None
