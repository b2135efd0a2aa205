"""Samplers: plain functions over a callable (x_t, t) -> epsilon.

All walk a decreasing grid of integer timesteps, evaluate the network once at each of them in that
order, predict x_0 there and clip it to [-clip, clip], 1 as Ho et al. (2020) do, and end on a clean
image. Without `clip` the deterministic ones solve the probability-flow ODE as it is, whose solution
leaves [-1, 1] where the network has learned too little.
Coefficients are Python floats, the timesteps lie on the device before the first step, and what a
step makes goes into buffers made once: the loop asks the device for nothing, and allocates nothing
but what the network does. Noise too, if `noise.NoiseAhead` gives it, or a device that draws it
itself.

Shapes: x_T (B, C, H, W) standard normal -> x_0 (B, C, H, W), in [-1, 1] if clipped.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
import torch

from factory.diffusion.network import EpsilonFn
from factory.diffusion.noise import NoiseFn
from factory.diffusion.schedule import Schedule


def ddpm(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_t: torch.Tensor,
    noise: NoiseFn,
    clip: float | None = 1.0,
) -> torch.Tensor:
    """Ancestral sampling over every timestep (Ho et al. 2020, algorithm 2).

    noise(t): (B, C, H, W) standard normal, added at timestep t > 0 with the posterior's variance
    (their equation 7).
    """
    every = range(schedule.num_timesteps - 1, -1, -1)
    return ddim(epsilon_fn, schedule, x_t, every, 1.0, noise, clip)


def ddim(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_t: torch.Tensor,
    timesteps: Sequence[int],
    eta: float = 0.0,
    noise: NoiseFn | None = None,
    clip: float | None = 1.0,
) -> torch.Tensor:
    """DDIM (Song et al. 2021, equations 12 and 16): eta = 0 deterministic, eta = 1 ancestral.

    noise(t): (B, C, H, W) standard normal, added at timestep t; needed where eta > 0. Ancestral
    steps correct the errors of earlier ones: they suit models that were trained for a short while.
    """
    cleaner = _Denoiser(epsilon_fn, schedule, x_t, timesteps, clip, num_kept=1)
    x_t = x_t.clone()
    for i, t in enumerate(timesteps):
        x_0 = cleaner(x_t, i)
        if i == len(timesteps) - 1:
            return x_0
        (alpha, sigma), (alpha_next, sigma_next) = map(schedule.alpha_sigma, (t, timesteps[i + 1]))
        deviation = eta * sigma_next / sigma * math.sqrt(1 - (alpha / alpha_next) ** 2)
        # x_t = alpha x_0 + sigma epsilon, so epsilon is a combination of x_t and x_0.
        kept = math.sqrt(max(0.0, sigma_next**2 - deviation**2)) / sigma
        x_t.mul_(kept).add_(x_0, alpha=alpha_next - kept * alpha)
        if deviation > 0:
            assert noise is not None, "eta > 0 adds noise"
            x_t.add_(noise(t), alpha=deviation)
    raise AssertionError("a grid has a timestep")


def dpm_solver(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_t: torch.Tensor,
    timesteps: Sequence[int],
    order: int = 2,
    clip: float | None = 1.0,
) -> torch.Tensor:
    """DPM-Solver++(2M) or (3M): multistep over x_0 (Lu et al. 2022, algorithm 2 and appendix).

    order: 2 or 3. It grows with the steps that were made and falls before the end; the last step,
    which lands on x_0, is first order.
    """
    cleaner = _Denoiser(epsilon_fn, schedule, x_t, timesteps, clip, num_kept=order)
    x_t = x_t.clone()
    for i in range(len(timesteps) - 1):
        cleaner(x_t, i)
        grid = timesteps[max(0, i + 1 - _order(order, i, timesteps)) : i + 2]
        _combine(x_t, *_dpm_weights([_log_snr(schedule, t) for t in grid]), cleaner.kept)
    return cleaner(x_t, len(timesteps) - 1)


def sde_dpm_solver(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_t: torch.Tensor,
    timesteps: Sequence[int],
    noise: NoiseFn,
    clip: float | None = 1.0,
) -> torch.Tensor:
    """SDE-DPM-Solver++(2M): `dpm_solver` for the reverse SDE (Lu et al. 2022, section 4.4).

    noise(t): (B, C, H, W) standard normal, added at timestep t. What it adds corrects errors of
    earlier steps, as ancestral sampling does, and each step is second order in x_0.
    """
    cleaner = _Denoiser(epsilon_fn, schedule, x_t, timesteps, clip, num_kept=2)
    x_t = x_t.clone()
    for i, t in enumerate(timesteps):
        x_0 = cleaner(x_t, i)
        if i == len(timesteps) - 1:
            return x_0
        grid = [_log_snr(schedule, t) for t in timesteps[max(0, i - 1) : i + 2]]
        kept, weights, deviation = _sde_weights(grid)
        _combine(x_t, kept, weights, cleaner.kept)
        x_t.add_(noise(t), alpha=deviation)
    raise AssertionError("a grid has a timestep")


def unipc(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_t: torch.Tensor,
    timesteps: Sequence[int],
    order: int = 2,
    clip: float | None = 1.0,
) -> torch.Tensor:
    """UniPC over x_0 with B(h) = exp(h) - 1 (Zhao et al. 2023, algorithms 5 to 8, bh2).

    The network's answer at a predicted point also corrects the step that led there, so each point
    is one order better at no further pass. The orders are those of `dpm_solver`.
    """
    cleaner = _Denoiser(epsilon_fn, schedule, x_t, timesteps, clip, num_kept=order + 1)
    x_t, predicted = x_t.clone(), x_t.clone()
    for i in range(len(timesteps)):
        x_0 = cleaner(predicted, i)
        if i == len(timesteps) - 1:
            return x_0
        if i > 0:
            known = _order(order, i - 1, timesteps)
            grid = [_log_snr(schedule, t) for t in timesteps[i - known : i + 1]]
            _combine(x_t, *_unipc_weights(grid, corrects=True), cleaner.kept)
        grid = [
            _log_snr(schedule, t) for t in timesteps[i + 1 - _order(order, i, timesteps) : i + 2]
        ]
        predicted.copy_(x_t)
        _combine(predicted, *_unipc_weights(grid, corrects=False), cleaner.kept)
    raise AssertionError("a grid has a timestep")


class _Denoiser:
    """Evaluates the network at the grid's i-th timestep and keeps the last few predicted x_0."""

    def __init__(
        self,
        epsilon_fn: EpsilonFn,
        schedule: Schedule,
        x_t: torch.Tensor,
        timesteps: Sequence[int],
        clip: float | None,
        num_kept: int,
    ) -> None:
        self.epsilon_fn = epsilon_fn
        self.clip = clip
        self.coefficients = [schedule.alpha_sigma(t) for t in timesteps]
        self.t = torch.tensor(list(timesteps)).to(x_t.device).repeat(len(x_t), 1).T.contiguous()
        self.kept = [torch.empty_like(x_t) for _ in range(num_kept)]
        """The newest first."""

    def __call__(self, x_t: torch.Tensor, i: int) -> torch.Tensor:
        """The predicted x_0 (Ho et al. 2020, equation 15 solved for x_0), clipped if asked to."""
        alpha, sigma = self.coefficients[i]
        epsilon = self.epsilon_fn(x_t, self.t[i])
        self.kept.insert(0, self.kept.pop())
        torch.sub(x_t, epsilon, alpha=sigma, out=self.kept[0])
        x_0 = self.kept[0].div_(alpha)
        return x_0.clamp_(-self.clip, self.clip) if self.clip else x_0


