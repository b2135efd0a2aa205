"""Claims about factory.diffusion.schedule."""

from types import ModuleType

import pytest
import torch

from factory.config import DiffusionConfig
from factory.diffusion.schedule import linear_schedule, q_sample

SCHEDULES = [DiffusionConfig(), DiffusionConfig(num_timesteps=50, beta_start=1e-3, beta_end=0.3)]


@pytest.mark.parametrize("config", SCHEDULES)
def test_schedule_equals_diffusers(config: DiffusionConfig, diffusers: ModuleType) -> None:
    theirs = diffusers.DDPMScheduler(
        config.num_timesteps, beta_start=config.beta_start, beta_end=config.beta_end
    ).alphas_cumprod
    ours = linear_schedule(config)
    assert ours.num_timesteps == config.num_timesteps == len(theirs)
    torch.testing.assert_close(ours.alpha_bars, theirs.double(), atol=1e-6, rtol=1e-4)


def test_alpha_bar_is_one_at_the_clean_image() -> None:
    schedule = linear_schedule(DiffusionConfig())
    assert schedule.alpha_bar(-1) == 1.0
    assert schedule.alpha_bar(0) == pytest.approx(1 - 1e-4)
    assert 0 < schedule.alpha_bar(999) < 1e-4


@pytest.mark.parametrize("config", SCHEDULES)
def test_q_sample_equals_diffusers_add_noise(
    config: DiffusionConfig, diffusers: ModuleType
) -> None:
    scheduler = diffusers.DDPMScheduler(
        config.num_timesteps, beta_start=config.beta_start, beta_end=config.beta_end
    )
    torch.manual_seed(0)
    x_0, epsilon = torch.rand(4, 3, 8, 8) * 2 - 1, torch.randn(4, 3, 8, 8)
    t = torch.tensor([0, 1, 20, config.num_timesteps - 1])
    ours = q_sample(linear_schedule(config), x_0, t, epsilon)
    torch.testing.assert_close(ours, scheduler.add_noise(x_0, epsilon, t), atol=2e-5, rtol=0)


@pytest.mark.parametrize("t", [0, 300, 999])
def test_q_sample_has_the_moments_of_the_forward_process(t: int) -> None:
    schedule = linear_schedule(DiffusionConfig())
    epsilon = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(t))
    x_t = q_sample(schedule, torch.full_like(epsilon, 0.5), torch.full((8,), t), epsilon)
    alpha_bar = schedule.alpha_bar(t)
    assert float(x_t.mean()) == pytest.approx(0.5 * alpha_bar**0.5, abs=0.015)
    assert float(x_t.var()) == pytest.approx(1 - alpha_bar, rel=0.02)


def test_a_schedule_is_read_from_its_device_once() -> None:
    schedule = linear_schedule(DiffusionConfig())
    read = [schedule.alpha_bar(t) for t in (0, 500, 999)]
    assert read == [float(schedule.alpha_bars[t]) for t in (0, 500, 999)]
    schedule.alpha_bars.zero_()
    assert [schedule.alpha_bar(t) for t in (0, 500, 999)] == read
