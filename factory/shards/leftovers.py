"""What killed processes left in a dataset's place: half-written files that no reader sees."""

from contextlib import suppress

from factory import storage
from factory.shards.ledger import files_of
from factory.shards.verification import LEFTOVER

OLD_SECONDS = 24 * 3600.0
"""Younger ones may belong to a run that is under way."""


def leftovers(url: str, older_than_seconds: float = OLD_SECONDS) -> list[storage.Entry]:
    """Temporary files that are older by their store's clock than so many seconds.

    Raises UserError where there is no dataset, OSError from the storage.
    """
    there = files_of(url)
    now = _now(url, there)
    return [
        entry
        for entry in there
        if LEFTOVER.search(entry.name)
        and entry.modified is not None
        and now is not None
        and now - entry.modified >= older_than_seconds
    ]


def _now(url: str, there: list[storage.Entry]) -> float | None:
    """By the store's clock: this machine's may make a file that is being written look old."""
    try:
        return storage.clock_of(url)
    except OSError as error:
        if storage.is_transient(error):
            raise
        # Where nothing can be written, the youngest file knows the least that it can be.
        return max((e.modified for e in there if e.modified is not None), default=None)


def remove_leftovers(url: str, older_than_seconds: float = OLD_SECONDS) -> list[storage.Entry]:
    """Deletes them; returns what was deleted. Anything that is not the factory's own stays."""
    found = leftovers(url, older_than_seconds)
    for entry in found:
        # Another gc, or a lost answer of this one, may have done it already.
        with suppress(FileNotFoundError):
            storage.remove(storage.join(url, entry.name))
    return found
