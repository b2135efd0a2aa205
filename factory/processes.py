"""Processes that decode: what holds Python's lock gains nothing from threads.

They are forks of the process that reads, so that they have its items, whatever these are, without
sending any; only results are sent. A fork is safe where nothing else runs at that moment, and files
are opened anew, as those of local folders are.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process, get_context, parent_process
from typing import Any, TypeVar

from factory.errors import UserError
from factory.threads import ahead

T = TypeVar("T")
R = TypeVar("R")

_MIN_ITEMS = 1_000
"""Fewer items are done by threads before processes have started."""
_CHUNK = 64
"""Items that a process does at once."""
_MAX_PROCESSES = 16
_to_do: list[tuple[Callable[[Any], Any], Sequence[Any]]] = []
"""The work of a process and its items, in its own memory alone."""


def num_processes(num_items: int) -> int:
    """The number of processes that so much work is worth; 0 where this process cannot fork safely:
    it has other threads, or is itself such a process, or its system is not Linux."""
    alone = threading.active_count() == 1 and not current_process().daemon
    if sys.platform != "linux" or not alone or num_items < _MIN_ITEMS:
        return 0
    num = min(len(os.sched_getaffinity(0)), _MAX_PROCESSES)
    return num if num > 1 else 0


def in_processes(work: Callable[[T], R], items: Sequence[T], num: int) -> Iterator[R]:
    """Yields the results of work on items, in their order, of num processes.

    Raises UserError if one of them is killed, as the system does when memory runs out.
    """
    starts = range(0, len(items), _CHUNK)
    # Which a fork has as they are: they need not be such as can be sent.
    to_do = (work, items)
    try:
        with ProcessPoolExecutor(num, get_context("fork"), _begin, to_do) as pool:
            for results in ahead(pool, _chunk, starts, 2 * num):
                yield from results
    except BrokenProcessPool:
        raise UserError(
            "a process that decodes images was killed, perhaps as memory ran out. Free some memory "
            "and start again."
        ) from None


def _begin(work: Callable[[Any], Any], items: Sequence[Any]) -> None:
    """Leaves Ctrl-C to the parent, and ends with it, however that ends."""
    _to_do.append((work, items))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _chunk(start: int) -> list[Any]:
    work, items = _to_do[-1]
    return [work(item) for item in items[start : start + _CHUNK]]
