"""`parquet`: plain Parquet files, a file of a split for each shard, which `datasets` decodes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

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
        """Any dataset can be written so."""
        return []

    def shard_files(self, shard: int, pairs: Sequence[Pair]) -> ShardFiles:
        """See `Format`."""
        plan = self.source.manifest.plan
        column = self.source.options.mask_column
        files = []
        for name, samples in by_split(self.source, shard, pairs):
            table = parquet.to_table(samples, plan.classes, plan.run, plan.columns)
            data = parquet.write_table(renamed(table, column), plan.columns)
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


def renamed(table: pa.Table, mask_column: str) -> pa.Table:
    """The table with another name of its masks' column, in its metadata, too."""
    names = [mask_column if name == "mask" else name for name in table.column_names]
    metadata: dict[bytes, bytes] = dict(table.schema.metadata)
    told: dict[str, Any] = json.loads(metadata[b"huggingface"])
    features = told["info"]["features"].values()
    told["info"]["features"] = dict(zip(names, features, strict=True))
    metadata[b"huggingface"] = json.dumps(told).encode()
    return table.rename_columns(names).replace_schema_metadata(metadata)
