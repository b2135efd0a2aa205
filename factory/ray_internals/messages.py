"""Ray's own messages: which of them a user sees, and what its errors say in the end."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from ray._private import ray_logging, worker

_NOISE = re.compile(
    "|".join(
        (
            # Ray Data's own arguments for its actors; the process that holds them owns the actors.
            r"has constructor arguments in the object store and max_restarts > 0",
            r"Progress bars disabled",
            r"Dataset \w+ execution (finished|failed)",
            r"Dataset execution will now abort\. To ignore this exception",
            # We tell of a lost node or a dead actor and of its shards ourselves.
            r"Raylet is terminated\. Termination is unexpected",
            r"\[state-dump\]",
            r"has been marked dead because the detector has missed too many heartbeats",
            r"A worker died or was killed while executing a task by an unexpected system error",
            r"There are infinite retries remaining, so the task will be retried",
            # The actor was dead already: somebody else killed it first.
            r"Failed to kill actor \w+, return status: ",
            # We tell what is asked for and what the cluster has ourselves, too.
            r"The Ray cluster currently does not have any available CPUs",
            r"(Adding|Removing|Added|Removed) \d+ .*node",
            r"Resized to \d+ CPU",
        )
    )
)
"""Lines that match this are not printed where Ray prints those of all processes of a job."""
_TOLD = re.compile(r"(train|data|generate) \| ")
"""Matches the beginning of a line that a worker told by `factory.progress.tell`."""
_OUT_OF_MEMORY = re.compile(r"(.*killed due to the node running low on memory.*? limit)\b.*")


def sort_lines(tell: Callable[[str], None]) -> None:
    """Has this process tell our lines of those that Ray collects, and leave out what concerns no
    user; Ray prints the rest.

    tell: called with each line that a worker told, in Ray's thread. Ray has no setting for it but
    one that leaves out everything, and hands lines to no one but its own printer. Lines that
    resemble each other are all shown, since a process that hangs says in such lines where it does.
    """
    ray_logging.RAY_DEDUP_LOGS = False
    # Ray adds a tip to the first line of its autoscaler's, after ours are left out.
    worker.autoscaler_log_fyi_printed = True
    if getattr(worker.print_worker_logs, "leaves_out", None) is not _NOISE:
        worker.print_worker_logs = _sorting(worker.print_worker_logs, tell)


def _sorting(print_lines: Callable[..., None], tell: Callable[[str], None]) -> Callable[..., None]:
    def print_worker_logs(data: dict[str, Any], *rest: Any, **more: Any) -> None:
        others = []
        for line in data.get("lines", []):
            if _TOLD.match(line):
                tell(line)
            elif not _NOISE.search(line):
                others.append(line)
        if others:
            print_lines({**data, "lines": others}, *rest, **more)

    print_worker_logs.leaves_out = _NOISE  # type: ignore[attr-defined]
    return print_worker_logs


def root_cause(error: BaseException) -> str:
    """Returns what went wrong at the bottom of an error of Ray's, without Ray's frames and names.

    Ray has no attribute for it: where the error itself did not come along from the other process,
    only the text of its traceback did.
    """
    causes = list(_causes(error))
    for cause in reversed(causes):
        messages = re.findall(r"^(?!ray\.)[\w.]+: (.+)$", str(cause), re.M)
        if messages:
            return shortened(str(messages[-1]))
    lines = [line.strip() for line in str(causes[-1]).splitlines()]
    plain = [line for line in lines if line and not re.match(r"\w+: \S+$", line)]
    return shortened(" ".join(plain[:3])) or type(causes[-1]).__name__


def shortened(message: str) -> str:
    """Replaces the pages that Ray adds when it ended a process for lack of memory by what helps."""
    found = _OUT_OF_MEMORY.match(" ".join(message.split()))
    if found is None:
        return message
    return f"{found[1]}. Use nodes with more memory, or ask for more CPUs a process"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yields the error and each cause below it."""
    seen: list[BaseException] = []
    below: object = error
    while isinstance(below, BaseException) and below not in seen:
        yield below
        seen.append(below)
        below = getattr(below, "cause", None) or below.__cause__
