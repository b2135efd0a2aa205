"""Columns of numbers of a shard, read without its pictures where its format allows that.

Shapes: N rows of a shard, C values of a list.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from factory import storage
from factory.errors import DamagedShard
from factory.shards import tar_metadata
from factory.shards.plan import Plan
from factory.shards.reading import missing, read_file, read_rows
from factory.shards.receipts import Receipt, ShardFile
from factory.shards.single_rows import checked
from factory.shards.splits import indices_of
from factory.storage import RangedFile

Numbers = Mapping[str, npt.NDArray[Any]]
"""Columns by their names: (N,), and (N, C) of lists."""


def has_cheap_columns(plan: Plan) -> bool:
    """True if columns are read without pictures; of tars that an older version made they are not,
    as no table lies beside these."""
    return plan.format != "webdataset" or plan.has_metadata


def read_columns(
    url: str, plan: Plan, receipt: Receipt, names: Sequence[str]
) -> tuple[list[int], Numbers]:
    """The numbers of a shard's samples in the dataset, and columns of numbers in the same order.

    Of Parquet only the pages of these columns are read, with their checksums verified; of other
    formats the files that hold them, by their sha256. Raises UserError if a file is missing or
    altered, DamagedShard, OSError.
    """
    spec = plan.shard(receipt.shard)
    if not has_cheap_columns(plan) or plan.format == "png":
        rows = [dict(row.fields) for row in read_rows(url, plan, receipt)]
        tables = [_of_rows(rows, names)]
        indices = list(range(spec.start, spec.stop))
    else:
        tables = list(_tables(url, plan, receipt, names))
        indices = _indices(plan, receipt)
    columns = {name: [_values(table, name) for table in tables] for name in names}
    try:
        found = {name: np.concatenate(parts) for name, parts in columns.items()}
    except ValueError as error:
        raise DamagedShard(f"columns of other lengths in its files ({error})") from None
    if any(len(values) != len(indices) for values in found.values()):
        raise DamagedShard(f"columns of other than its {len(indices):,} rows")
    return indices, found


def _indices(plan: Plan, receipt: Receipt) -> list[int]:
    """The numbers of a shard's samples, as its files have them one after the other."""
    spec = plan.shard(receipt.shard)
    if (fraction := plan.val_fraction) is None:
        return list(range(spec.start, spec.stop))
    parts = (indices_of(spec.start, spec.stop, split, fraction) for split in spec.splits)
    return [index for part in parts for index in part]


def _of_rows(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> pa.Table:
    try:
        return pa.table({name: [row[name] for row in rows] for name in names})
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise DamagedShard(f"fields that are no sample's ({error!r})") from None


def _tables(url: str, plan: Plan, receipt: Receipt, names: Sequence[str]) -> Iterator[pa.Table]:
    """The columns of each file of samples."""
    files = receipt.data_files
    for file in files if plan.format == "parquet" else receipt.files[len(files) :]:
        if plan.format == "parquet":
            yield _of_parquet(url, file, names)
        else:
            yield tar_metadata.read(read_file(url, file))


def _of_parquet(url: str, file: ShardFile, names: Sequence[str]) -> pa.Table:
    """Some columns of a Parquet file. Small holes between them are read too, so that it takes about
    one range of a row group."""
    place = storage.join(url, file.path)

    def read() -> pa.Table:
        own = RangedFile(place, file.bytes)
        whole = pq.ParquetFile(own, pre_buffer=True, page_checksum_verification=True)
        return whole.read(columns=list(names), use_threads=False)

    try:
        return checked(read)
    except FileNotFoundError:
        raise missing(place) from None


def _values(table: pa.Table, name: str) -> npt.NDArray[Any]:
    """(N,) a column, or (N, C) one of lists. Raises DamagedShard."""
    try:
        column = table.column(name).combine_chunks()
        values = column.flatten() if pa.types.is_list(column.type) else column
        numbers: npt.NDArray[Any] = values.to_numpy(zero_copy_only=False)
        if values is column or not len(column):
            return numbers
        if len(set(column.value_lengths().to_pylist())) > 1:
            raise DamagedShard(f"rows with lists of several lengths in {name}")
        return numbers.reshape(len(column), -1)
    except (pa.ArrowException, KeyError, AttributeError) as error:
        raise DamagedShard(f"no column {name} of numbers ({error})") from None
