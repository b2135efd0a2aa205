"""Which solver, on which grid: distance to the ODE's solution, and to real images.

To the ODE's solution: root mean square distance, in units of [-1, 1], of images after 10 passes to
those of the 1000-step solution from the same noise; for the ODE itself, and with x_0 clipped at
every step, as `generate` samples. To real images: Frechet distance of few-step settings against
ancestral sampling over all timesteps (Heusel et al. 2017, equation 6), in the fixed feature space
of `features`, which needs no download. Where a run is stopped, the table holds what is known by
then; with --keep the same command goes on.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
import torch.nn.functional as F
from measuring import Row
from third_order import dpm_solver_3m, unipc_3

from factory import embedded
from factory.config import Config, load_config
from factory.data.loading import read_images
from factory.diffusion.checkpoints import Model, load_model
from factory.diffusion.network import EpsilonFn
from factory.diffusion.noise import NoiseFn, normal_noise, step_noise
from factory.diffusion.philox import DeviceNoise
from factory.diffusion.samplers import (
    ddim,
    dpm_solver,
    sde_dpm_solver,
    unipc,
)
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.timesteps import (
    high_noise_timesteps,
    log_snr_timesteps,
    power_timesteps,
    uniform_timesteps,
)
from factory.images import to_signed, to_uint8
from factory.precision import autocast, in_bf16

PINNED = (250, 150, 50)
SOLVERS: dict[str, Callable[..., torch.Tensor]] = {
    "DDIM": ddim,
    "DPM-Solver++(2M)": dpm_solver,
    "DPM-Solver++(3M)": dpm_solver_3m,
    "UniPC-2": unipc,
    "UniPC-3": unipc_3,
}
SDE = "SDE-DPM-Solver++(2M)"
GRIDS: dict[str, Callable[..., tuple[int, ...]]] = {
    "uniform": uniform_timesteps,
    "quadratic": partial(power_timesteps, power=2),
    "log-SNR": log_snr_timesteps,
    "high-noise": high_noise_timesteps,
}
EVERY = 1000
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCH = {"cpu": 50, "cuda": 500}[DEVICE.type]
IN_BF16 = in_bf16("auto", DEVICE.type)
WITHIN = 1.05
"""How far the guard lets the distance of a setting go beyond that of all timesteps."""


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--ddpm", default=embedded.DDPM_URL, help="a model folder")
    arguments.add_argument("--config", help="its images are the real ones; absent: the toy domain")
    arguments.add_argument("--images", type=int, default=32, help="for the ODE; 0 leaves it out")
    arguments.add_argument("--samples", type=int, default=2000, help="for real images; 0: none")
    arguments.add_argument(
        "--passes", type=int, nargs="+", default=[10, 20], help="for real images"
    )
    arguments.add_argument(
        "--etas", type=float, nargs="+", default=[0.0, 0.5, 1.0], help="for real images"
    )
    arguments.add_argument("--grid", choices=GRIDS, help="for real images; absent: `generate`'s")
    arguments.add_argument(
        "--keep", type=Path, help="folder of samples: what is there is not sampled again"
    )
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.ddpm)
    model.unet.to(DEVICE)
    with measuring.reporting("Solvers", arguments.json) as (rows, notes):
        for clip in (None, 1.0) if arguments.images else ():
            with autocast(False, DEVICE.type):
                new_rows, new_notes = ode_rows(model, arguments.images, clip)
            rows += new_rows
            notes += new_notes
        if arguments.samples:
            for row, note in frechet_rows(model, load_config(arguments.config), arguments):
                rows.append(row)
                notes.append(note)


@torch.inference_mode()
def ode_rows(model: Model, num_images: int, clip: float | None) -> tuple[list[Row], list[str]]:
    """Distances to the ODE's solution, the best first; clip: the bound of x_0 at every step."""
    schedule = linear_schedule(model.diffusion)
    shape = (3, model.image_size, model.image_size)
    x_t = normal_noise(range(num_images), shape, stream=0).to(DEVICE)
    steps = range(schedule.num_timesteps - 1, -1, -1)
    solution = ddim(model.unet, schedule, x_t, steps, clip=clip)

    def distance(solver: str, grid: str, passes: int = 10) -> float:
        timesteps = GRIDS[grid](schedule, passes, PINNED)
        sampled = SOLVERS[solver](model.unet, schedule, x_t, timesteps, clip=clip)
        return float((sampled - solution).square().mean().sqrt())

    base = {grid: distance("DDIM", grid) for grid in GRIDS}
    how = "clipped" if clip else "the ODE itself"
    rows = []
    for solver in list(SOLVERS)[1:]:
        for grid in GRIDS:
            name = f"{how}: {solver}, {grid} grid; other: DDIM, uniform grid"
            rows.append(Row(name, distance(solver, grid), base["uniform"], "RMS", ">= 4x"))
    rows.sort(key=lambda row: row.ours)
    spread = ", ".join(f"{value:.4f} {grid}" for grid, value in base.items())
    return rows, [
        f"{how}: {num_images} images of {model.image_size} px, 10 passes, fp32; every grid holds "
        f"{PINNED}. DDIM by grid: {spread}. The solution's own deviation: "
        f"{float(solution.std()):.3f}, its largest value {float(solution.abs().max()):.2f}."
    ]


