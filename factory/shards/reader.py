"""Datasets over shards, for torch and for Ray Data, from any storage and of both formats.

Shapes: H height, W width, C classes. Every shard's sha256 is checked as it is read.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, count, islice, repeat
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed
from torch.utils.data import IterableDataset, get_worker_info

from factory import storage
from factory.errors import DamagedShard, UserError, counted
from factory.scores import Score
from factory.shards.filtering import Bound, Pairs, bound_of
from factory.shards.mask_files import RowImages
from factory.shards.plan import Plan, StoredRow
from factory.shards.random_access import ShardIndex
from factory.shards.reading import (
    check_flag,
    check_has_images,
    read_plan,
    read_rows,
    receipts_to_read,
)
from factory.shards.receipts import Receipt, score_of
from factory.shards.schema import to_fields
from factory.shards.splits import Split
from factory.shards.tensors import COLUMNS, MaskType, TensorForm, Transform
from factory.threads import in_threads

if TYPE_CHECKING:
    import ray.data

__all__ = ["ShardDataset", "ShardIndex", "read_dataset"]

_Rows = Iterator[StoredRow]


class ShardDataset(IterableDataset[dict[str, Any]]):
    """Samples of a finished dataset, as dicts.

    image: uint8 (3, H, W), or (1, H, W) if grey; mask: uint8 (H, W) class ids, 255 = ignore; key:
    str; uncertainty: float, nats. Ranks get consecutive parts of all samples, and DataLoader
    workers parts of their rank's, so any number of them has work; a shard that several need is read
    by each.

    columns: those that come with image and mask in place of key and uncertainty; lists among them
    are tensors (C,), int64 or float32. mask_dtype: "int64" is what a loss takes; 255 stays.
    transform: a function that is called with each dict, and whose result comes in its place; a
    DataLoader's workers that are not forked need one that can be pickled.

    keep: about this share of the samples, above 0 and at most 1: the most certain ones.
    max_uncertainty: only samples that are no more uncertain, in nats. min_expected_iou: only
    samples of whose masks at least this IoU is expected, as the column `expected_iou` tells it; the
    share that is kept is logged. Any one of the three.

    shuffle: by seed and epoch, shards first, then samples in a buffer of shuffle_buffer.

    rank: 0..world_size-1; both are those of torch.distributed where it is initialised, else 0
    and 1. equal_ranks: every rank gives the same number of samples, as training with DDP needs
    it: fewer than world_size samples are left out; where a filter leaves some
    out, the number is an estimate, and a rank may give some samples twice and leave out
    others. Without equal_ranks, every sample comes exactly once over all ranks.

    split: "train" or "validation" of a dataset that was made with generate.val_fraction; None: all
    samples. partial: takes the shards that are done, where the dataset is unfinished.

    images: of a dataset of mask files, those that were labelled; `factory.open_dataset` finds them.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        *,
        split: Split | None = None,
        columns: Sequence[str] = COLUMNS,
        mask_dtype: MaskType = "uint8",
        transform: Transform | None = None,
        max_uncertainty: float | None = None,
        keep: float | None = None,
        min_expected_iou: float | None = None,
        shuffle: bool = False,
        shuffle_buffer: int = 1000,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        equal_ranks: bool = True,
        partial: bool = False,
        images: RowImages | None = None,
    ) -> None:
        """Raises UserError if there is no dataset, or, without partial, an unfinished one; if none
        of its shards is done; if the filter keeps nothing; if a rank would get nothing; for columns
        and splits that there are not; and for options of another type."""
        check_flag("shuffle", shuffle)
        check_flag("equal_ranks", equal_ranks)
        _check_whole("seed", seed, 0)
        _check_whole("shuffle_buffer", shuffle_buffer, 1)
        # An absolute path, because a DataLoader's workers may run in another folder.
        self.url = url = storage.normalize(url)
        self.rank, self.world_size = _ranks(rank, world_size)
        self.plan = read_plan(url)
        self.images = images
        check_has_images(url, self.plan, images)
        self.form = TensorForm(url, self.plan, columns, mask_dtype, transform)
        self.receipts = receipts_to_read(url, self.plan, partial, split)
        pairs = Pairs(url, self.plan, self.receipts)
        self.num = pairs.num
        self.bound = bound_of(pairs, max_uncertainty, keep, min_expected_iou)
        self.num_kept = self.num if self.bound is None else pairs.num_within(self.bound)
        self.num_per_rank: int | None = None
        if equal_ranks and self.world_size > 1:
            self.num_per_rank = _equal_part(self.num_kept, self.world_size, url)
        self.shuffle = shuffle
        self.shuffle_buffer = shuffle_buffer
        self.seed = seed
        # Shared, so that set_epoch reaches the workers that a DataLoader keeps alive.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()

    def __repr__(self) -> str:
        return f"ShardDataset({self.url!r}, {counted(self.num, 'sample')})"

    @property
    def score(self) -> Score | None:
        """The scores of all samples, as they were labelled; None if there were no masks to compare
        theirs with."""
        return score_of(self.receipts)

    def __len__(self) -> int:
        """The number of samples of this rank, over all its workers.

        Raises TypeError where a filter leaves some out, and ranks are not made equal.
        """
        if self.num_per_rank is not None:
            return self.num_per_rank
        if self.bound is None:
            return len(_parts(self.num, self.world_size)[self.rank])
        # A TypeError tells `list` and DataLoader that there is no length, and they go on without.
        raise TypeError(
            f"{self.url}: how many samples have {self.bound} is only known when all were read. "
            "Leave the filter out, or count them."
        )

    def set_epoch(self, epoch: int) -> None:
        """Sets the order of an epoch, 0 or more; to be called with the same number on all ranks."""
        _check_whole("epoch", epoch, 0)
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Raises UserError where a shard is missing or altered."""
        worker = get_worker_info()
        num_workers, worker_id = (worker.num_workers, worker.id) if worker else (1, 0)
        consumer, consumers = self.rank * num_workers + worker_id, self.world_size * num_workers
        if consumer == 0 and len(self.receipts) < consumers:
            self._warn_of_few_shards(consumers)
        rows = self._rows(int(self._epoch), num_workers, worker_id, self.num_per_rank)
        return map(self._formed, rows)

    @property
    def epoch_size(self) -> int:
        """The number of samples that `endless` takes from an epoch: all of this rank, or about as
        many where a filter leaves some out."""
        if self.num_per_rank is not None:
            return self.num_per_rank
        return len(self) if self.bound is None else max(1, self.num_kept // self.world_size)

    def endless(self, start: int = 0, ahead: int = 0) -> Iterator[Any]:
        """The samples of this rank without end, epoch after epoch, from number start on.

        So a training goes on where it was: what comes before start is passed over, and nothing of
        it decoded. Where a filter is set, epochs are of `epoch_size` samples each. ahead: so many
        samples are decoded by threads in advance. It takes no notice of `set_epoch` and of a
        DataLoader's workers. Raises UserError where a shard is missing or altered.
        """
        _check_whole("start", start, 0)
        _check_whole("ahead", ahead, 0)
        rows = self._endless_rows(start)
        return in_threads(self._formed, rows, ahead) if ahead else map(self._formed, rows)

    def _endless_rows(self, start: int) -> _Rows:
        is_all = self.bound is None and self.num_per_rank is None
        num = None if is_all else self.epoch_size
        first, passed_over = divmod(start, self.epoch_size)
        for epoch in count(first):
            yield from islice(self._rows(epoch, 1, 0, num), passed_over, None)
            passed_over = 0

    def _rows(self, epoch: int, num_workers: int, worker: int, num: int | None) -> _Rows:
        """The samples of an epoch for this worker of this rank, in their order.

        num: those of the rank; None: all that there are.
        """
        order = np.arange(len(self.receipts))
        if self.shuffle:
            # Not by consumer: all must agree on who reads what.
            np.random.default_rng([self.seed, epoch]).shuffle(order)
        rows = self._part([self.receipts[i] for i in order], num_workers, worker, num)
        if self.shuffle:
            consumer = self.rank * num_workers + worker
            rng = np.random.default_rng([self.seed, epoch, consumer])
            rows = _shuffled(rows, self.shuffle_buffer, rng)
        return rows

    def _formed(self, row: StoredRow) -> Any:
        """What is handed over of a row. Raises UserError."""
        try:
            return self.form.of(row.decoded())
        except DamagedShard as error:
            raise UserError(f"{self.url}: {error}. Run `factory repair` on it.") from None

    def _warn_of_few_shards(self, consumers: int) -> None:
        warnings.warn(
            f"{self.url}: has {counted(len(self.receipts), 'shard')} for {consumers} consumers "
            "(ranks times workers), so that shards are read several times: each consumer reads a "
            "whole one for its part of the samples. Use fewer workers, or make datasets of more "
            "shards with a smaller generate.samples_per_shard.",
            stacklevel=3,
        )

    def _part(
        self, receipts: Sequence[Receipt], num_workers: int, worker: int, num: int | None
    ) -> _Rows:
        """The samples of this worker of this rank, in the receipts' order."""
        if num is None:
            mine = _parts(self.num, self.world_size * num_workers)[self.rank * num_workers + worker]
            return self._kept(receipts, mine)
        size = self.num // self.world_size
        start = self.rank * size + _parts(size, num_workers)[worker].start
        # After the last sample comes the first, again and again: some are within the bound.
        laps = (self._kept(receipts, range(self.num)) for _ in repeat(None))
        endless = chain(self._kept(receipts, range(start, self.num)), chain.from_iterable(laps))
        return islice(endless, len(_parts(num, num_workers)[worker]))

    def _kept(self, receipts: Sequence[Receipt], wanted: range) -> _Rows:
        """The wanted samples of the given shards that are within the bound."""
        end = 0
        for receipt in receipts:
            start, end = end, end + receipt.rows
            if start < wanted.stop and wanted.start < end:
                first, last = max(0, wanted.start - start), wanted.stop - start
                rows = islice(read_rows(self.url, self.plan, receipt, self.images), first, last)
                yield from _within(self.bound, rows)


