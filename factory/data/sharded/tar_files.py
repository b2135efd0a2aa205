"""The members of a tar, of a disk or of a store, which is never unpacked.

All headers are read once; of a store, a few MiB at a time. Then members are read by their places.
"""

import io
import tarfile
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from factory import storage
from factory.data.files.trees import MAX_BYTES, Tree, is_junk
from factory.errors import UnreadableImage, UserError

_BLOCK = 512
"""The unit of a tar; a block of zeros ends it."""
_GZIP = b"\x1f\x8b"
_READ_AHEAD = 2**22
_NUM_KEPT = 8
"""So many times _READ_AHEAD bytes of a store are kept: threads are not all at the same place."""
_REMEDY = "Pack or download it again, or remove it."


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar."""

    name: str
    start: int
    """The offset of its first byte in the tar."""
    size: int
    is_plain: bool = True
    """False of a link, and of a file with holes, whose bytes are not in one piece."""


def members(tree: Tree, tar_name: str) -> Iterator[Member]:
    """The files in a tar and the links, in their order; folders and hidden files are passed over.

    Raises UserError if it is no tar, is damaged or ends too early, OSError.
    """
    url = tree.url_of(tar_name)
    with _opened(url) as file:
        start = 0
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    # The list of members would grow beside ours.
                    tar.members = []  # type: ignore[attr-defined]
                    name = _name(member.name)
                    if (member.isreg() or member.islnk() or member.issym()) and not is_junk(name):
                        is_plain = member.isreg() and not member.issparse()
                        yield Member(name, member.offset_data, member.size, is_plain)
                start = tar.offset
        except (tarfile.TarError, EOFError, ValueError) as error:
            file.seek(0)
            if file.read(len(_GZIP)) == _GZIP:
                raise UserError(
                    f"{url}: is packed as a whole, and would have to be read from the beginning "
                    "for each image. Unpack the tar itself once, as by `gunzip -c`."
                ) from None
            raise UserError(f"{url}: is no whole tar ({error}). {_REMEDY}") from None
        _check_end(url, file, start)


@dataclass(frozen=True, eq=False)
class TarFiles:
    """The tars of a tree, whose members several threads read at once."""

    tree: Tree
    _kept: "OrderedDict[tuple[str, int], bytes]" = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, tar: str, member: Member) -> bytes:
        """The bytes of a member. Raises UnreadableImage if they are too many or missing, OSError.

        Members of a store that are asked for in about their order are read once, many at a time.
        """
        if member.size > MAX_BYTES:
            raise UnreadableImage(f"has more than {MAX_BYTES} bytes. Remove it.")
        url, stop = self.tree.url_of(tar), member.start + member.size
        if storage.is_local(url) or member.size > _READ_AHEAD:
            data = storage.read_range(url, member.start, stop)
        else:
            first = member.start // _READ_AHEAD
            parts = [self._part(url, i) for i in range(first, -(-stop // _READ_AHEAD))]
            data = b"".join(parts)[member.start - first * _READ_AHEAD :][: member.size]
        if len(data) < member.size:
            raise UnreadableImage(f"its tar has become shorter. {_REMEDY}")
        return data

    def _part(self, url: str, i: int) -> bytes:
        with self._lock:
            data = self._kept.pop((url, i), None)
            if data is None:
                data = storage.read_range(url, i * _READ_AHEAD, (i + 1) * _READ_AHEAD)
            while len(self._kept) >= _NUM_KEPT:
                self._kept.popitem(last=False)
            self._kept[url, i] = data
        return data


def _name(stored: str) -> str:
    """A member's name in NFC, without what means nothing in it: `../a/./b.png` is `a/b.png`."""
    parts = [part for part in stored.split("/") if part not in ("", ".", "..")]
    return unicodedata.normalize("NFC", "/".join(parts))


def _opened(url: str) -> io.BufferedIOBase:
    if storage.is_local(url):
        return open(url, "rb")
    return io.BufferedReader(storage.RangedFile(url, storage.size_of(url)), _READ_AHEAD)


def _check_end(url: str, file: io.BufferedIOBase, start: int) -> None:
    """Raises UserError unless a block of zeros follows the last member: without one nothing tells
    whether the tar was cut between two members."""
    file.seek(start)
    block = file.read(_BLOCK)
    if len(block) == _BLOCK and not any(block):
        return
    why = "a member's header is damaged" if len(block) == _BLOCK else "it is cut off"
    raise UserError(f"{url}: is no whole tar: its end mark is missing, so {why}. {_REMEDY}")
