"""A pool of Ray Data actors that make the shards of a job.

Ray Data asks for the actors, places them as room is found, and starts them again where they die. A
row is a slot: its thread asks the dispatcher for one shard after another until none is left. So a
row costs the same whether there are ten shards or a million, the last shards are spread evenly, and
those of a lost node are made again by the others.

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
from factory.generation.dispatcher import Dispatcher, runs
from factory.generation.job import ActorCounts, Attempt, Limits, Outcome, Progress
from factory.ray_internals import session
from factory.ray_internals.messages import root_cause

_REPORT_SECONDS = 1.0
"""`make` yields the job's progress every so many seconds, unless the job ends."""


class Maker(Protocol):
    """The maker of shards in an actor: it holds models in memory, for one."""

    def make(self, attempt: Attempt) -> Outcome:
        """Makes the attempt's shard; runs in a thread for each slot.

        Calls the dispatcher's `record_start` before anything that may kill this process.
        """


@dataclass(frozen=True)
class PoolSize:
    """The number of actors of a pool, and what each needs."""

    num_actors: int
    slots: int
    """The number of shards that each actor makes at once."""
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Work:
    """The work of the actors of a pool."""

    open_maker: Callable[[Any], Maker]
    """Called in each actor, with the dispatcher's handle."""
    stops_job: tuple[type[Exception], ...]
    """Errors of it and its Maker that no other actor would be spared."""


class PoolActor:
    """Makes shards in an actor of Ray Data, in a thread for each slot."""

    def __init__(self, work: list[Any], dispatcher: Any) -> None:
        self.dispatcher = dispatcher
        self.node = cluster.this_node()
        received: Work = ray.get(work[0])
        self.stops_job = received.stops_job
        # Ray would print an error in here on pages of its own.
        with self._stopping_the_job():
            self.maker = received.open_maker(dispatcher)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Makes one shard after another in the row's slot."""
        slot = int(row["slot"][0])
        assign = partial(self.dispatcher.assign.remote, slot, self.node)
        with self._stopping_the_job():
            # None, too, where the job was stopped before there was a maker.
            attempt = ray.get(assign())
            while attempt is not None:
                attempt = ray.get(assign(self.maker.make(attempt)))
        return {"slot": [slot]}

    @contextmanager
    def _stopping_the_job(self) -> Iterator[None]:
        try:
            yield
        except self.stops_job as error:
            ray.get(self.dispatcher.stop.remote(str(error)))


class Coordinator(Dispatcher):
    """The dispatcher, and the pool that it serves."""

    def __init__(self, shards: Sequence[range], limits: Limits) -> None:
        super().__init__(shards, limits, cluster.live_nodes, _count_actors)

    @ray.method(concurrency_group="pool")  # type: ignore[untyped-decorator]
    def run(self, work: list[Any], size: PoolSize) -> None:
        """Returns when no slot gets a shard any more. Raises PoolFailed.

        work: a reference to Work, in a list, or Ray would read it here: only the actors need what
        it imports.
        """
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # It counts rows, which last as long as the job.
        context.execution_no_progress_timeout_s = -1
        slots = [{"slot": slot} for slot in range(size.num_actors * size.slots)]
        finished = ray.data.from_items(slots, override_num_blocks=len(slots)).map_batches(
            PoolActor,
            batch_size=1,
            # All are asked for at once, so that a cluster brings their nodes up together.
            compute=ray.data.ActorPoolStrategy(
                size=size.num_actors,
                max_tasks_in_flight_per_actor=size.slots,
                max_concurrent_calls_per_actor=size.slots,
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
            finished.materialize()
        except (RayError, UserCodeException) as error:
            raise PoolFailed(root_cause(error)) from None


def _count_actors() -> ActorCounts:
    """Counts the actors of this process's job."""
    states = session.actors_of_class(PoolActor)
    return ActorCounts(
        num_ready=sum(state.is_ready for state in states),
        num_restarts=sum(state.num_restarts for state in states),
    )


@contextmanager
def _coordinator(shards: Sequence[int], limits: Limits) -> Iterator[Any]:
    """Starts the coordinator beside the driver, as other nodes come and go; it ends with the body,
    and all actors with it."""
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
    shards: Sequence[int], limits: Limits, work: Work, size: PoolSize
) -> Generator[Progress, None, None]:
    """Has the shards made; yields the job's progress about once a second, and at the end.

    Raises PoolFailed where actors cannot be started, or the process that coordinates them died.
    """
    with _coordinator(shards, limits) as coordinator:
        try:
            running = coordinator.run.remote([ray.put(work)], size)
            while True:
                ended, _ = ray.wait([running], timeout=_REPORT_SECONDS)
                progress = ray.get(coordinator.report.remote())
                yield progress
                if progress.is_complete or progress.stop_reason:
                    return
                if ended:
                    # Raises what ended it early.
                    ray.get(running)
                    raise PoolFailed("the actors ended before all shards were made")
        except RayActorError as error:
            cause = root_cause(error)
            raise PoolFailed(f"the process that coordinates the actors is lost: {cause}") from None
        except RayError as error:
            raise PoolFailed(root_cause(error)) from None
