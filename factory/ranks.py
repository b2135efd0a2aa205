"""What the workers of a training do together: work of one of them, or of each, whose failure stops
all at the same point."""

from collections.abc import Callable
from typing import TypeVar

import torch.distributed
from ray.train.collective import barrier, broadcast_from_rank_zero

from factory import cluster
from factory.errors import Stopped, UserError

T = TypeVar("T")


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
