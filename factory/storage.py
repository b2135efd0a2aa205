"""Files anywhere: the only module that knows fsspec.

A place is a URL (`s3://bucket/prefix`, `gs://...`, `memory://...`) or a path of this machine.
Nothing is ever visible half written, and what must not be replaced is written create-only.
"""

import errno
import hashlib
import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from factory import faults, hub
from factory.errors import UserError

T = TypeVar("T")

PROTOCOLS = ("file", "s3", "gs", "gcs", "az", "abfs", "hf", "memory")
_EXAMPLES = {
    **{name: f"{name}://bucket/prefix" for name in ("s3", "gs", "gcs", "az", "abfs")},
    "hf": "hf://owner/name, or hf://datasets/owner/name",
}
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def normalize(url: str) -> str:
    """An absolute path or a URL of a protocol that we speak, without a trailing slash.

    Raises UserError for other protocols, chained URLs, secrets in the URL, control characters, and
    URLs with `..`; its message repeats no secret.
    """
    if not url.strip():
        raise UserError("an empty path: name a folder or a URL such as s3://bucket/prefix.")
    protocol, separator, rest = url.partition("://")
    if problem := _url_problem(protocol, rest) if separator else _path_problem(url):
        raise UserError(f"{_without_secrets(url)}: {problem}")
    if separator and protocol != "file":
        return url.rstrip("/")
    return str(Path(rest if separator else url).expanduser().absolute())


def _without_secrets(url: str) -> str:
    """To be shown: no more than the protocol where there may be a secret, and no control character.

    A password may itself hold any character, so nothing behind the protocol is told from it.
    """
    protocol, separator, rest = url.partition("://")
    if "@" in url or "?" in url or ":" in rest.partition("/")[0]:
        url = f"{protocol}{separator}..." if _SCHEME.fullmatch(f"{protocol}:") else "..."
    return _CONTROLS.sub("?", url)


def _path_problem(path: str) -> str | None:
    if _CONTROLS.search(path):
        return "control characters are in it. Choose another name."
    if "::" in path:
        return "`::` chains places of several protocols, which is not done. Choose another name."
    if scheme := _SCHEME.match(path):
        protocol = scheme[0].lower().removesuffix(":")
        written = f"Write {_EXAMPLES[protocol]}. " if protocol in _EXAMPLES else ""
        return f"is neither a path nor a URL. {written}Write a path that has a colon as ./NAME."
    if os.path.expanduser(path).startswith("~"):
        return "there is no such home folder. Write a path that begins with ~ as ./NAME."
    return None


def _url_problem(protocol: str, rest: str) -> str | None:
    authority = rest.partition("/")[0]
    if _CONTROLS.search(protocol + rest):
        return "control characters are in it. Write it without them."
    if "@" in protocol + authority or ":" in authority or "?" in rest:
        return (
            "a URL must not carry a user name or a secret, nor a query, which may be one. "
            "Use the environment or the cloud's own profile files."
        )
    if protocol.lower() in ("http", "https") and (place := hub.url_of_page(rest)):
        return f"is a web page. Write {place}."
    if protocol not in PROTOCOLS:
        return (
            f"protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}. "
            "Give a path, or a URL of one of these."
        )
    if "::" in rest or ".." in rest.split("/"):
        return "chained places (`::`) and `..` are not followed. Name the place itself."
    if protocol == "file" and not rest.startswith("/"):
        return "a file's URL names no machine: it starts with three slashes, file:///folder."
    if not authority and protocol not in ("file", "memory"):
        return f"names no bucket. Write {_EXAMPLES[protocol]}."
    if protocol == "hf" and len(rest.strip("/").split("/")) < (3 if authority == "datasets" else 2):
        return f"names no repository. Write {_EXAMPLES['hf']}."
    return None


def is_local(url: str) -> bool:
    """Whether the place is a path of this machine."""
    return "://" not in url


def join(url: str, *names: str) -> str:
    """The place below url; no names, url itself."""
    return "/".join([url.rstrip("/"), *names])


def name_of(url: str) -> str:
    """The last part of a place."""
    return url.rstrip("/").rsplit("/", 1)[-1]


def above(url: str) -> str | None:
    """The folder that holds a place; None for the root of a disk, a bucket or a repository."""
    protocol, separator, rest = url.rstrip("/").rpartition("://")
    num_root_parts = {"": 1, "hf": 3 if rest.startswith("datasets/") else 2}.get(protocol, 1)
    parts = rest.split("/")
    return f"{protocol}{separator}{'/'.join(parts[:-1])}" if len(parts) > num_root_parts else None


def filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The fsspec filesystem and the path in it; listings are never cached.

    Raises UserError where the protocol's package is not installed, and for URLs that `normalize`
    refuses.
    """
    if is_local(url):
        # Not by fsspec, to which `::` in a path would be a chain.
        return LocalFileSystem(), os.path.abspath(url)
    protocol, _, rest = url.partition("://")
    if problem := _url_problem(protocol, rest):
        raise UserError(f"{_without_secrets(url)}: {problem}")
    try:
        fs, path = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise UserError(f"{url}: {error}. Install it, then run again.") from None
    return fs, str(path)


def outlives_this_process(url: str) -> bool:
    """Whether other processes, and later ones, find what is written there."""
    return not isinstance(filesystem(url)[0], MemoryFileSystem)


@contextmanager
def _os_errors(url: str) -> Iterator[None]:
    """Stores' packages have errors of their own, of broken connections for one: OSErrors now, that
    name the place, and of the kind PermissionError where the store does not let us in."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, UserError):
        raise
    except Exception as error:
        if is_local(url):
            raise
        if _is_refusal(error):
            why = reason(error).rstrip(".")
            raise PermissionError(errno.EACCES, f"{why}. {_RENEW}", url) from error
        if isinstance(error, OSError):
            raise _named(error, url) from error.__cause__
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}", url) from error


def _named(error: OSError, place: str) -> OSError:
    """The error with the place that it is about: of a full disk, the system does not say which."""
    if error.strerror is None:
        return OSError(errno.EIO, str(error) or type(error).__name__, place)
    error.filename = error.filename or place
    return error


_RENEW = "If the credentials have expired, renew them and run the same command again."
_NO_CREDENTIALS = {
    *("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"),
    *("TokenRetrievalError", "SSOTokenLoadError", "UnauthorizedSSOTokenError"),
    *("DefaultCredentialsError", "RefreshError", "ClientAuthenticationError"),
}
"""Names of what the packages of S3, GCS and Azure raise without asking the store."""
_MALFORMED = {"ParamValidationError", "InvalidURL"}
_PATIENCE = (408, 409, 412, 425, 429)
"""HTTP statuses 4xx after which the same call may succeed."""
_TORN = {"RequestTimeout", "BadDigest", "IncompleteBody"}
"""S3's codes with status 400 of what was broken on its way."""


def lack_of_credentials(error: BaseException | None) -> str | None:
    """What a store's package said, where an error comes from there being nothing to turn to the
    store with; else None."""
    while error is not None:
        if type(error).__name__ in _NO_CREDENTIALS:
            return " ".join(str(error).split()).rstrip(".")
        error = error.__cause__ or error.__context__
    return None


def _is_refusal(error: BaseException | None) -> bool:
    """Whether a store turned the call down for good, or there is nothing to turn to it with."""
    if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
        return True
    if isinstance(error, TimeoutError | FileNotFoundError | FileExistsError):
        return False
    status, code = _answer(error) or _answer(getattr(error, "__cause__", None)) or (0, "")
    return 400 <= status < 500 and status not in (404, *_PATIENCE) and code not in _TORN


