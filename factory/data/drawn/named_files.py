"""The files of a tree by the names that annotations have for them."""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import unquote, urlsplit


class NamedFiles:
    """Finds files by names that may be paths of other machines, URLs, or lack their folders.

    A name never leads out of the tree: only names of the tree are found.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._by_file: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names):
            self._by_file[posixpath.basename(name)].append(name)

    def find(self, name: str, folder: str = "") -> list[str]:
        """The files that a name may mean: one if it is clear.

        The file of that name is meant, relative to a folder of the tree or to its root, else of
        files of the same last part those whose folders agree with the name's own best.
        """
        path = _path(name)
        for above in (folder, ""):
            exact = posixpath.normpath(posixpath.join(above, path))
            if exact in self._names:
                return [exact]
        wanted = [part for part in path.split("/") if part not in ("", ".", "..")]
        same = self._by_file.get(wanted[-1], []) if wanted else []
        agreeing = [_num_equal(file.split("/"), wanted) for file in same]
        best = max(agreeing, default=0)
        return [file for file, num in zip(same, agreeing, strict=True) if num == best]


def _path(name: str) -> str:
    """The path that a name means, in NFC, with slashes: of a URL, what follows its host."""
    if "://" in name:
        with suppress(ValueError):  # It is no URL then.
            name = unquote(urlsplit(name).path)
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _num_equal(parts: list[str], others: list[str]) -> int:
    """The number of last parts that two paths share."""
    num = 0
    for part, other in zip(reversed(parts), reversed(others), strict=False):
        if part != other:
            break
        num += 1
    return num
