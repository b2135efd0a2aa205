import numpy as np
import pytest
import torch

from factory.data.toy import drawing
from factory.images import UInt8
from factory.likeness.feature_space import features
from factory.likeness.nearest import Nearest, nearest

TRAINING = np.stack([drawing.draw(5, index, 64)[0] for index in range(60)])


def found(images: UInt8) -> Nearest:
    mirrored = features(images[:, :, ::-1])
    return nearest(features(images).layout, mirrored.layout, features(TRAINING).layout)


def test_a_copy_with_slight_noise_is_nearest_to_what_it_copies() -> None:
    noise = np.random.default_rng(0).normal(0, 8, TRAINING[:20].shape)
    copies = (TRAINING[:20] + noise).clip(0, 255).astype(np.uint8)
    assert found(copies).indices.tolist() == list(range(20))
    assert found(copies).distances.max() < 0.5


def test_a_mirrored_copy_is_found() -> None:
    copies = np.ascontiguousarray(TRAINING[:20, :, ::-1])
    assert found(copies).indices.tolist() == list(range(20))
    assert found(copies).distances.max() < 0.1


@pytest.mark.slow
def test_images_of_the_same_kind_are_at_the_usual_distance() -> None:
    others = np.stack([drawing.draw(6, index, 64)[0] for index in range(60)])
    assert 0.7 < found(others).distances.median() < 1.5


@pytest.mark.slow
def test_training_images_that_occur_twice_do_not_make_all_others_far() -> None:
    layout = features(TRAINING).layout
    twice = torch.cat([layout, layout])
    assert torch.allclose(
        nearest(layout[:5] + 0.1, layout[:5], twice).distances,
        nearest(layout[:5] + 0.1, layout[:5], layout).distances,
    )
