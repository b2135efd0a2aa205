"""Progress of commands: bars on a terminal, lines that are readable in a job's log elsewhere."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

LOGGER = logging.getLogger("factory")
"""Takes every line; commands and workers print them, other programs do with them as they like."""


def tell(line: str) -> None:
    """Logs one line."""
    LOGGER.info("%s", line)


def warn(line: str) -> None:
    """Logs one line that a user should not miss."""
    LOGGER.warning("warning: %s", line)


@contextmanager
def heard(look: Callable[[str], None]) -> Iterator[None]:
    """Calls look with each line that is told while the body runs, in whichever thread."""
    handler = logging.Handler()
    handler.emit = lambda record: look(record.getMessage())  # type: ignore[method-assign]
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)


class _Printer(logging.Handler):
    """Prints each line at once, those that warn on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raises OSError where nobody reads any more, unlike the handlers of `logging`."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        # Ray Train replaces `print` in its workers by one that may say everything twice.
        stream.write(f"{record.getMessage()}\n")
        stream.flush()


def print_lines() -> None:
    """Lets this process print what is logged from now on, and nobody else."""
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    if not _prints():
        LOGGER.addHandler(_Printer())


def _prints() -> bool:
    """Returns whether this process prints what is logged, as commands and workers do."""
    return any(isinstance(handler, _Printer) for handler in LOGGER.handlers)


class Bar:
    """The progress of a piece of work; shown if there is a terminal to show it on."""

    def __init__(self, display: "Progress | None", what: str, total: int, done: int) -> None:
        self._display = display
        if display is not None:
            self._task = display.add_task(what, total=total, completed=done)

    @property
    def is_shown(self) -> bool:
        """True if a terminal shows it: lines that say the same are then left out."""
        return self._display is not None

    def move(self, done: int) -> None:
        """Shows that so much of the total is done."""
        if self._display is not None:
            self._display.update(self._task, completed=done)


@contextmanager
def bar(what: str, total: int, unit: str, done: int = 0) -> Iterator[Bar]:
    """Gives a bar with rate and time left, which a terminal shows while the body runs if this
    process prints what is logged. Nothing is shown elsewhere.

    unit: what is counted, such as "images". done: how much is done before the body.
    """
    if not (_prints() and sys.stdout.isatty()):
        yield Bar(None, what, total, done)
        return
    with _display(unit) as display:
        yield Bar(display, what, total, done)


def tracked(items: Iterable[T], what: str, total: int, unit: str) -> Iterator[T]:
    """Yields the items, and moves a bar by one with each that is done."""
    with bar(what, total, unit) as shown:
        for num, item in enumerate(items):
            shown.move(num)
            yield item


def _display(unit: str) -> "Progress":
    # Rich is imported where a bar is shown; other processes start sooner without it.
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """Units a second."""

        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.1f} {unit}/s" if task.speed else f"{unit}")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), RateColumn())
    left = (TextColumn("ETA"), TimeRemainingColumn())
    # The rate is a mean over as long as a slow shard may take. The bar is gone in the end, and the
    # lines stay.
    return Progress(*columns, *left, transient=True, speed_estimate_period=600.0)


def duration(seconds: float) -> str:
    """'45s', '3m 20s', '2h 05m'."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {left:02d}s" if minutes else f"{left}s"