def read_dataset(
    url: str | os.PathLike[str],
    max_uncertainty: float | None = None,
    keep: float | None = None,
    split: Split | None = None,
    min_expected_iou: float | None = None,
) -> "ray.data.Dataset":
    """A finished dataset as Ray Data, one block or more a shard, whose batches become tensors.

    Columns: index int64, which is the sample's key as a number; image uint8 (H, W, C); mask uint8
    (H, W); and the numbers of the dataset's row, among them labels int64 (C,), uncertainty float32
    and class_fractions float32 (C,). None is text, which `iter_torch_batches` cannot take. In
    datasets of version 0.1, seed is uint64. max_uncertainty, keep, split, min_expected_iou: as
    for `ShardDataset`. Raises UserError if there is no finished dataset, or the filter keeps
    nothing.
    """
    # An absolute path, because Ray's workers may run in another folder.
    url = storage.normalize(url)
    plan = read_plan(url)
    check_has_images(url, plan)
    receipts = receipts_to_read(url, plan, partial=False, split=split)
    pairs = Pairs(url, plan, receipts)
    bound = bound_of(pairs, max_uncertainty, keep, min_expected_iou)
    import ray.data

    shards = ray.data.from_items(
        [{"receipt": receipt.model_dump_json()} for receipt in receipts],
        override_num_blocks=len(receipts),
    )
    return shards.flat_map(partial(_arrays, url, plan, bound))


