"""Counts what the actors of a job do, and bounds their failures.

A module of its own: the process that runs it imports nothing heavy.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Collection

DEADLINE_FACTOR = 10
"""Times the median shard; what takes longer hangs."""
SHORTEST_DEADLINE_SECONDS = 600.0


class Tally:
    """Lives beside the driver, one for all actors of a job."""

    def __init__(self) -> None:
        self.pairs: Counter[int] = Counter()
        """Per shard."""
        self.shards = 0
        self.begun = 0
        self.places: dict[int, list[str]] = defaultdict(list)
        """Per shard, the nodes that tried it."""
        self.errors: dict[int, str] = {}
        self.starts = 0
        self.failures_in_a_row = 0
        self.durations: list[float] = []

    def try_shard(
        self, shard: int, node: str, nodes: Collection[str]
    ) -> tuple[int, str, float | None]:
        """A shard is begun at a node, one of those that are there: how often it was, this time
        included; what its last try reported; and how many seconds it may take, None as long as no
        shard is finished. Tries do not count where the node is lost: the shard is not to blame."""
        self.begun += 1
        self.pairs.pop(shard, None)
        self.places[shard] = [place for place in self.places[shard] if place in nodes] + [node]
        return len(self.places[shard]), self.errors.get(shard, ""), self.deadline_seconds()

    def deadline_seconds(self) -> float | None:
        """By the median of the shards so far."""
        if not self.durations:
            return None
        usual = statistics.median(self.durations)
        return max(SHORTEST_DEADLINE_SECONDS, DEADLINE_FACTOR * usual)

    def num_tries(self) -> int:
        """How often any shard has been begun."""
        return self.begun

    def start_actor(self) -> int:
        """How many actors were started since a shard was last finished."""
        self.starts += 1
        return self.starts

    def made(self, shard: int, num: int) -> None:
        """num more pairs of a shard."""
        self.pairs[shard] += num

    def finished(self, seconds: float) -> None:
        """One more shard, made in so long."""
        self.shards += 1
        self.starts = 0
        self.failures_in_a_row = 0
        self.durations.append(seconds)

    def died_of(self, shard: int, error: str) -> None:
        """The actor will end itself because of this error; another one tries the shard again."""
        self.errors[shard] = error

    def failed(self, shard: int, error: str) -> int:
        """A shard failed for good: how many did since one was last finished, this one included."""
        self.errors[shard] = error
        self.failures_in_a_row += 1
        return self.failures_in_a_row

    def read(self) -> tuple[int, int, int]:
        """Pairs, shards, repeated tries."""
        return sum(self.pairs.values()), self.shards, self.begun - len(self.places)
