"""`parquet`: plain Parquet files, a file of a split for each shard, which `datasets` decodes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from factory.exporting.format import ShardFiles, Source, Summary
from factory.exporting.pairs import Pair
from factory.shards import parquet
from factory.shards.layout import ID_TO_LABEL, to_json
from factory.shards.schema import EncodedSample, to_fields

SPLITS = {"train": "train", "val": "validation"}
"""The splits as `datasets` names them, by which names of files begin."""


@dataclass(frozen=True)
class ParquetFormat:
    """`data/train-SHARD.parquet` and `data/validation-SHARD.parquet`, with all columns of the
    dataset and `datasets`' features; the masks' column has the name that is asked for.

    A shard of which a split has nothing has no file. `id2label.json` has the classes.
    """

    source: Source
    takes: ClassVar[tuple[str, ...]] = ("mask_column",)

    def problems(self) -> list[str]:
        """Seeds of version 0.1 have a bit more than the column's int64."""
        if self.source.manifest.plan.is_of_version_0_1:
            return [
                "is of version 0.1, whose seeds do not fit the column `seed`, an int64. Choose "
                "--to webdataset or imagefolder, or read the shards as they are."
            ]
        return []

    def shard_files(self, shard: int, pairs: Sequence[Pair]) -> ShardFiles:
        """See `Format`."""
        plan, columns = self.source.manifest.plan, self.source.columns
        files = []
        for name, samples in by_split(self.source, shard, pairs):
            data = parquet.encode(samples, plan.classes, plan.run, columns)
            files.append((f"{name}.parquet", data))
        return ShardFiles(files)

    def last_files(self, summary: Summary) -> Iterator[tuple[str, Iterable[bytes]]]:
        """See `Format`."""
        yield ID_TO_LABEL, [to_json(self.source.classes.id2label)]

    def notes(self, summary: Summary) -> list[str]:
        """See `Format`."""
        return []


def by_split(
    source: Source, shard: int, pairs: Sequence[Pair]
) -> Iterator[tuple[str, list[EncodedSample]]]:
    """For each split of which a shard has pairs: the name of its file without an ending, and the
    pairs with all their fields."""
    plan = source.manifest.plan
    num_classes = len(plan.class_names)
    for split in source.options.splits:
        samples = [
            EncodedSample(
                to_fields(pair.sample, num_classes, plan.columns), pair.image_png, pair.mask_png
            )
            for pair in pairs
            if pair.split == split
        ]
        if samples:
            yield f"data/{SPLITS[split]}-{shard:0{plan.num_digits}d}", samples
