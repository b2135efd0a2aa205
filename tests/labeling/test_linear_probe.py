"""Claims about factory.labeling.linear_probe: sets of features are scored from sums over pixels."""

import numpy as np
import pytest
import torch

from factory.labeling import linear_probe
from factory.labeling.linear_probe import Counts, LinearProbe, ProbedPixels, discriminant

NUM_CLASSES, NUM_IMAGES = 3, 6
FOLDS = torch.tensor([0, 1, 2, 0, 1, 2])


def pixels(num: int = 300, dim: int = 8, seed: int = 0) -> ProbedPixels:
    """Features of which the second and the fifth tell the classes."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(NUM_CLASSES, (num,), generator=random)
    features = torch.randn(num, dim, generator=random)
    features[:, 1] += 2 * labels
    features[:, 4] += 3 * (labels == 1)
    return ProbedPixels(
        (features - features.mean(0)).half().T,
        labels,
        torch.arange(num) % NUM_IMAGES,
        torch.rand(num, generator=random, dtype=torch.float64) + 0.5,
        torch.ones(num, dtype=torch.float64),
    )


def from_scratch(given: ProbedPixels, chosen: list[int]) -> np.ndarray:
    """(P,) the classes that numpy's discriminants predict, each fitted on the other folds."""
    x, y = given.features.double().numpy()[chosen].T, given.labels.numpy()
    w, fold = given.weights.numpy(), FOLDS[given.images].numpy()
    found = np.zeros(len(y), int)
    for held_out in range(3):
        learned = fold != held_out
        within, scores = np.zeros((len(chosen), len(chosen))), []
        centres, shares = [], []
        for c in range(NUM_CLASSES):
            rows = learned & (y == c)
            centre = np.average(x[rows], axis=0, weights=w[rows])
            deviations = (x[rows] - centre) * np.sqrt(w[rows])[:, None]
            within += deviations.T @ deviations / w[learned].sum()
            centres.append(centre)
            shares.append(w[rows].sum() / w[learned].sum())
        within += np.eye(len(chosen)) * linear_probe._SHRINKAGE * np.trace(within) / len(chosen)
        inverse = np.linalg.inv(within)
        for centre, share in zip(centres, shares, strict=True):
            scores.append(x @ inverse @ centre - centre @ inverse @ centre / 2 + np.log(share))
        found[~learned] = np.argmax(scores, axis=0)[~learned]
    return found


@pytest.mark.parametrize("chosen", [[1], [4, 1], [0, 1, 2, 3, 4, 5, 6, 7], [2, 7]])
def test_a_part_of_the_sums_gives_what_fitting_on_those_features_from_scratch_does(
    chosen: list[int],
) -> None:
    given = pixels()
    counts = LinearProbe(given, FOLDS, NUM_CLASSES).scored(torch.tensor(chosen))
    found, y = from_scratch(given, chosen), given.labels.numpy()
    expected = [
        [np.sum((found == c) & (y == c) & (given.images.numpy() == i)) for c in range(NUM_CLASSES)]
        for i in range(NUM_IMAGES)
    ]
    assert np.array_equal(counts.hits, expected)
    assert counts.predicted.sum() == counts.truth.sum() == len(y)


def test_features_that_tell_the_classes_score_higher_than_others() -> None:
    probe = LinearProbe(pixels(), FOLDS, NUM_CLASSES)
    telling, both, others = (
        probe.scored(torch.tensor(chosen)) for chosen in ([1], [1, 4], [0, 2, 3, 5, 6, 7])
    )
    assert both.mean_iou > telling.mean_iou + 0.1 > others.mean_iou + 0.3


def test_no_image_is_labelled_by_what_its_own_pixels_taught() -> None:
    given = pixels(num=60, dim=100)
    # As many features as pixels learn anything by heart; labels of noise cannot be told elsewhere.
    noise = torch.randint(NUM_CLASSES, (60,), generator=torch.Generator().manual_seed(5))
    features = torch.randn(100, 60, generator=torch.Generator().manual_seed(6)).half()
    given = ProbedPixels(features, noise, given.images, given.weights, given.shares)
    counts = LinearProbe(given, FOLDS, NUM_CLASSES).scored(torch.arange(100))
    assert counts.hits.sum() < 0.55 * 60


def test_a_class_without_a_pixel_is_never_chosen() -> None:
    given = pixels()
    products, sums = torch.eye(2).double(), torch.zeros(3, 2).double()
    sums[0, 0], sums[1, 1] = 5.0, 5.0
    weight, bias = discriminant(products * 20, sums, torch.tensor([5.0, 5.0, 0.0]).double())
    scores = given.features[:2].double().T @ weight + bias
    assert set(scores.argmax(1).tolist()) == {0, 1}


def test_pixels_count_as_many_as_they_stand_for() -> None:
    given = pixels()
    doubled = ProbedPixels(
        given.features, given.labels, given.images, given.weights, given.shares * 2
    )
    counts = [
        LinearProbe(p, FOLDS, NUM_CLASSES).scored(torch.tensor([1])) for p in (given, doubled)
    ]
    assert np.array_equal(counts[1].truth, 2 * counts[0].truth)
    assert counts[1].mean_iou == pytest.approx(counts[0].mean_iou)


def test_a_class_that_the_truth_lacks_is_in_no_mean() -> None:
    hits, truth = np.array([[4.0, 0.0]]), np.array([[6.0, 0.0]])
    predicted = np.array([[4.0, 2.0]])
    counts = Counts(hits, truth, predicted)
    assert counts.mean_iou == pytest.approx(4 / 6) and np.isnan(counts.iou()[1])


def test_equal_counts_have_no_noise_and_a_difference_in_one_image_has() -> None:
    hits = np.array([[4.0, 2.0], [3.0, 3.0], [4.0, 1.0]])
    truth = np.array([[5.0, 3.0], [4.0, 4.0], [5.0, 3.0]])
    more_hits = np.array([[4.0, 2.0], [4.0, 4.0], [4.0, 1.0]])
    some, more = Counts(hits, truth, truth), Counts(more_hits, truth, truth)
    assert some.noise_of_gain(some) == 0
    assert 0 < more.noise_of_gain(some) < 1
    union = (2 * truth - hits).sum(0)
    assert some.mean_iou == pytest.approx((hits.sum(0) / union).mean())