def frechet_rows(
    model: Model, config: Config, arguments: argparse.Namespace
) -> Iterator[tuple[Row, str]]:
    """Settings against all timesteps; ours and other are Frechet distances to real images.

    Each row with a note, the first of all timesteps against other real images.
    """
    source = config.data.unlabelled.model_copy(update={"num": 2 * arguments.samples})
    images = torch.from_numpy(read_images(source, model.image_size)).permute(0, 3, 1, 2)
    real, others = images[: arguments.samples], images[arguments.samples : 2 * arguments.samples]
    there = moments(features(real))

    def distances(*setting: Any) -> tuple[float, str]:
        """Of the samples, and what it is for their halves alone."""
        seen = features(sampled(model, arguments, *setting))
        whole, *halves = (frechet(there, moments(part)) for part in (seen, *seen.chunk(2)))
        return whole, f"{whole:.4g}; halves alone {', '.join(f'{half:.4g}' for half in halves)}"

    base, details = distances("DDIM", EVERY, 1.0, uniform_timesteps)
    floor = frechet(there, moments(features(others)))
    yield (
        Row(f"ancestral, {EVERY}; other: as many real images", base, floor, "FD"),
        (
            f"{arguments.samples} samples a setting, {'bf16' if IN_BF16 else 'fp32'}, against "
            f"{len(real)} real images. `ratio` below {1 / WITHIN:.3f} is a distance more than "
            f"{WITHIN - 1:.0%} above that of all timesteps: {details}."
        ),
    )
    for solver, passes, eta, grid in settings(arguments):
        how = f", eta {eta:g}" if solver == "DDIM" else ""
        name = f"{solver}{how}, {grid} grid, {passes} passes"
        distance, details = distances(solver, passes, eta, GRIDS[grid])
        goal = f"<= {WITHIN}x the distance"
        yield (
            Row(f"{name}; other: ancestral, {EVERY}", distance, base, "FD", goal),
            (f"{name}: {details}."),
        )


def settings(arguments: argparse.Namespace) -> Iterator[tuple[str, int, float, str]]:
    """Solver, passes, eta and grid of the settings that are compared with real images.

    Those that add noise come first, at all numbers of passes.
    """
    for passes in arguments.passes:
        for eta in arguments.etas:
            yield "DDIM", passes, eta, arguments.grid or "uniform"
        yield SDE, passes, 1.0, arguments.grid or "high-noise"
    for passes in arguments.passes:
        for solver in list(SOLVERS)[1:]:
            yield solver, passes, 0.0, arguments.grid or "log-SNR"


@torch.inference_mode()
def sampled(
    model: Model,
    arguments: argparse.Namespace,
    solver: str,
    passes: int,
    eta: float,
    grid: Callable[..., Sequence[int]],
) -> torch.Tensor:
    """uint8 (N, 3, S, S); kept in --keep batch by batch, so that a long run can be stopped."""
    schedule = linear_schedule(model.diffusion)
    timesteps = grid(schedule, passes, PINNED)
    batches = []
    for start in range(0, arguments.samples, BATCH):
        seeds = range(start, min(start + BATCH, arguments.samples))
        named = repr(
            (model.model_hash, solver, timesteps, eta, seeds, IN_BF16, DEVICE.type)
        ).encode()
        file = arguments.keep and arguments.keep / f"{hashlib.sha256(named).hexdigest()[:20]}.npy"
        if file and file.exists():
            batches.append(torch.from_numpy(np.load(file)))
            continue
        shape = (3, model.image_size, model.image_size)
        noise = noise_of(seeds, shape, timesteps)
        options: dict[str, dict[str, Any]] = {
            "DDIM": {"eta": eta, "noise": noise},
            SDE: {"noise": noise},
        }
        x_0 = {**SOLVERS, SDE: sde_dpm_solver}[solver](
            _autocast(model),
            schedule,
            noise(-1),
            timesteps,
            **options.get(solver, {}),
        )
        batches.append(to_uint8(x_0).cpu())
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file.with_suffix(".partial.npy"), batches[-1].numpy())
            file.with_suffix(".partial.npy").rename(file)
    return torch.cat(batches)


def noise_of(seeds: Sequence[int], shape: Sequence[int], timesteps: Sequence[int]) -> NoiseFn:
    """x_T at t = -1, and what is added at each timestep; drawn as `generate` does there."""
    if DEVICE.type == "cpu":
        return step_noise(seeds, shape, DEVICE)
    drawn = DeviceNoise(seeds, shape, [t + 1 for t in (-1, *timesteps)], DEVICE)
    return lambda t: drawn(t + 1)


def _autocast(model: Model) -> EpsilonFn:
    def epsilon_fn(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        with autocast(IN_BF16, DEVICE.type):
            return model.unet(x_t, t)

    return epsilon_fn


@torch.inference_mode()
def features(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, S, S) -> (N, 176): what a fixed random network sees, and a 4x4 thumbnail.

    Three layers of 3x3 convolutions with stride 2, orthogonal weights of seed 0, ReLU; the means
    over all positions of the second's and third's 64 channels. Random features rank image sets
    much as trained ones do, and nobody has to download them.
    """
    generator = torch.Generator().manual_seed(0)
    found = []
    for batch in images.split(500):
        x = to_signed(batch)
        parts = [F.adaptive_avg_pool2d(x, 4).flatten(1)]
        generator.manual_seed(0)
        for channels in ((3, 32), (32, 64), (64, 64)):
            weight = torch.empty(channels[1], channels[0], 3, 3)
            torch.nn.init.orthogonal_(weight, gain=2**0.5, generator=generator)
            x = F.conv2d(x, weight, stride=2, padding=1).relu_()
            parts.append(x.mean(dim=(2, 3)))
        found.append(torch.cat([parts[0], *parts[2:]], dim=1))
    return torch.cat(found)


def moments(seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of images' features (N, 176)."""
    x = seen.double()
    return x.mean(dim=0), x.T.cov()


def frechet(
    one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
) -> float:
    """|mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))."""
    (mean_1, cov_1), (mean_2, cov_2) = one, other
    root = _root(cov_1)
    cross = _root(root @ cov_2 @ root)
    return float((mean_1 - mean_2).square().sum() + torch.trace(cov_1 + cov_2 - 2 * cross))


def _root(matrix: torch.Tensor) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


if __name__ == "__main__":
    main()
