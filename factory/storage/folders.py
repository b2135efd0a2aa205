"""A folder whose files go by their names relative to it."""

from collections.abc import Iterable
from dataclasses import dataclass

from factory.storage import files, listings
from factory.storage.listings import Entry


@dataclass(frozen=True)
class Folder:
    """A folder on this machine or in a store. Its methods raise as the functions of their names."""

    url: str

    def url_of(self, name: str) -> str:
        """The URL of a file or folder in it."""
        return f"{self.url.rstrip('/')}/{name}"

    def read_bytes(self, name: str) -> bytes:
        """All bytes of a file. Raises FileNotFoundError."""
        return files.read_bytes(self.url_of(name))

    def read_text(self, name: str) -> str:
        """A file as UTF-8 text. Raises FileNotFoundError, UnicodeDecodeError."""
        return files.read_text(self.url_of(name))

    def sha256_of(self, name: str) -> str:
        """The sha256 of a file's bytes as 64 hex digits. Raises FileNotFoundError."""
        return files.sha256_of(self.url_of(name))

    def exists(self, name: str) -> bool:
        """True if there is a file or folder of this name."""
        return files.exists(self.url_of(name))

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, replacing an older one in one step."""
        files.write(self.url_of(name), data)

    def write_chunks(self, name: str, chunks: Iterable[bytes]) -> None:
        """Writes a file from chunks, replacing an older one in one step."""
        files.write_chunks(self.url_of(name), chunks)

    def write_new(self, name: str, data: bytes) -> None:
        """Creates a file. Raises FileExistsError if there was one before."""
        files.write_new(self.url_of(name), data)

    def remove(self, name: str) -> None:
        """Deletes a file. Raises FileNotFoundError."""
        files.remove(self.url_of(name))

    def names_in(
        self, folder: str, suffixes: Iterable[str] = (), recursive: bool = False
    ) -> list[str]:
        """Names of the files in a folder of it, sorted; hidden ones are left out.

        suffixes: lower-case endings to keep, all if empty.
        """
        urls = listings.list_files(self.url_of(folder), suffixes, recursive)
        return [url.removeprefix(self.url_of("")) for url in urls]

    def entries(self, folder: str = "") -> dict[str, Entry]:
        """All files in it, or in a folder of it, hidden ones too, by name."""
        found = listings.entries(self.url_of(folder) if folder else self.url)
        prefix = f"{folder}/" if folder else ""
        return {f"{prefix}{entry.name}": entry for entry in found}
