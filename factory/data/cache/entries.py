"""A folder of decoded images on a machine's disk: each entry a file that processes map into memory.

    lock                 held by whoever makes or removes an entry
    <key>/images.npy     (N, S, S, C) uint8; whoever uses it shares a lock on it
    <key>/about.json     what it holds
    making/              what is not complete; whoever makes the next one begins it anew

Locks end with the process that holds them, however that ends.
"""

import errno
import fcntl
import io
import json
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from factory import storage
from factory.errors import UserError
from factory.images import UInt8
from factory.progress import tell

Shape = tuple[int, int, int, int]
"""(N, S, S, C); C is 3 for RGB, 1 for grey."""
_IMAGES, _ABOUT, _MAKING = "images.npy", "about.json", "making"


@dataclass(frozen=True)
class Cached:
    """Decoded images, which stay in the cache as long as this is kept."""

    key: str
    images: UInt8
    """(N, S, S, C), mapped: only what is read of it is in memory, once for all processes."""
    digest: str
    """SHA-256 of the pixels, image by image."""
    file: IO[bytes]

    @property
    def summary(self) -> str:
        """The description that tells these pixels from others, in words."""
        return summary(len(self.images), self.digest)


def summary(num: int, digest: str) -> str:
    """`Cached.summary` of so many images with this digest."""
    return f"{num:,} images, sha256 {digest}"


@dataclass(frozen=True)
class NewEntry:
    """An entry that is being made; several threads may write its images at once."""

    folder: Path
    key: str
    shape: Shape
    file: IO[bytes]
    start: int
    """Bytes before the first image."""

    def write(self, i: int, image: UInt8) -> None:
        """Writes image i, (S, S, C), where it belongs. Raises OSError."""
        os.pwrite(self.file.fileno(), image.tobytes(), self.start + i * image.nbytes)

    def finish(self, digest: str) -> None:
        """Makes the entry one of the cache, all its images being written. Raises OSError."""
        os.fsync(self.file.fileno())
        about = {"digest": digest, "num": self.shape[0], "image_size": self.shape[1]}
        making = self.folder / _MAKING
        (making / _ABOUT).write_text(json.dumps(about))
        # This fails if there is one: an entry is never replaced.
        making.rename(self.folder / self.key)


def open_entry(folder: Path, key: str) -> Cached | None:
    """An entry, None if there is no whole one; its folder then tells that it was used now."""
    entry = folder / key
    with naming_the_folder(folder):
        try:
            file = (entry / _IMAGES).open("rb")
            digest = json.loads((entry / _ABOUT).read_text())["digest"]
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
            return None
        fcntl.flock(file, fcntl.LOCK_SH)
        shape, start = _read_header(file)
        found = os.fstat(file.fileno())
    # No links: it was removed in the meantime. Another length: somebody cut it.
    if not found.st_nlink or not shape or found.st_size != start + math.prod(shape):
        return None
    with suppress(OSError):  # It is somebody else's, which we may only read.
        # The file system's own clock is too coarse to tell which of two was used last.
        os.utime(entry, ns=(time.time_ns(),) * 2)
    images = np.asarray(np.memmap(file, np.uint8, "r", start, shape))
    return Cached(key, images, digest, file)


@contextmanager
def making_alone(folder: Path) -> Iterator[None]:
    """Makes this process the only one that makes or removes entries; others wait, and say so."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"data | waiting for another process that decodes images into {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_room(folder: Path, key: str, num_bytes: int, cache_gib: float) -> None:
    """Removes what is in the way of a new entry, inside `making_alone`.

    Raises UserError if there is no room, OSError.
    """
    # What a killed process left, or an entry that somebody cut.
    for leftover in (folder / _MAKING, folder / key):
        shutil.rmtree(leftover, ignore_errors=True)
    for entry in entries_to_remove(folder, num_bytes, cache_gib):
        shutil.rmtree(entry)


@contextmanager
def new_entry(folder: Path, key: str, shape: Shape) -> Iterator[NewEntry]:
    """Begins an entry for which there is room, inside `making_alone`; the body must `finish` it.

    Nothing is left of one that is not finished. Raises OSError.
    """
    making = folder / _MAKING
    try:
        making.mkdir(mode=0o700)
        with (making / _IMAGES).open("w+b", buffering=0) as file:
            yield NewEntry(folder, key, shape, file, _begin_file(file, shape))
    finally:
        shutil.rmtree(making, ignore_errors=True)


def entries_to_remove(folder: Path, needed: int, cache_gib: float) -> list[Path]:
    """The entries to remove to have room for so many bytes: the oldest first, none in use.

    Raises UserError if there would still be none.
    """
    entries = _unused(folder)
    limit = int(cache_gib * 2**30)
    held = sum(_size_of(path) for path in _entries(folder))
    free = shutil.disk_usage(_existing(folder)).free
    if needed > limit:
        raise UserError(
            f"data.cache_gib: the decoded images take {needed / 2**30:.2f} GiB, the cache in "
            f"{folder} may hold {cache_gib:g}. Raise it, or lower data.image_size or "
            "data.unlabelled.num."
        )
    chosen = []
    while entries and (held + needed > limit or needed > free):
        chosen.append(oldest := entries.pop(0))
        size = _size_of(oldest)
        held, free = held - size, free + size
    if held + needed > limit:
        raise UserError(
            f"data.cache_gib: {held / 2**30:.2f} GiB of the {cache_gib:g} that the cache in "
            f"{folder} may hold are in use by other commands, and {needed / 2**30:.2f} are needed. "
            "Raise it, or wait until they have ended."
        )
    if needed > free:
        raise UserError(
            f"data.cache_dir: the decoded images take {needed / 2**30:.2f} GiB, the disk of "
            f"{folder} has {free / 2**30:.2f} free. Name a folder on a larger disk, or lower "
            "data.image_size or data.unlabelled.num."
        )
    return chosen


@contextmanager
def naming_the_folder(folder: Path) -> Iterator[None]:
    """Turns an OSError of the cache's folder into a UserError that names it and its key."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"data.cache_dir: {folder}: cannot be used ({storage.describe(error)}). Name a folder "
            "of each machine that can be written and has room for the decoded images."
        ) from None


def _begin_file(file: IO[bytes], shape: Shape) -> int:
    """Writes the header, and takes the room for all images; returns the length of the header.

    Raises OSError.
    """
    header = io.BytesIO()
    about = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, about)
    file.write(header.getvalue())
    start = len(header.getvalue())
    _reserve(file, start + math.prod(shape))
    return start


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], int]:
    """The shape, empty if there is no header, and the number of bytes before the pixels."""
    try:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError:
        return (), 0
    return (shape if dtype == np.uint8 else ()), file.tell()


def _reserve(file: IO[bytes], num_bytes: int) -> None:
    """Takes all the room now, so that a disk that fills up meanwhile does not matter."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise


def _entries(folder: Path) -> list[Path]:
    found = [file.parent for file in folder.glob(f"*/{_IMAGES}")]
    return [entry for entry in found if entry.name != _MAKING]


def _unused(folder: Path) -> list[Path]:
    """Entries that nobody has opened now, the one used last at the end."""
    found = []
    for entry in _entries(folder):
        with suppress(OSError), (entry / _IMAGES).open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append((entry.stat().st_mtime_ns, entry))
    return [entry for _, entry in sorted(found)]


def _size_of(entry: Path) -> int:
    return (entry / _IMAGES).stat().st_size


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())
