"""Temporary files that killed processes left in a dataset; no reader sees them."""

from collections.abc import Mapping
from contextlib import suppress

from factory import storage
from factory.shards.reading import all_files
from factory.storage import TEMPORARY, Entry, Folder

OLD_SECONDS = 24 * 3600.0
"""Younger files may belong to a run that is under way."""


def leftovers(url: str, older_than_seconds: float = OLD_SECONDS) -> list[Entry]:
    """The temporary files that are older than so many seconds by their store's clock.

    Raises UserError if there is no dataset, OSError from the storage.
    """
    listing = all_files(url)
    now = _now(url, listing)
    return [
        entry
        for name, entry in listing.items()
        if TEMPORARY.search(name)
        and entry.modified is not None
        and now is not None
        and now - entry.modified >= older_than_seconds
    ]


def _now(url: str, listing: Mapping[str, Entry]) -> float | None:
    """The time by the store's clock: by this machine's, a file that is being written might look
    old."""
    try:
        return storage.clock_of(url)
    except OSError as error:
        if storage.is_transient(error):
            raise
        # If nothing can be written, the youngest file tells how late it is at least.
        times = (entry.modified for entry in listing.values() if entry.modified is not None)
        return max(times, default=None)


def remove_leftovers(url: str, older_than_seconds: float = OLD_SECONDS) -> list[Entry]:
    """Deletes the files that `leftovers` finds, and returns them; any other file stays."""
    found = leftovers(url, older_than_seconds)
    for entry in found:
        # Another process may have deleted it already.
        with suppress(FileNotFoundError):
            Folder(url).remove(entry.name)
    return found
