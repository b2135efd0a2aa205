"""Claims about factory.diffusion.held_out."""

import pytest
import torch

from factory.config import DiffusionConfig
from factory.diffusion.held_out import MOST_IMAGES, Errors, errors, parted
from factory.diffusion.schedule import alpha_sigma, linear_schedule

SCHEDULE = linear_schedule(DiffusionConfig())
SHARES = (5, 25, 50, 75, 95, 99)


def images() -> torch.Tensor:
    """Images whose pixels tell nothing of each other."""
    generator = torch.Generator().manual_seed(2)
    return torch.rand(8, 3, 16, 16, generator=generator) * 2 - 1


def test_images_are_learned_from_or_left_out() -> None:
    learned, left_out = parted(1000, MOST_IMAGES, seed=3)
    assert len(left_out) == MOST_IMAGES
    assert sorted([*learned.tolist(), *left_out.tolist()]) == list(range(1000))
    assert learned.tolist() == sorted(learned.tolist())
    assert torch.equal(parted(1000, MOST_IMAGES, seed=3)[1], left_out)
    assert not torch.equal(parted(1000, MOST_IMAGES, seed=4)[1], left_out)


@pytest.mark.parametrize(("num", "most", "left_out"), [(19, 16, 0), (40, 16, 2), (1000, 0, 0)])
def test_of_few_images_few_are_left_out(num: int, most: int, left_out: int) -> None:
    assert len(parted(num, most, seed=0)[1]) == left_out
    if not left_out:
        assert torch.equal(parted(num, most, seed=0)[0], torch.arange(num))


def test_a_network_that_knows_the_images_has_no_error_and_a_blind_guess_one_of_1() -> None:
    x_0 = images()
    mean, variance = x_0.mean((0, 2, 3), keepdim=True), x_0.var((0, 2, 3), keepdim=True)

    def knowing(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = alpha_sigma(SCHEDULE, t, x_t.device)
        return (x_t - alpha * x_0) / sigma

    def blind(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha, sigma = alpha_sigma(SCHEDULE, t, x_t.device)
        return sigma * (x_t - alpha * mean) / (alpha**2 * variance + sigma**2)

    assert max(errors(knowing, SCHEDULE, x_0, seed=0).by_share.values()) < 1e-5
    found = errors(blind, SCHEDULE, x_0, seed=0)
    assert tuple(found.by_share) == SHARES
    assert list(found.by_share.values()) == pytest.approx([1.0] * len(SHARES), abs=0.05)
    assert errors(blind, SCHEDULE, x_0, seed=0) == found, "always with the same noise"


def of(*values: float) -> Errors:
    return Errors(dict(zip(SHARES, values, strict=True)))


GOOD = of(0.11, 0.08, 0.09, 0.14, 0.3, 0.8)


def test_health_is_told_in_words() -> None:
    history = [{"step": 50, "loss": 0.4}, {"step": 100, **of(0.1, 0.2, 0.2, 0.2, 0.4, 0.9).entry()}]
    assert GOOD.verdict([]) == GOOD.verdict(history[:1]) == "healthy"
    assert GOOD.verdict(history) == "healthy", "a tenth more is chance"
    young = of(0.5, 0.6, 1.1, 1.0, 2, 9)
    assert young.verdict(history) == (
        "not healthy yet: details, shapes, composition, colours are guessed no better "
        "than from each pixel alone"
    )
    grown = of(0.11, 0.08, 0.25, 0.14, 0.3, 0.8)
    assert grown.verdict(history).startswith(
        "not healthy: with 50 % of noise it was 0.200 at step 100. It begins to know its images"
    )


def test_errors_are_told_by_share() -> None:
    assert str(GOOD).startswith("5 %: 0.110, 25 %: 0.080, ")
    assert GOOD.are_finite and not of(0, 0, 0, 0, 0, float("nan")).are_finite