def _arrays(
    url: str, plan: Plan, bound: Bound | None, row: dict[str, str]
) -> Iterator[dict[str, Any]]:
    receipt = Receipt.model_validate_json(row["receipt"])
    dtypes: dict[str, str] = {
        column.name: column.dtype for column in plan.fields if column.dtype != "string"
    }
    if plan.is_of_version_0_1:
        dtypes["seed"] = "uint64"
    for encoded in _within(bound, read_rows(url, plan, receipt)):
        sample = encoded.decoded()
        fields = to_fields(sample, len(plan.class_names), plan.columns)
        numbers = {name: np.array(fields[name], dtype)[()] for name, dtype in dtypes.items()}
        yield {"index": np.int64(sample.key), "image": sample.image, "mask": sample.mask, **numbers}


def _within(bound: Bound | None, rows: _Rows) -> _Rows:
    """The samples that are within a bound, still encoded."""
    return (row for row in rows if bound is None or bound.keeps(row))


def _ranks(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if rank is None and world_size is None:
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1
    whole = isinstance(rank, Integral) and isinstance(world_size, Integral)
    if not whole or rank is None or world_size is None or not 0 <= rank < world_size:
        raise UserError(
            f"rank = {rank!r}, world_size = {world_size!r}: give both, whole numbers, rank from "
            "0 to world_size - 1; or neither, and they are those of torch.distributed."
        )
    return rank, world_size


def _check_whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise UserError(f"{name} = {value!r}: must be a whole number, at least {least}.")


def _equal_part(num: int, world_size: int, url: str) -> int:
    if num < world_size:
        samples = counted(num, "sample is", "samples are")
        raise UserError(
            f"{url}: about {samples} fewer than {world_size} ranks. Use fewer ranks, or keep more."
        )
    return num // world_size


def _parts(num: int, count: int) -> list[range]:
    """Splits 0..num-1 into count consecutive parts, as equal as possible."""
    return [range(i * num // count, (i + 1) * num // count) for i in range(count)]


def _shuffled(rows: _Rows, size: int, rng: np.random.Generator) -> _Rows:
    buffer: list[StoredRow] = []
    for row in rows:
        if len(buffer) < size:
            buffer.append(row)
            continue
        i = int(rng.integers(size))
        yield buffer[i]
        buffer[i] = row
    yield from (buffer[i] for i in rng.permutation(len(buffer)))
