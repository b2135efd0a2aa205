"""Splits that lists beside the images tell: a JSON file of several lists, texts of names, or a
table with a column of splits."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from factory.data.files import name_tables
from factory.data.files.listing import stem
from factory.data.files.name_lists import images_and_masks, lines_of
from factory.data.files.name_tables import NameTable
from factory.data.files.split_words import SPLITS, TEST_SPLITS, TRAIN_SPLITS
from factory.data.recognizing.candidates import Files
from factory.errors import UnreadableImage, UserError, some

_PLAIN = (".txt", ".csv", ".tsv")
_ENDINGS = (".json", *_PLAIN)
_HEADERS = ("name", "names", "image", "images", "file", "filename", "file_name", "id")
"""The header of a table of one column."""
_MAX_BYTES, _MAX_FILES = 64 * 2**20, 16
"""Larger JSON files, and more of them in a folder, are no lists of a split."""


def listed_splits(files: Files, folder: str, images: Sequence[str]) -> dict[str, dict[str, str]]:
    """The splits, each with the keys of a section that read it; empty unless there are some to
    learn from and some to measure on.

    folder: of the images and masks, which lists lie in, or in the root of the tree, or in another
    folder. images: the names of all images. Raises OSError, and UserError for a file that cannot
    be read.
    """
    for found in _all_lists(files, folder, images):
        if not _why_not(found, images):
            return {split: keys for split, keys, _ in found}
    return {}


def misfits(files: Files, images: Sequence[str]) -> Iterator[str]:
    """Yields why lists that are called as splits are not used, each the end of a sentence. Raises
    as `listed_splits` does."""
    for found in _all_lists(files, "", images):
        urls = dict.fromkeys(keys["names_url"] for _, keys, _ in found)
        if why := _why_not(found, images):
            yield f"{' and '.join(urls)}, not used as a split, as {why}"


def _all_lists(files: Files, folder: str, images: Sequence[str]) -> Iterator["_Lists"]:
    """The lists of each place that are called as splits: of a folder, of the root, of others."""
    known = _parts_of(images)
    inside = defaultdict(list)
    for name in files.names:
        if name.lower().endswith(_ENDINGS):
            inside[name.rpartition("/")[0]].append(name)
    for place in dict.fromkeys((folder, "", *sorted(inside))):
        texts = [name for name in inside[place] if name.lower().endswith(_PLAIN)]
        yield from filter(None, _of_json(files, inside[place]))
        yield from filter(None, [_of_texts(files, texts, known)])
        yield from filter(None, _of_tables(files, texts, known))


def _why_not(lists: "_Lists", images: Sequence[str]) -> str:
    """Why lists are no split of the images; empty if they are one."""
    known = _parts_of(images)
    for _, _, names in lists:
        if unknown := [name for name in names if not _is_known(name, known)]:
            return f"{some(unknown, 2)} is no image"
    by_split = {split: {stem(name) for name in names} for split, _, names in lists}
    train = next((by_split[split] for split in TRAIN_SPLITS if split in by_split), None)
    test = next((by_split[split] for split in TEST_SPLITS if split in by_split), None)
    if train is None or test is None:
        return "there is none to learn from" if train is None else "there is none to measure on"
    both = sorted(train & test)
    return f"{some(both, 2)} is in both" if both else ""


def _parts_of(images: Sequence[str]) -> set[str]:
    """What names in a list end with that mean images: their files, with or without ending."""
    names = [name.rpartition("/")[2] for name in images]
    return {part for file in names for part in (file, stem(file))}


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
    data = _read(files, name)
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


def _of_texts(files: Files, texts: Sequence[str], known: Collection[str]) -> _Lists:
    """The lists of texts that are called as splits are: train.txt, val.txt."""
    found: _Lists = []
    for name in texts:
        path = PurePosixPath(name)
        split = path.stem.lower()
        if split in SPLITS:
            lines = _lines(files, name)
            if path.suffix.lower() != ".txt" and lines[:1] and lines[0].lower() in _HEADERS:
                lines = lines[1:]
            both = [image for image, _ in images_and_masks(lines)]
            names = both or _images_of(name_tables.of_lines(lines), known) or lines
            found.append((split, {"names_url": files.below(name)}, names))
    return found


def _of_tables(files: Files, texts: Sequence[str], known: Collection[str]) -> Iterator[_Lists]:
    """The lists of each table that has a column of splits."""
    for name in texts[:_MAX_FILES]:
        table = name_tables.of_lines(_lines(files, name))
        of_splits = {split: table.of_split(split) for split in table.splits} if table else {}
        url = files.below(name)
        found = [
            (split.lower(), {"names_url": url, "names_key": split}, _images_of(rows, known))
            for split, rows in of_splits.items()
        ]
        yield [] if not all(names for *_, names in found) else found


def _lines(files: Files, name: str) -> list[str]:
    data = _read(files, name)
    return lines_of(data.decode("utf-8-sig", "replace")) if len(data) <= _MAX_BYTES else []


def _images_of(table: NameTable | None, known: Collection[str]) -> Sequence[str]:
    """The images that a table lists; none if nothing tells its column of them."""

    def find(name: str) -> list[str]:
        return [stem(_file(name))] if _is_known(name, known) else []

    try:
        listed = table and name_tables.listed_images(table, find, "")
    except UserError:
        return []  # What nothing tells apart is no list that is meant.
    return listed.names if listed else []


def _read(files: Files, name: str) -> bytes:
    """The bytes of a list. Raises UserError for a file that is damaged or endless; OSError."""
    try:
        return files.tree.read(name)
    except UnreadableImage as error:
        raise UserError(f"{files.tree.url_of(name)}: {error}") from None


def _split_of(key: str) -> str | None:
    """The split that a list is of: train_100 is of train."""
    word = re.match("[a-z]+", key.lower())
    return word[0] if word and word[0] in SPLITS else None


def _is_known(name: str, known: Collection[str]) -> bool:
    """True if a name means an image."""
    file = _file(name)
    return file in known or stem(file) in known


def _file(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
