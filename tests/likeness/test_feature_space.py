import numpy as np
import pytest
import torch

from factory.data.toy import drawing
from factory.images import UInt8
from factory.likeness.feature_space import Features, features

SEEN = [-0.01176, 0.57954, 0.0757, 0.28519, 0.79757, -0.40125]
"""Some features of a ramp of greys, as they were when the space was defined."""


def drawings(num: int, size: int = 64) -> list[UInt8]:
    return [drawing.draw(3, index, size)[0] for index in range(num)]


def equal(some: Features, others: Features) -> bool:
    return torch.allclose(some.statistics, others.statistics, atol=1e-4) and torch.allclose(
        some.layout, others.layout, atol=1e-4
    )


@pytest.mark.slow
def test_the_features_of_an_image_do_not_depend_on_the_others() -> None:
    images = drawings(70)
    whole = features(images)
    alone = features([images[66]])
    assert whole.statistics.shape == (70, 454) and whole.layout.shape == (70, 256)
    assert equal(alone, Features(whole.statistics[66:67], whole.layout[66:67]))


def test_the_space_is_the_same_in_every_version() -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None] * 4, (64, 64, 3))
    found = features([ramp])
    seen = [*found.statistics[0, [0, 3, 40, 440]].tolist(), *found.layout[0, [0, 255]].tolist()]
    np.testing.assert_allclose(seen, SEEN, rtol=1e-3)


def test_a_grey_image_has_the_features_of_its_rgb() -> None:
    grey = drawings(1)[0][:, :, :1]
    assert equal(features([grey]), features([np.repeat(grey, 3, axis=2)]))


def test_images_of_other_sizes_are_scaled() -> None:
    large = np.repeat(np.repeat(drawings(1)[0], 2, axis=0), 2, axis=1)
    apart = features([large]).layout - features(drawings(1)).layout
    assert apart.norm() < 0.2 * features(drawings(1)).layout.norm()


def test_no_images_have_no_features() -> None:
    assert len(features([])) == 0
