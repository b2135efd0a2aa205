"""A source's images, decoded once a machine: a file that all its processes map into memory.

    lock                 held by whoever makes or removes an entry
    <key>/images.npy     (N, S, S, 3) uint8; whoever uses it shares a lock on it
    <key>/about.json     what it holds
    making/              what is not complete; whoever makes the next one begins it anew

The key is of all that decides the pixels: the source, the size, the way of decoding, and each
file's name, size and time. Locks end with the process that holds them, however that ends.
"""

import errno
import fcntl
import hashlib
import io
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import PIL

from factory import storage
from factory.config import DataConfig, Source
from factory.data import listing, loading
from factory.data.toy import drawing
from factory.errors import Problems, UserError, shown
from factory.images import UInt8
from factory.progress import duration, tell

DECODING = 1
"""Raise it where the same file is decoded to other pixels than before."""
_TELL_SECONDS = 30.0
_CHUNK = 64
"""Images that a thread decodes before it asks for more."""
_IMAGES, _ABOUT, _MAKING = "images.npy", "about.json", "making"


@dataclass(frozen=True)
class Listing:
    """The images that a source has now, none of them read yet."""

    num: int
    key: str
    read: Callable[[int, Problems], UInt8 | None]
    """Image i as (S, S, 3); None where it cannot be used, which is noted."""
    oddities: tuple[str, ...] = ()
    """As of `listing.Found`."""


@dataclass(frozen=True)
class Cached:
    """Decoded images, which stay in the cache as long as this is kept."""

    key: str
    images: UInt8
    """(N, S, S, 3), mapped: only what is read of it is in memory, once for all processes."""
    digest: str
    """SHA-256 of the pixels, image by image."""
    file: IO[bytes]

    @property
    def told(self) -> str:
        """What tells these pixels from others, in words."""
        return _told(len(self.images), self.digest)


def _told(num: int, digest: str) -> str:
    return f"{num:,} images, sha256 {digest}"


def find(source: Source, size: int) -> Listing:
    """Lists a source. Raises UserError with a line per problem, OSError where it is not reached."""
    about = {
        "source": source.model_dump(mode="json"),
        "image_size": size,
        "decoding": [DECODING, PIL.__version__, np.__version__],
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    if source.kind == "toy":
        assert source.num is not None, "Source checks it"
        seed = source.seed
        return Listing(source.num, key.hexdigest(), lambda i, _: drawing.draw(seed, i, size)[0])
    problems = Problems()
    there = listing.find_files(source, False, problems)
    if problems.found:
        raise UserError(loading.first_lines(problems.found))
    urls = [file.url for file in there.files]
    assert source.url is not None, "Source checks it"
    for url, version in zip(urls, storage.versions(source.url, urls), strict=True):
        key.update(json.dumps([url, version]).encode())

    def read(i: int, found: Problems) -> UInt8 | None:
        return loading.read_square(urls[i], size, found)

    return Listing(len(urls), key.hexdigest(), read, there.oddities)


def check(data: DataConfig, source: Source) -> str | None:
    """Reads all images of a source and keeps none of them; tells what they will take, and what is
    odd about the source.

    Returns what tells the pixels from others, as `Cached.told`; None for drawings, which are not
    drawn: what they are, the source says.

    Raises UserError with a line per image that cannot be used, and where there is no room.
    """
    found = find(source, data.image_size)
    _tell_oddities(found)
    folder = _folder(data)
    if (there := _opened(folder, found.key)) is not None:
        _tell_found(there, folder)
        return there.told
    needed = math.prod(_shape(found, data))
    try:
        storage.check_writable(str(folder))
    except UserError as error:
        raise UserError(f"data.cache_dir: {error}") from None
    _to_remove(folder, needed, data)
    digest = None if source.kind == "toy" else _decode(found, lambda i, image: None)
    tell(f"data | {_size(found.num, data, needed)} will be decoded into {folder}")
    return digest and _told(found.num, digest)


def cached_images(data: DataConfig, source: Source, key: str | None = None) -> Cached:
    """The images of a source out of this machine's cache, decoded into it where they are not there.

    key: of the entry, where it is known: then the source is not even listed if it is there. Without
    it, what is odd about the source is told.

    Raises UserError with a line per image that cannot be used, and where there is no room or the
    folder cannot be written; then nothing is left of it.
    """
    folder = _folder(data)
    if key is not None and (there := _opened(folder, key)) is not None:
        return there
    found = find(source, data.image_size)
    if key is None:  # Else whoever knew it has told them.
        _tell_oddities(found)
    if (there := _opened(folder, found.key)) is None:
        with _names_the_folder(folder), _making(folder):
            # Another process may have made it while this one waited.
            if (there := _opened(folder, found.key)) is None:
                _make(found, folder, data)
                there = _opened(folder, found.key)
        assert there is not None, "nobody removes an entry while the cache is ours"
    _tell_found(there, folder)
    return there


def _folder(data: DataConfig) -> Path:
    """Where this machine's cache is."""
    place = data.cache_dir or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "factory", "images"
    )
    try:
        return Path(place).expanduser()
    except RuntimeError:
        raise UserError(
            f"data.cache_dir: {place}: there is no home folder here. Name a folder that is on a "
            "disk of each machine."
        ) from None


