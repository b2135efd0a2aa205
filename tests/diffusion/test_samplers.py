"""Claims about factory.diffusion.samplers, with diffusers' schedulers as the reference."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from factory.config import DiffusionConfig, UNetConfig
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.network import EpsilonFn
from factory.diffusion.noise import NoiseAhead, normal_noise, step_noise
from factory.diffusion.samplers import (
    ddim,
    ddpm,
    dpm_solver,
    high_noise_timesteps,
    log_snr_timesteps,
    quadratic_timesteps,
    sde_dpm_solver,
    uniform_timesteps,
    unipc,
)
from factory.diffusion.schedule import Schedule, linear_schedule

SHORT = DiffusionConfig(num_timesteps=60, beta_start=1e-3, beta_end=0.2)
BETAS = {"beta_start": SHORT.beta_start, "beta_end": SHORT.beta_end}
SHAPE = (2, 3, 8, 8)

Grid = Callable[..., tuple[int, ...]]


@pytest.fixture(scope="module")
def network(randomize: Callable[..., nn.Module]) -> EpsilonFn:
    """Random, and wild enough that clipping x_0 matters."""
    torch.manual_seed(0)
    config = UNetConfig(block_out_channels=(8, 8), attention_levels=(), norm_num_groups=4)
    return randomize(UNet(config)).eval()


@pytest.fixture
def x_t() -> torch.Tensor:
    return normal_noise([1, 2], SHAPE[1:], stream=0)


def noise(t: int) -> torch.Tensor:
    return normal_noise([1, 2], SHAPE[1:], stream=t + 1)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_steps", [5, 12, 60])
@torch.inference_mode()
def test_ddim_equals_diffusers(
    num_steps: int, eta: float, diffusers: ModuleType, network: EpsilonFn, x_t: torch.Tensor
) -> None:
    schedule = linear_schedule(SHORT)
    scheduler = diffusers.DDIMScheduler(
        SHORT.num_timesteps, **BETAS, clip_sample=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(num_steps)
    timesteps = uniform_timesteps(schedule, num_steps)
    assert list(timesteps) == scheduler.timesteps.tolist()
    theirs = x_t
    for t in timesteps:
        epsilon = network(theirs, torch.full((2,), t))
        step = scheduler.step(
            epsilon, t, theirs, eta, use_clipped_model_output=True, variance_noise=noise(t)
        )
        theirs = step.prev_sample
    ours = ddim(network, schedule, x_t, timesteps, eta, noise)
    torch.testing.assert_close(ours, theirs, atol=5e-5, rtol=0)


@torch.inference_mode()
def test_ddim_with_eta_1_over_every_timestep_is_ddpm(network: EpsilonFn, x_t: torch.Tensor) -> None:
    schedule = linear_schedule(SHORT)
    every = range(SHORT.num_timesteps - 1, -1, -1)
    ours = ddim(network, schedule, x_t, every, 1.0, noise)
    torch.testing.assert_close(ours, ddpm(network, schedule, x_t, noise), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_ddpm_equals_diffusers_over_every_timestep(
    diffusers: ModuleType,
    network: EpsilonFn,
    x_t: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from diffusers.schedulers import scheduling_ddpm

    scheduler = diffusers.DDPMScheduler(
        SHORT.num_timesteps, **BETAS, variance_type="fixed_small", clip_sample=True
    )
    scheduler.set_timesteps(SHORT.num_timesteps)
    theirs, drawn = x_t, []
    for t in scheduler.timesteps.tolist():
        monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *a, t=t, **k: noise(t))
        theirs = scheduler.step(network(theirs, torch.full((2,), t)), t, theirs).prev_sample
    ours = ddpm(network, linear_schedule(SHORT), x_t, noise=lambda t: drawn.append(t) or noise(t))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    assert drawn == list(range(59, 0, -1))


# diffusers makes a numpy array of a torch tensor in the way of numpy 1.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("num_steps", [2, 3, 8, 13])
@pytest.mark.parametrize("solver", ["2M", "3M", "SDE-2M", "UniPC-2", "UniPC-3"])
@torch.inference_mode()
def test_multistep_solvers_equal_diffusers(
    solver: str, num_steps: int, diffusers: ModuleType, network: EpsilonFn, x_t: torch.Tensor
) -> None:
    schedule = linear_schedule(SHORT)
    # Its schedulers do not clip x_0, ours do: they are given the clipped x_0 as the prediction.
    common = {**BETAS, "prediction_type": "sample", "final_sigmas_type": "zero"}
    order = 2 if "2" in solver else 3
    if solver.startswith("UniPC"):
        ours = unipc
        scheduler = diffusers.UniPCMultistepScheduler(
            SHORT.num_timesteps, **common, solver_order=order, solver_type="bh2"
        )
    else:
        ours = dpm_solver
        scheduler = diffusers.DPMSolverMultistepScheduler(
            SHORT.num_timesteps,
            **common,
            algorithm_type="sde-dpmsolver++" if solver == "SDE-2M" else "dpmsolver++",
            solver_order=order,
            solver_type="midpoint",
        )
    timesteps = log_snr_timesteps(schedule, num_steps)
    set_timesteps(scheduler, schedule, timesteps)
    theirs = x_t
    for t in timesteps:
        alpha, sigma = schedule.alpha_sigma(t)
        x_0 = (theirs - sigma * network(theirs, torch.full((2,), t))) / alpha
        more = {"variance_noise": noise(t)} if solver == "SDE-2M" else {}
        theirs = scheduler.step(x_0.clamp(-1, 1), t, theirs, **more).prev_sample
    if solver == "SDE-2M":
        given = sde_dpm_solver(network, schedule, x_t, timesteps, noise)
    else:
        given = ours(network, schedule, x_t, timesteps, order)
    torch.testing.assert_close(given, theirs, atol=5e-5, rtol=0)


def set_timesteps(scheduler: Any, schedule: Schedule, timesteps: Sequence[int]) -> None:
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


@pytest.mark.parametrize("timesteps", [(59, 0), (59, 30, 10), tuple(range(59, -1, -1))])
@pytest.mark.parametrize(
    "sampler",
    [
        ddpm,
        ddim,
        partial(sde_dpm_solver, noise=noise),
        dpm_solver,
        partial(dpm_solver, order=3),
        unipc,
    ],
)
def test_a_perfect_denoiser_recovers_the_image(
    sampler: Callable[..., torch.Tensor], timesteps: tuple[int, ...], x_t: torch.Tensor
) -> None:
    schedule = linear_schedule(SHORT)
    x_0 = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) * 2 - 1
    how = noise if sampler is ddpm else timesteps
    sampled = sampler(perfect(schedule, x_0), schedule, x_t, how)
    torch.testing.assert_close(sampled, x_0, atol=1e-4, rtol=0)


@pytest.mark.parametrize("sampler", [ddpm, ddim, dpm_solver, partial(dpm_solver, order=3), unipc])
@torch.inference_mode()
def test_samples_are_clean_images_and_do_not_depend_on_their_batch(
    sampler: Callable[..., torch.Tensor], network: EpsilonFn, x_t: torch.Tensor
) -> None:
    schedule, timesteps = linear_schedule(SHORT), (59, 40, 20, 5)
    both = sampler(network, schedule, x_t, noise if sampler is ddpm else timesteps)
    assert both.abs().max() <= 1 and both.std() > 0.1
    for row in range(2):
        how = (lambda t, row=row: noise(t)[row : row + 1]) if sampler is ddpm else timesteps
        alone = sampler(network, schedule, x_t[row : row + 1], how)
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


@pytest.mark.parametrize(
    ("solver", "num_steps"),
    [
        *((dpm_solver, num_steps) for num_steps in (8, 12, 20)),
        # At 8 steps the third order gains nothing on so sharp a mixture.
        *((solver, n) for solver in (partial(dpm_solver, order=3), unipc) for n in (12, 20)),
    ],
)
def test_multistep_solvers_are_closer_to_the_fine_solution_than_ddim_at_equal_passes(
    solver: Callable[..., torch.Tensor], num_steps: int
) -> None:
    schedule = linear_schedule(DiffusionConfig())
    epsilon_fn = mixture_epsilon(schedule)
    x_t = normal_noise(range(64), (1, 4, 4), stream=0)
    fine = ddim(epsilon_fn, schedule, x_t, range(999, -1, -1))
    near = (fine.abs() - 0.5).abs() < 0.4
    assert float(near.float().mean()) > 0.98

    def error(sampler: Callable[..., torch.Tensor], grid: Grid) -> float:
        sampled = sampler(epsilon_fn, schedule, x_t, grid(schedule, num_steps))
        return float((sampled - fine).square().mean().sqrt())

    ours = error(solver, log_snr_timesteps)
    assert ours < 0.7 * error(ddim, log_snr_timesteps)
    assert ours < 0.7 * error(ddim, uniform_timesteps)


grids = pytest.mark.parametrize(
    "grid", [high_noise_timesteps, log_snr_timesteps, quadratic_timesteps, uniform_timesteps]
)


def check(timesteps: Sequence[int], num_timesteps: int, num_steps: int, pinned: set[int]) -> None:
    assert len(timesteps) == num_steps
    assert timesteps[0] == num_timesteps - 1
    assert all(isinstance(t, int) and 0 <= t < num_timesteps for t in timesteps)
    assert list(timesteps) == sorted(set(timesteps), reverse=True), "not strictly decreasing"
    assert pinned <= set(timesteps)


@grids
@pytest.mark.parametrize("num_timesteps", [2, 10, 100, 1000])
def test_a_grid_has_its_length_and_decreases_from_the_noisiest_timestep(
    grid: Grid, num_timesteps: int
) -> None:
    schedule = linear_schedule(DiffusionConfig(num_timesteps=num_timesteps))
    for num_steps in {1, 2, 3, 7, 10, 20, 50, num_timesteps // 2, num_timesteps}:
        if 1 <= num_steps <= min(num_timesteps, 100):
            check(grid(schedule, num_steps), num_timesteps, num_steps, set())


@grids
@pytest.mark.parametrize(
    ("num_timesteps", "num_steps", "pinned"),
    [
        (1000, 20, {50, 150, 250}),
        (1000, 4, {50, 150, 250}),
        (1000, 4, {1, 2, 3}),
        (1000, 10, {0}),
        (1000, 10, {999}),
        (1000, 10, {0, 999}),
        (1000, 4, {996, 997, 998}),
        (1000, 4, {997, 998, 999}),
        (1000, 3, {0, 999}),
        (1000, 2, {999}),
        (1000, 2, {0}),
        (10, 10, {0, 3, 9}),
        (10, 9, {0, 1, 2, 3, 4}),
        (2, 2, {0}),
        (2, 2, {1}),
    ],
)
def test_a_grid_contains_every_pinned_timestep(
    grid: Grid, num_timesteps: int, num_steps: int, pinned: set[int]
) -> None:
    schedule = linear_schedule(DiffusionConfig(num_timesteps=num_timesteps))
    check(grid(schedule, num_steps, sorted(pinned)), num_timesteps, num_steps, pinned)


@grids
def test_any_pins_fit_any_grid_that_is_larger(grid: Grid) -> None:
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randint, size=(), generator=generator)
    for num_timesteps in (5, 30, 120):
        schedule = linear_schedule(DiffusionConfig(num_timesteps=num_timesteps))
        for _ in range(40):
            num_steps = int(draw(2, num_timesteps + 1))
            order = torch.randperm(num_timesteps, generator=generator).tolist()
            pinned = set(order[: int(draw(0, num_steps))])
            check(grid(schedule, num_steps, pinned), num_timesteps, num_steps, pinned)


@grids
def test_pins_given_twice_or_in_any_order_make_the_same_grid(grid: Grid) -> None:
    schedule = linear_schedule(DiffusionConfig())
    assert grid(schedule, 10, [250, 50, 150, 50]) == grid(schedule, 10, [50, 150, 250])


def test_each_grid_is_even_in_what_it_is_named_for() -> None:
    schedule = linear_schedule(DiffusionConfig())
    alpha_bars = torch.tensor([schedule.alpha_bar(t) for t in log_snr_timesteps(schedule, 10)])
    steps = torch.logit(alpha_bars).diff()
    assert float(steps.max() / steps.min()) < 1.1
    assert uniform_timesteps(schedule, 10) == tuple(range(999, 0, -100))
    for grid, power in ((quadratic_timesteps, 2), (high_noise_timesteps, 0.6)):
        steps = (torch.tensor(grid(schedule, 10)) ** (1 / power)).diff()
        assert float(steps.max() / steps.min()) < 1.1


@pytest.mark.parametrize("sampler", [ddim, partial(sde_dpm_solver, noise=noise), dpm_solver, unipc])
def test_without_clipping_what_leaves_the_range_stays_outside(
    sampler: Callable[..., torch.Tensor], x_t: torch.Tensor
) -> None:
    schedule = linear_schedule(SHORT)
    x_0 = torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) * 6 - 3
    grid = (59, 40, 20, 5)
    free = sampler(perfect(schedule, x_0), schedule, x_t, grid, clip=None)
    torch.testing.assert_close(free, x_0, atol=1e-4, rtol=0)
    clipped = sampler(perfect(schedule, x_0), schedule, x_t, grid)
    torch.testing.assert_close(clipped, x_0.clamp(-1, 1), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_what_a_sampler_is_given_stays_as_it_was(network: EpsilonFn, x_t: torch.Tensor) -> None:
    schedule, before = linear_schedule(SHORT), x_t.clone()
    for sampler in (ddim, partial(sde_dpm_solver, noise=noise), dpm_solver, unipc):
        sampler(network, schedule, x_t, (59, 40, 20, 5))
        assert torch.equal(x_t, before)


@pytest.mark.parametrize("sampler", [ddim, partial(sde_dpm_solver, noise=noise), dpm_solver, unipc])
def test_the_network_is_asked_once_a_timestep_in_the_grids_order(
    sampler: Callable[..., torch.Tensor], x_t: torch.Tensor
) -> None:
    asked = []

    def epsilon_fn(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append(t.tolist())
        return x_t

    sampler(epsilon_fn, linear_schedule(SHORT), x_t, (59, 40, 20, 5))
    assert asked == [[59, 59], [40, 40], [20, 20], [5, 5]]


def test_pinning_moves_no_more_points_than_it_must() -> None:
    schedule = linear_schedule(DiffusionConfig())
    free, pinned = (set(log_snr_timesteps(schedule, 20, pins)) for pins in ((), (50, 150, 250)))
    assert len(free & pinned) >= 17


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
def drawn_when_asked(*given: Any) -> Iterator[Callable[[int], torch.Tensor]]:
    yield step_noise(*given[:2], torch.device("cpu"))


def asked_by(sampler: Callable[..., torch.Tensor], noise_maker: NoiseMaker) -> list[str]:
    """What a sampler asks for, beside aliases, from the network's first pass to its last."""
    schedule, x_t = linear_schedule(SHORT), normal_noise([1, 2], SHAPE[1:], stream=0)
    timesteps = tuple(range(59, -1, -1)) if sampler is ddpm else STEPS
    recorded, passes = Recorded(), []

    def epsilon_fn(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        passes.append(t)
        if len(passes) == 1:
            recorded.__enter__()
        elif len(passes) == len(timesteps):
            recorded.__exit__(None, None, None)
        return epsilon

    epsilon = torch.ones_like(x_t)
    with noise_maker([1, 2], SHAPE[1:], timesteps[:-1]) as noise:
        how: dict[str, Any] = {} if sampler is ddpm else {"timesteps": timesteps}
        if sampler in (ddpm, sde_dpm_solver) or getattr(sampler, "keywords", {}).get("eta"):
            how["noise"] = noise
        sampler(epsilon_fn, schedule, x_t, **how)
    assert len(passes) == len(timesteps)
    return recorded.new


@pytest.mark.parametrize(
    "sampler",
    [
        ddpm,
        ddim,
        partial(ddim, eta=1.0),
        sde_dpm_solver,
        dpm_solver,
        partial(dpm_solver, order=3),
        unipc,
        partial(unipc, order=3),
    ],
)
@pytest.mark.parametrize("grad", [False, True])
def test_no_step_waits_for_the_device_or_allocates_anything(
    sampler: Callable[..., torch.Tensor], grad: bool
) -> None:
    with torch.inference_mode(not grad):
        assert asked_by(sampler, NoiseAhead) == []


def test_noise_drawn_when_it_is_asked_for_is_allocated_at_each_step() -> None:
    """What the claim above would tell of."""
    assert set(asked_by(sde_dpm_solver, drawn_when_asked)) == {"aten.empty.memory_format"}
