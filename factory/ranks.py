"""What the workers of a training do together: work of one of them, or of each, whose failure stops
all at the same point."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch.distributed
from ray.train.collective import barrier, broadcast_from_rank_zero

from factory import cluster
from factory.config.workers import WorkersConfig
from factory.errors import Stopped, UserError, counted, is_out_of_memory

T = TypeVar("T")


@contextmanager
def naming_memory(settings: WorkersConfig, batch_size: int, remedy: str) -> Iterator[None]:
    """Tells in the body, where memory runs out, which settings take it, and the remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        section = settings.section
        raise MemoryError(
            f"out of memory with {section}.batch_size = {batch_size} over "
            f"{counted(settings.num_workers, 'worker')}. Lower it, or raise {section}.num_workers: "
            f"both are part of the run, so {remedy}. {error}"
        ) from None


def on_rank_0(rank: int, work: Callable[[], T]) -> T:
    """Returns to all workers what work() gives on rank 0; they wait for it, and where it raises
    UserError, all of them raise Stopped."""
    outcome: T | None = None
    problem: str | None = None
    if rank == 0:
        try:
            with cluster.naming_this_node():
                outcome = work()
        except UserError as error:
            problem = str(error)
    outcome, problem = broadcast_from_rank_zero((outcome, problem))
    if problem is not None:
        raise Stopped(problem)
    return outcome


def on_all_ranks(num_ranks: int, work: Callable[[], T]) -> T:
    """The result of work() on this rank. If it raises UserError on any rank, all raise Stopped."""
    outcome: T | None = None
    problem: str | None = None
    try:
        with cluster.naming_this_node():
            outcome = work()
    except UserError as error:
        problem = str(error)
    # Some may take hours longer than others; torch's own collectives give up before.
    barrier()
    problems = [problem] * num_ranks
    if num_ranks > 1:
        torch.distributed.all_gather_object(problems, problem)
    if any(problems):
        raise Stopped("\n".join(sorted({text for text in problems if text})))
    assert outcome is not None, "there was no problem"
    return outcome
