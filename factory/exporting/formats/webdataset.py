"""`webdataset`: plain tars, as WebDataset reads them."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from factory.exporting.format import ShardFormat
from factory.shards import webdataset
from factory.shards.schema import EncodedSample


class WebDatasetFormat(ShardFormat):
    """`data/train-NUMBER.tar` and `data/validation-NUMBER.tar`: of each pair KEY.image.png,
    KEY.mask.png, or how the masks' column is asked for, and KEY.json with all other columns."""

    ending: ClassVar[str] = ".tar"

    def chunks(self, rows: Iterable[EncodedSample]) -> Iterator[bytes]:
        """See `ShardFormat`."""
        return webdataset.chunks(rows, self.source.columns)

    def size_of(self, row: EncodedSample) -> int:
        """See `ShardFormat`."""
        return webdataset.size_of(row)
