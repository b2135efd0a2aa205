"""How many samples of a shard have to show a class, so that enough of the whole dataset do."""

import math
from collections import Counter
from itertools import accumulate

from factory.shards.plan import Plan, ShardSpec

_GOLDEN = (math.sqrt(5) - 1) / 2


def quotas_of(plan: Plan, spec: ShardSpec) -> dict[str, int]:
    """How many samples of the shard have to show a class at least, by its name.

    Over the dataset as it was begun the numbers add up to `Choice.at_least`; they lie evenly, and
    go on in the same way where it is extended. Those of a shard are together no more than it has
    samples.
    """
    wanted = {} if plan.choice is None else plan.choice.at_least
    names, ends = list(wanted), list(accumulate(wanted.values()))
    total, num = (ends or [0])[-1], (*plan.extended_from, plan.num)[0]
    found = Counter[str]()
    for row in range(spec.start, spec.stop) if total else ():
        k = total * row // num
        # So many rows are kept for quotas, each for one class.
        if k < total * (row + 1) // num:
            place = k * _step(total) % total
            found[names[sum(end <= place for end in ends)]] += 1
    return dict(found)


def _step(total: int) -> int:
    """A number without a common divisor with total, whose multiples lie evenly in a circle."""
    step = max(1, round(total * _GOLDEN))
    while math.gcd(step, total) != 1:
        step += 1
    return step