def _shape(found: Listing, data: DataConfig) -> tuple[int, int, int, int]:
    return found.num, data.image_size, data.image_size, 3


def _size(num: int, data: DataConfig, num_bytes: int) -> str:
    side = data.image_size
    return f"{num:,} images of {side}x{side} pixels ({num_bytes / 2**30:.2f} GiB)"


def _tell_oddities(found: Listing) -> None:
    for odd in found.oddities:
        tell(f"data | {shown(odd)}")


def _tell_found(there: Cached, folder: Path) -> None:
    num, side, *_ = there.images.shape
    size = f"{there.images.nbytes / 2**30:.2f} GiB"
    tell(f"data | {num:,} images of {side}x{side} pixels ({size}) are decoded in {folder}")


def _opened(folder: Path, key: str) -> Cached | None:
    """An entry, None where there is no whole one; its folder then tells that it was used now."""
    entry = folder / key
    with _names_the_folder(folder):
        try:
            file = (entry / _IMAGES).open("rb")
            digest = json.loads((entry / _ABOUT).read_text())["digest"]
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
            return None
        fcntl.flock(file, fcntl.LOCK_SH)
        shape, start = _header(file)
        found = os.fstat(file.fileno())
    # No links: removed in the meantime. Another length: somebody cut it.
    if not found.st_nlink or not shape or found.st_size != start + math.prod(shape):
        return None
    with suppress(OSError):  # Somebody else's, which we may only read.
        # The file system's own clock is too coarse to tell which of two was used last.
        os.utime(entry, ns=(time.time_ns(),) * 2)
    images = np.asarray(np.memmap(file, np.uint8, "r", start, shape))
    return Cached(key, images, digest, file)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], int]:
    """The shape, empty where there is none, and where the pixels begin."""
    try:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError:
        return (), 0
    return (shape if dtype == np.uint8 else ()), file.tell()


