"""Named points at which a test can kill this process; without one nothing happens.

`FACTORY_FAULTS=shard.publish:3` kills the process with SIGKILL when it reaches the point
`shard.publish` for the third time. Several points are separated by commas.
"""

import os
import signal
from collections import Counter

_VARIABLE = "FACTORY_FAULTS"
_hits: Counter[str] = Counter()


def hit(point: str) -> None:
    """Called when the process reaches a point; kills it if a test asked for that."""
    asked = os.environ.get(_VARIABLE)
    if not asked:
        return
    _hits[point] += 1
    if f"{point}:{_hits[point]}" in asked.split(","):
        os.kill(os.getpid(), signal.SIGKILL)
