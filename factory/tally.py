"""Counts what the actors of a job do. A module of its own: its process imports nothing heavy."""

from collections import Counter


class Tally:
    """Lives beside the driver: counts pairs for the progress line, and tries, to bound them."""

    def __init__(self) -> None:
        self.pairs = 0
        self.shards = 0
        self.tries: Counter[int] = Counter()
        self.starts = 0

    def try_shard(self, shard: int) -> int:
        """How often this shard has been begun, this time included."""
        self.tries[shard] += 1
        return self.tries[shard]

    def num_tries(self) -> int:
        """How often any shard has been begun."""
        return sum(self.tries.values())

    def start_actor(self) -> int:
        """How many actors were started since a shard was last finished."""
        self.starts += 1
        return self.starts

    def made(self, num: int) -> None:
        """num more pairs; fewer where a shard is begun again."""
        self.pairs += num

    def finished(self) -> None:
        """One more shard."""
        self.shards += 1
        self.starts = 0

    def read(self) -> tuple[int, int, int]:
        """Pairs, shards, repeated tries."""
        return self.pairs, self.shards, sum(self.tries.values()) - len(self.tries)
