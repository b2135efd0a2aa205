"""Claims about factory.diffusion.samplers, with diffusers' schedulers as the reference."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from factory.config import DiffusionConfig
from factory.diffusion.network import EpsilonFn
from factory.diffusion.noise import NoiseAhead, normal_noise, step_noise
from factory.diffusion.samplers import (
    SAMPLERS,
    ddim,
    dpm_solver,
    sde_dpm_solver,
    unipc,
)
from factory.diffusion.schedule import Schedule, linear_schedule
from factory.diffusion.timesteps import log_snr_timesteps, uniform_timesteps
from tests.diffusion.multistep import (
    BETAS,
    SHAPE,
    SHORT,
    noise,
    perfect,
    solved_by_diffusers,
)

Grid = Callable[..., tuple[int, ...]]


def ddpm(
    epsilon_fn: EpsilonFn, schedule: Schedule, x_T: torch.Tensor, noise: Callable[[int], Any]
) -> torch.Tensor:
    """The ancestral sampler over every timestep."""
    every = range(schedule.num_timesteps - 1, -1, -1)
    return SAMPLERS["ddpm"].draw(epsilon_fn, schedule, x_T, every, noise=noise)


@pytest.mark.slow
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [5, 12, 60])
@torch.inference_mode()
def test_ddim_equals_diffusers(
    num_steps: int, eta: float, diffusers: ModuleType, network: EpsilonFn, x_T: torch.Tensor
) -> None:
    schedule = linear_schedule(SHORT)
    scheduler = diffusers.DDIMScheduler(
        SHORT.num_timesteps, **BETAS, clip_sample=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(num_steps)
    timesteps = uniform_timesteps(schedule, num_steps)
    assert list(timesteps) == scheduler.timesteps.tolist()
    theirs = x_T
    for t in timesteps:
        epsilon = network(theirs, torch.full((2,), t))
        step = scheduler.step(
            epsilon, t, theirs, eta, use_clipped_model_output=True, variance_noise=noise(t)
        )
        theirs = step.prev_sample
    ours = ddim(network, schedule, x_T, timesteps, eta, noise)
    torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=0)


@pytest.mark.slow
@torch.inference_mode()
def test_ddpm_equals_diffusers_over_every_timestep(
    diffusers: ModuleType,
    network: EpsilonFn,
    x_T: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from diffusers.schedulers import scheduling_ddpm

    scheduler = diffusers.DDPMScheduler(
        SHORT.num_timesteps, **BETAS, variance_type="fixed_small", clip_sample=True
    )
    scheduler.set_timesteps(SHORT.num_timesteps)
    theirs, drawn = x_T, []
    for t in scheduler.timesteps.tolist():
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *a, t=t, **k: noise(t))
        theirs = scheduler.step(network(theirs, torch.full((2,), t)), t, theirs).prev_sample
    ours = ddpm(network, linear_schedule(SHORT), x_T, noise=lambda t: drawn.append(t) or noise(t))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert drawn == list(range(59, 0, -1))


# diffusers makes a numpy array of a torch tensor in the way of numpy 1.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("num_steps", [2, 3, 8, 13])
@pytest.mark.parametrize(
    ("solver", "ours"),
    [("2M", dpm_solver), ("SDE-2M", partial(sde_dpm_solver, noise=noise)), ("UniPC-2", unipc)],
    ids=["2M", "SDE-2M", "UniPC-2"],
)
@torch.inference_mode()
def test_multistep_solvers_equal_diffusers(
    solver: str,
    ours: Callable[..., torch.Tensor],
    num_steps: int,
    diffusers: ModuleType,
    network: EpsilonFn,
    x_T: torch.Tensor,
) -> None:
    schedule = linear_schedule(SHORT)
    timesteps = log_snr_timesteps(schedule, num_steps)
    theirs = solved_by_diffusers(diffusers, solver, network, schedule, x_T, timesteps)
    torch.testing.assert_close(ours(network, schedule, x_T, timesteps), theirs, atol=5e-5, rtol=0)


@pytest.mark.parametrize("timesteps", [(59, 0), (59, 30, 10), tuple(range(59, -1, -1))])
@pytest.mark.parametrize(
    "sampler",
    [
        ddpm,
        ddim,
        partial(sde_dpm_solver, noise=noise),
        dpm_solver,
        unipc,
    ],
)
def test_a_perfect_denoiser_recovers_the_image(
    sampler: Callable[..., torch.Tensor], timesteps: tuple[int, ...], x_T: torch.Tensor
) -> None:
    schedule = linear_schedule(SHORT)
    x_0 = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) * 2 - 1
    how = noise if sampler is ddpm else timesteps
    sampled = sampler(perfect(schedule, x_0), schedule, x_T, how)
    torch.testing.assert_close(sampled, x_0, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", [ddpm, ddim, dpm_solver, unipc])
@torch.inference_mode()
def test_samples_are_clean_images_and_do_not_depend_on_their_batch(
    sampler: Callable[..., torch.Tensor], network: EpsilonFn, x_T: torch.Tensor
) -> None:
    schedule, timesteps = linear_schedule(SHORT), (59, 40, 20, 5)
    both = sampler(network, schedule, x_T, noise if sampler is ddpm else timesteps)
    assert both.abs().max() <= 1 and both.std() > 0.1
    for row in range(2):
        how = (lambda t, row=row: noise(t)[row : row + 1]) if sampler is ddpm else timesteps
        alone = sampler(network, schedule, x_T[row : row + 1], how)
        torch.testing.assert_close(alone, both[row : row + 1], atol=1e-4, rtol=0)


def mixture_epsilon(schedule: Schedule) -> EpsilonFn:
    """Exact, of pixels that are normal with deviation 0.1 around -0.5 or 0.5."""

    def epsilon_fn(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha_bar = schedule.alpha_bars[t].float().view(-1, 1, 1, 1)
        means = torch.tensor([-0.5, 0.5]).view(2, 1, 1, 1, 1) * alpha_bar.sqrt()
        variance = alpha_bar * 0.01 + 1 - alpha_bar
        away = x_t - means
        weights = torch.softmax(-(away**2) / (2 * variance), dim=0)
        return (1 - alpha_bar).sqrt() * (weights * away / variance).sum(0)

    return epsilon_fn


@pytest.mark.slow
@pytest.mark.parametrize(
    ("solver", "num_steps"),
    [
        *((dpm_solver, num_steps) for num_steps in (8, 12, 20)),
        # At 8 steps UniPC's corrector gains nothing on so sharp a mixture.
        *((unipc, num_steps) for num_steps in (12, 20)),
    ],
)
def test_multistep_solvers_are_closer_to_the_fine_solution_than_ddim_at_equal_passes(
    solver: Callable[..., torch.Tensor], num_steps: int
) -> None:
    schedule = linear_schedule(DiffusionConfig())
    epsilon_fn = mixture_epsilon(schedule)
    x_T = normal_noise(range(64), (1, 4, 4), stream=0)
    fine = ddim(epsilon_fn, schedule, x_T, range(999, -1, -1))
    near = (fine.abs() - 0.5).abs() < 0.4
    assert float(near.float().mean()) > 0.98

    def error(sampler: Callable[..., torch.Tensor], grid: Grid) -> float:
        sampled = sampler(epsilon_fn, schedule, x_T, grid(schedule, num_steps))
        return float((sampled - fine).square().mean().sqrt())

    ours = error(solver, log_snr_timesteps)
    assert ours < 0.7 * error(ddim, log_snr_timesteps)
    assert ours < 0.7 * error(ddim, uniform_timesteps)


@pytest.mark.parametrize("sampler", [ddim, partial(sde_dpm_solver, noise=noise), dpm_solver, unipc])
def test_without_clipping_what_leaves_the_range_stays_outside(
    sampler: Callable[..., torch.Tensor], x_T: torch.Tensor
) -> None:
    schedule = linear_schedule(SHORT)
    x_0 = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) * 6 - 3
    grid = (59, 40, 20, 5)
    free = sampler(perfect(schedule, x_0), schedule, x_T, grid, clip=None)
    torch.testing.assert_close(free, x_0, atol=1e-4, rtol=0)
    clipped = sampler(perfect(schedule, x_0), schedule, x_T, grid)
    torch.testing.assert_close(clipped, x_0.clamp(-1, 1), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_what_a_sampler_is_given_stays_as_it_was(network: EpsilonFn, x_T: torch.Tensor) -> None:
    schedule, before = linear_schedule(SHORT), x_T.clone()
    for sampler in (ddim, partial(sde_dpm_solver, noise=noise), dpm_solver, unipc):
        sampler(network, schedule, x_T, (59, 40, 20, 5))
        assert torch.equal(x_T, before)


@pytest.mark.parametrize("sampler", [ddim, partial(sde_dpm_solver, noise=noise), dpm_solver, unipc])
def test_the_network_is_asked_once_a_timestep_in_the_grids_order(
    sampler: Callable[..., torch.Tensor], x_T: torch.Tensor
) -> None:
    asked = []

    def epsilon_fn(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append(t.tolist())
        return x_t

    sampler(epsilon_fn, linear_schedule(SHORT), x_T, (59, 40, 20, 5))
    assert asked == [[59, 59], [40, 40], [20, 20], [5, 5]]


class Recorded(TorchDispatchMode):
    """What is asked of the device: what allocates, or makes the host wait, gives something new."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Views, and what is written in place, are aliases of what was there.
        if any(returned.alias_info is None for returned in func._schema.returns):
            self.new.append(str(func))
        return func(*args, **(kwargs or {}))


