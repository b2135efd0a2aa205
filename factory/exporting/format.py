"""What is asked of a format: the files of each pair or of each shard, and those that sum all up."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from factory.classes import Classes
from factory.exporting.options import Options
from factory.exporting.pairs import Pair
from factory.proving.proof import Proof
from factory.shards.columns import Column, pictures_of, with_mask_named
from factory.shards.layout import ID_TO_LABEL, to_json
from factory.shards.manifest import Manifest
from factory.shards.schema import EncodedSample, to_fields

HUB_SPLITS: Mapping[str, str] = {"train": "train", "val": "validation"}
"""The splits as Hugging Face `datasets` names them."""


@dataclass(frozen=True)
class Source:
    """The dataset that is exported, and how."""

    manifest: Manifest
    options: Options
    proof: Proof | None = None
    """What `factory prove` found of it; None where it was not asked."""

    @property
    def classes(self) -> Classes:
        """The dataset's classes."""
        return self.manifest.plan.classes

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the export's rows."""
        columns, name = self.manifest.plan.columns_with_pictures, self.options.mask_column
        return columns if name is None else with_mask_named(columns, name)

    @property
    def mask_column(self) -> str:
        """The name of the masks' column."""
        return pictures_of(self.columns)[1]


@dataclass(frozen=True)
class PairFiles:
    """What a format makes of a pair; the same pair gives the same bytes."""

    files: list[tuple[str, bytes]]
    """Names relative to the export's URL, and contents."""
    lines: dict[str, list[str]] = field(default_factory=dict)
    """Lines of text for the files that sum all pairs up, by a name that the format chooses."""
    counts: dict[str, list[int]] = field(default_factory=dict)
    """Numbers that are added up over all pairs, by a name that the format chooses."""


@dataclass(frozen=True)
class Summary:
    """What `PairFiles` of all pairs tell together, in order of the pairs."""

    num: dict[str, int]
    """The number of pairs of each split."""
    counts: dict[str, list[int]]
    """The sums of the counts of all pairs."""
    read_lines: Callable[[str], Iterator[str]]
    """Reads the lines of a name anew from all shards, those of one shard in memory."""
    num_bytes: dict[str, int] = field(default_factory=dict)
    """The size of the files of many pairs of each split; empty where each pair has its own."""


@dataclass(frozen=True)
class Format(ABC):
    """A way to write pairs for other tools."""

    source: Source
    takes: ClassVar[tuple[str, ...]] = ()
    """The names of the fields of `Options` that it knows beside those that all formats know."""

    def problems(self) -> list[str]:
        """What about the dataset the format cannot hold, a sentence each; nothing is written."""
        return []

    @abstractmethod
    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """The files that are written after all others: their names, and their contents in chunks of
        which one is in memory."""

    def notes(self, summary: Summary) -> list[str]:
        """What somebody should know who reads the export, a sentence each."""
        return []


class PairFormat(Format):
    """A format that has files of their own for each pair."""

    @abstractmethod
    def pair_files(self, pair: Pair) -> PairFiles:
        """The files of a pair. Raises DamagedShard, UnreadableImage."""


class ShardFormat(Format):
    """A format whose files hold many pairs, with all columns of the dataset. Beside them lies
    `id2label.json`, the names of the classes."""

    takes: ClassVar[tuple[str, ...]] = ("mask_column", "samples_per_shard", "shard_megabytes")
    ending: ClassVar[str]
    """How the names of its files end."""

    def row(self, pair: Pair) -> EncodedSample:
        """The pair with the fields of all columns. Raises DamagedShard."""
        fields = to_fields(pair.sample, len(self.source.classes), self.source.columns)
        return EncodedSample(fields, pair.image_png, pair.mask_png)

    @abstractmethod
    def chunks(self, rows: Iterable[EncodedSample]) -> Iterator[bytes]:
        """The bytes of a file of at least one row, of which few are in memory."""

    @abstractmethod
    def size_of(self, row: EncodedSample) -> int:
        """The bytes that a row takes in a file, about."""

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        yield ID_TO_LABEL, [to_json(self.source.classes.id2label)]