def _order(order: int, i: int, timesteps: Sequence[int]) -> int:
    """Of the i-th step: bounded by the steps made so far, and by those that are left."""
    return min(order, i + 1, len(timesteps) - i)


def _combine(
    x_t: torch.Tensor, kept: float, weights: Sequence[float], x_0: Sequence[torch.Tensor]
) -> None:
    """x_t <- kept x_t + sum of weights[j] x_0[j], in place."""
    x_t.mul_(kept)
    for weight, values in zip(weights, x_0, strict=False):
        x_t.add_(values, alpha=weight)


_LogSnr = tuple[float, float, float]
"""(lambda = ln(alpha / sigma), alpha, sigma) of a timestep."""


def _log_snr(schedule: Schedule, t: int) -> _LogSnr:
    alpha, sigma = schedule.alpha_sigma(t)
    return math.log(alpha / sigma), alpha, sigma


def _dpm_weights(grid: Sequence[_LogSnr]) -> tuple[float, list[float]]:
    """The step onto the grid's last point, known at the others: of x_t, and of each x_0 there.

    The newest x_0 comes first; 1, 2 or 3 are known.
    """
    lambdas = [point[0] for point in grid]
    (_, alpha, sigma), (_, _, sigma_last) = grid[-1], grid[-2]
    h = lambdas[-1] - lambdas[-2]
    phi_1 = math.expm1(-h)
    ratios = [(b - a) / h for a, b in pairwise(lambdas)][-2::-1]
    weights = [-alpha * phi_1]
    if len(ratios) == 1:
        slope = -alpha * phi_1 / (2 * ratios[0])
        weights = [weights[0] + slope, -slope]
    elif len(ratios) == 2:
        r_0, r_1 = ratios
        first = alpha * (phi_1 / h + 1)
        second = -alpha * ((phi_1 + h) / h**2 - 0.5)
        # Of the two divided differences D1_0 = (x_0 - x_1) / r_0 and D1_1 = (x_1 - x_2) / r_1.
        d_0 = first * (1 + r_0 / (r_0 + r_1)) + second / (r_0 + r_1)
        d_1 = -first * r_0 / (r_0 + r_1) - second / (r_0 + r_1)
        weights = [weights[0] + d_0 / r_0, d_1 / r_1 - d_0 / r_0, -d_1 / r_1]
    return sigma / sigma_last, weights


