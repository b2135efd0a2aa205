"""The files of a source: those below a folder, or those in a .zip archive, which is read in place.

Names are paths below the root of a tree, in NFC: macOS writes an accent as a character of its own,
other systems do not, and both mean the same name. Hidden files and what systems and programs put
among people's files have no name here.
"""

import errno
import os
import stat
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from factory import images, storage
from factory.data.files import archives
from factory.data.files.archives import Archive
from factory.errors import UnreadableImage, UserError, some

MAX_BYTES = 8 * images.MAX_PIXELS
"""Files may be as large as the pixels that we accept, stored plainly in 16-bit RGBA."""
_OURS = (".inspect.png", ".sheet.png", ".recipe.json")
"""Endings of what `factory inspect` writes beside configs, and `factory sample` beside images."""

_TEXTS = (".json", ".txt", ".csv", ".tsv", ".xml", ".yaml", ".yml")
"""Endings of files that tell of images which lie beside them, or in other folders."""


class Tree(Protocol):
    """The files of a source; several threads may read them at once."""

    @property
    def url(self) -> str:
        """The folder or the archive, as it was named."""

    def names(self, below: str = "") -> list[str]:
        """Names of all files below a folder of the tree, sorted; each begins with that folder.

        A folder that is not there has none. Raises OSError, and UserError for files whose names
        differ in nothing that can be seen.
        """

    def is_there(self, below: str) -> bool:
        """True if the tree has this folder. Raises OSError."""

    def url_of(self, name: str) -> str:
        """The file or folder in messages, as exactly as people can find it: its path or URL, or
        `archive.zip/inner/name.png`."""

    def read(self, name: str) -> bytes:
        """The bytes of a file that `names` has told.

        Raises OSError, and UnreadableImage for files without an end, of more than MAX_BYTES, and
        for damaged or encrypted members of an archive.
        """

    def read_start(self, name: str, num_bytes: int) -> bytes:
        """The first bytes of a file, all of it if it has no more. Raises as `read` does."""

    def versions(self, names: Sequence[str]) -> list[str]:
        """A text for each file that changes with its content. Raises OSError."""


def open_tree(url: str) -> Tree:
    """The tree of a folder, of a .zip archive, or of a folder in one (`archive.zip/train`).

    Raises UserError for other files, and for an archive that is damaged or whose names leave it;
    OSError.
    """
    if found := archives.split(url):
        archive_url, below = found
        return _archive_tree(url, archives.open_archive(archive_url), below)
    if archives.is_packed(url) and storage.is_file(url):
        of_tars = " Tars of images are read in place by `kind: webdataset`."
        raise UserError(
            f"{url}: is an archive that is not read in place. {archives.how_to_unpack(url)}"
            f"{of_tars if url.lower().endswith('.tar') else ''}"
        )
    if storage.is_local(url) and os.path.isfile(url):
        what = "it and the images" if url.lower().endswith(_TEXTS) else "it"
        raise UserError(f"{url}: is a file. Name the folder that holds {what}, or a .zip archive.")
    return FolderTree(url)


def read_file(url: str) -> bytes:
    """The bytes of a file that may be a member of an archive: `archive.zip/lists/train.txt`.

    Raises OSError, and UserError for an archive that is damaged.
    """
    found = archives.split(url)
    if found is None or not found[1]:
        return storage.read_bytes(url)
    archive_url, name = found
    top, _, rest = name.partition("/")
    try:
        # The folder that holds all of an archive may be named, or be left out.
        for tree, inner in (
            (open_tree(archive_url), name),
            (open_tree(f"{archive_url}/{top}"), rest),
        ):
            if inner in tree.names():
                return tree.read(inner)
    except UnreadableImage as error:
        raise UserError(f"{url}: {error}") from None
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)


@dataclass(frozen=True)
class FolderTree:
    """The files below a folder of this machine or of a store."""

    url: str
    _stored: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Name in NFC -> as it is stored, of those that differ and have been listed."""

    def names(self, below: str = "") -> list[str]:
        """See `Tree`."""
        prefix = "".join(f"{part}/" for part in _parts(below))
        if not below.isascii() and not storage.exists(self.url_of(below)):
            # The folder may be stored in another form of its name.
            return [name for name in self.names() if name.startswith(prefix)]
        found = storage.list_names(f"{self.url}/{prefix}".rstrip("/"))
        stored = _by_name([f"{prefix}{name}" for name in found if not is_junk(name)], self.url)
        self._stored.update({name: raw for name, raw in stored.items() if name != raw})
        return sorted(stored)

    def is_there(self, below: str) -> bool:
        """See `Tree`."""
        return storage.exists(self.url_of(below)) or (
            not below.isascii() and any(self.names(below))
        )

    def url_of(self, name: str) -> str:
        """See `Tree`."""
        return storage.join(self.url, *_parts(self._stored.get(name, name)))

    def read(self, name: str) -> bytes:
        """See `Tree`."""
        return storage.read_bytes(self._checked(name))

    def read_start(self, name: str, num_bytes: int) -> bytes:
        """See `Tree`."""
        return storage.read_range(self._checked(name), 0, num_bytes)

    def _checked(self, name: str) -> str:
        """The file's URL. Raises OSError, UnreadableImage if it is not to be read."""
        url = self.url_of(name)
        if not storage.is_local(url):
            try:
                storage.normalize(url)
            except UserError:
                raise UnreadableImage(
                    "has a name that no URL can have, as ?, :: and control characters mean "
                    "something else there. Rename it."
                ) from None
        else:
            found = _stat(url)
            if not stat.S_ISREG(found.st_mode):
                raise UnreadableImage("is no regular file. Remove it.")
            _check_size(found.st_size)
        return url

    def versions(self, names: Sequence[str]) -> list[str]:
        """See `Tree`."""
        return storage.versions(self.url, [self.url_of(name) for name in names])


