"""Claims about factory.diffusion.timesteps."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch

from factory.config import DiffusionConfig
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.timesteps import (
    high_noise_timesteps,
    log_snr_timesteps,
    power_timesteps,
    uniform_timesteps,
)

Grid = Callable[..., tuple[int, ...]]
quadratic_timesteps = partial(power_timesteps, power=2)


grids = pytest.mark.parametrize(
    "grid", [high_noise_timesteps, log_snr_timesteps, uniform_timesteps, quadratic_timesteps]
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


def test_pinning_moves_no_more_points_than_it_must() -> None:
    schedule = linear_schedule(DiffusionConfig())
    free, pinned = (set(log_snr_timesteps(schedule, 20, pins)) for pins in ((), (50, 150, 250)))
    assert len(free & pinned) >= 17
