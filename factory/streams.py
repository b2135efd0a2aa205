"""The standard streams of a command: opened where the shell closed them, given up where full."""

import os
import sys


def open_closed() -> None:
    """Opens stdin, stdout or stderr on the null device if the shell closed it (`>&-`).

    Else the next file that is opened would have the number of the closed one.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Takes the lowest number that is free.
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, mode))


def finish_stdout() -> OSError | None:
    """Writes what stdout still holds. Where nobody takes it, drops it and returns the error."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Python would try again at its end, complain, and end with an exit code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None
