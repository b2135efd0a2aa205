"""One training step of a segmentation network: its loss, its update, its average.

It needs no Ray: what a step does depends on (config, step, rank) alone, so that a resumed run
repeats the run that was not stopped.

Shapes: B batch, C channels, K classes, S image size.
"""

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from factory.classes import IGNORE_ID
from factory.config.segment import SegmentConfig
from factory.diffusion.noise import sample_seed
from factory.diffusion.train_state import TrainState, update
from factory.precision import autocast, in_bf16
from factory.segmentation.augmentation import augmented
from factory.segmentation.batches import Batch

_MAX_GRAD_NORM = 1.0
"""The largest norm of the gradient; a larger one is scaled down."""

Network = Callable[[torch.Tensor], torch.Tensor]
"""Logits (B, K, S, S) of images (B, C, S, S) in [-1, 1]."""


def new_state(
    make: Callable[[], nn.Module], settings: SegmentConfig, device: torch.device
) -> TrainState[nn.Module]:
    """The state at step 0: weights that make() draws from the seed, and AdamW."""
    torch.manual_seed(settings.seed)
    network = make().to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    return TrainState(network, copy.deepcopy(network), (optimizer,))


def train_step(
    state: TrainState[nn.Module],
    network: Network,
    batch: Batch,
    mirrored_ids: torch.Tensor,
    settings: SegmentConfig,
    rank: int = 0,
) -> torch.Tensor:
    """One optimiser step on this rank's batch; returns the loss, a scalar.

    network: state.unet, or what distributes it. mirrored_ids: (256,), as `augmented` takes them.
    """
    torch.manual_seed(sample_seed(settings.seed, state.step, retry=rank))
    images, masks = augmented(batch.images, batch.masks, mirrored_ids, settings)
    with autocast(in_bf16(settings.precision, images.device.type), images.device.type):
        logits = network(images)
    loss = pixel_loss(logits.float(), masks, batch.weights)
    rate = learning_rate(settings, state.step)
    update(state, loss, rate, _MAX_GRAD_NORM, settings.ema_decay)
    return loss.detach()


def pixel_loss(logits: torch.Tensor, masks: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of logits (B, K, S, S) and masks (B, S, S) of class ids: the mean over the
    pixels of a pair that are not ignored, and over pairs by their weights (B,); a scalar."""
    of_pixels = F.cross_entropy(logits, masks, ignore_index=IGNORE_ID, reduction="none")
    num = (masks != IGNORE_ID).sum((1, 2)).clamp(min=1)
    of_pairs = of_pixels.sum((1, 2)) / num
    # Pairs of which nothing is expected weigh nothing, and so may those of a whole batch.
    return (of_pairs * weights).sum() / weights.sum().clamp(min=1e-6)


def learning_rate(settings: SegmentConfig, step: int) -> float:
    """The learning rate of the step that follows so many others: it grows along a line, and falls
    to 0 along a cosine (Loshchilov and Hutter 2017, equation 5)."""
    grown = min(1.0, (step + 1) / settings.warmup_steps)
    return settings.learning_rate * grown * (1 + math.cos(math.pi * step / settings.num_steps)) / 2
