"""Batches of a training: what each step learns from, a function of (config, step, rank) alone.

Shapes: B batch, C channels, S image size, N images.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch

from factory.config.segment import SegmentConfig
from factory.data.loading import Labelled
from factory.images import Int64, UInt8
from factory.shards.columns import EXPECTED_IOU
from factory.shards.reader import ShardDataset
from factory.threads import ahead

_BATCHES_AHEAD = 2
"""Batches that are read and decoded while the step before them is made."""


@dataclass(frozen=True)
class Batch:
    """What one rank learns from in one step."""

    images: torch.Tensor
    """(B, C, S, S) uint8."""
    masks: torch.Tensor
    """(B, S, S) uint8 class ids, 255 = ignore."""
    weights: torch.Tensor
    """(B,) float32: how much each pair counts; 1 for real ones."""

    def to(self, device: torch.device) -> "Batch":
        """The batch on the device."""
        parts = (self.images, self.masks, self.weights)
        return Batch(*(part.to(device, non_blocking=True) for part in parts))


@dataclass(frozen=True)
class Pairs:
    """What one rank of a training learns from: pairs of shards, real pairs, or both."""

    synthetic: ShardDataset | None
    """Those of this rank; its samples tell their expected IoU, if the dataset knows it."""
    real: Labelled | None
    rank: int = 0
    num_ranks: int = 1

    def batches(self, settings: SegmentConfig, steps: range) -> Iterator[Batch]:
        """A batch for each step, which threads read and decode in advance.

        Raises UserError where a shard is missing or altered.
        """
        num, num_real = settings.batch_size, self._num_real(settings)
        # Each rank has a part of the pairs of a step, among which the real ones lie evenly.
        start, stop = (rank * num // self.num_ranks for rank in (self.rank, self.rank + 1))
        first, end = start * num_real // num, stop * num_real // num
        num_synthetic = stop - start - (end - first)
        samples = self._samples(steps.start * num_synthetic, num_synthetic)

        def batch(step: int) -> Batch:
            real = self._real(settings.seed, range(step * num_real + first, step * num_real + end))
            weighed = settings.certainty_weights
            return _joined(list(islice(samples, num_synthetic)), real, weighed)

        with ThreadPoolExecutor(1) as reader:
            yield from ahead(reader, batch, steps, _BATCHES_AHEAD)

    def _num_real(self, settings: SegmentConfig) -> int:
        """The number of real pairs of a step, over all ranks."""
        if self.real is None:
            return 0
        return settings.batch_size if self.synthetic is None else settings.num_real_beside

    def _samples(self, start: int, num_a_step: int) -> Iterator[dict[str, Any]]:
        if self.synthetic is None or num_a_step == 0:
            return iter(())
        return self.synthetic.endless(start, _BATCHES_AHEAD * num_a_step)

    def _real(self, seed: int, positions: range) -> Iterator[tuple[UInt8, UInt8]]:
        """The real pairs at these positions of one endless sequence of shuffled epochs."""
        if self.real is None:
            return
        num = len(self.real)
        for position in positions:
            epoch, place = divmod(position, num)
            chosen = int(_order(seed, epoch, num)[place])
            yield self.real.images[chosen], self.real.masks[chosen]


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num: int) -> Int64:
    """The shuffled order of one epoch; kept while the epoch lasts, and the next one."""
    return np.random.default_rng([seed, epoch]).permutation(num)


def _joined(
    samples: Sequence[dict[str, Any]],
    real: Iterator[tuple[UInt8, UInt8]],
    weighed: bool,
) -> Batch:
    """The samples and the real pairs as one batch; samples count by their expected IoU if they are
    weighed and tell it."""
    images = [sample["image"] for sample in samples]
    masks = [sample["mask"] for sample in samples]
    weights = [float(sample.get(EXPECTED_IOU, 1.0)) if weighed else 1.0 for sample in samples]
    for image, mask in real:
        images.append(torch.from_numpy(image.transpose(2, 0, 1).copy()))
        masks.append(torch.from_numpy(mask.copy()))
        weights.append(1.0)
    return Batch(torch.stack(images), torch.stack(masks), torch.tensor(weights))
