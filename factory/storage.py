"""Files anywhere: the only module that knows fsspec.

A place is a URL (`s3://bucket/prefix`, `gs://...`, `memory://...`) or a path of this machine.
Nothing is ever visible half written, and what must not be replaced is written create-only.
"""

import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from factory.errors import UserError

PROTOCOLS = ("file", "s3", "gs", "gcs", "az", "abfs", "hf", "memory")


def normalize(url: str) -> str:
    """An absolute path or a URL of a protocol that we speak, without a trailing slash.

    Raises UserError for other protocols, chained URLs, and secrets in the URL.
    """
    protocol, separator, rest = url.partition("://")
    if not separator:
        if not url.strip():
            raise UserError("an empty path: name a folder or a URL such as s3://bucket/prefix.")
        return str(Path(url).expanduser().absolute())
    if "@" in rest.split("/")[0]:
        raise UserError(
            f"{protocol}://...: a URL must not carry a user name or a secret. "
            "Use the environment or the cloud's own profile files."
        )
    if "::" in url or protocol not in PROTOCOLS:
        raise UserError(
            f"{url}: protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}. "
            "Give a path, or a URL of one of these."
        )
    if protocol == "file":
        return str(Path(rest).absolute())
    return url.rstrip("/")


def is_local(url: str) -> bool:
    """Whether the place is a path of this machine."""
    return "://" not in url


def join(url: str, *names: str) -> str:
    """The place below url; no names, url itself."""
    return "/".join([url.rstrip("/"), *names])


def name_of(url: str) -> str:
    """The last part of a place."""
    return url.rstrip("/").rsplit("/", 1)[-1]


def filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The fsspec filesystem and the path in it; listings are never cached.

    Raises UserError where the protocol's package is not installed.
    """
    options: dict[str, Any] = {} if is_local(url) else {"use_listings_cache": False}
    try:
        fs, path = url_to_fs(url, **options)
    except ImportError as error:
        raise UserError(f"{url}: {error}. Install it, then run again.") from None
    return fs, str(path)


def read_bytes(url: str) -> bytes:
    """All bytes of a file. Raises FileNotFoundError."""
    fs, path = filesystem(url)
    try:
        data: bytes = fs.cat_file(path)
    except NotADirectoryError as error:
        # Below a file there is no file.
        raise FileNotFoundError(*error.args) from None
    return data


def read_text(url: str) -> str:
    """A file as UTF-8 text. Raises FileNotFoundError, UnicodeDecodeError."""
    return read_bytes(url).decode("utf-8")


def exists(url: str) -> bool:
    """Whether a file or folder is there."""
    fs, path = filesystem(url)
    return bool(fs.exists(path))


def size_of(url: str) -> int:
    """Bytes of a file. Raises FileNotFoundError."""
    fs, path = filesystem(url)
    return int(fs.info(path)["size"])


def write_new(url: str, data: bytes) -> None:
    """Creates the file with exactly these bytes, visible only when complete.

    Raises FileExistsError where it is there already, whoever wrote it; OSError where the place
    cannot be written.
    """
    fs, path = filesystem(url)
    if is_local(url):
        _write_local(Path(path), data, replace=False)
    else:
        fs.pipe_file(path, data, mode="create")


def write(url: str, data: bytes) -> None:
    """Writes the file, replacing an older one in one step."""
    fs, path = filesystem(url)
    if is_local(url):
        _write_local(Path(path), data, replace=True)
    else:
        fs.pipe_file(path, data)


def _write_local(path: Path, data: bytes, replace: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_files(url: str, suffixes: Iterable[str] = (), recursive: bool = False) -> list[str]:
    """Places of the files below a folder, sorted; hidden ones (`.name`) are left out.

    suffixes: lower-case endings to keep, all if empty. A missing folder has no files.
    """
    fs, path = filesystem(url)
    try:
        found = fs.find(path, maxdepth=None if recursive else 1, detail=False)
    except FileNotFoundError:
        return []
    endings = tuple(suffixes)
    prefix = path.rstrip("/") + "/"
    names = [file[len(prefix) :] for file in map(str, found) if file.startswith(prefix)]
    return sorted(
        join(url, name)
        for name in names
        if not any(part.startswith(".") for part in name.split("/"))
        and (not endings or name.lower().endswith(endings))
    )


def reason(error: Exception) -> str:
    """What went wrong while reading or writing, in words that do not repeat the place."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def check_writable(url: str) -> None:
    """Writes, reads and removes one small file below url; creates no folder that was not there.

    Raises UserError naming the place and the reason.
    """
    probe = join(url, f"probe-{uuid.uuid4().hex}")
    fs, path = filesystem(probe)
    missing = _missing_folders(Path(path).parent) if is_local(url) else []
    # Every store's package has errors of its own, of missing credentials for one.
    refusals = OSError if is_local(url) else Exception
    try:
        write_new(probe, b"probe")
        if read_bytes(probe) != b"probe":
            raise UserError(f"{url}: what was written there could not be read back.")
        fs.rm_file(path)
    except UserError:
        raise
    except refusals as error:
        raise UserError(
            f"{url}: cannot be written ({reason(error)}). Name a place that you may write to."
        ) from None
    finally:
        for folder in missing:
            if folder.is_dir():
                folder.rmdir()


def _missing_folders(folder: Path) -> list[Path]:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing
