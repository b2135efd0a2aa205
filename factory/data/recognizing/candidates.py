"""Sections that may read what lies in a tree of files, and the tree as they are looked for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from factory import storage
from factory.data.files.split_words import TRAIN_SPLITS

if TYPE_CHECKING:
    from factory.data.files.trees import Tree

SHARD_ENDINGS = {"parquet": ".parquet", "webdataset": ".tar"}
"""The kinds of source that read shards -> the ending of their files."""
_NAMES = {
    **dict.fromkeys(TRAIN_SPLITS, "train"),
    "trainval": "trainval",
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
"""What people call a split -> the name that it has for us."""
_NUMBERED = re.compile(r"(\w+)-\d+-of-\d+\..*")
"""The name of a shard as the Hugging Face Hub has it: SPLIT-00000-of-00004.parquet."""


def split_name(word: str) -> str:
    """The name of a split that people may call otherwise; other words stay as they are."""
    return _NAMES.get(word.lower(), word)


def split_of(name: str) -> str | None:
    """The split that a file's name or its folders begin with; None without one.

    >>> split_of("data/val-00000-of-00001.parquet"), split_of("test/0000.parquet")
    ('validation', 'test')
    """
    for part in reversed(name.split("/")):
        word = re.match("[A-Za-z]*", part)
        if word and (split := _NAMES.get(word[0].lower())):
            return split
    numbered = _NUMBERED.fullmatch(storage.name_of(name))
    return numbered[1] if numbered else None


@dataclass(frozen=True)
class Candidate:
    """A section that reads what lies in a tree."""

    keys: Mapping[str, Any]
    """Its keys, `kind` and `url` first, without classes unless its layout has them."""
    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Split -> the keys that it has besides, or instead, to read that split alone."""
    has_masks: bool = True
    needs_split: bool = False
    """True if it cannot be read without one of the splits."""
    doubt: str = ""
    """Why its images may be none, in sentences of which the last says what to do instead; empty if
    nothing says so."""

    question: str = ""
    """What people should look at, the end of a sentence; empty if there is nothing."""

    boxes: str = ""
    """Sentences on labels beside its images that are boxes, and what to do; empty without any."""

    @property
    def words(self) -> str:
        """The section in a few words."""
        layout = self.keys.get("layout")
        return f"kind {self.keys['kind']}" + (f", layout {layout}" if layout else "")

    def of_split(self, split: str | None) -> dict[str, Any]:
        """The keys that read a split, or all."""
        return {**self.keys, **(self.splits[split] if split is not None else {})}


@dataclass(frozen=True)
class Files:
    """The files of a tree."""

    tree: "Tree"
    url: str
    names: Sequence[str]
    pictures: Sequence[str]
    """Those whose endings are those of images."""
    no_labels: frozenset[str] = frozenset()
    """Those of them that look like masks and are known to be none."""
    cellpose: int = 0
    """The number of Cellpose's own files beside them, which are not read."""

    @cached_property
    def photographs(self) -> frozenset[str]:
        """Those of the pictures that look like photographs, not like masks."""
        from factory.data.recognizing import photographs

        return photographs.among(self.tree, self.pictures)

    def below(self, folder: str) -> str:
        """The url of a folder of the tree."""
        return storage.join(self.url, *PurePosixPath(folder).parts) if folder else self.url
