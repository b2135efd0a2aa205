"""Calls of a store that stumbles are repeated, with growing pauses between the tries."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from factory.storage.store_errors import UnreachableHost, is_transient

T = TypeVar("T")

TRIES = 10
"""Tries of a read, a list or a write, over 75 to 151 seconds: an outage of a minute is survived."""
FIRST_TRIES = 5
"""Tries where somebody waits for the answer, over 7 to 15 seconds."""
_LONGEST_PAUSE_SECONDS = 30.0


def with_retries(call: Callable[[], T], tries: int = TRIES) -> T:
    """Returns call(), which must be safe to repeat, after at most this number of tries.

    Raises the last try's OSError, or the first one that no repetition helps, or UnreachableHost.
    """
    for attempt in range(tries):
        try:
            return call()
        except OSError as error:
            # The packages of S3, GCS and Azure have tried several times to reach the host.
            is_last = attempt == tries - 1 or isinstance(error, UnreachableHost)
            if is_last or not is_transient(error):
                raise
            longest = min(_LONGEST_PAUSE_SECONDS, 2.0**attempt)
            # At least half of it, so that bad luck cannot make the sum shorter than an outage.
            time.sleep(random.uniform(longest / 2, longest))
    raise AssertionError("the last try returns or raises")
