"""Claims about factory.labeling.overlaps."""

import numpy as np
import pytest
import torch

from factory.labeling.ensemble import Ensemble
from factory.labeling.overlaps import PARTS, expected_overlaps
from tests.labeling.test_labels import SIZE, random_maps

CLASSES, PIXELS = 4, 300


def drawn(num: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (B, P, C), and the masks (B, P) that they choose."""
    generator = torch.Generator().manual_seed(3)
    p = torch.randn(num, PIXELS, CLASSES, generator=generator).mul_(3).softmax(-1)
    return p, p.argmax(-1).to(torch.uint8)


def test_each_pixel_is_shared_as_far_as_its_class_is_probable() -> None:
    p, mask = drawn()
    (found,) = expected_overlaps(p, [mask])
    assert found.shape == (3, 3, CLASSES) and found.dtype == torch.int64
    hits, truth, predicted = (found / PARTS).unbind(1)
    for c in range(CLASSES):
        chosen = mask == c
        share = torch.where(chosen, p[..., c], 0).sum(1)
        np.testing.assert_allclose(hits[:, c], share, atol=PIXELS / PARTS)
        np.testing.assert_allclose(truth[:, c], p[..., c].sum(1), atol=PIXELS / PARTS)
        assert predicted[:, c].tolist() == chosen.sum(1).tolist()


def test_expected_pixels_are_those_that_there_are_on_average() -> None:
    p, mask = drawn(1)
    hits, truth, _ = (expected_overlaps(p, [mask])[0] / PARTS)[0]
    rng, real = np.random.default_rng(0), []
    for _ in range(400):
        drawn_truth = (p[0].cumsum(-1).numpy() < rng.random((PIXELS, 1))).sum(-1)
        shared = np.bincount(drawn_truth[drawn_truth == mask[0].numpy()], minlength=CLASSES)
        real.append([shared, np.bincount(drawn_truth, minlength=CLASSES)[:CLASSES]])
    np.testing.assert_allclose(np.mean(real, axis=0), np.stack([hits, truth]), rtol=0.03)


def test_pixels_count_the_same_in_any_order_and_in_any_company() -> None:
    p, mask = drawn()
    (found,) = expected_overlaps(p, [mask])
    order = torch.randperm(PIXELS, generator=torch.Generator().manual_seed(1))
    (shuffled,) = expected_overlaps(p[:, order], [mask[:, order]])
    (alone,) = expected_overlaps(p[1:2], [mask[1:2]])
    assert torch.equal(shuffled, found) and torch.equal(alone[0], found[1])


def test_overlaps_of_parts_add_up_to_those_of_the_whole() -> None:
    p, mask = drawn()
    left = torch.arange(PIXELS).expand(3, -1) < 100
    (found,) = expected_overlaps(p, [mask])
    (first,), (second,) = (expected_overlaps(p, [mask], part) for part in (left, ~left))
    assert torch.equal(first + second, found) and not torch.equal(first, second)


@pytest.mark.parametrize("vote", ["soft", "hard"])
def test_labels_have_the_overlaps_of_each_vote(ensemble: Ensemble, vote) -> None:
    maps = random_maps(2)
    within = torch.ones(2, SIZE, SIZE, dtype=torch.bool)
    within[1, :5] = False
    with torch.no_grad():
        labels, fewer = ensemble.label(maps, SIZE), ensemble.label(maps, SIZE, within=within)
    masks = labels.masks(vote).flatten(1)
    predicted = [np.bincount(mask, minlength=5).tolist() for mask in masks.numpy()]
    overlaps = labels.overlaps(vote)
    assert (overlaps[:, 2] // PARTS).tolist() == predicted
    assert (overlaps[:, 0] <= overlaps[:, 1]).all() and (overlaps[:, 0] <= overlaps[:, 2]).all()
    assert torch.equal(fewer.overlaps(vote)[0], overlaps[0])
    assert int(fewer.overlaps(vote)[1, 2].sum()) == (SIZE - 5) * SIZE * PARTS
    assert not torch.equal(labels.soft_overlaps, labels.hard_overlaps)
