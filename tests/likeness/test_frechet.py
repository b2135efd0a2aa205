import numpy as np
import pytest
import torch

from factory.data.toy import drawing
from factory.images import UInt8
from factory.likeness.feature_space import features
from factory.likeness.frechet import frechet_distance

DRAWN = np.stack([drawing.draw(5, index, 64)[0] for index in range(160)])
REFERENCE = features(DRAWN[80:]).statistics


def distance(images: UInt8) -> float:
    return frechet_distance(features(images).statistics, REFERENCE)


def test_the_distance_of_normal_distributions_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    reference = torch.randn(20_000, 3)
    some = torch.randn(20_000, 3) * 2 + torch.tensor([1.0, 0.0, 0.0])
    # Per feature: 1 / 3 of the means, and (2 - 1) ** 2 of the deviations.
    assert frechet_distance(some, reference) == pytest.approx(1 / 3 + 1, abs=0.05)


def test_a_set_is_at_no_distance_from_itself() -> None:
    assert frechet_distance(REFERENCE, REFERENCE) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("what", ["grain", "tinted", "blurred"])
def test_what_people_see_in_images_makes_the_distance_larger(what: str) -> None:
    images = DRAWN[:80].astype(np.float32)
    if what == "grain":
        images += np.random.default_rng(0).normal(0, 16, images.shape)
    elif what == "tinted":
        images[..., 0] += 80
    else:
        images = images.reshape(80, 16, 4, 16, 4, 3).mean(axis=(2, 4)).repeat(4, 1).repeat(4, 2)
    assert distance(images.clip(0, 255).astype(np.uint8)) > 1.5 * distance(DRAWN[:80])
