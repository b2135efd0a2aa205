"""Files of this machine, written whole or not at all, by way of temporary files beside them.

A process locks its temporary files while it lives; so those of killed processes are known, and
removed without touching any that is being written, by whichever process.
"""

import errno
import fcntl
import os
import re
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from factory import faults

TEMPORARY = re.compile(r"(^|/)(\..+\.[0-9a-f]{32}\.tmp|probe-[0-9a-f]{32})$")
"""Names of the files that a killed process may leave behind; no reader takes them for data."""


def write_local(path: Path, chunks: Iterable[bytes], replace: bool) -> None:
    """Writes a file in one step. Raises FileExistsError if it exists and is not to be replaced."""
    # A part of the name tells whose it is; with all of it, it might be longer than names may be.
    temporary = path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.tmp")
    try:
        with _new_file(temporary) as file:
            file.writelines(chunks)
            file.flush()
            os.fsync(file.fileno())
            faults.hit("write.before")
            if replace:
                temporary.replace(path)
            else:
                os.link(temporary, path)
        faults.hit("write.after")
    except OSError as error:
        # The system names the temporary file, or a folder, or for a full disk nothing.
        error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _new_file(path: Path) -> BinaryIO:
    """Opens a new file, which is locked as long as it is open; creates its folders."""
    for _ in range(9):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            # Of a file in the place of a folder; to callers it means that the new file exists.
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        # Another process's `check_writable` may remove an empty folder again.
        with suppress(FileNotFoundError):
            file = path.open("xb")
            if _is_ours(file):
                return file
            file.close()
    return path.open("xb")


def _is_ours(file: BinaryIO) -> bool:
    """Locks a new file; False if another process took it for one of a killed process, and removed
    it just before."""
    with suppress(OSError):  # Of a file system without locks, from which nothing is removed, too.
        fcntl.flock(file, fcntl.LOCK_EX)
    return os.fstat(file.fileno()).st_nlink > 0


def remove_abandoned(folder: str) -> int:
    """Removes the temporary files below a folder of this machine that no living process writes;
    returns how many. Raises nothing: what cannot be removed stays."""
    num = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and TEMPORARY.search(name):
                with suppress(OSError):
                    num += _remove_if_abandoned(Path(inside, name))
    return num


def _remove_if_abandoned(path: Path) -> bool:
    """Removes a file unless a process has it locked. Raises OSError."""
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink()
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
