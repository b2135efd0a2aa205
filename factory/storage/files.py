"""Single files: read, written whole or not at all, hashed and removed."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from factory import faults
from factory.errors import UserError
from factory.storage.local_writing import write_local
from factory.storage.retries import TRIES, with_retries
from factory.storage.store_errors import as_os_errors, with_url
from factory.storage.urls import check_url, is_local

_EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "hf": "hub"}
"""The extra of this package that a protocol needs."""


def filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The fsspec filesystem of a URL, and the path in it; listings are never cached.

    Raises UserError if the protocol's package is not installed, and for URLs that `normalize`
    refuses.
    """
    if is_local(url):
        # Not by fsspec, to which `::` in a path would be a chain.
        return LocalFileSystem(), os.path.abspath(url)
    check_url(url)
    try:
        fs, path = url_to_fs(url, use_listings_cache=False)
    except ImportError:
        raise missing_package(url) from None
    return fs, str(path)


def missing_package(url: str) -> UserError:
    """The error of a URL whose store's package is not installed, with the extra that has it."""
    extra = _EXTRAS[url.partition("://")[0]]
    return UserError(
        f"{url}: needs a package that is not installed. Run pip install "
        f"'synthetic-data-factory[{extra}]', then the same command again."
    )


@contextmanager
def opened(url: str) -> Iterator[tuple[fsspec.AbstractFileSystem, str]]:
    """`filesystem` for one call in the body, whose errors become OSErrors."""
    with as_os_errors(url):
        yield filesystem(url)


def outlives_this_process(url: str) -> bool:
    """True if other and later processes find the files that are written there."""
    return not isinstance(filesystem(url)[0], MemoryFileSystem)


def read_bytes(url: str, tries: int = TRIES) -> bytes:
    """All bytes of a file. Raises FileNotFoundError."""
    return with_retries(lambda: _read(url), tries)


def _read(url: str) -> bytes:
    try:
        if is_local(url):
            # Not by fsspec, which takes several times as long for a small file.
            with open(url, "rb") as file:
                return file.read()
        with opened(url) as (fs, path):
            data: bytes = fs.cat_file(path)
    except NotADirectoryError as error:
        raise _not_found(error) from None
    return data


def open_copy(url: str) -> BufferedReader:
    """A file of this machine, open for reading: the file itself, or a copy of one of a store, which
    is gone when it is closed. Raises FileNotFoundError."""
    if is_local(url):
        return with_retries(lambda: _open_local(url))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        with_retries(lambda: _download(url, copy))
        return copy.open("rb")


def _open_local(url: str) -> BufferedReader:
    try:
        with opened(url) as (_, path):
            return Path(path).open("rb")
    except NotADirectoryError as error:
        raise _not_found(error) from None


def _download(url: str, copy: Path) -> None:
    with opened(url) as (fs, path):
        fs.get_file(path, str(copy))


def read_range(url: str, start: int, stop: int) -> bytes:
    """The bytes of a file from start, before stop; fewer where it ends. Raises FileNotFoundError.

    start: 0..the file's size. Nothing stays open.
    """

    def read() -> bytes:
        with opened(url) as (fs, path):
            if is_local(url):
                with open(path, "rb") as file:
                    file.seek(start)
                    return file.read(stop - start)
            data: bytes = fs.cat_file(path, start=start, end=stop)
        return data

    return with_retries(read) if start < stop else b""


def size_of(url: str) -> int | None:
    """The size of a file in bytes, None if its store does not tell. Raises FileNotFoundError."""

    def ask() -> int | None:
        with opened(url) as (fs, path):
            size = fs.size(path)
        return None if size is None else int(size)

    return with_retries(ask)


def _not_found(error: NotADirectoryError) -> FileNotFoundError:
    """The error of a path that leads through a file, below which there is no file."""
    return FileNotFoundError(error.errno, error.strerror, error.filename)


def read_text(url: str) -> str:
    """A file as UTF-8 text. Raises FileNotFoundError, UnicodeDecodeError."""
    return read_bytes(url).decode("utf-8")


def sha256_of(url: str) -> str:
    """The sha256 of a file's bytes as 64 hex digits. Raises FileNotFoundError."""
    if not is_local(url):
        return hashlib.sha256(read_bytes(url)).hexdigest()
    return with_retries(lambda: _local_sha256(url))


def _local_sha256(url: str) -> str:
    with as_os_errors(url), _open_local(url) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def exists(url: str) -> bool:
    """True if there is a file or folder at the URL."""

    def ask() -> bool:
        with opened(url) as (fs, path):
            return bool(fs.exists(path))

    return with_retries(ask)


def is_file(url: str) -> bool:
    """True if there is a file at the URL, False for a folder and for nothing."""

    def ask() -> bool:
        with opened(url) as (fs, path):
            return bool(fs.isfile(path))

    return with_retries(ask)


def write_new(url: str, data: bytes, tries: int = TRIES) -> None:
    """Creates the file with exactly these bytes, visible only when complete.

    Raises FileExistsError if there was a file before, whoever wrote it; OSError if the file
    cannot be written.
    """
    stumbled = False

    def create() -> None:
        nonlocal stumbled
        try:
            _create(url, data)
        except FileExistsError:
            # An earlier try may have succeeded although its response was lost.
            if not (stumbled and _read(url) == data):
                raise
        except OSError:
            stumbled = True
            raise

    with_retries(create, tries)


def _create(url: str, data: bytes) -> None:
    with opened(url) as (fs, path):
        if is_local(url):
            write_local(Path(path), [data], replace=False)
            return
        # Some stores replace in spite of mode="create", so they are asked first.
        if fs.exists(path):
            raise FileExistsError(url)
        faults.hit("write.before")
        fs.pipe_file(path, data, mode="create")
        faults.hit("write.after")


def write(url: str, data: bytes) -> None:
    """Writes the file, replacing an older one in one step."""
    with_retries(lambda: _replace(url, data))


def _replace(url: str, data: bytes) -> None:
    with opened(url) as (fs, path):
        if is_local(url):
            write_local(Path(path), [data], replace=True)
            return
        faults.hit("write.before")
        fs.pipe_file(path, data)
        faults.hit("write.after")


def write_chunks(url: str, chunks: Iterable[bytes]) -> None:
    """Writes the file from chunks, of which one is in memory, replacing an older one in one step.

    A store gets it from a temporary file of this machine, which holds all of it.
    """
    if is_local(url):
        with opened(url) as (_, path):
            write_local(Path(path), chunks, replace=True)
        return
    try:
        with tempfile.NamedTemporaryFile() as spool:
            spool.writelines(chunks)
            spool.flush()
            with_retries(lambda: _upload(spool.name, url))
    except OSError as error:
        # Of a full disk, the system names no file.
        raise with_url(error, tempfile.gettempdir()) from None


def _upload(file: str, url: str) -> None:
    with opened(url) as (fs, path):
        faults.hit("write.before")
        fs.put_file(file, path)
        faults.hit("write.after")


def remove(url: str, tries: int = TRIES) -> None:
    """Deletes a file. Raises FileNotFoundError."""
    stumbled = False

    def delete() -> None:
        nonlocal stumbled
        try:
            with opened(url) as (fs, path):
                fs.rm_file(path)
        except FileNotFoundError:
            # An earlier try may have succeeded although its response was lost.
            if not stumbled:
                raise
        except OSError:
            stumbled = True
            raise

    with_retries(delete, tries)
