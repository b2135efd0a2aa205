"""Third-order solvers, which the product does without: `solver.py` measures why.

Shapes and arguments are those of `factory.diffusion.samplers`.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from factory.diffusion.network import EpsilonFn
from factory.diffusion.samplers import Denoiser, LogSnr, combine, log_snr, unipc_weights
from factory.diffusion.schedule import Schedule


def dpm_solver_3m(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_T: torch.Tensor,
    timesteps: Sequence[int],
    clip: float | None = 1.0,
) -> torch.Tensor:
    """DPM-Solver++(3M): third-order multistep over x_0 (Lu et al. 2022, appendix).

    The order grows with the steps that were made and falls before the end; the last step, which
    lands on x_0, is first order.
    """
    denoiser = Denoiser(epsilon_fn, schedule, x_T, timesteps, clip, num_kept=3)
    x_t = x_T.clone()
    for i in range(len(timesteps) - 1):
        denoiser(x_t, i)
        combine(x_t, *_weights(_known(schedule, timesteps, i)), denoiser.kept)
    return denoiser(x_t, len(timesteps) - 1)


def unipc_3(
    epsilon_fn: EpsilonFn,
    schedule: Schedule,
    x_T: torch.Tensor,
    timesteps: Sequence[int],
    clip: float | None = 1.0,
) -> torch.Tensor:
    """UniPC-3 over x_0 (Zhao et al. 2023); its orders are those of `dpm_solver_3m`."""
    denoiser = Denoiser(epsilon_fn, schedule, x_T, timesteps, clip, num_kept=4)
    x_t, predicted = x_T.clone(), x_T.clone()
    for i in range(len(timesteps) - 1):
        denoiser(predicted, i)
        if i > 0:
            grid = _known(schedule, timesteps, i - 1)
            combine(x_t, *unipc_weights(grid, corrects=True), denoiser.kept)
        predicted.copy_(x_t)
        grid = _known(schedule, timesteps, i)
        combine(predicted, *unipc_weights(grid, corrects=False), denoiser.kept)
    return denoiser(predicted, len(timesteps) - 1)


def _known(schedule: Schedule, timesteps: Sequence[int], i: int) -> list[LogSnr]:
    """The points that the i-th step knows x_0 at, and the one that it leads to."""
    order = min(3, i + 1, len(timesteps) - i)
    return [log_snr(schedule, t) for t in timesteps[i + 1 - order : i + 2]]


def _weights(grid: Sequence[LogSnr]) -> tuple[float, list[float]]:
    """The weights of x_t, and of each x_0, of the step onto the grid's last point."""
    lambdas = [point[0] for point in grid]
    (_, alpha, sigma), (_, _, sigma_last) = grid[-1], grid[-2]
    h = lambdas[-1] - lambdas[-2]
    phi_1 = math.expm1(-h)
    ratios = [(b - a) / h for a, b in pairwise(lambdas)][-2::-1]
    weights = [-alpha * phi_1]
    if len(ratios) == 1:
        slope = weights[0] / (2 * ratios[0])
        weights = [weights[0] + slope, -slope]
    elif len(ratios) == 2:
        r_0, r_1 = ratios
        first = alpha * (phi_1 / h + 1)
        second = -alpha * ((phi_1 + h) / h**2 - 0.5)
        # The divided differences are D1_0 = (x_0 - x_1) / r_0 and D1_1 = (x_1 - x_2) / r_1.
        d_0 = first * (1 + r_0 / (r_0 + r_1)) + second / (r_0 + r_1)
        d_1 = -first * r_0 / (r_0 + r_1) - second / (r_0 + r_1)
        weights = [weights[0] + d_0 / r_0, d_1 / r_1 - d_0 / r_0, -d_1 / r_1]
    return sigma / sigma_last, weights
