"""The random numbers of samples: seeds, and noise that a CPU draws from them.

Shapes: B batch, C channels, H height, W width.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

NoiseFn = Callable[[int], torch.Tensor]
"""t -> (B, C, H, W) standard normal: what a sampler adds at that timestep."""

_SEED_BITS = 63
"""A seed is a non-negative int64, which every reader of Parquet and JSON takes as it is."""
_SEED_MASK = (1 << _SEED_BITS) - 1
_RETRY_SHIFT = 48
_NUM_AHEAD = 2
"""Batches of noise that lie ready, or are being drawn."""


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
