"""Datasets that a process makes once, and lays down again wherever a test wants to have one."""

from collections.abc import Callable
from pathlib import Path

import fsspec

from tests.folders import contents

_MADE: dict[tuple[str, ...], dict[str, bytes]] = {}
_MEMORY = "memory:/"


def lay_down(url: str, what: tuple[str, ...], make: Callable[[str], None]) -> None:
    """Calls make(url) for the first dataset of its kind, and copies its files for any other.

    url: in a local folder, or `memory://`; in any other store, and where something lies already,
    make is called again. what: says all that decides the bytes of the dataset.
    """
    is_other_store = "://" in url and not url.startswith(_MEMORY)
    if is_other_store or _files(url):
        make(url)
    elif what in _MADE:
        _put(url, _MADE[what])
    else:
        make(url)
        _MADE[what] = _files(url)


def _files(url: str) -> dict[str, bytes]:
    if not url.startswith(_MEMORY):
        return contents(Path(url))
    fs, root = fsspec.filesystem("memory"), url.removeprefix(_MEMORY)
    return {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}


def _put(url: str, files: dict[str, bytes]) -> None:
    if url.startswith(_MEMORY):
        fsspec.filesystem("memory").pipe({f"{url}/{name}": data for name, data in files.items()})
        return
    for name, data in files.items():
        path = Path(url, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
