import numpy as np
import pytest
import torch

from factory.data.toy import drawing
from factory.images import UInt8
from factory.likeness.feature_space import features
from factory.likeness.nearest import (
    NEARLY_SAME,
    Nearest,
    nearest,
    own_distances,
    unusual_distance,
    usual_distance,
)

TRAINING = np.stack([drawing.draw(5, index, 64)[0] for index in range(60)])


def found(images: UInt8) -> Nearest:
    mirrored, training = features(images[:, :, ::-1]), features(TRAINING).layout
    unit = usual_distance(own_distances(training))
    return nearest(features(images).layout, mirrored.layout, training, unit)


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
    assert torch.allclose(own_distances(twice).unique(), own_distances(layout).unique())
    assert usual_distance(own_distances(twice)) == usual_distance(own_distances(layout))


def test_few_training_images_are_nearer_to_another_than_what_is_unusual() -> None:
    own = torch.cat([torch.linspace(0.1, 0.2, 30), torch.linspace(0.8, 1.2, 1000)])
    bound = unusual_distance(own) * usual_distance(own)
    assert ((own >= NEARLY_SAME) & (own < bound)).sum() == 10
    assert unusual_distance(torch.tensor([])) == 0.0 and usual_distance(torch.tensor([])) == 1.0


def test_distances_are_exact_where_products_of_matrices_round() -> None:
    training = 1000 + torch.randn(50, 256, generator=torch.Generator().manual_seed(0))
    some = training[:7] + 1e-2
    distances = nearest(some, some, training, 1.0).distances
    expected = (some - training[:7]).norm(dim=1)
    assert torch.allclose(distances, expected)


def test_no_training_image_is_its_own_nearest_one() -> None:
    # Products of matrices in float32 round to distances of a thousandth of the length, and more.
    layout = 3 + torch.rand(300, 256, generator=torch.Generator().manual_seed(0)) / 10
    layout *= torch.linspace(0.2, 4, 300)[:, None]
    exact = (layout[:, None] - layout[None]).norm(dim=2).fill_diagonal_(torch.inf)
    assert torch.allclose(own_distances(layout), exact.min(dim=1).values.sort().values)