def _stat(path: str) -> os.stat_result:
    """What the system says of a file. Raises OSError; UnreadableImage for a link to none, which
    stays one however often it is read."""
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP) or not os.path.islink(path):
            raise
        raise UnreadableImage(
            f"cannot be read (a link to no file: {error.strerror}). Restore or remove it."
        ) from None


@dataclass(frozen=True)
class ArchiveTree:
    """The files of a .zip archive, none of which is ever unpacked to a disk."""

    url: str
    archive: Archive = field(repr=False)
    root: str
    """The folder of the archive from which names count, empty or ending with a slash."""
    stored: dict[str, str] = field(repr=False)
    """Name in NFC, below the root -> as it is stored."""

    def names(self, below: str = "") -> list[str]:
        """See `Tree`."""
        prefix = "".join(f"{part}/" for part in _parts(below))
        return sorted(name for name in self.stored if name.startswith(prefix))

    def is_there(self, below: str) -> bool:
        """See `Tree`."""
        prefix = "".join(f"{part}/" for part in _parts(below))
        return any(name.startswith(prefix) for name in self.stored) or not prefix

    def url_of(self, name: str) -> str:
        """See `Tree`."""
        return storage.join(self.archive.url, *_parts(self._member(name)))

    def read(self, name: str) -> bytes:
        """See `Tree`."""
        member = self._member(name)
        for size in self.archive.sizes(member):
            _check_size(size)
        return self.archive.read(member)

    def read_start(self, name: str, num_bytes: int) -> bytes:
        """See `Tree`; a member is unpacked whole."""
        return self.read(name)[:num_bytes]

    def versions(self, names: Sequence[str]) -> list[str]:
        """See `Tree`."""
        return [self.archive.version(self._member(name)) for name in names]

    def _member(self, name: str) -> str:
        return self.stored.get(name, f"{self.root}{name}")


def _archive_tree(url: str, archive: Archive, below: str) -> ArchiveTree:
    """The tree of an archive, or of a folder in it.

    One folder that holds everything is what packing a folder gives: it is taken for the root, and
    may be left out of the url.
    """
    if twice := [name for name in dict.fromkeys(archive.twice) if not is_junk(name)]:
        raise UserError(
            f"{archive.url}: holds several members each that are called {some(twice)}, and they "
            "differ. Unpack it, which asks for the one to keep, and pack that folder."
        )
    members = [name for name in archive.names() if not is_junk(name)]
    tops = {name.partition("/")[::2] for name in members}
    only = {top for top, rest in tops if rest} if all(rest for _, rest in tops) else set()
    top = f"{only.pop()}/" if len(only) == 1 else ""
    root = f"{below}/" if below else top
    stored = _by_name(members, archive.url)
    prefix = unicodedata.normalize("NFC", root)
    if below and not any(name.startswith(prefix) for name in stored):
        root, prefix = f"{top}{root}", unicodedata.normalize("NFC", f"{top}{root}")
    inside = {n[len(prefix) :]: raw for n, raw in stored.items() if n.startswith(prefix)}
    return ArchiveTree(url, archive, root, inside)


def _by_name(stored: Iterable[str], url: str) -> dict[str, str]:
    """Name in NFC -> as it is stored. Raises UserError for two of one name."""
    found: dict[str, str] = {}
    twice = []
    for raw in stored:
        name = raw if raw.isascii() else unicodedata.normalize("NFC", raw)
        if found.setdefault(name, raw) != raw:
            twice.append(name)
    if twice:
        raise UserError(
            f"{url}: holds two files each that are called {some(twice)}, of which one is written "
            "with combining accents. Rename one of them."
        )
    return found


def is_junk(name: str) -> bool:
    """True for hidden files, and for those that systems and programs put among people's, our own
    among them."""
    return name.endswith(_OURS) or storage.is_of_system(name)


def _parts(name: str) -> list[str]:
    """The parts of a name."""
    return [part for part in name.split("/") if part not in ("", ".")]


def _check_size(num_bytes: int) -> None:
    """Raises UnreadableImage for a file that is larger than any image that is read."""
    if num_bytes > MAX_BYTES:
        raise UnreadableImage(f"has more than {MAX_BYTES} bytes. Remove it.")
