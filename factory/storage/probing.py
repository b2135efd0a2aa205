"""Questions that a store answers by a small file: may we write, and what time is it there."""

import uuid
from contextlib import suppress
from pathlib import Path

from factory.errors import UserError
from factory.storage.files import (
    filesystem,
    opened,
    outlives_this_process,
    read_bytes,
    remove,
    write_new,
)
from factory.storage.listings import modified
from factory.storage.retries import FIRST_TRIES, with_retries
from factory.storage.store_errors import to_user_error
from factory.storage.urls import is_local, join

_CONTENT = b"probe"


def check_writable(url: str) -> bool:
    """Writes, reads and removes one small file below url; leaves no folder that did not exist.

    Returns True if the store itself creates a file only where there is none, so that the second of
    two writers is told. Raises UserError naming the URL and the reason.
    """
    probe = _new_name(url)
    _, path = filesystem(probe)
    missing = _missing_folders(Path(path).parent) if is_local(url) else []
    try:
        return _probe(url, probe)
    except OSError as error:
        raise to_user_error(url, error, "written", "Name a place that you may write to.") from None
    finally:
        for folder in missing:
            # Another process may have filled it meanwhile, or removed it.
            with suppress(OSError):
                folder.rmdir()


def check_outlives(key: str, url: str) -> None:
    """Raises UserError, which names the key, where what Ray's workers write would be lost to all
    others."""
    if not outlives_this_process(url):
        raise UserError(
            f"{key}: {url}: memory:// is gone with the process that wrote it. "
            "Name a path or a bucket."
        )


def _probe(url: str, probe: str) -> bool:
    write_new(probe, _CONTENT, FIRST_TRIES)
    if read_bytes(probe, FIRST_TRIES) != _CONTENT:
        raise UserError(f"{url}: what was written there could not be read back.")
    exclusive = is_local(url) or with_retries(lambda: _creates_only(probe), FIRST_TRIES)
    remove(probe, FIRST_TRIES)
    return exclusive


def _creates_only(probe: str) -> bool:
    """True if the store refuses to create a file that exists."""
    try:
        with opened(probe) as (fs, path):
            fs.pipe_file(path, _CONTENT, mode="create")
    except FileExistsError:
        return True
    return False


def _new_name(url: str) -> str:
    """The URL of a file below url to which nobody else writes."""
    return join(url, f"probe-{uuid.uuid4().hex}")


def _missing_folders(folder: Path) -> list[Path]:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    return missing


def clock_of(url: str) -> float | None:
    """The time by the clock that `Entry.modified` of files below url comes from, POSIX seconds.

    Writes a small file and removes it. This machine's clock may be days off the store's.
    """
    probe = _new_name(url)
    write_new(probe, _CONTENT)
    time = with_retries(lambda: _time_of(probe))
    remove(probe)
    return time


def _time_of(url: str) -> float | None:
    with opened(url) as (fs, path):
        return modified(fs.info(path))