@contextmanager
def _making(folder: Path) -> Iterator[None]:
    """Alone with the cache; others wait, and are told for what."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"data | waiting for another process that decodes images into {folder}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(found: Listing, folder: Path, data: DataConfig) -> None:
    """Adds an entry; the cache is ours alone. Raises UserError and OSError, and leaves nothing."""
    shape = _shape(found, data)
    needed, making = math.prod(shape), folder / _MAKING
    # Of a process that was killed, or an entry that somebody cut.
    for leftover in (making, folder / found.key):
        shutil.rmtree(leftover, ignore_errors=True)
    for entry in _to_remove(folder, needed, data):
        shutil.rmtree(entry)
    tell(f"data | decoding {_size(found.num, data, needed)} into {folder}")
    try:
        making.mkdir(mode=0o700)
        with (making / _IMAGES).open("w+b", buffering=0) as file:
            digest = _write_images(found, file, shape)
            os.fsync(file.fileno())
        about = {"digest": digest, "num": found.num, "image_size": data.image_size}
        (making / _ABOUT).write_text(json.dumps(about))
        # Fails where there is one: an entry is never replaced.
        making.rename(folder / found.key)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _write_images(found: Listing, file: IO[bytes], shape: tuple[int, int, int, int]) -> str:
    """Writes all images where they belong, in parallel; the digest of their pixels."""
    header = io.BytesIO()
    told = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, told)
    file.write(header.getvalue())
    start, each = len(header.getvalue()), math.prod(shape[1:])
    _reserve(file, start + math.prod(shape))

    def write(i: int, image: UInt8) -> None:
        os.pwrite(file.fileno(), image.tobytes(), start + i * each)

    return _decode(found, write)


def _reserve(file: IO[bytes], num_bytes: int) -> None:
    """Takes all the room now, so that a disk that fills up meanwhile does not matter."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise


def _decode(found: Listing, use: Callable[[int, UInt8], None]) -> str:
    """Hands each image to `use`, in any order; the digest of all pixels, in order.

    Raises UserError with a line per image that cannot be used.
    """

    def decode(first: int) -> tuple[list[bytes], list[str]]:
        digests, problems = [], Problems()
        for i in range(first, min(first + _CHUNK, found.num)):
            if (image := found.read(i, problems)) is not None:
                use(i, image)
                digests.append(hashlib.sha256(image.tobytes()).digest())
        return digests, problems.found

    digest, problems = hashlib.sha256(), Problems()
    started = told = time.monotonic()
    pool = ThreadPoolExecutor(loading.NUM_THREADS)
    try:
        firsts = range(0, found.num, _CHUNK)
        for first, (digests, bad) in zip(firsts, pool.map(decode, firsts), strict=True):
            digest.update(b"".join(digests))
            problems.found.extend(bad)
            if (now := time.monotonic()) - told > _TELL_SECONDS:
                told, done = now, first + _CHUNK
                left = (now - started) / done * (found.num - done)
                tell(f"data | decoded {done:,}/{found.num:,} images | ETA {duration(left)}")
    finally:
        pool.shutdown(cancel_futures=True)
    if problems.found:
        raise UserError(loading.first_lines(problems.found))
    return digest.hexdigest()


def _to_remove(folder: Path, needed: int, data: DataConfig) -> list[Path]:
    """The entries to remove so that there is room, the oldest first, none that is in use.

    Raises UserError where there would still be none.
    """
    entries = _unused(folder)
    limit = int(data.cache_gib * 2**30)
    held = sum(_size_of(path) for path in _entries(folder))
    free = shutil.disk_usage(_existing(folder)).free
    if needed > limit:
        raise UserError(
            f"data.cache_gib: the decoded images take {needed / 2**30:.2f} GiB, the cache in "
            f"{folder} may hold {data.cache_gib:g}. Raise it, or lower data.image_size or "
            "data.unlabelled.num."
        )
    chosen = []
    while entries and (held + needed > limit or needed > free):
        chosen.append(oldest := entries.pop(0))
        size = _size_of(oldest)
        held, free = held - size, free + size
    if held + needed > limit:
        raise UserError(
            f"data.cache_gib: {held / 2**30:.2f} GiB of the {data.cache_gib:g} that the cache in "
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
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


@contextmanager
def _names_the_folder(folder: Path) -> Iterator[None]:
    """Around whatever writes into the cache."""
    try:
        yield
    except OSError as error:
        raise _unusable(folder, error) from None


def _unusable(folder: Path, error: OSError) -> UserError:
    return UserError(
        f"data.cache_dir: {folder}: cannot be used ({storage.describe(error)}). "
        "Name a folder of each machine that can be written and has room for the decoded images."
    )
