"""Which of Ray's own messages a user sees, and what an error of Ray's says in the end."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ray._private import ray_logging, worker

_OF_NO_CONCERN = re.compile(
    "|".join(
        (
            # Ray Data's own arguments for its actors; the process that holds them owns the actors.
            r"has constructor arguments in the object store and max_restarts > 0",
            r"Progress bars disabled",
            r"Dataset \w+ execution (finished|failed)",
            r"Dataset execution will now abort\. To ignore this exception",
            # The lines that tell of a lost node or a dead actor and of its shards are ours.
            r"Raylet is terminated\. Termination is unexpected",
            r"\[state-dump\]",
            r"has been marked dead because the detector has missed too many heartbeats",
            r"A worker died or was killed while executing a task by an unexpected system error",
            r"There are infinite retries remaining, so the task will be retried",
            # It was dead already: whoever killed it came second.
            r"Failed to kill actor \w+, return status: ",
            # What is asked for and what is there is told by us, too.
            r"The Ray cluster currently does not have any available CPUs",
            r"(Adding|Removing|Added|Removed) \d+ .*node",
            r"Resized to \d+ CPU",
        )
    )
)
"""Matches of this are found in the lines that Ray collects from all processes of a job."""


def quiet() -> None:
    """Leaves out what concerns no user where this process prints what Ray collects; else nothing.

    Ray has no setting for it but one that leaves out everything. Lines that resemble each other are
    all shown, as those are in which a process says where it hangs.
    """
    ray_logging.RAY_DEDUP_LOGS = False
    # Ray adds a tip to the first line of its autoscaler's, after ours are left out.
    worker.autoscaler_log_fyi_printed = True
    if getattr(worker.print_worker_logs, "leaves_out", None) is not _OF_NO_CONCERN:
        worker.print_worker_logs = _leaving_out(worker.print_worker_logs)


def _leaving_out(told: Callable[..., None]) -> Callable[..., None]:
    def print_worker_logs(data: dict[str, Any], *rest: Any, **more: Any) -> None:
        lines = [line for line in data.get("lines", []) if not _OF_NO_CONCERN.search(line)]
        if lines:
            told({**data, "lines": lines}, *rest, **more)

    print_worker_logs.leaves_out = _OF_NO_CONCERN  # type: ignore[attr-defined]
    return print_worker_logs


def reason(error: BaseException) -> str:
    """What went wrong at the bottom of an error of Ray's, without Ray's frames and names."""
    causes = list(_causes(error))
    for cause in reversed(causes):
        # Where the error itself did not come along, the last line of its traceback is in the text.
        told = re.findall(r"^(?!ray\.)[\w.]+: (.+)$", str(cause), re.M)
        if told:
            return brief(str(told[-1]))
    lines = [line.strip() for line in str(causes[-1]).splitlines()]
    plain = [line for line in lines if line and not re.match(r"\w+: \S+$", line)]
    return brief(" ".join(plain[:3])) or type(causes[-1]).__name__


_OUT_OF_MEMORY = re.compile(r"(.*killed due to the node running low on memory.*? limit)\b.*")


def brief(told: str) -> str:
    """Without the pages that Ray adds where it ended a process for lack of memory; what helps
    instead."""
    found = _OUT_OF_MEMORY.match(" ".join(told.split()))
    if found is None:
        return told
    return f"{found[1]}. Use nodes with more memory, or ask for more CPUs a process"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it came from, down to the bottom."""
    seen: list[BaseException] = []
    below: object = error
    while isinstance(below, BaseException) and below not in seen:
        yield below
        seen.append(below)
        below = getattr(below, "cause", None) or below.__cause__
