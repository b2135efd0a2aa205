"""Commands as though each in a process of its own, but one at a time and in a given order.

A moment is a point of `factory.faults` that a command comes to. There it may be paused while other
commands go on, or die. Orders are exact and reproducible: one thread a command, of which one runs.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.folders import contents

FOREVER = 1_000_000


class Killed(BaseException):
    """The process is no more. Handlers and finally-blocks run, unlike under SIGKILL; what these
    remove is put back afterwards, so that the folder is as a killed process leaves it."""


@dataclass
class Process:
    """A command, and what became of it."""

    work: Callable[[], Any]
    dies: int | None = None
    """At which of its moments, from 1; never, if it has not so many."""
    outcome: Any = None
    """What the command returned or raised; Killed where it died."""
    moments: int = 0
    left: int = 0
    """Moments until it is another one's turn."""
    files_at_death: dict[str, bytes] | None = None
    """All files of the dataset when the process died; None while it lives."""
    goes: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    pauses: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def run(self) -> None:
        """In its thread."""
        self.goes.acquire()
        try:
            self.outcome = self.work()
        except BaseException as error:
            # For the test that started the commands.
            self.outcome = error.with_traceback(None) if self.files_at_death is None else Killed()
        self.left = -1
        self.pauses.release()


class Interleaving:
    """Stands in for `faults.hit` while commands on the dataset in `folder` run."""

    def __init__(self, folder: Path, looks: Callable[[], None]) -> None:
        """looks: a reader who is called at every moment."""
        self.folder = folder
        self.looks = looks
        self.running: Process | None = None

    def __call__(self, point: str) -> None:
        """The running process has come to a moment."""
        process = self.running
        if process is None:
            return
        if process.files_at_death is not None:
            raise Killed
        self.looks()
        process.moments += 1
        process.left -= 1
        if process.left <= 0:
            process.pauses.release()
            process.goes.acquire()
        if process.moments == process.dies:
            process.files_at_death = contents(self.folder)
            raise Killed

    def run(self, processes: Sequence[Process], turns: Sequence[int]) -> None:
        """To the ends of all. Each goes on for as many moments as the next of `turns` says, then
        the one after it; when `turns` is used up, each to its end."""
        threads = [threading.Thread(target=process.run, daemon=True) for process in processes]
        for thread in threads:
            thread.start()
        waiting, turns = list(processes), [*turns]
        while waiting:
            process = self.running = waiting.pop(0)
            process.left = turns.pop(0) if turns else FOREVER
            process.goes.release()
            process.pauses.acquire()
            if process.left >= 0:
                waiting.append(process)
            for name, content in (process.files_at_death or {}).items():
                path = self.folder / name
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
        self.running = None
        for thread in threads:
            thread.join()
