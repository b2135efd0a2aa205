"""Ends a process in which a shard takes too long, even one that hangs in C."""

import faulthandler
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Deadlines:
    """The deadlines of the shards that a process makes.

    Where one is missed, the process ends itself, and says on stderr where it hangs. A process has
    one such timer: it is set for whichever deadline comes first.
    """

    def __init__(self) -> None:
        self._pieces: dict[object, tuple[float, float | None]] = {}
        """The time at which each piece of work began, and the seconds that it may take."""
        self._default: float | None = None
        self._lock = threading.Lock()

    @contextmanager
    def within(self, seconds: float | None) -> Iterator[None]:
        """Lets the body take so many seconds; None: any number, unless `limit` is called."""
        key = object()
        with self._lock:
            self._pieces[key] = time.monotonic(), seconds
            self._set_timer()
        try:
            yield
        finally:
            with self._lock:
                del self._pieces[key]
                self._set_timer()

    def limit(self, seconds: float) -> None:
        """Lets all work without a deadline, begun or not, take so many seconds from its start."""
        with self._lock:
            self._default = seconds
            self._set_timer()

    def _set_timer(self) -> None:
        limits = [(began, seconds or self._default) for began, seconds in self._pieces.values()]
        ends = [began + seconds for began, seconds in limits if seconds is not None]
        if ends:
            left = max(1e-3, min(ends) - time.monotonic())
            faulthandler.dump_traceback_later(left, exit=True)
        else:
            faulthandler.cancel_dump_traceback_later()
