"""What killed processes left in a dataset's place: half-written files that no reader sees."""

import time

from factory import storage
from factory.shards.ledger import files_of
from factory.shards.verification import LEFTOVER

OLD_SECONDS = 24 * 3600.0
"""Younger ones may belong to a run that is under way."""


def leftovers(url: str, older_than_seconds: float = OLD_SECONDS) -> list[storage.Entry]:
    """Temporary files that are older by their store's clock than so many seconds.

    Raises UserError where there is no dataset.
    """
    return [
        entry
        for entry in files_of(url)
        if LEFTOVER.search(entry.name)
        and entry.modified is not None
        and time.time() - entry.modified >= older_than_seconds
    ]


def remove_leftovers(url: str, older_than_seconds: float = OLD_SECONDS) -> list[storage.Entry]:
    """Deletes them; returns what was deleted. Anything that is not the factory's own stays."""
    found = leftovers(url, older_than_seconds)
    for entry in found:
        storage.remove(storage.join(url, entry.name))
    return found