def _sde_weights(grid: Sequence[_LogSnr]) -> tuple[float, list[float], float]:
    """The step onto the grid's last point: of x_t, of each known x_0, the newest first, and the
    deviation of the noise."""
    lambdas = [point[0] for point in grid]
    (_, alpha, sigma), (_, _, sigma_last) = grid[-1], grid[-2]
    h = lambdas[-1] - lambdas[-2]
    weights = [-alpha * math.expm1(-2 * h)]
    if len(grid) == 3:
        slope = weights[0] / (2 * (lambdas[1] - lambdas[0]) / h)
        weights = [weights[0] + slope, -slope]
    return sigma / sigma_last * math.exp(-h), weights, sigma * math.sqrt(-math.expm1(-2 * h))


def _unipc_weights(grid: Sequence[_LogSnr], corrects: bool) -> tuple[float, list[float]]:
    """The step onto the grid's last point: of x_t, and of each x_0, the newest first.

    corrects: x_0 at the last point itself is known too, and has the first weight.
    """
    lambdas = [point[0] for point in grid]
    (_, alpha, sigma), (_, _, sigma_last) = grid[-1], grid[-2]
    h, base = lambdas[-1] - lambdas[-2], lambdas[-2]
    b_h = math.expm1(-h)
    # Where the differences x_0 - x_0(base) are known, in units of the step.
    places = [(point - base) / h for point in reversed(lambdas[:-2])]
    places = [1.0, *places] if corrects else places
    rhos = _unipc_rhos(places, h)
    differences = [-alpha * b_h * rho / place for rho, place in zip(rhos, places, strict=True)]
    base_weight = -alpha * b_h - sum(differences)
    at = 1 if corrects else 0
    return sigma / sigma_last, [*differences[:at], base_weight, *differences[at:]]


def _unipc_rhos(places: Sequence[float], h: float) -> list[float]:
    """How much each difference counts, so that the step is exact for polynomials of x_0.

    One difference alone counts half, as the authors have it.
    """
    if len(places) < 2:
        return [0.5] * len(places)
    phi, factorial, moments = math.expm1(-h) / -h - 1, 1, []
    for i in range(1, len(places) + 1):
        moments.append(phi * factorial / math.expm1(-h))
        factorial *= i + 1
        phi = phi / -h - 1 / factorial
    matrix = np.vander(places, increasing=True).T
    return [float(rho) for rho in np.linalg.solve(matrix, moments)]


def log_snr_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int] = ()
) -> tuple[int, ...]:
    """num_steps decreasing timesteps from T - 1, evenly spaced in log SNR, containing `pinned`."""
    log_snr = torch.logit(schedule.alpha_bars) / 2
    targets = torch.linspace(float(log_snr[-1]), float(log_snr[0]), num_steps + 1)[:-1]
    ideal = [int((log_snr - target).abs().argmin()) for target in targets]
    return _with_pinned(ideal, pinned, schedule.num_timesteps)


def high_noise_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int] = ()
) -> tuple[int, ...]:
    """num_steps decreasing timesteps from T - 1, denser towards it, containing `pinned`.

    (T - 1) (1 - u)^0.6 for even u. Colours and composition are decided where noise is high, and
    what a sampler adds there corrects them (docs/measurements/performance.md).
    """
    return _power_timesteps(schedule, num_steps, pinned, 0.6)


def quadratic_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int] = ()
) -> tuple[int, ...]:
    """num_steps decreasing timesteps from T - 1, evenly spaced in sqrt(t), containing `pinned`."""
    return _power_timesteps(schedule, num_steps, pinned, 2)


def _power_timesteps(
    schedule: Schedule, num_steps: int, pinned: Iterable[int], power: float
) -> tuple[int, ...]:
    last = schedule.num_timesteps - 1
    ideal = [round(last * (1 - i / num_steps) ** power) for i in range(num_steps)]
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


@dataclass(frozen=True)
class Sampler:
    """A way from x_T to x_0, and what belongs to it."""

    draw: Callable[..., torch.Tensor]
    """(epsilon_fn, schedule, x_t, timesteps, clip=...) -> x_0; with noise=... where it adds
    some, and eta=... where it has one."""
    grid: Callable[..., tuple[int, ...]] | None
    """(schedule, num_steps, pinned) -> the timesteps that it walks; None:
    all timesteps of the model."""
    adds_noise: bool
    """Whether it does so unless eta is 0."""
    feature_source: Literal["renoise", "trajectory"]
    """Where the maps of generated images come from when nothing is set: by how well the labels
    agree with the consensus of many re-noised passes."""


SAMPLERS: dict[str, Sampler] = {
    "sde_dpm_solver": Sampler(sde_dpm_solver, high_noise_timesteps, True, "renoise"),
    "unipc": Sampler(unipc, log_snr_timesteps, False, "trajectory"),
    "dpm_solver": Sampler(dpm_solver, log_snr_timesteps, False, "trajectory"),
    "ddim": Sampler(ddim, uniform_timesteps, True, "renoise"),
    "ddpm": Sampler(partial(ddim, eta=1.0), None, True, "renoise"),
}
"""By the name that `generate.sampler` has for it."""
