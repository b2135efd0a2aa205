"""Reads whole folders, to compare them with what they held before."""

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """Returns the bytes of all files below a folder, by their names within it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
