"""The values that the driver, the dispatcher and the actors of a job send each other.

Plain Python: the dispatcher's process imports nothing heavy.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits at which a job stops before all its shards are made."""

    attempts: int
    """At most so many attempts of one shard may end with the death of its actor."""
    failed_shards: int
    """At most so many shards may fail for good in a row."""
    restarts: int
    """At most so many restarts of actors may follow each other, without a shard finished in
    between, until no actor is left."""
    section: str = "generate"
    """The section of the config whose keys these limits are, for messages."""


@dataclass(frozen=True)
class ActorCounts:
    """A job's actors as the cluster counts them: one that is killed while it starts reports
    nothing itself."""

    num_ready: int
    num_restarts: int
    """All actors together, since the job began."""


@dataclass(frozen=True)
class Attempt:
    """One try of one shard, which the dispatcher assigns."""

    number: int
    """Unique within the job."""
    shard: int
    deadline_seconds: float | None
    """The time that it may take; None as long as no shard is finished."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of an attempt."""

    attempt: int
    """The attempt's number."""
    num_pairs: int = 0
    seconds: float = 0.0
    error: str = ""
    """The reason why the shard failed for good; empty where it is finished."""


@dataclass(frozen=True)
class Progress:
    """The progress of a job at one moment."""

    num_pairs: int
    num_shards: int
    """Finished shards."""
    num_retries: int
    """Attempts beyond the first of each shard."""
    seconds: float
    """Time since the first shard was begun."""
    num_actors: int
    """Actors that are ready to make shards."""
    notes: list[str]
    """Notes of actors since the last report."""
    lost: dict[str, list[int]]
    """Shards that will be made again because their node was lost since the last report, by node."""
    crashed: dict[str, list[int]]
    """The same for shards whose actor died while its node stays, by node."""
    failures: dict[int, str]
    """The first shards that failed for good, and why; see `failures`."""
    num_failures: int
    stop_reason: str
    """The reason why the job stops before all shards are made; empty as long as it goes on."""
    is_complete: bool
    """True if every shard is finished or has failed for good."""
