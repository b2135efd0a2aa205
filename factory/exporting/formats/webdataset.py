"""`webdataset`: plain tars, one of a split for each shard."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from factory.exporting.format import ShardFiles, Source, Summary
from factory.exporting.formats.parquet import by_split
from factory.exporting.pairs import Pair
from factory.shards import webdataset
from factory.shards.layout import ID_TO_LABEL, to_json


@dataclass(frozen=True)
class WebDatasetFormat:
    """`data/train-SHARD.tar` and `data/validation-SHARD.tar`: of each pair KEY.image.png,
    KEY.mask.png, or how the masks' column is asked for, and KEY.json with all other columns.

    A shard of which a split has nothing has no file. `id2label.json` has the classes.
    """

    source: Source
    takes: ClassVar[tuple[str, ...]] = ("mask_column",)

    def problems(self) -> list[str]:
        """Any dataset can be written so."""
        return []

    def shard_files(self, shard: int, pairs: Sequence[Pair]) -> ShardFiles:
        """See `Format`."""
        suffixes = (".image.png", f".{self.source.mask_column}.png", ".json")
        return ShardFiles(
            [
                (f"{name}.tar", webdataset.write_tar(samples, suffixes))
                for name, samples in by_split(self.source, shard, pairs)
            ]
        )

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        yield ID_TO_LABEL, [to_json(self.source.classes.id2label)]

    def notes(self, summary: Summary) -> list[str]:
        """See `Format`."""
        return []