def _answer(error: BaseException | None) -> tuple[int, str] | None:
    """HTTP status and code of an S3 server; the status alone of others."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return int(status), str(response.get("Error", {}).get("Code", ""))
    for name in ("status_code", "code", "status"):
        if isinstance(status := getattr(error, name, None), int):
            return status, ""
    return None


def read_bytes(url: str) -> bytes:
    """All bytes of a file. Raises FileNotFoundError."""
    fs, path = filesystem(url)
    try:
        with _os_errors(url):
            data: bytes = fs.cat_file(path)
    except NotADirectoryError as error:
        raise _below_a_file(error) from None
    return data


def _below_a_file(error: NotADirectoryError) -> FileNotFoundError:
    """Below a file there is no file."""
    return FileNotFoundError(error.errno, error.strerror, error.filename)


def read_text(url: str) -> str:
    """A file as UTF-8 text. Raises FileNotFoundError, UnicodeDecodeError."""
    return read_bytes(url).decode("utf-8")


def exists(url: str) -> bool:
    """Whether a file or folder is there."""
    fs, path = filesystem(url)
    with _os_errors(url):
        return bool(fs.exists(path))


def is_file(url: str) -> bool:
    """Whether a file is there, and no folder."""
    fs, path = filesystem(url)
    with _os_errors(url):
        return bool(fs.isfile(path))


def size_of(url: str) -> int:
    """Bytes of a file. Raises FileNotFoundError."""
    fs, path = filesystem(url)
    with _os_errors(url):
        return int(fs.info(path)["size"])


def write_new(url: str, data: bytes) -> None:
    """Creates the file with exactly these bytes, visible only when complete.

    Raises FileExistsError where it is there already, whoever wrote it; OSError where the place
    cannot be written.
    """
    fs, path = filesystem(url)
    if is_local(url):
        _write_local(Path(path), data, replace=False)
        return
    with _os_errors(url):
        # Asked first for the sake of stores that replace in spite of mode="create".
        if fs.exists(path):
            raise FileExistsError(url)
        faults.hit("write.before")
        fs.pipe_file(path, data, mode="create")
        faults.hit("write.after")


def write(url: str, data: bytes) -> None:
    """Writes the file, replacing an older one in one step."""
    fs, path = filesystem(url)
    if is_local(url):
        _write_local(Path(path), data, replace=True)
        return
    with _os_errors(url):
        faults.hit("write.before")
        fs.pipe_file(path, data)
        faults.hit("write.after")


def _write_local(path: Path, data: bytes, replace: bool) -> None:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with _opened(temporary) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        faults.hit("write.before")
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
        faults.hit("write.after")
    except OSError as error:
        raise _named(error, str(path)) from None
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _opened(path: Path) -> BinaryIO:
    """A new file, and its folders."""
    for _ in range(9):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Another run's `check_writable` may take an empty folder away again.
        with suppress(FileNotFoundError):
            return path.open("xb")
    return path.open("xb")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def list_files(
    url: str, suffixes: Iterable[str] = (), recursive: bool = False, depth: int = 1
) -> list[str]:
    """Places of the files below a folder, sorted; hidden ones (`.name`) are left out.

    suffixes: lower-case endings to keep, all if empty. depth: how many levels deep, unless
    recursive. A missing folder has no files.
    """
    fs, path = filesystem(url)
    try:
        with _os_errors(url):
            found = fs.find(path, maxdepth=None if recursive else depth, detail=False)
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


@dataclass(frozen=True)
class Entry:
    """A file that a listing found: its name relative to the folder, bytes, and when it was written
    by the store's clock (POSIX seconds, None where the store does not tell)."""

    name: str
    size: int
    modified: float | None


def entries(url: str) -> list[Entry]:
    """All files below a folder, hidden ones too, by name; costs one listing of all pages.

    A missing folder has none.
    """
    fs, path = filesystem(url)
    prefix = path.rstrip("/") + "/"
    try:
        with _os_errors(url):
            found = fs.find(path, detail=True)
    except FileNotFoundError:
        return []
    infos = {str(name): info for name, info in found.items() if str(name).startswith(prefix)}
    return [
        Entry(name[len(prefix) :], int(info["size"] or 0), _modified(info))
        for name, info in sorted(infos.items())
    ]


def _modified(info: Mapping[str, Any]) -> float | None:
    """Every store has a name of its own for it."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value = info.get(key)
        if value and isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if value not in (None, ""):
            return float(value)
    return None


_TAGS = ("ETag", "etag", "md5Hash", "blob_id", "content_md5", "generation")
"""Stores' names for what changes with a file's content."""


def versions(url: str, places: Sequence[str]) -> list[str]:
    """What tells each of these files from another content at its place: its size, the time of its
    last change, and its tag where the store gives one; empty for what cannot be looked at.

    url: a folder above them all; elsewhere than on this machine it is listed, which is one call
    for many files.
    """
    if is_local(url):
        return [_local_version(place) for place in places]
    fs, path = filesystem(url)
    with _os_errors(url):
        infos = {str(name): info for name, info in fs.find(path, detail=True).items()}
    prefix = path.rstrip("/")
    return [_version(infos.get(prefix + place.removeprefix(url), {})) for place in places]


def _local_version(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    # Not by the time of writing alone, which can be set, and is when files are copied.
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _version(info: Mapping[str, Any]) -> str:
    told = [info.get("size"), _modified(info), *(info.get(tag) for tag in _TAGS)]
    return " ".join(f"{part}" for part in told if part is not None)


def sha256_of(url: str) -> str:
    """Of a file's bytes, as 64 hex digits. Raises FileNotFoundError."""
    if not is_local(url):
        return hashlib.sha256(read_bytes(url)).hexdigest()
    try:
        with Path(url).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except NotADirectoryError as error:
        raise _below_a_file(error) from None


