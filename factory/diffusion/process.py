"""The forward process: noise schedule, noising, loss; and where noise comes from.

Shapes: B batch, C channels, H height, W width. Images x_0 are in [-1, 1].
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from factory.config import Diffusion

EpsilonFn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(x_t (B, C, H, W), t (B,)) -> epsilon (B, C, H, W)."""

NoiseFn = Callable[[int], torch.Tensor]
"""t -> (B, C, H, W) standard normal: what a sampler adds at that timestep."""

_MASK64 = (1 << 64) - 1
_RETRY_SHIFT = 48


@dataclass(frozen=True)
class Schedule:
    """alpha_bars (T,) float64, the share of signal at each timestep; samplers want a CPU's."""

    alpha_bars: torch.Tensor

    @property
    def num_timesteps(self) -> int:
        return len(self.alpha_bars)

    def to(self, device: torch.device) -> "Schedule":
        """The same there, for `q_sample` on that device."""
        return Schedule(self.alpha_bars.to(device))

    def alpha_bar(self, t: int) -> float:
        """alpha_bar at t; 1 at t = -1, the clean image."""
        return 1.0 if t < 0 else float(self.alpha_bars[t])

    def alpha_sigma(self, t: int) -> tuple[float, float]:
        """(sqrt(alpha_bar), sqrt(1 - alpha_bar)): x_t = alpha x_0 + sigma epsilon."""
        alpha_bar = self.alpha_bar(t)
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)


def linear_schedule(config: Diffusion) -> Schedule:
    """Linear betas (Ho et al. 2020, section 4): alpha_bar_t = prod_{s<=t} (1 - beta_s).

    The betas are float32, as diffusers makes them, so that both agree to the last bit that counts.
    """
    betas = torch.linspace(
        config.beta_start, config.beta_end, config.num_timesteps, dtype=torch.float32
    )
    return Schedule(torch.cumprod(1.0 - betas.double(), dim=0))


def q_sample(
    schedule: Schedule, x_0: torch.Tensor, t: torch.Tensor, epsilon: torch.Tensor
) -> torch.Tensor:
    """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) epsilon (Ho et al. 2020, equation 4).

    x_0, epsilon: (B, C, H, W); t: (B,) integers.
    """
    alpha_bars = schedule.alpha_bars.to(x_0.device, torch.float32)[t].view(-1, 1, 1, 1)
    return alpha_bars.sqrt() * x_0 + (1.0 - alpha_bars).sqrt() * epsilon


def epsilon_loss(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_0: torch.Tensor,
    t: torch.Tensor,
    epsilon: torch.Tensor,
) -> torch.Tensor:
    """Mean squared error of the predicted noise (Ho et al. 2020, equation 14), a scalar."""
    predicted = epsilon_fn(q_sample(schedule, x_0, t, epsilon), t)
    return F.mse_loss(predicted.float(), epsilon)


def sample_seed(run_seed: int, index: int, retry: int = 0) -> int:
    """The uint64 that alone decides a sample's noise; different for every (index, retry) of a run.

    A bijection of the index (SplitMix64's finaliser), so two samples never share a stream.
    """
    assert 0 <= index < 1 << _RETRY_SHIFT and 0 <= retry < 1 << (64 - _RETRY_SHIFT)
    return _mix64((index | retry << _RETRY_SHIFT) ^ _mix64(run_seed & _MASK64))


def _mix64(z: int) -> int:
    z = (z + 0x9E3779B97F4A7C15) & _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return z ^ (z >> 31)


def normal_noise(seeds: Sequence[int], shape: Sequence[int], stream: int) -> torch.Tensor:
    """Standard normal noise (len(seeds), *shape) float32; row i depends on seeds[i], stream alone.

    stream: 0 for x_T, t + 1 for the noise that an ancestral step at timestep t adds. Drawn from
    Philox, a counter-based generator: no state, any order, any batch.
    """
    # As uint64: numpy makes a list with a number above 2**63 float64, which rounds it.
    keys = [np.array([seed, stream], dtype=np.uint64) for seed in seeds]
    rows = [
        np.random.Generator(np.random.Philox(key=key)).standard_normal(
            tuple(shape), dtype=np.float32
        )
        for key in keys
    ]
    return torch.from_numpy(np.stack(rows))


def step_noise(seeds: Sequence[int], shape: Sequence[int], device: torch.device) -> NoiseFn:
    """The noise that a sampler adds to these samples at each timestep t: their stream t + 1."""
    return lambda t: normal_noise(seeds, shape, stream=t + 1).to(device)
