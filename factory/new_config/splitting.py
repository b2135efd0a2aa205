"""Divides labelled images into those to learn from and those to measure on, the same way always."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

TEST_SHARE, MAX_TEST = 0.2, 500
"""The share of the labelled images that is measured on, and the most of them."""
_MIN_GROUPS = 5
_START = "start of their names"
_NUMBER_AT_THE_END = re.compile(r"^(.*[^0-9])[0-9]+$")
_NUMBERS_AT_THE_END = re.compile(r"^(.+?)(?:[^0-9A-Za-z]+[0-9]+)+$")


@dataclass(frozen=True)
class Split:
    """The names of both parts, sorted."""

    labelled: tuple[str, ...]
    test: tuple[str, ...]
    by: str
    """What was kept together, in a few words; empty if each image stood for itself."""


def split(names: Sequence[str]) -> Split | None:
    """Divides names by their hashes; None if there are not two of them.

    Names that are alike but for the numbers at their end, or lie in one folder, are kept together
    if there are enough such groups: they may be frames of a video, images of one patient, or tiles
    of one image.
    """
    if len(names) < 2:
        return None
    wanted = max(1, min(MAX_TEST, round(TEST_SHARE * len(names))))
    groups, by = _groups(names)
    test: list[str] = []
    for group in sorted(groups, key=_hash):
        if len(test) >= wanted or len(test) + len(groups[group]) > max(wanted, len(names) // 2):
            continue
        test += groups[group]
    if not test:
        groups, by = {name: [name] for name in names}, ""
        test = sorted(names, key=_hash)[:wanted]
    rest = set(names) - set(test)
    return Split(tuple(sorted(rest)), tuple(sorted(test)), by)


def _groups(names: Sequence[str]) -> tuple[dict[str, list[str]], str]:
    """What is kept together, by a name of its own."""
    for key, by in ((_folder, "folder"), (_first_words, _START), (_start, _START)):
        groups: dict[str, list[str]] = defaultdict(list)
        for name in names:
            groups[key(name)].append(name)
        if _MIN_GROUPS <= len(groups) <= len(names) // 2:
            return dict(groups), by
    return {name: [name] for name in names}, ""


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _first_words(name: str) -> str:
    """The name without all the numbers at its end, such as the place of a tile."""
    stem = name.rpartition(".")[0] or name
    found = _NUMBERS_AT_THE_END.match(stem)
    return found[1] if found else stem


def _start(name: str) -> str:
    """The name without the last number at its end."""
    stem = name.rpartition(".")[0] or name
    found = _NUMBER_AT_THE_END.match(stem)
    return found[1] if found else stem


def _hash(name: str) -> str:
    # Names of files need not be UTF-8.
    return hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=8).hexdigest()
