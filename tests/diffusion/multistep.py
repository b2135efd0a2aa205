"""Multistep solvers as diffusers' schedulers compute them, the reference of ours."""

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch

from factory.config import DiffusionConfig
from factory.diffusion.network import EpsilonFn
from factory.diffusion.noise import normal_noise
from factory.diffusion.schedule import Schedule

SHORT = DiffusionConfig(num_timesteps=60, beta_start=1e-3, beta_end=0.2)
BETAS = {"beta_start": SHORT.beta_start, "beta_end": SHORT.beta_end}
SHAPE = (2, 3, 8, 8)


def noise(t: int) -> torch.Tensor:
    """The noise of a batch of two at a timestep."""
    return normal_noise([1, 2], SHAPE[1:], stream=t + 1)


def solved_by_diffusers(
    diffusers: ModuleType,
    solver: str,
    network: EpsilonFn,
    schedule: Schedule,
    x_T: torch.Tensor,
    timesteps: Sequence[int],
) -> torch.Tensor:
    """x_0 by the solver 2M, 3M, SDE-2M, UniPC-2 or UniPC-3 on any grid, for the schedule SHORT."""
    # Its schedulers do not clip x_0, ours do: they are given the clipped x_0 as the prediction.
    common = {**BETAS, "prediction_type": "sample", "final_sigmas_type": "zero"}
    order = 2 if "2" in solver else 3
    if solver.startswith("UniPC"):
        scheduler = diffusers.UniPCMultistepScheduler(
            SHORT.num_timesteps, **common, solver_order=order, solver_type="bh2"
        )
    else:
        scheduler = diffusers.DPMSolverMultistepScheduler(
            SHORT.num_timesteps,
            **common,
            algorithm_type="sde-dpmsolver++" if solver == "SDE-2M" else "dpmsolver++",
            solver_order=order,
            solver_type="midpoint",
        )
    _set_timesteps(scheduler, schedule, timesteps)
    x_t = x_T
    for t in timesteps:
        alpha, sigma = schedule.alpha_sigma(t)
        x_0 = (x_t - sigma * network(x_t, torch.full((2,), t))) / alpha
        more = {"variance_noise": noise(t)} if solver == "SDE-2M" else {}
        x_t = scheduler.step(x_0.clamp(-1, 1), t, x_t, **more).prev_sample
    return x_t


def _set_timesteps(scheduler: Any, schedule: Schedule, timesteps: Sequence[int]) -> None:
    """Any integer grid, which these schedulers take no argument for."""
    scheduler.set_timesteps(len(timesteps))
    scheduler.timesteps = torch.tensor(timesteps)
    sigmas = [math.exp(-math.log(a / s)) for a, s in map(schedule.alpha_sigma, timesteps)]
    scheduler.sigmas = torch.tensor([*sigmas, 0.0])


def perfect(schedule: Schedule, x_0: torch.Tensor) -> EpsilonFn:
    """The epsilon of a known image."""

    def epsilon_fn(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha_bars = schedule.alpha_bars[t].float().view(-1, 1, 1, 1)
        return (x_t - alpha_bars.sqrt() * x_0) / (1 - alpha_bars).sqrt()

    return epsilon_fn
