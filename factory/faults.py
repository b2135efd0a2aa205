"""Named points at which a test makes this process fail; nothing happens unless one is asked for.

`FACTORY_FAULTS=shard.publish:3` kills the process with SIGKILL when it comes to the point
`shard.publish` for the third time; several are separated by commas.
"""

import os
import signal
from collections import Counter

_VARIABLE = "FACTORY_FAULTS"
_hits: Counter[str] = Counter()


def hit(point: str) -> None:
    """The process has come to this point."""
    asked = os.environ.get(_VARIABLE)
    if not asked:
        return
    _hits[point] += 1
    if f"{point}:{_hits[point]}" in asked.split(","):
        os.kill(os.getpid(), signal.SIGKILL)
