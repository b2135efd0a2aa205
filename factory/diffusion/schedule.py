"""The noise schedule of the forward process, and noising by it.

Shapes: B batch, C channels, H height, W width. Images x_0 are in [-1, 1].
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from factory.config import DiffusionConfig


@dataclass(frozen=True)
class Schedule:
    """alpha_bars (T,) float64, the share of signal at each timestep."""

    alpha_bars: torch.Tensor

    @property
    def num_timesteps(self) -> int:
        return len(self.alpha_bars)

    def to(self, device: torch.device) -> "Schedule":
        """The same there, for `q_sample` on that device."""
        return Schedule(self.alpha_bars.to(device))

    def alpha_bar(self, t: int) -> float:
        """alpha_bar at t; 1 at t = -1, the clean image."""
        return 1.0 if t < 0 else self._values[t]

    @cached_property
    def _values(self) -> list[float]:
        """The values of alpha_bar, read at once: a sampler that read them one by one would wait for
        a device at each."""
        values: list[float] = self.alpha_bars.tolist()
        return values

    def alpha_sigma(self, t: int) -> tuple[float, float]:
        """(sqrt(alpha_bar), sqrt(1 - alpha_bar)): x_t = alpha x_0 + sigma epsilon."""
        alpha_bar = self.alpha_bar(t)
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)


def linear_schedule(config: DiffusionConfig) -> Schedule:
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
    alpha, sigma = alpha_sigma(schedule, t, x_0.device)
    return alpha * x_0 + sigma * epsilon


def alpha_sigma(
    schedule: Schedule, t: torch.Tensor, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `Schedule.alpha_sigma` has at each of t (B,), (B, 1, 1, 1) float32 on the device."""
    alpha_bars = schedule.alpha_bars.to(device, torch.float32)[t].view(-1, 1, 1, 1)
    return alpha_bars.sqrt(), (1.0 - alpha_bars).sqrt()