STEPS = (59, 40, 20, 12, 5)
NoiseMaker = Callable[..., Any]


@contextmanager
def drawn_when_asked(
    seeds: Sequence[int], shape: Sequence[int], *rest: Any
) -> Iterator[Callable[[int], torch.Tensor]]:
    yield step_noise(seeds, shape, torch.device("cpu"))


def asked_by(sampler: Callable[..., torch.Tensor], noise_maker: NoiseMaker) -> list[str]:
    """What a sampler asks for, beside aliases, from the network's first pass to its last."""
    schedule, x_T = linear_schedule(SHORT), normal_noise([1, 2], SHAPE[1:], stream=0)
    timesteps = tuple(range(59, -1, -1)) if sampler is ddpm else STEPS
    recorded, passes = Recorded(), []

    def epsilon_fn(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        passes.append(t)
        if len(passes) == 1:
            recorded.__enter__()
        elif len(passes) == len(timesteps):
            recorded.__exit__(None, None, None)
        return epsilon

    epsilon = torch.ones_like(x_T)
    with noise_maker([1, 2], SHAPE[1:], timesteps[:-1]) as noise:
        how: dict[str, Any] = {} if sampler is ddpm else {"timesteps": timesteps}
        if sampler in (ddpm, sde_dpm_solver) or getattr(sampler, "keywords", {}).get("eta"):
            how["noise"] = noise
        sampler(epsilon_fn, schedule, x_T, **how)
    assert len(passes) == len(timesteps)
    return recorded.new


@pytest.mark.slow
@pytest.mark.parametrize(
    "sampler",
    [
        ddpm,
        ddim,
        partial(ddim, eta=1.0),
        sde_dpm_solver,
        dpm_solver,
        unipc,
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_no_step_waits_for_the_device_or_allocates_anything(
    sampler: Callable[..., torch.Tensor], grad: bool
) -> None:
    with torch.inference_mode(not grad):
        assert asked_by(sampler, NoiseAhead) == []


def test_noise_drawn_when_it_is_asked_for_is_allocated_at_each_step() -> None:
    """What the test above would find."""
    assert set(asked_by(sde_dpm_solver, drawn_when_asked)) == {"aten.empty.memory_format"}
