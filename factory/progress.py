"""Plain lines of progress, readable in a terminal and in a job's log."""

import logging
import sys

LOGGER = logging.getLogger("factory")
"""Takes every line; commands and workers print them, other programs do with them as they like."""


def tell(line: str) -> None:
    """Logs one line."""
    LOGGER.info("%s", line)


def warn(line: str) -> None:
    """Logs one line that a user should not miss."""
    LOGGER.warning("warning: %s", line)


class _Printer(logging.Handler):
    """Prints each line at once, those that warn on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raises OSError where nobody reads any more, unlike the handlers of `logging`."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        print(record.getMessage(), file=stream, flush=True)


def print_lines() -> None:
    """From now on this process prints what is logged, and nobody else does."""
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    if not any(isinstance(handler, _Printer) for handler in LOGGER.handlers):
        LOGGER.addHandler(_Printer())


def duration(seconds: float) -> str:
    """'45s', '3m 20s', '2h 05m'."""
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {left:02d}s" if minutes else f"{left}s"