def remove(url: str) -> None:
    """Deletes a file. Raises FileNotFoundError."""
    fs, path = filesystem(url)
    with _os_errors(url):
        fs.rm_file(path)


def clock_of(url: str) -> float | None:
    """What time it is where files below url get their times from, as `Entry.modified` has it.

    Writes a small file and removes it. This machine's clock may be days off the store's.
    """
    probe = _probe_below(url)
    fs, path = filesystem(probe)
    write_new(probe, _PROBE)
    with _os_errors(probe):
        modified = _modified(fs.info(path))
    remove(probe)
    return modified


_PERMANENT = (
    PermissionError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    IsADirectoryError,
)
_PERMANENT_NUMBERS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.ENOSYS,
    errno.ENOTSUP,
)
TRIES = 10
"""Of work whose storage stumbles, over 75 to 151 seconds: any outage of a minute is survived."""
_FIRST_TRIES = 5
"""Where somebody waits for the answer, over 7 to 15 seconds."""
_LONGEST_PAUSE_SECONDS = 30.0


def is_transient(error: OSError) -> bool:
    """Whether the same call may well succeed a little later."""
    if isinstance(error, _PERMANENT) or error.errno in _PERMANENT_NUMBERS:
        return False
    malformed = type(error.__cause__).__name__ in _MALFORMED
    return not malformed and not _is_refusal(error) and not _is_refusal(error.__cause__)


def with_retries(work: Callable[[], T], tries: int = TRIES) -> T:
    """work(), which may be done again, until its storage does not stumble; so often at most.

    Raises OSError: at once where no repetition helps, or the last one's.
    """
    for attempt in range(tries):
        try:
            return work()
        except OSError as error:
            if attempt == tries - 1 or not is_transient(error):
                raise
            longest = min(_LONGEST_PAUSE_SECONDS, 2.0**attempt)
            # At least half of it: chance must not make the whole shorter than an outage.
            time.sleep(random.uniform(longest / 2, longest))
    raise AssertionError("the last try returns or raises")


def reason(error: Exception) -> str:
    """What went wrong while reading or writing, in words that do not repeat the place."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def refusal(url: str, error: Exception, cannot: str, remedy: str) -> UserError:
    """The UserError for a place that `with_retries` could not reach, or never can.

    >>> print(refusal("s3://b", PermissionError(13, "Denied"), "read", "Check the place."))
    s3://b: cannot be read (Denied). Check the place.
    """
    why = reason(error).rstrip(".")
    if isinstance(error, OSError) and is_transient(error):
        return UserError(
            f"{url}: cannot be reached now ({why}). Check the place and the network, or run the "
            "same command again later."
        )
    return UserError(f"{url}: cannot be {cannot} ({why}). {remedy}")


def check_writable(url: str) -> bool:
    """Writes, reads and removes one small file below url; creates no folder that was not there.

    Returns whether the store itself creates a file only where there is none, so that of two
    writers at once one is told. Raises UserError naming the place and the reason.
    """
    probe = _probe_below(url)
    _, path = filesystem(probe)
    missing = _missing_folders(Path(path).parent) if is_local(url) else []
    # Every store's package has errors of its own, of missing credentials for one.
    refusals = OSError if is_local(url) else Exception
    try:
        return with_retries(lambda: _probe(url, probe), _FIRST_TRIES)
    except UserError:
        raise
    except refusals as error:
        raise refusal(url, error, "written", "Name a place that you may write to.") from None
    finally:
        for folder in missing:
            # Another run may have filled it meanwhile, or removed it.
            with suppress(OSError):
                folder.rmdir()


_PROBE = b"probe"


def _probe_below(url: str) -> str:
    """A place that nobody else writes to."""
    return join(url, f"probe-{uuid.uuid4().hex}")


def _probe(url: str, probe: str) -> bool:
    """As `check_writable`; may be done again, whatever was done before the storage stumbled."""
    with suppress(FileExistsError):
        write_new(probe, _PROBE)
    if read_bytes(probe) != _PROBE:
        raise UserError(f"{url}: what was written there could not be read back.")
    exclusive = is_local(url) or _creates_only(probe)
    remove(probe)
    return exclusive


def _creates_only(probe: str) -> bool:
    """Whether the store, asked to create a file that is there, says so."""
    fs, path = filesystem(probe)
    try:
        with _os_errors(probe):
            fs.pipe_file(path, _PROBE, mode="create")
    except FileExistsError:
        return True
    return False


def _missing_folders(folder: Path) -> list[Path]:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing
