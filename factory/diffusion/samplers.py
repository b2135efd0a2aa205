"""Samplers: plain functions over a callable (x_t, t) -> epsilon.

All walk a decreasing grid of integer timesteps, evaluate the network once at each entry in that
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch

from factory.diffusion.network import EpsilonFn
from factory.diffusion.noise import NoiseFn
from factory.diffusion.schedule import Schedule
from factory.diffusion.timesteps import (
    high_noise_timesteps,
    log_snr_timesteps,
    uniform_timesteps,
)


def ddim(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_T: torch.Tensor,
    timesteps: Sequence[int],
    eta: float = 0.0,
    noise: NoiseFn | None = None,
    clip: float | None = 1.0,
) -> torch.Tensor:
    """DDIM (Song et al. 2021, equations 12 and 16): eta = 0 deterministic, eta = 1 ancestral.

    noise(t): (B, C, H, W) standard normal, added at timestep t; needed where eta > 0. Ancestral
    steps correct the errors of earlier ones: they suit models that were trained for a short while.
    """
    denoiser = Denoiser(epsilon_fn, schedule, x_T, timesteps, clip, num_kept=1)
    x_t = x_T.clone()
    for i, t in enumerate(timesteps):
        x_0 = denoiser(x_t, i)
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
    x_T: torch.Tensor,
    timesteps: Sequence[int],
    clip: float | None = 1.0,
) -> torch.Tensor:
    """DPM-Solver++(2M): second-order multistep over x_0 (Lu et al. 2022, algorithm 2).

    The first step, and the last one, which lands on x_0, are first order.
    """
    denoiser = Denoiser(epsilon_fn, schedule, x_T, timesteps, clip, num_kept=2)
    x_t = x_T.clone()
    for i in range(len(timesteps) - 1):
        denoiser(x_t, i)
        grid = timesteps[max(0, i - 1) : i + 2]
        combine(x_t, *_dpm_weights([log_snr(schedule, t) for t in grid]), denoiser.kept)
    return denoiser(x_t, len(timesteps) - 1)


def sde_dpm_solver(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_T: torch.Tensor,
    timesteps: Sequence[int],
    noise: NoiseFn,
    clip: float | None = 1.0,
) -> torch.Tensor:
    """SDE-DPM-Solver++(2M): `dpm_solver` for the reverse SDE (Lu et al. 2022, section 4.4).

    noise(t): (B, C, H, W) standard normal, added at timestep t. What it adds corrects errors of
    earlier steps, as ancestral sampling does, and each step is second order in x_0.
    """
    denoiser = Denoiser(epsilon_fn, schedule, x_T, timesteps, clip, num_kept=2)
    x_t = x_T.clone()
    for i, t in enumerate(timesteps):
        x_0 = denoiser(x_t, i)
        if i == len(timesteps) - 1:
            return x_0
        grid = [log_snr(schedule, t) for t in timesteps[max(0, i - 1) : i + 2]]
        kept, weights, deviation = _sde_weights(grid)
        combine(x_t, kept, weights, denoiser.kept)
        x_t.add_(noise(t), alpha=deviation)
    raise AssertionError("a grid has a timestep")


def unipc(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_T: torch.Tensor,
    timesteps: Sequence[int],
    clip: float | None = 1.0,
) -> torch.Tensor:
    """UniPC over x_0 with B(h) = exp(h) - 1 (Zhao et al. 2023, algorithms 5 to 8, bh2).

    The prediction at a predicted point also corrects the step that led there, so each point is one
    order better at no further pass. The orders of the predictor are those of `dpm_solver`.
    """
    denoiser = Denoiser(epsilon_fn, schedule, x_T, timesteps, clip, num_kept=3)
    x_t, predicted = x_T.clone(), x_T.clone()
    for i in range(len(timesteps)):
        x_0 = denoiser(predicted, i)
        if i == len(timesteps) - 1:
            return x_0
        if i > 0:
            grid = [log_snr(schedule, t) for t in timesteps[max(0, i - 2) : i + 1]]
            combine(x_t, *unipc_weights(grid, corrects=True), denoiser.kept)
        grid = [log_snr(schedule, t) for t in timesteps[max(0, i - 1) : i + 2]]
        predicted.copy_(x_t)
        combine(predicted, *unipc_weights(grid, corrects=False), denoiser.kept)
    raise AssertionError("a grid has a timestep")


class Denoiser:
    """Evaluates the network at the grid's i-th timestep and keeps the last few predicted x_0."""

    def __init__(
        self,
        epsilon_fn: EpsilonFn,
        schedule: Schedule,
        x_T: torch.Tensor,
        timesteps: Sequence[int],
        clip: float | None,
        num_kept: int,
    ) -> None:
        self.epsilon_fn = epsilon_fn
        self.clip = clip
        self.coefficients = [schedule.alpha_sigma(t) for t in timesteps]
        self.t = torch.tensor(list(timesteps)).to(x_T.device).repeat(len(x_T), 1).T.contiguous()
        self.kept = [torch.empty_like(x_T) for _ in range(num_kept)]
        """Predicted x_0; the newest comes first."""

    def __call__(self, x_t: torch.Tensor, i: int) -> torch.Tensor:
        """The predicted x_0 (Ho et al. 2020, equation 15 solved for x_0), clipped if asked to."""
        alpha, sigma = self.coefficients[i]
        epsilon = self.epsilon_fn(x_t, self.t[i])
        self.kept.insert(0, self.kept.pop())
        torch.sub(x_t, epsilon, alpha=sigma, out=self.kept[0])
        x_0 = self.kept[0].div_(alpha)
        return x_0.clamp_(-self.clip, self.clip) if self.clip else x_0


def combine(
    x_t: torch.Tensor, kept: float, weights: Sequence[float], x_0: Sequence[torch.Tensor]
) -> None:
    """x_t <- kept x_t + sum of weights[j] x_0[j], in place."""
    x_t.mul_(kept)
    for weight, values in zip(weights, x_0, strict=False):
        x_t.add_(values, alpha=weight)


LogSnr = tuple[float, float, float]
"""(lambda = ln(alpha / sigma), alpha, sigma)."""


def log_snr(schedule: Schedule, t: int) -> LogSnr:
    """lambda, alpha and sigma of a timestep."""
    alpha, sigma = schedule.alpha_sigma(t)
    return math.log(alpha / sigma), alpha, sigma


def _dpm_weights(grid: Sequence[LogSnr]) -> tuple[float, list[float]]:
    """The weights of x_t, and of each x_0, of the step onto the grid's last point.

    The x_0 at one or two other points are known; the newest comes first.
    """
    lambdas = [point[0] for point in grid]
    (_, alpha, sigma), (_, _, sigma_last) = grid[-1], grid[-2]
    h = lambdas[-1] - lambdas[-2]
    weights = [-alpha * math.expm1(-h)]
    if len(grid) == 3:
        slope = weights[0] / (2 * ((lambdas[1] - lambdas[0]) / h))
        weights = [weights[0] + slope, -slope]
    return sigma / sigma_last, weights


def _sde_weights(grid: Sequence[LogSnr]) -> tuple[float, list[float], float]:
    """The weights of x_t, and of each known x_0, of the step onto the grid's last point, and the
    deviation of the noise that it adds; the newest x_0 comes first."""
    lambdas = [point[0] for point in grid]
    (_, alpha, sigma), (_, _, sigma_last) = grid[-1], grid[-2]
    h = lambdas[-1] - lambdas[-2]
    weights = [-alpha * math.expm1(-2 * h)]
    if len(grid) == 3:
        slope = weights[0] / (2 * (lambdas[1] - lambdas[0]) / h)
        weights = [weights[0] + slope, -slope]
    return sigma / sigma_last * math.exp(-h), weights, sigma * math.sqrt(-math.expm1(-2 * h))


def unipc_weights(grid: Sequence[LogSnr], corrects: bool) -> tuple[float, list[float]]:
    """The weights of x_t, and of each x_0, of the step onto the grid's last point.

    The newest x_0 comes first. corrects: x_0 at the last point itself is known too, and has the
    first weight.
    """
    lambdas = [point[0] for point in grid]
    (_, alpha, sigma), (_, _, sigma_last) = grid[-1], grid[-2]
    h, base = lambdas[-1] - lambdas[-2], lambdas[-2]
    b_h = math.expm1(-h)
    # The points at which the differences x_0 - x_0(base) are known, in units of the step.
    points = [(known - base) / h for known in reversed(lambdas[:-2])]
    points = [1.0, *points] if corrects else points
    rhos = _unipc_rhos(points, h)
    differences = [-alpha * b_h * rho / point for rho, point in zip(rhos, points, strict=True)]
    base_weight = -alpha * b_h - sum(differences)
    at = 1 if corrects else 0
    return sigma / sigma_last, [*differences[:at], base_weight, *differences[at:]]


def _unipc_rhos(points: Sequence[float], h: float) -> list[float]:
    """The weight of each difference with which the step is exact for polynomials of x_0.

    A single difference has weight 1/2, as in the authors' code.
    """
    if len(points) < 2:
        return [0.5] * len(points)
    phi, factorial, moments = math.expm1(-h) / -h - 1, 1, []
    for i in range(1, len(points) + 1):
        moments.append(phi * factorial / math.expm1(-h))
        factorial *= i + 1
        phi = phi / -h - 1 / factorial
    matrix = np.vander(points, increasing=True).T
    return [float(rho) for rho in np.linalg.solve(matrix, moments)]


@dataclass(frozen=True)
class Sampler:
    """A way from x_T to x_0, and what belongs to it."""

    draw: Callable[..., torch.Tensor]
    """(epsilon_fn, schedule, x_T, timesteps, clip=...) -> x_0; also called with noise=... if it
    adds noise, and with eta=... if `has_eta`."""
    grid: Callable[..., tuple[int, ...]] | None
    """(schedule, num_steps, pinned) -> the timesteps that it walks; None: all of the model's."""
    adds_noise: bool
    """True if it adds noise at each step, unless eta is 0."""
    feature_source: Literal["renoise", "trajectory"]
    """The source of the maps of generated images if `generate` names none: the one whose labels
    agree better with the consensus of many re-noised passes."""
    has_eta: bool = False
    """True if the amount of noise is `generate.eta`."""


SAMPLERS: dict[str, Sampler] = {
    "sde_dpm_solver": Sampler(sde_dpm_solver, high_noise_timesteps, True, "renoise"),
    "unipc": Sampler(unipc, log_snr_timesteps, False, "trajectory"),
    "dpm_solver": Sampler(dpm_solver, log_snr_timesteps, False, "trajectory"),
    "ddim": Sampler(ddim, uniform_timesteps, True, "renoise", has_eta=True),
    "ddpm": Sampler(partial(ddim, eta=1.0), None, True, "renoise"),
}
"""The samplers by their names in `generate.sampler`. The ancestral sampling of Ho et al. (2020,
algorithm 2) is DDIM with eta = 1 over every timestep."""
