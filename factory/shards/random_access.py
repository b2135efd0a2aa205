"""Random access to a dataset's samples: single ones are read, whatever the size of their shards."""

import operator
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from threading import Lock
from typing import Any

from torch.utils.data import Dataset

from factory import storage
from factory.errors import DamagedShard, UserError, counted
from factory.scores import Score
from factory.shards.mask_files import RowImages
from factory.shards.reading import (
    check_has_images,
    read_plan,
    read_rows,
    read_shard,
    receipts_to_read,
)
from factory.shards.receipts import Receipt, score_of
from factory.shards.schema import Sample, sample_key
from factory.shards.single_rows import ParquetRows, SingleRows, TableRows, TarRows
from factory.shards.tensors import COLUMNS, MaskType, TensorForm, Transform
from factory.storage import RangedFile

_SINGLE_ROWS: dict[str, Callable[[RangedFile], SingleRows]] = {
    "parquet": ParquetRows,
    "webdataset": TarRows,
}
_MAX_KNOWN_SHARDS = 256
"""An index keeps what it learned of so many shards: up to some hundred kilobytes for each."""


class ShardIndex(Dataset[dict[str, Any]]):
    """The samples of a finished dataset by their number, as the same dicts as those of
    `ShardDataset`.

    `index[i]` reads the part of a shard that holds the sample; negative numbers count from the end,
    and a slice gives a list. columns, mask_dtype, transform, partial, images: as for
    `ShardDataset`.

    A shard's sha256 cannot be checked by a part of it. What is checked: its size, the checksums of
    the pages of Parquet, the headers of tars, the key, and the checksums of the pictures; so the
    fields of a tar's JSON are not. Nothing stays open, so any process of a DataLoader may use it,
    and any thread.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        columns: Sequence[str] = COLUMNS,
        mask_dtype: MaskType = "uint8",
        transform: Transform | None = None,
        partial: bool = False,
        images: RowImages | None = None,
    ) -> None:
        """Raises UserError if there is no dataset, or, without partial, an unfinished one; if none
        of its shards is done; and for columns that there are not."""
        self.url = url = storage.normalize(os.fspath(url))
        self.plan = read_plan(url)
        self.images = images
        check_has_images(url, self.plan, images)
        self.form = TensorForm(url, self.plan, columns, mask_dtype, transform)
        self.receipts = receipts_to_read(url, partial)
        self._starts = [0, *accumulate(receipt.rows for receipt in self.receipts)]
        self._known: dict[int, SingleRows] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"ShardIndex({self.url!r}, {counted(len(self), 'sample')})"

    def __getstate__(self) -> dict[str, Any]:
        # Other processes learn by themselves where samples lie.
        return {**self.__dict__, "_known": {}, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = {**state, "_lock": Lock()}

    @property
    def score(self) -> Score | None:
        """The scores of all samples, as they were labelled; None if there were no masks to compare
        theirs with."""
        return score_of(self.receipts)

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        """Raises IndexError beyond the last sample, TypeError where index is neither a whole number
        nor a slice, UserError where the shard is missing or altered."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        try:
            # As lists do it, so that the numbers of NumPy and torch are taken, too.
            number = operator.index(index)
        except TypeError:
            raise TypeError(
                f"a sample is named by a whole number or a slice, not by {type(index).__name__}"
            ) from None
        number += len(self) if number < 0 else 0
        if not 0 <= number < len(self):
            raise IndexError(f"{self.url} has {counted(len(self), 'sample')}, so none at {index}")
        shard = bisect_right(self._starts, number) - 1
        return self.form.of(self._sample(shard, number - self._starts[shard]))

    def _sample(self, shard: int, row: int) -> Sample:
        """The sample of a row of the shard-th receipt. Raises UserError."""
        receipt = self.receipts[shard]
        try:
            stored = self._rows_of(shard).row(row)
            key = sample_key(int(receipt.first_key) + row)
            if stored.fields["key"] != key:
                raise DamagedShard(f"it has {stored.fields['key']} in place of {key}")
            return stored.decoded()
        except DamagedShard as error:
            raise UserError(
                f"{storage.join(self.url, receipt.path)}: is damaged: {error}. Run `factory "
                "repair` on the dataset."
            ) from None

    def _rows_of(self, shard: int) -> SingleRows:
        """What is known of the shard-th receipt's shard; threads may call it at once."""
        # Another thread may forget it meanwhile, or learn the same.
        known = self._known.get(shard)
        if known is None:
            known = self._opened(self.receipts[shard])
            with self._lock:
                while len(self._known) >= _MAX_KNOWN_SHARDS:
                    del self._known[next(iter(self._known))]
                self._known[shard] = known
        return known

    def _opened(self, receipt: Receipt) -> SingleRows:
        if self.plan.format == "png":
            # A table is small, and its sha256 is checked.
            return TableRows(list(read_rows(self.url, self.plan, receipt, self.images)))
        url = storage.join(self.url, receipt.path)
        try:
            size = storage.size_of(url)
        except FileNotFoundError:
            size = None
        if size != receipt.bytes:
            # Reading it whole tells what is wrong, unless its store tells no sizes.
            read_shard(self.url, receipt)
        return _SINGLE_ROWS[self.plan.format](RangedFile(url, receipt.bytes))
