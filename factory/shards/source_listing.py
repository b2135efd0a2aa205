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

_COLUMNS = {"name": "names", "url": "urls", "version": "versions", "sha256": "sha256s"}
_MORE = {"truth_sha256": "truth_sha256s", "problem": "problems"}
_ATTRIBUTES = {**_COLUMNS, **_MORE}
"""Names of columns -> attributes; the latter columns are those that only some listings have."""


@dataclass(frozen=True)
class SourceListing:
    """The images of a source in the order of the dataset's rows."""

    names: Sequence[str]
    urls: Sequence[str]
    """The place of each image, as messages name it."""
    versions: Sequence[str]
    """A text for each image that changes when it, or a mask that is compared, is written; empty if
    nothing is known of it."""
    sha256s: Sequence[str]
    """The sha256 of each image's bytes, 64 hex digits."""
    truth_sha256s: Sequence[str] | None = None
    """The sha256 of the class ids of each image's mask in the source; None if they are not compared
    with those that are made."""
    problems: Sequence[str] | None = None
    """What is wrong with an image that cannot be read, and has no row; empty for others. None if
    none is left out."""

    @cached_property
    def left_out(self) -> frozenset[str]:
        """The names of the images that have no row."""
        bad = self.problems or [""] * len(self.names)
        return frozenset(name for name, why in zip(self.names, bad, strict=True) if why)

    @cached_property
    def digest(self) -> str:
        """The sha256 over all names and hashes: what the plan holds."""
        found = hashlib.sha256()
        truths = self.truth_sha256s or [""] * len(self.names)
        for name, sha256, truth in zip(self.names, self.sha256s, truths, strict=True):
            left_out = "left out " if name in self.left_out else ""
            beside = f"{truth} " if self.truth_sha256s else ""
            found.update(f"{left_out}{sha256} {beside}{name}\n".encode())
        return found.hexdigest()

    def to_bytes(self) -> bytes:
        """The content of its file."""
        columns = {name: getattr(self, attribute) for name, attribute in _ATTRIBUTES.items()}
        present = {n: pa.array(c, pa.string()) for n, c in columns.items() if c is not None}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(present), sink, compression="zstd", use_dictionary=False)
        data: bytes = sink.getvalue().to_pybytes()
        return data


def find_listing(url: str, digest: str) -> SourceListing | None:
    """The listing of the dataset at url; None if it is lost, or is not the one of this digest."""
    try:
        data = storage.read_bytes(storage.join(url, SOURCE))
        table = pq.read_table(pa.BufferReader(data))
        names = [*_COLUMNS, *(name for name in _MORE if name in table.column_names)]
        columns = table.select(names).cast(pa.schema([(name, pa.string()) for name in names]))
        found = SourceListing(**{_ATTRIBUTES[name]: columns[name].to_pylist() for name in names})
    except (FileNotFoundError, KeyError, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and storage.is_transient(error):
            raise
        return None
    return found if found.digest == digest else None


def keep_listing(url: str, listing: SourceListing, replace: bool = False) -> None:
    """Writes the listing into the dataset at url, unless one of its digest is there.

    replace: in place of that one, too, as a digest says nothing of the places of the images.
    """
    folder = storage.Folder(url)
    with suppress(FileExistsError):
        folder.write_new(SOURCE, listing.to_bytes())
        return
    if replace or find_listing(url, listing.digest) is None:
        folder.write(SOURCE, listing.to_bytes())


def read_listing(url: str, digest: str) -> SourceListing:
    """As `find_listing`. Raises UserError if it is lost or altered."""
    if (found := find_listing(url, digest)) is None:
        raise UserError(
            f"{storage.join(url, SOURCE)}: is missing or altered. Run the same `factory label` "
            "again, which writes it anew."
        )
    return found
