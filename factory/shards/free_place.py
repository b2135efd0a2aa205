"""Whether a place is free for a new dataset, export or folder of images.

What people have there is never mixed with ours, nor one of ours with another.
"""

import os
from collections.abc import Collection
from contextlib import suppress

from factory import storage
from factory.errors import UserError, some
from factory.shards.layout import LEDGER, MANIFEST, RUN
from factory.shards.plan import Plan
from factory.shards.reading import find_plan


def plan_at(url: str) -> Plan | None:
    """The plan of the dataset at a URL; None if the place is free for one.

    Raises UserError if anything else lies there, or if the plan is damaged or lost.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        return find_plan(url)
    names = storage.Folder(url).entries()
    with suppress(FileNotFoundError, NotADirectoryError):
        return find_plan(url)  # Another command has just begun.
    if MANIFEST in names:
        raise UserError(f"{url}: {RUN} is lost. `factory repair {url}` restores it.")
    check_free(url, names)
    return None


def check_free(url: str, names: Collection[str]) -> None:
    """Raises UserError if a place holds anything, or lies in a dataset or an export.

    names: of the files that were found there. Those of systems, and what a killed process left half
    written, are not in the way.
    """
    others = [n for n in names if not storage.TEMPORARY.search(n) and not storage.is_of_system(n)]
    if others:
        raise UserError(
            f"{url}: holds other files ({some(others)}), with which new ones would be mixed. "
            "Choose another --out."
        )
    if (above := _ours_above(url)) is not None:
        raise UserError(
            f"{url}: lies in the dataset or export {above}, which would have files that are not "
            "its own. Choose another --out."
        )


def _ours_above(url: str) -> str | None:
    """The dataset or export that a place lies in; None if it lies in none."""
    above = storage.parent(os.path.realpath(url) if storage.is_local(url) else url)
    while above:
        # Who may write to a part of a bucket may often not look at the rest.
        with suppress(PermissionError):
            if storage.exists(storage.join(above, LEDGER)):
                return above
        above = storage.parent(above)
    return None
