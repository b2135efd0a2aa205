"""What is asked of a format: the files of each shard, and those that sum all shards up."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from factory.classes import Classes
from factory.exporting.options import Options
from factory.exporting.pairs import Pair
from factory.shards.columns import Column, pictures_of, with_mask_named
from factory.shards.manifest import Manifest


@dataclass(frozen=True)
class Source:
    """The dataset that is exported, and how."""

    manifest: Manifest
    options: Options

    @property
    def classes(self) -> Classes:
        """The dataset's classes."""
        return self.manifest.plan.classes

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the export's rows."""
        columns, name = self.manifest.plan.columns, self.options.mask_column
        return columns if name is None else with_mask_named(columns, name)

    @property
    def mask_column(self) -> str:
        """The name of the masks' column."""
        return pictures_of(self.columns)[1]


@dataclass(frozen=True)
class ShardFiles:
    """What a format makes of a shard; the same shard gives the same bytes."""

    files: list[tuple[str, bytes]]
    """Names relative to the export's URL, and contents."""
    lines: dict[str, list[str]] = field(default_factory=dict)
    """Lines of text for the files that sum all shards up, by a name that the format chooses."""
    counts: dict[str, list[int]] = field(default_factory=dict)
    """Numbers that are added up over all shards, by a name that the format chooses."""


@dataclass(frozen=True)
class Summary:
    """What `ShardFiles` of all shards tell together, in order of the shards."""

    num: dict[str, int]
    """The number of pairs of each split."""
    counts: dict[str, list[int]]
    """The sums of the counts of all shards."""
    read_lines: Callable[[str], Iterator[str]]
    """Reads the lines of a name anew from all shards, those of one shard in memory."""


class Format(Protocol):
    """A way to write pairs for other tools. A class of it takes a `Source`."""

    takes: ClassVar[tuple[str, ...]]
    """The names of the fields of `Options` that it knows beside those that all formats know."""

    def __init__(self, source: Source) -> None: ...

    def problems(self) -> list[str]:
        """What about the dataset the format cannot hold, a sentence each; nothing is written."""
        ...

    def shard_files(self, shard: int, pairs: Sequence[Pair]) -> ShardFiles:
        """The files of a shard's pairs, of which there may be none."""
        ...

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """The files that are written after all others: their names, and their contents in chunks of
        which one is in memory."""
        ...

    def notes(self, summary: Summary) -> list[str]:
        """What somebody should know who reads the export, a sentence each."""
        ...
