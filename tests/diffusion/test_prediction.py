"""Claims about factory.diffusion.prediction, with diffusers' DDPMScheduler as the reference."""

from types import ModuleType
from typing import get_args

import pytest
import torch

from factory.config import DiffusionConfig, PredictionType
from factory.diffusion.prediction import epsilon_fn, epsilon_of, target
from factory.diffusion.schedule import linear_schedule, q_sample

SCHEDULE = linear_schedule(DiffusionConfig())
T = torch.tensor([0, 50, 500, 999])


def images_and_noise() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x_0 = torch.rand(4, 3, 8, 8, generator=generator) * 2 - 1
    return x_0, torch.randn(4, 3, 8, 8, generator=generator)


def test_v_is_that_of_diffusers(diffusers: ModuleType) -> None:
    x_0, epsilon = images_and_noise()
    theirs = diffusers.DDPMScheduler(1000).get_velocity(x_0, epsilon, T)
    ours = target("v_prediction", SCHEDULE, x_0, T, epsilon)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", get_args(PredictionType))
def test_what_is_to_be_predicted_gives_back_the_noise(kind: PredictionType) -> None:
    x_0, epsilon = images_and_noise()
    output = target(kind, SCHEDULE, x_0, T, epsilon)
    x_t = q_sample(SCHEDULE, x_0, T, epsilon)
    torch.testing.assert_close(epsilon_of(kind, SCHEDULE, x_t, T, output), epsilon)
    network = epsilon_fn(kind, SCHEDULE, lambda x_t, t: output)
    torch.testing.assert_close(network(x_t, T), epsilon)


def test_v_is_close_to_the_noise_at_first_and_to_the_image_at_last() -> None:
    x_0, epsilon = images_and_noise()
    v = target("v_prediction", SCHEDULE, x_0, T, epsilon)
    torch.testing.assert_close(v[0], epsilon[0], atol=0.02, rtol=0)
    torch.testing.assert_close(v[3], -x_0[3], atol=0.03, rtol=0)
    assert target("epsilon", SCHEDULE, x_0, T, epsilon) is epsilon
