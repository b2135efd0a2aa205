"""Listings of folders, and what they tell of the files in them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from factory.storage.files import opened
from factory.storage.retries import with_retries
from factory.storage.urls import is_local, join


@dataclass(frozen=True)
class Entry:
    """A file of a listing."""

    name: str
    """The file's name relative to the folder."""
    size: int
    """The file's size in bytes."""
    modified: float | None
    """The time of writing by the store's clock, POSIX seconds; None if the store does not tell."""


_OF_SYSTEMS = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"}
"""Folders and files that macOS, NAS boxes and Windows put among people's files."""


def is_of_system(name: str) -> bool:
    """True for hidden files, and for those that systems put among people's."""
    return any(part.startswith(".") or part in _OF_SYSTEMS for part in name.split("/"))


def list_files(
    url: str, suffixes: Iterable[str] = (), recursive: bool = False, depth: int = 1
) -> list[str]:
    """URLs of the files below a folder, sorted; hidden ones (`.name`) are left out.

    suffixes: lower-case endings to keep, all if empty. depth: how many levels deep, unless
    recursive. A missing folder has no files.
    """
    found = _find(url, maxdepth=None if recursive else depth)
    endings = tuple(suffixes)
    return sorted(
        join(url, name)
        for name in found
        if not any(part.startswith(".") for part in name.split("/"))
        and (not endings or name.lower().endswith(endings))
    )


def list_names(url: str) -> list[str]:
    """Names of all files below a folder, relative to it, sorted; hidden files and all that lies in
    hidden folders (`.name`) are left out.

    Links to folders are listed as files. A missing folder has none. Of a million files, no more
    than their names is kept in memory where the folder is on this machine. Raises OSError, also for
    a folder below it that cannot be listed.
    """
    if is_local(url):
        return sorted(with_retries(lambda: _local_names(url)))
    return sorted(n for n in _find(url) if not any(p.startswith(".") for p in n.split("/")))


def _local_names(path: str) -> list[str]:
    found: list[str] = []
    folders = [""] if os.path.isdir(path) else []
    while folders:
        prefix = folders.pop()
        with os.scandir(os.path.join(path, prefix)) as inside:
            for entry in inside:
                if not entry.name.startswith("."):
                    inner = entry.is_dir(follow_symlinks=False)
                    name = f"{prefix}{entry.name}"
                    folders.append(f"{name}/") if inner else found.append(name)
    return found


def entries(url: str) -> list[Entry]:
    """All files below a folder, hidden ones too, by name; costs one listing of all pages.

    A missing folder has none.
    """
    return [
        Entry(name, int(info["size"] or 0), modified(info))
        for name, info in sorted(_find(url).items())
    ]


def _find(url: str, maxdepth: int | None = None) -> dict[str, Mapping[str, Any]]:
    """The store's information about each file below a folder, by name relative to it."""

    def find() -> tuple[str, dict[str, Mapping[str, Any]]]:
        with opened(url) as (fs, path):
            return path, fs.find(path, maxdepth=maxdepth, detail=True)

    try:
        path, found = with_retries(find)
    except FileNotFoundError:
        return {}
    prefix = path.rstrip("/") + "/"
    return {
        name[len(prefix) :]: info
        for name, info in ((str(name), info) for name, info in found.items())
        if name.startswith(prefix)
    }


def modified(info: Mapping[str, Any]) -> float | None:
    """Returns when a file was written, POSIX seconds: each store has its own name for it."""
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
"""The stores' names for a tag that changes with a file's content."""


def versions(url: str, urls: Sequence[str]) -> list[str]:
    """A text for each file that changes with its content: its size, the time of its last change,
    and its tag if the store gives one; empty for a file that cannot be looked at.

    url: a folder above all files; that of a store is listed, which is one call for many files.
    """
    if is_local(url):
        return [_local_version(path) for path in urls]
    found = _find(url)
    return [_version(found.get(each.removeprefix(url).lstrip("/"), {})) for each in urls]


def _local_version(path: str) -> str:
    try:
        found = os.stat(path)
    except OSError:
        return ""
    # The time of writing alone is not enough: it can be set, as copying programs do.
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _version(info: Mapping[str, Any]) -> str:
    parts = [info.get("size"), modified(info), *(info.get(tag) for tag in _TAGS)]
    return " ".join(f"{part}" for part in parts if part is not None)
