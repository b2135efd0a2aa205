"""`parquet`: plain Parquet files, which `datasets` decodes."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from factory.exporting.format import ShardFormat
from factory.shards import parquet
from factory.shards.schema import EncodedSample

_FIELD_BYTES = 256
"""The bytes of a row beside its pictures, about."""


class ParquetFormat(ShardFormat):
    """`data/train-NUMBER.parquet` and `data/validation-NUMBER.parquet`, with all columns of the
    dataset and `datasets`' features; the masks' column has the name that is asked for."""

    ending: ClassVar[str] = ".parquet"

    def problems(self) -> list[str]:
        """Seeds of version 0.1 have a bit more than the column's int64."""
        if self.source.manifest.plan.is_of_version_0_1:
            return [
                "is of version 0.1, whose seeds do not fit the column `seed`, an int64. Choose "
                "--to webdataset or imagefolder, or read the shards as they are."
            ]
        return []

    def chunks(self, rows: Iterable[EncodedSample]) -> Iterator[bytes]:
        """See `ShardFormat`."""
        plan = self.source.manifest.plan
        return parquet.chunks(rows, plan.classes, plan.run, self.source.columns)

    def size_of(self, row: EncodedSample) -> int:
        """See `ShardFormat`."""
        return len(row.image_png) + len(row.mask_png) + _FIELD_BYTES
