"""Samplers: plain functions over a callable (x_t, t) -> epsilon.

All walk a decreasing grid of integer timesteps, end on the clean image, predict x_0 at each step
and clip it to [-1, 1], as Ho et al. (2020) do. Coefficients are Python floats computed up front:
the loop never waits for the device.

Shapes: x_T (B, C, H, W) standard normal -> x_0 (B, C, H, W) in [-1, 1].
"""

import math
from collections.abc import Iterable, Sequence

import torch

from factory.diffusion.process import EpsilonFn, NoiseFn, Schedule


def ddpm(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_t: torch.Tensor,
    noise: NoiseFn,
) -> torch.Tensor:
    """Ancestral sampling over every timestep (Ho et al. 2020, algorithm 2).

    noise(t): (B, C, H, W) standard normal, added at timestep t > 0 with the posterior's variance
    (their equation 7).
    """
    for t in reversed(range(schedule.num_timesteps)):
        alpha_bar, alpha_bar_next = schedule.alpha_bar(t), schedule.alpha_bar(t - 1)
        alpha = alpha_bar / alpha_bar_next
        x_0 = _clean(epsilon_fn, schedule, x_t, t)
        mean = (
            math.sqrt(alpha_bar_next) * (1 - alpha) / (1 - alpha_bar) * x_0
            + math.sqrt(alpha) * (1 - alpha_bar_next) / (1 - alpha_bar) * x_t
        )
        deviation = math.sqrt((1 - alpha) * (1 - alpha_bar_next) / (1 - alpha_bar))
        x_t = mean + deviation * noise(t) if t > 0 else mean
    return x_t


def ddim(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_t: torch.Tensor,
    timesteps: Sequence[int],
    eta: float = 0.0,
    noise: NoiseFn | None = None,
) -> torch.Tensor:
    """DDIM (Song et al. 2021, equations 12 and 16): eta = 0 deterministic, eta = 1 ancestral.

    noise(t): (B, C, H, W) standard normal, added at timestep t; needed where eta > 0. Ancestral
    steps correct the errors of earlier ones: they suit models that were trained for a short while.
    """
    for t, t_next in _pairs(timesteps):
        alpha_bar, alpha_bar_next = schedule.alpha_bar(t), schedule.alpha_bar(t_next)
        x_0 = _clean(epsilon_fn, schedule, x_t, t)
        epsilon = (x_t - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar)
        variance = (1 - alpha_bar_next) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_next)
        deviation = eta * math.sqrt(variance)
        direction = math.sqrt(max(0.0, 1 - alpha_bar_next - deviation**2))
        x_t = math.sqrt(alpha_bar_next) * x_0 + direction * epsilon
        if deviation > 0:
            assert noise is not None, "eta > 0 adds noise"
            x_t = x_t + deviation * noise(t)
    return x_t


def dpm_solver(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_t: torch.Tensor,
    timesteps: Sequence[int],
) -> torch.Tensor:
    """DPM-Solver++(2M): second-order multistep over x_0 (Lu et al. 2022, algorithm 2).

    Few-step: 10 to 20 passes. The first step and the last, which lands on x_0, are first order.
    """
    previous: tuple[torch.Tensor, float] | None = None
    for t, t_next in _pairs(timesteps):
        x_0 = _clean(epsilon_fn, schedule, x_t, t)
        if t_next < 0:
            return x_0
        h = _half_log_snr(schedule, t_next) - _half_log_snr(schedule, t)
        direction = x_0
        if previous is not None:
            last_x_0, last_h = previous
            direction = x_0 + (x_0 - last_x_0) * (h / (2 * last_h))
        alpha_bar, alpha_bar_next = schedule.alpha_bar(t), schedule.alpha_bar(t_next)
        shrink = math.sqrt((1 - alpha_bar_next) / (1 - alpha_bar))
        x_t = shrink * x_t - math.sqrt(alpha_bar_next) * math.expm1(-h) * direction
        previous = x_0, h
    raise AssertionError("the grid ends before the clean image")


def log_snr_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int] = ()
) -> tuple[int, ...]:
    """num_steps decreasing timesteps from T - 1, evenly spaced in log SNR, containing `pinned`."""
    log_snr = torch.logit(schedule.alpha_bars) / 2
    targets = torch.linspace(float(log_snr[-1]), float(log_snr[0]), num_steps + 1)[:-1]
    ideal = [int((log_snr - target).abs().argmin()) for target in targets]
    return _with_pinned(ideal, pinned, schedule.num_timesteps)


def uniform_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int] = ()
) -> tuple[int, ...]:
    """num_steps decreasing timesteps from T - 1, evenly spaced, containing `pinned`."""
    last = schedule.num_timesteps - 1
    ideal = [round(last - i * schedule.num_timesteps / num_steps) for i in range(num_steps)]
    return _with_pinned(ideal, pinned, schedule.num_timesteps)


def _with_pinned(
    ideal: Sequence[int], pinned: Iterable[int], num_timesteps: int
) -> tuple[int, ...]:
    """The grid with its nearest free point moved onto each pinned timestep, all points distinct."""
    wanted = sorted(set(pinned) - {ideal[0]}, reverse=True)
    assert len(ideal) > len(wanted), "a grid holds its first point and every pinned timestep"
    free = list(ideal[1:])
    for t in wanted:
        free.remove(min(free, key=lambda point: (abs(point - t), point)))
    grid = {ideal[0], *wanted}
    for point in free:
        grid.add(next(t for t in _nearest(point, num_timesteps) if t not in grid))
    return tuple(sorted(grid, reverse=True))


def _nearest(point: int, num_timesteps: int) -> Iterable[int]:
    """Timesteps by their distance from point."""
    return sorted(range(num_timesteps), key=lambda t: (abs(t - point), t))


def _pairs(timesteps: Sequence[int]) -> Iterable[tuple[int, int]]:
    """(t, the next t), the last going to -1: the clean image."""
    return zip(timesteps, [*timesteps[1:], -1], strict=True)


def _clean(epsilon_fn: EpsilonFn, schedule: Schedule, x_t: torch.Tensor, t: int) -> torch.Tensor:
    """The predicted x_0, clipped to [-1, 1] (Ho et al. 2020, equation 15 solved for x_0)."""
    epsilon = epsilon_fn(x_t, torch.full((len(x_t),), t, device=x_t.device)).float()
    alpha_bar = schedule.alpha_bar(t)
    x_0 = (x_t - math.sqrt(1 - alpha_bar) * epsilon) / math.sqrt(alpha_bar)
    return x_0.clamp(-1.0, 1.0)


def _half_log_snr(schedule: Schedule, t: int) -> float:
    alpha_bar = schedule.alpha_bar(t)
    return 0.5 * math.log(alpha_bar / (1 - alpha_bar))
