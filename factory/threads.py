"""Threads that read and decode, and work done in advance whose results come in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

NUM_THREADS = 8
"""Files are read, hashed and decoded by so many threads, as storage keeps them waiting."""


def in_threads(work: Callable[[T], R], items: Iterable[T], num: int) -> Iterator[R]:
    """Yields the results of work on items, in their order, of threads that do num in advance."""
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        yield from ahead(pool, work, items, num)


def ahead(pool: Executor, work: Callable[[T], R], items: Iterable[T], num: int) -> Iterator[R]:
    """Yields the results of work in order; the pool does at most num of them in advance."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > num:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
