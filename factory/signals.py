"""How a signal ends a command: in order the first time, at once the second time."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, NoReturn


def end_in_order() -> list[int]:
    """Lets SIGTERM end the process as Ctrl-C does, in order; the list grows by what was received.

    Ending in order takes Ray some seconds: who signals again does not want to wait. In another
    thread than the main one, signals are the business of whoever started it.
    """
    signalled: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        return signalled

    def end(number: int, frame: Any) -> NoReturn:
        signalled.append(number)
        _both(lambda number, frame: os._exit(128 + number))
        # Ray lets it through; of a SystemExit it would make one with another code.
        raise KeyboardInterrupt

    _both(end)
    return signalled


def _both(handler: Callable[[int, Any], Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
