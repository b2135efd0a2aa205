"""Random access to a dataset's samples: single ones are read, whatever the size of their shards."""

import operator
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from threading import Lock
from typing import Any

from torch.utils.data import Dataset

from factory import storage
from factory.errors import DamagedShard, UserError, counted
from factory.scores import Score
from factory.shards.mask_files import RowImages
from factory.shards.plan import StoredRow
from factory.shards.reading import (
    check_has_images,
    read_file,
    read_plan,
    read_rows,
    receipts_to_read,
)
from factory.shards.receipts import Receipt, ShardFile, score_of
from factory.shards.schema import Sample, sample_key
from factory.shards.single_rows import (
    ListedTarRows,
    ParquetRows,
    SingleRows,
    TableRows,
    TarRows,
)
from factory.shards.splits import Split, indices_of
from factory.shards.tensors import COLUMNS, MaskType, TensorForm, Transform
from factory.storage import RangedFile

_MAX_KNOWN_SHARDS = 256
"""An index keeps what it learned of so many shards: up to some hundred kilobytes for each."""


class ShardIndex(Dataset[dict[str, Any]]):
    """The samples of a finished dataset by their number, as the same dicts as those of
    `ShardDataset`.

    `index[i]` reads the part of a shard that holds the sample; negative numbers count from the end,
    and a slice gives a list. split, columns, mask_dtype, transform, partial, images: as for
    `ShardDataset`.

    A shard's sha256 cannot be checked by a part of it. What is checked: its size, the checksums of
    the pages of Parquet, the headers of tars, the hash of the table beside a tar, the key, and the
    checksums of the pictures. Of older datasets, whose tars have no such table, the fields are read
    from the tar's JSON, which nothing proves. Nothing stays open, so any process of a DataLoader
    may use it, and any thread.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        split: Split | None = None,
        columns: Sequence[str] = COLUMNS,
        mask_dtype: MaskType = "uint8",
        transform: Transform | None = None,
        partial: bool = False,
        images: RowImages | None = None,
    ) -> None:
        """Raises UserError if there is no dataset, or, without partial, an unfinished one; if none
        of its shards is done; and for columns and splits that there are not."""
        self.url = url = storage.normalize(url)
        self.plan = read_plan(url)
        self.images = images
        check_has_images(url, self.plan, images)
        self.form = TensorForm(url, self.plan, columns, mask_dtype, transform)
        self.split = split
        self.receipts = receipts_to_read(url, self.plan, partial, split)
        self._starts = [0, *accumulate(receipt.rows for receipt in self.receipts)]
        self._known: dict[int, _Shard] = {}
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
        return self.form.of(self._sample(number))

    def stored(self, number: int) -> StoredRow:
        """The sample of this number, from 0, as it is stored. Raises UserError where the shard is
        missing, altered or damaged."""
        shard = bisect_right(self._starts, number) - 1
        try:
            known, row = self._shard(shard), number - self._starts[shard]
            stored, key = known.row(row), sample_key(known.indices[row])
            if stored.fields["key"] != key:
                raise DamagedShard(f"it has {stored.fields['key']} in place of {key}")
            return stored
        except DamagedShard as error:
            raise self._damaged(self.receipts[shard], error) from None

    def _sample(self, number: int) -> Sample:
        """The sample of this number. Raises UserError."""
        try:
            return self.stored(number).decoded()
        except DamagedShard as error:
            receipt = self.receipts[bisect_right(self._starts, number) - 1]
            raise self._damaged(receipt, error) from None

    def image_names(self) -> list[str]:
        """The names of the images of all samples, shard by shard, in a dataset of labels; pictures
        are not read. Raises UserError."""
        names = []
        for receipt in self.receipts:
            try:
                names += [name for file in self._rows_of(receipt) for name in file.image_names()]
            except DamagedShard as error:
                raise self._damaged(receipt, error) from None
        return names

    def _damaged(self, receipt: Receipt, error: DamagedShard) -> UserError:
        return UserError(
            f"{storage.join(self.url, receipt.path)}: is damaged: {error}. Run `factory repair` on "
            "the dataset."
        )

    def _shard(self, shard: int) -> "_Shard":
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

    def _opened(self, receipt: Receipt) -> "_Shard":
        spec, fraction = self.plan.shard(receipt.shard), self.plan.val_fraction
        files = self._rows_of(receipt)
        if fraction is None:
            return _Shard(files, range(spec.start, spec.stop))
        splits = [split for split in spec.splits if self.split in (None, split)]
        places = [
            (index, file, row)
            for file, split in enumerate(splits)
            for row, index in enumerate(indices_of(spec.start, spec.stop, split, fraction))
        ]
        places.sort()
        return _Shard(files, [index for index, *_ in places], [place for _, *place in places])

    def _rows_of(self, receipt: Receipt) -> list[SingleRows]:
        """The files of samples of a receipt. Raises UserError, DamagedShard."""
        if self.plan.format == "png":
            # A table is small, and its sha256 is checked.
            return [TableRows(list(read_rows(self.url, self.plan, receipt, self.images)))]
        files = [self._checked(file) for file in receipt.data_files]
        if self.plan.format == "parquet":
            return [ParquetRows(file) for file in files]
        if not self.plan.has_metadata:
            return [TarRows(file) for file in files]
        tables = receipt.files[len(files) :]
        return [
            ListedTarRows(file, read_file(self.url, table))
            for file, table in zip(files, tables, strict=True)
        ]

    def _checked(self, file: ShardFile) -> RangedFile:
        """A file of its size. Raises UserError."""
        url = storage.join(self.url, file.path)
        try:
            size = storage.size_of(url)
        except FileNotFoundError:
            size = None
        if size != file.bytes:
            # Reading it whole tells what is wrong, unless its store tells no sizes.
            read_file(self.url, file)
        return RangedFile(url, file.bytes)


@dataclass(frozen=True)
class _Shard:
    """What is known of a shard."""

    files: list[SingleRows]
    indices: Sequence[int]
    """The numbers of its samples in the dataset, in order."""
    places: Sequence[Sequence[int]] | None = None
    """The file and the row there of each sample; None where there is one file."""

    def row(self, row: int) -> StoredRow:
        """The sample of a row. Raises DamagedShard."""
        file, within = (0, row) if self.places is None else self.places[row]
        return self.files[file].row(within)
