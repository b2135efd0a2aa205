"""What a folder holds, to compare it with what it held before."""

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes]:
    """All files below it, by their names within it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
