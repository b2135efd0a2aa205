"""Datasets over shards, for torch and for Ray Data, from any storage and of both formats.

Shapes: H height, W width. Every shard's sha256 is checked as it is read.
"""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from factory.shards.ledger import read_manifest, read_plan, read_receipts, read_shard
from factory.shards.plan import Plan
from factory.shards.receipts import Receipt
from factory.shards.schema import Sample, to_fields

if TYPE_CHECKING:
    import ray.data


class ShardDataset(IterableDataset[dict[str, Any]]):
    """Samples of a finished dataset, as dicts.

    key: str; image: uint8 (3, H, W); mask: uint8 (H, W) class ids, 255 = ignore; uncertainty:
    float, nats. Shards are dealt out to ranks and DataLoader workers, each to exactly one; where
    these are more than shards, some get nothing, and ranks may get unequal numbers.
    """

    def __init__(
        self,
        url: str,
        *,
        max_uncertainty: float | None = None,
        shuffle: bool = False,
        shuffle_buffer: int = 1000,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        partial: bool = False,
    ) -> None:
        """max_uncertainty: leaves out what is more uncertain (nats). shuffle: by seed and epoch,
        shards first, then samples in a buffer of shuffle_buffer. rank: 0..world_size-1. partial:
        takes the shards that are done, where the dataset is unfinished.

        Raises UserError where there is no dataset, or, without partial, an unfinished one.
        """
        assert 0 <= rank < world_size and shuffle_buffer >= 1, (
            rank,
            world_size,
            shuffle_buffer,
        )
        self.url = url
        self.plan = read_plan(url)
        self.receipts = _receipts(url, partial)
        self.max_uncertainty = max_uncertainty
        self.shuffle = shuffle
        self.shuffle_buffer = shuffle_buffer
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        # Shared, so that set_epoch reaches the workers that a DataLoader keeps alive.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Call before each epoch for another order; the same on all ranks."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Raises UserError where a shard is missing or altered."""
        worker = get_worker_info()
        num_workers, worker_id = (worker.num_workers, worker.id) if worker else (1, 0)
        consumer = self.rank * num_workers + worker_id
        epoch = int(self._epoch)
        order = np.arange(len(self.receipts))
        if self.shuffle:
            # Not by consumer: all must agree on who reads what.
            np.random.default_rng([self.seed, epoch]).shuffle(order)
        mine = [self.receipts[i] for i in order[consumer :: self.world_size * num_workers]]
        samples = self._samples(mine)
        if self.shuffle:
            rng = np.random.default_rng([self.seed, epoch, consumer])
            samples = _shuffled(samples, self.shuffle_buffer, rng)
        return map(_to_tensors, samples)

    def _samples(self, receipts: list[Receipt]) -> Iterator[Sample]:
        for receipt in receipts:
            yield from _kept(self.url, self.plan, receipt, self.max_uncertainty)


def read_dataset(url: str, max_uncertainty: float | None = None) -> "ray.data.Dataset":
    """A finished dataset as Ray Data, one block or more a shard.

    Columns as in the Parquet row, but image is uint8 (H, W, 3) and mask uint8 (H, W).
    max_uncertainty: leaves out what is more uncertain (nats). Raises UserError where there is no
    finished dataset.
    """
    import ray.data

    receipts = _receipts(url, partial=False)
    shards = ray.data.from_items(
        [{"receipt": receipt.model_dump_json()} for receipt in receipts],
        override_num_blocks=len(receipts),
    )
    return shards.flat_map(partial(_rows, url, read_plan(url), max_uncertainty))


def _rows(
    url: str, plan: Plan, max_uncertainty: float | None, row: dict[str, str]
) -> Iterator[dict[str, Any]]:
    receipt = Receipt.model_validate_json(row["receipt"])
    for sample in _kept(url, plan, receipt, max_uncertainty):
        fields = to_fields(sample, len(plan.class_names))
        # A bare int from 2^63 on fits no column.
        fields["seed"] = np.uint64(sample.seed)
        yield {**fields, "image": sample.image, "mask": sample.mask}


def _receipts(url: str, partial: bool) -> list[Receipt]:
    if partial:
        done = read_receipts(url)
        return [done[i] for i in sorted(done)]
    return read_manifest(url).receipts


def _kept(
    url: str, plan: Plan, receipt: Receipt, max_uncertainty: float | None
) -> Iterator[Sample]:
    for sample in plan.iterate(read_shard(url, receipt)):
        if max_uncertainty is None or sample.uncertainty <= max_uncertainty:
            yield sample


def _shuffled(samples: Iterator[Sample], size: int, rng: np.random.Generator) -> Iterator[Sample]:
    buffer: list[Sample] = []
    for sample in samples:
        if len(buffer) < size:
            buffer.append(sample)
            continue
        i = int(rng.integers(size))
        yield buffer[i]
        buffer[i] = sample
    yield from (buffer[i] for i in rng.permutation(len(buffer)))


def _to_tensors(sample: Sample) -> dict[str, Any]:
    # Copied: decoded pixels are read-only, and torch wants channels first.
    return {
        "key": sample.key,
        "image": torch.from_numpy(sample.image.transpose(2, 0, 1).copy()),
        "mask": torch.from_numpy(sample.mask.copy()),
        "uncertainty": sample.uncertainty,
    }
