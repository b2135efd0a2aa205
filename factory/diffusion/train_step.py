"""One training step of the DDPM: its images, its loss, its update.

It needs no Ray: `training.py` distributes it, and a notebook can call it.
What a step does depends on (config, step, rank) alone: the data order, the noise and the flips are
drawn anew for every step from its own seed, so a resumed run repeats the run that was not stopped.

Shapes: B batch, C channels, H height, W width, N images, S image size.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from factory.config import PredictionType, TrainConfig
from factory.diffusion.compilation import CompiledOrNot
from factory.diffusion.noise import sample_seed
from factory.diffusion.prediction import OutputFn, target
from factory.diffusion.schedule import Schedule, alpha_sigma, q_sample
from factory.diffusion.train_state import TrainState, update
from factory.images import UInt8, to_signed
from factory.precision import autocast, in_bf16

_MOST_SNR = 5.0
"""The signal-to-noise ratio above which the weight of an error of v falls again."""
_COPIED_BYTES = 2**26
"""The bytes of images that are copied to a GPU at once, so that memory holds few on the way."""


def resident_images(pixels: UInt8, device: torch.device) -> torch.Tensor | UInt8:
    """Images (N, S, S, C) from where steps read them: a GPU if they take up to half of its free
    memory, else as they are, which is a file that is mapped into memory."""
    if device.type != "cuda" or pixels.nbytes > torch.cuda.mem_get_info(device)[0] / 2:
        return pixels
    images = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    rows = max(1, _COPIED_BYTES // pixels[0].nbytes)
    for start in range(0, len(pixels), rows):
        images[start : start + rows] = torch.from_numpy(pixels[start : start + rows].copy())
    return images


def read_batch(
    images: torch.Tensor | UInt8, chosen: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """The chosen images (B, C, S, S) uint8 on the device; the host does not wait for it.

    images: what `resident_images` returned; chosen: (B,) indices on the CPU.
    """
    if isinstance(images, torch.Tensor):
        batch = images[_sent(chosen, device)]
    else:
        batch = _sent(torch.from_numpy(images[chosen.numpy()]), device)
    return batch.permute(0, 3, 1, 2).contiguous()


def _sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The tensor on the device; copies to a GPU are asynchronous, which needs pinned memory."""
    if device.type != "cuda":
        return tensor
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return pinned.copy_(tensor).to(device, non_blocking=True)


def fast_network(
    unet: nn.Module, train: TrainConfig, distribute: Callable[[Any], Any] = lambda network: network
) -> OutputFn:
    """The network as the steps run it: compiled on a GPU, and distributed.

    In this order: what distributes it cannot be compiled. On a CPU neither compiling nor channels
    last pays: a step of the face recipe takes 1.1 times as long with either.
    """
    on_gpu = next(unet.parameters()).device.type == "cuda"
    network: OutputFn = distribute(CompiledOrNot(unet) if on_gpu and train.compile else unet)
    return network


def batch_indices(
    num_images: int, train: TrainConfig, step: int, rank: int, num_ranks: int
) -> torch.Tensor:
    """This rank's share of the step's batch, (batch_size / num_ranks,) indices of images.

    The run reads one endless sequence of shuffled epochs; a batch may span two of them.
    """
    share = train.batch_size // num_ranks
    start = step * train.batch_size + rank * share
    positions = range(start, start + share)
    orders = {
        epoch: _order(train.seed, epoch, num_images) for epoch in _epochs(positions, num_images)
    }
    return torch.tensor([orders[p // num_images][p % num_images] for p in positions])


def _epochs(positions: range, num_images: int) -> range:
    return range(positions[0] // num_images, positions[-1] // num_images + 1)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num_images: int) -> np.ndarray[Any, Any]:
    """The shuffled order of one epoch; kept while the epoch lasts, and the next one."""
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.permutation(num_images)


def train_step(
    state: TrainState[Any],
    network: OutputFn,
    schedule: Schedule,
    images: torch.Tensor,
    train: TrainConfig,
    rank: int = 0,
) -> torch.Tensor:
    """One optimiser step on this rank's images (B, C, H, W) uint8; returns the loss, a scalar.

    network: state.unet, or what `fast_network` makes of it.
    """
    torch.manual_seed(sample_seed(train.seed, state.step, retry=rank))
    x_0 = to_signed(images)
    if train.horizontal_flip:
        flipped = torch.rand(len(x_0), device=x_0.device) < 0.5
        x_0 = torch.where(flipped[:, None, None, None], x_0.flip(3), x_0)
    t = torch.randint(schedule.num_timesteps, (len(x_0),), device=x_0.device)
    bf16 = in_bf16(train.precision, x_0.device.type)
    with autocast(bf16, x_0.device.type):
        kind = train.diffusion.prediction_type
        loss = denoising_loss(kind, network, schedule, x_0, t, torch.randn_like(x_0))
    update(state, loss, learning_rate(train, state.step), train.max_grad_norm, train.ema_decay)
    return loss.detach()


def learning_rate(train: TrainConfig, step: int) -> float:
    """The learning rate of the step that follows so many others: it grows along a line, stays, and
    falls along a line, to 0 after the last one.

    So most of a run does not depend on its length, and it ends as well as one whose rate falls all
    the time (Hu et al. 2024, "MiniCPM", section 4).
    """
    rate = train.learning_rate * min(1.0, (step + 1) / train.warmup_steps)
    if step > train.falls_from:
        rate *= (train.num_steps - step) / (train.num_steps - train.falls_from)
    return rate


def denoising_loss(
    kind: PredictionType,
    network: OutputFn,
    schedule: Schedule,
    x_0: torch.Tensor,
    t: torch.Tensor,
    epsilon: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error of what is predicted (for the noise Ho et al. 2020, equation 14), a
    scalar.

    The noise is wrong by alpha times what v is wrong by, so alpha^2 weights an error of v as that
    of the noise. Where there is little noise it weighs less: min-SNR weighting (Hang et al. 2023,
    section 3.4), whose features and samples were the best of v (docs/measurements/results.md).
    """
    output = network(q_sample(schedule, x_0, t, epsilon), t).float()
    wanted = target(kind, schedule, x_0, t, epsilon)
    if kind == "epsilon":
        return F.mse_loss(output, wanted)
    alpha, sigma = alpha_sigma(schedule, t, x_0.device)
    weight = torch.minimum(alpha**2, _MOST_SNR * sigma**2)
    return (weight * (output - wanted) ** 2).mean()
