"""Splits that lists beside the images tell: a JSON file of several lists, or texts of names."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from factory.data.candidates import SPLITS, TEST_SPLITS, TRAIN_SPLITS, Files
from factory.data.listing import stem

_MAX_BYTES, _MAX_FILES = 64 * 2**20, 16
"""Larger JSON files, and more of them in a folder, are no lists of a split."""


def listed_splits(files: Files, folder: str, images: Sequence[str]) -> dict[str, dict[str, str]]:
    """The splits, each with the keys of a section that read it; empty unless there are some to
    learn from and some to measure on.

    folder: of the images and masks, which lists lie in, or in the root of the tree. images: the
    names of all images. Raises OSError.
    """
    known = {stem(name.rpartition("/")[2]) for name in images}
    for place in dict.fromkeys((folder, "")):
        inside = [name for name in files.names if name.rpartition("/")[0] == place]
        for lists in (_of_json(files, inside), _of_texts(files, inside)):
            for found in lists:
                splits = {name: keys for name, keys, names in found if _all_known(names, known)}
                if splits.keys() & set(TRAIN_SPLITS) and splits.keys() & set(TEST_SPLITS):
                    return splits
    return {}


_Lists = list[tuple[str, dict[str, str], Sequence[str]]]
"""For each split its name, the keys that read it, and the names of its images."""


def _of_json(files: Files, inside: Sequence[str]) -> Iterator[_Lists]:
    """The lists of each JSON file that holds several by name."""
    for name in [name for name in inside if name.lower().endswith(".json")][:_MAX_FILES]:
        lists = _json_lists(files, name)
        longest: dict[str, str] = {}
        for key in sorted(lists, key=lambda key: len(lists[key])):
            if split := _split_of(key):
                longest[split] = key
        url = files.below(name)
        yield [
            (split, {"names_url": url, "names_key": key}, lists[key])
            for split, key in longest.items()
        ]


def _json_lists(files: Files, name: str) -> Mapping[str, Sequence[str]]:
    """The lists of names in a JSON file, by their keys; empty if it holds something else."""
    data = files.tree.read(name)
    if len(data) > _MAX_BYTES:
        return {}
    try:
        content: Any = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {key: names for key, names in content.items() if _is_list(names)}


def _is_list(value: Any) -> bool:
    return bool(value) and isinstance(value, list) and all(isinstance(v, str) for v in value)


def _of_texts(files: Files, inside: Sequence[str]) -> Iterator[_Lists]:
    """The lists of texts that are called as splits are: train.txt, val.txt."""
    found: _Lists = []
    for name in inside:
        path = PurePosixPath(name)
        split = path.stem.lower()
        if path.suffix.lower() == ".txt" and split in SPLITS:
            text = files.tree.read(name).decode("utf-8-sig", "replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            found.append((split, {"names_url": files.below(name)}, lines))
    yield found


def _split_of(key: str) -> str | None:
    """The split that a list is of: train_100 is of train."""
    word = re.match("[a-z]+", key.lower())
    return word[0] if word and word[0] in SPLITS else None


def _all_known(names: Sequence[str], known: set[str]) -> bool:
    """True if every name means an image."""
    files = (name.replace("\\", "/").rpartition("/")[2] for name in names)
    return all(file in known or stem(file) in known for file in files)
