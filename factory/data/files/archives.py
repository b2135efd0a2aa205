"""A .zip archive on a disk or in a store, read in place: only the bytes that are asked for. Others
are known by their endings, and are told with the command that unpacks them."""

import shlex
import threading
import zipfile
import zlib
from pathlib import PurePosixPath

from factory import storage
from factory.errors import UnreadableImage, UserError, some
from factory.storage import RangedFile

_ENDING = ".zip"
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways of packing that cannot give more bytes than the archive says, unlike bzip2 and LZMA."""
_MADE_ON_WINDOWS = 0
_HEADER = 30 + 2**10
"""The bytes before a member's data, besides its name: if they are more, they are read apart."""
_UNPACKING = {
    ".zip": "python -m zipfile -e {file} {folder}",
    **dict.fromkeys(
        (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"),
        "mkdir {folder} && tar -xf {file} -C {folder}",
    ),
    ".7z": "7z x {file} -o{folder}",
    ".rar": "mkdir {folder} && unrar x {file} {folder}",
}
"""The ending of an archive -> the command that unpacks it into a folder beside it."""


class _HeldFile(RangedFile):
    """A file of which each thread holds the range of the member that it is about to read: threads
    then wait for their store at the same time, though `zipfile` reads by one after another."""

    def __init__(self, url: str, size: int | None) -> None:
        super().__init__(url, size)
        self._held = threading.local()

    def hold(self, start: int, stop: int) -> None:
        """Reads a range for the calling thread. Raises OSError."""
        self._held.start, self._held.data = start, super().range(start, stop)

    def drop(self) -> None:
        """Forgets what the calling thread holds."""
        self._held.__dict__.clear()

    def range(self, start: int, stop: int) -> bytes:
        """See `RangedFile`; of what the calling thread holds nothing is read again."""
        first, data = getattr(self._held, "start", 0), getattr(self._held, "data", b"")
        if first <= start and min(stop, self.size) <= first + len(data):
            return bytes(data[start - first : stop - first])
        return super().range(start, stop)


class Archive:
    """The members of an archive; several threads may read them at once."""

    def __init__(self, url: str, members: zipfile.ZipFile, file: _HeldFile) -> None:
        self.url = url
        self._members, self._file = members, file
        infos = [info for info in members.infolist() if not _separated(info).endswith("/")]
        # Programs of Windows that say that they were made on Unix part folders by backslashes, too.
        windows = all("/" not in info.filename for info in infos)
        self._stored: dict[str, zipfile.ZipInfo] = {}
        self.twice: list[str] = []
        """Names of members of which there are several that differ, so that it is not clear which
        of them is meant."""
        for info in infos:
            name = _name(_separated(info, windows))
            first = self._stored.setdefault(name, info)
            if (first.CRC, first.file_size) != (info.CRC, info.file_size):
                self.twice.append(name)

    def names(self) -> list[str]:
        """The members' names, with slashes between folders."""
        return list(self._stored)

    def sizes(self, name: str) -> tuple[int, int]:
        """The number of bytes of a member, unpacked and packed, by what the archive says."""
        info = self._info(name)
        return info.file_size, info.compress_size

    def version(self, name: str) -> str:
        """A text that changes with a member's content: its size and its checksum."""
        info = self._info(name)
        return f"{info.file_size} {info.CRC:08x}"

    def read(self, name: str) -> bytes:
        """A member's bytes, never more than `sizes` says. Raises OSError, UnreadableImage."""
        info = self._info(name)
        if info.flag_bits & _ENCRYPTED:
            raise UnreadableImage("is encrypted in the archive. Pack it without a password.")
        if info.compress_type not in _METHODS:
            raise UnreadableImage("is packed in a way that is not read. Pack it with deflate.")
        length = _HEADER + len(info.orig_filename.encode()) + info.compress_size
        self._file.hold(info.header_offset, info.header_offset + length)
        try:
            with self._members.open(info) as member:
                # A number, as without one a member may grow to any size before its end is noticed.
                return member.read(info.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            why = str(error) or "it ends too early"
            raise UnreadableImage(
                f"is damaged in the archive ({why}). Pack it again, or download it again."
            ) from None
        finally:
            self._file.drop()

    def _info(self, name: str) -> zipfile.ZipInfo:
        return self._stored[name]


def split(url: str) -> tuple[str, str] | None:
    """The URL of an archive, and the folder in it that a URL names (`archive.zip/train`); None if
    no part of the URL is an archive. Raises OSError."""
    root, separator, rest = url.rpartition("://")
    parts = rest.split("/")
    for i, part in enumerate(parts, 1):
        path = f"{root}{separator}{'/'.join(parts[:i])}"
        if part.lower().endswith(_ENDING) and storage.is_file(path):
            return path, "/".join(parts[i:])
    return None


def is_packed(name: str) -> bool:
    """True for the names of archives of all kinds."""
    return name.lower().endswith(tuple(_UNPACKING))


def how_to_unpack(url: str) -> str:
    """Two sentences: how to unpack an archive of any kind, and that its folder is to be named."""
    ending = max((end for end in _UNPACKING if url.lower().endswith(end)), key=len)
    is_local = storage.is_local(url)
    file = url if is_local else storage.name_of(url)
    folder = file[: -len(ending)]
    command = _UNPACKING[ending].format(file=shlex.quote(file), folder=shlex.quote(folder))
    unpack = "Unpack it" if is_local else "Download it, and unpack it"
    return f"{unpack} by `{command}`. Then name the folder: `url: {folder}`."


def open_archive(url: str) -> Archive:
    """The archive of a URL, of which the list of members is read.

    Raises UserError if it is damaged or if names leave it, OSError.
    """
    file = _HeldFile(url, storage.size_of(url))
    try:
        archive = Archive(url, _opened(file), file)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(
            f"{url}: is no whole .zip archive ({error}). Pack it again, or download it again."
        ) from None
    leaving = [name for name in archive.names() if name.startswith("/") or _leaves(name)]
    if leaving:
        raise UserError(
            f"{url}: holds names that leave the archive: {some(leaving)}. Pack it without them."
        )
    return archive


def _opened(file: _HeldFile) -> zipfile.ZipFile:
    """The list of members. Programs that do not say how names are written mean UTF-8, or CP437."""
    try:
        return zipfile.ZipFile(file, metadata_encoding="utf-8")
    except UnicodeDecodeError:
        return zipfile.ZipFile(file)


def _separated(info: zipfile.ZipInfo, windows: bool = False) -> str:
    """A member's name with slashes; old programs of Windows part folders by backslashes."""
    windows = windows or info.create_system == _MADE_ON_WINDOWS
    return info.filename.replace("\\", "/") if windows else info.filename


def _name(stored: str) -> str:
    """A member's name without what means nothing in it: `./a//b.png` is `a/b.png`."""
    parts = [part for part in stored.split("/") if part not in ("", ".")]
    return f"{'/' if stored.startswith('/') else ''}{'/'.join(parts)}"


def _leaves(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return ".." in parts or (parts[:1] != () and parts[0].endswith(":"))
