"""The forward process: noise schedule, noising, loss; and where noise comes from.

Shapes: B batch, C channels, H height, W width. Images x_0 are in [-1, 1].
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from factory.config import DiffusionConfig

EpsilonFn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(x_t (B, C, H, W), t (B,)) -> epsilon (B, C, H, W)."""

NoiseFn = Callable[[int], torch.Tensor]
"""t -> (B, C, H, W) standard normal: what a sampler adds at that timestep."""

_SEED_BITS = 63
"""So that a seed is an int64 of no sign, which every reader of Parquet and JSON takes as it is."""
_SEED_MASK = (1 << _SEED_BITS) - 1
_RETRY_SHIFT = 48
_NUM_AHEAD = 2
"""Batches of noise that lie ready, or are being drawn."""


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
        """Read at once: a sampler that read them one by one would wait for a device at each."""
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
    """0..2^63-1, which alone decides a sample's noise; different for every (index, retry) of a run.

    A bijection of the index, so two samples never share a stream.
    """
    assert 0 <= index < 1 << _RETRY_SHIFT and 0 <= retry < 1 << (_SEED_BITS - _RETRY_SHIFT)
    return _mixed((index | retry << _RETRY_SHIFT) ^ _mixed(run_seed & _SEED_MASK))


def _mixed(z: int) -> int:
    """SplitMix64's finaliser on 63 bits: odd factors and shifted copies can be undone there too."""
    z = (z + 0x9E3779B97F4A7C15) & _SEED_MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _SEED_MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _SEED_MASK
    return z ^ (z >> 31)


def normal_noise(seeds: Sequence[int], shape: Sequence[int], stream: int) -> torch.Tensor:
    """Standard normal noise (len(seeds), *shape) float32; row i depends on seeds[i], stream alone.

    stream: 0 for x_T, t + 1 for the noise that an ancestral step at timestep t adds. Drawn from
    Philox, a counter-based generator: no state, any order, any batch.
    """
    noise = torch.empty((len(seeds), *shape))
    _draw(seeds, stream, noise.numpy())
    return noise


def _draw(seeds: Sequence[int], stream: int, rows: np.ndarray[Any, Any]) -> None:
    """Fills a row for each seed; numpy lets other threads run meanwhile."""
    for seed, row in zip(seeds, rows, strict=True):
        # As uint64: numpy makes a list with a number above 2**63 float64, which rounds it.
        key = np.array([seed, stream], dtype=np.uint64)
        np.random.Generator(np.random.Philox(key=key)).standard_normal(out=row, dtype=np.float32)


def step_noise(seeds: Sequence[int], shape: Sequence[int], device: torch.device) -> NoiseFn:
    """The noise that a sampler adds to these samples at each timestep t: their stream t + 1.

    Drawn when it is asked for, while the device waits: for a sheet now and then.
    """
    return lambda t: normal_noise(seeds, shape, stream=t + 1).to(device)


class NoiseAhead:
    """The noise that a sampler adds on a CPU, drawn by a thread two steps before it is asked for.

    `with NoiseAhead(...) as noise`: the thread ends with the block. Ask in the timesteps' order;
    some may be left out. An answer holds until the next one is asked for. What fails in the thread
    is raised where its noise is asked for. A GPU draws by itself: `philox.DeviceNoise`.
    """

    def __init__(
        self, seeds: Sequence[int], shape: Sequence[int], timesteps: Iterable[int]
    ) -> None:
        self.seeds = seeds
        self.answer = torch.empty((len(seeds), *shape))
        self.free = [torch.empty_like(self.answer) for _ in range(_NUM_AHEAD)]
        self.coming = iter(timesteps)
        self.drawn: deque[tuple[int, torch.Tensor, Future[None]]] = deque()
        self.thread = ThreadPoolExecutor(1, "noise")

    def __enter__(self) -> NoiseFn:
        self._draw_ahead()
        return self._noise

    def __exit__(self, *error: object) -> None:
        self.thread.shutdown(cancel_futures=True)

    def _draw_ahead(self) -> None:
        """Lets the thread fill every free buffer."""
        while self.free and (t := next(self.coming, None)) is not None:
            buffer = self.free.pop()
            done = self.thread.submit(_draw, self.seeds, t + 1, buffer.numpy())
            self.drawn.append((t, buffer, done))

    def _noise(self, t: int) -> torch.Tensor:
        drawn_at = None
        while drawn_at != t:
            self.free.append(self.answer)
            drawn_at, self.answer, done = self.drawn.popleft()
            done.result()
            self._draw_ahead()
        return self.answer
