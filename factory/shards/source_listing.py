"""The images that a dataset labels: which they are, and what they held when it was begun.

A file of the ledger keeps the listing, create-only. It is proven by the plan, which holds its
digest; so one that was altered is not taken for true, and can be made anew.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.parquet as pq

from factory import storage
from factory.errors import UserError
from factory.shards.layout import SOURCE

_SCHEMA = pa.schema([(name, pa.string()) for name in ("name", "url", "version", "sha256")])


@dataclass(frozen=True)
class SourceListing:
    """The images of a source in the order of the dataset's rows."""

    names: Sequence[str]
    urls: Sequence[str]
    """The place of each image, as messages name it."""
    versions: Sequence[str]
    """A text for each image that changes when it is written; empty if nothing is known of it."""
    sha256s: Sequence[str]
    """The sha256 of each image's bytes, 64 hex digits."""

    @cached_property
    def digest(self) -> str:
        """The sha256 over all names and hashes: what the plan holds."""
        found = hashlib.sha256()
        for name, sha256 in zip(self.names, self.sha256s, strict=True):
            found.update(f"{sha256} {name}\n".encode())
        return found.hexdigest()

    def to_bytes(self) -> bytes:
        """The content of its file."""
        columns = [self.names, self.urls, self.versions, self.sha256s]
        table = pa.table([pa.array(each, pa.string()) for each in columns], schema=_SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", use_dictionary=False)
        data: bytes = sink.getvalue().to_pybytes()
        return data


def find_listing(url: str, digest: str) -> SourceListing | None:
    """The listing of the dataset at url; None if it is lost, or is not the one of this digest."""
    try:
        data = storage.read_bytes(storage.join(url, SOURCE))
        table = pq.read_table(pa.BufferReader(data), schema=_SCHEMA)
        found = SourceListing(*(column.to_pylist() for column in table.columns))
    except (FileNotFoundError, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and storage.is_transient(error):
            raise
        return None
    return found if found.digest == digest else None


def keep_listing(url: str, listing: SourceListing) -> None:
    """Writes the listing into the dataset at url, unless one of its digest is there."""
    folder = storage.Folder(url)
    with suppress(FileExistsError):
        folder.write_new(SOURCE, listing.to_bytes())
        return
    if find_listing(url, listing.digest) is None:
        folder.write(SOURCE, listing.to_bytes())


def read_listing(url: str, digest: str) -> SourceListing:
    """As `find_listing`. Raises UserError if it is lost or altered."""
    if (found := find_listing(url, digest)) is None:
        raise UserError(
            f"{storage.join(url, SOURCE)}: is missing or altered. Run the same `factory label` "
            "again, which writes it anew."
        )
    return found
