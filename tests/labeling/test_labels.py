"""Claims about factory.labeling.labels: whole images, their votes and their uncertainty."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from factory.labeling import labels as module
from factory.labeling.ensemble import Ensemble
from factory.labeling.head import Labels
from factory.labeling.labels import Votes

CLASSES, SIZE = 5, 16
CHANNELS, HEIGHTS = (6, 4, 3, 6), (4, 8, 16, 8)  # maps out of order, resolutions repeated


def decided(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Soft vote, hard vote and disagreement of logits (K, P, C), members added one by one."""
    votes = Votes.none(logits.shape[1], logits.shape[2], logits.device)
    for member in logits:
        votes.add(member[None])
    return votes.result(len(logits))


def random_maps(num_images: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = zip(CHANNELS, HEIGHTS, strict=True)
    return [torch.randn(num_images, c, h, h, generator=generator) for c, h in shapes]


def upsampled(maps: list[torch.Tensor]) -> torch.Tensor:
    """(B * S * S, D), as the paper's code makes them."""
    big = [F.interpolate(m, SIZE, mode="bilinear", align_corners=False) for m in maps]
    return torch.cat(big, dim=1).permute(0, 2, 3, 1).flatten(0, 2)


def reference(
    ensemble: Ensemble, maps: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Votes and disagreement (B, S, S) by upsampling first, then classifying."""
    with torch.no_grad():
        soft, hard, disagreement = decided(ensemble(upsampled(maps)))
    shape = -1, SIZE, SIZE
    return soft.view(shape), hard.view(shape), disagreement.view(shape)


def test_project_then_upsample_equals_upsample_then_classify(ensemble: Ensemble) -> None:
    maps = random_maps(8)
    soft, hard, disagreement = reference(ensemble, maps)
    with torch.no_grad():
        labels = ensemble.label(maps, SIZE)
    assert labels.soft.dtype == labels.hard.dtype == torch.uint8
    assert (labels.soft == soft).double().mean() >= 0.999
    assert (labels.hard == hard).double().mean() >= 0.999
    torch.testing.assert_close(labels.uncertainty, disagreement, rtol=1e-4, atol=1e-5)
    assert len(soft.unique()) > 1 and not torch.equal(soft, hard)
    assert torch.equal(labels.masks("soft"), labels.soft)
    assert torch.equal(labels.masks("hard"), labels.hard)


@pytest.mark.slow
@pytest.mark.parametrize("cell_bytes", [1, 40_000, 2**20])
@pytest.mark.parametrize("chunk_bytes", [1, 5_000, 2**20])
def test_the_rounds_that_memory_asks_for_change_nothing(
    ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch, cell_bytes: int, chunk_bytes: int
) -> None:
    maps = random_maps(3)
    with torch.no_grad():
        whole = ensemble.label(maps, SIZE)
        monkeypatch.setitem(module._CELL_BYTES, "cpu", cell_bytes)
        monkeypatch.setitem(module._CHUNK_BYTES, "cpu", chunk_bytes)
        split = ensemble.label(maps, SIZE)
    assert (split.soft == whole.soft).all() and (split.hard == whole.hard).all()
    torch.testing.assert_close(split.uncertainty, whole.uncertainty, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(split.soft_overlaps, whole.soft_overlaps, rtol=1e-4, atol=SIZE**2)


def test_the_hard_vote_is_the_majority_with_ties_to_the_smallest_id() -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(4, 500, CLASSES, generator=generator)  # an even number: many ties
    forced = F.one_hot(torch.tensor([[4, 0], [2, 3], [4, 3], [2, 0]]), CLASSES).float() * 9
    logits = torch.cat([logits, forced], dim=1)
    wanted, ties = [], 0
    for ballots in logits.argmax(-1).T.tolist():
        counted = Counter(ballots)
        winners = [c for c, num in counted.items() if num == max(counted.values())]
        ties += len(winners) > 1
        wanted.append(min(winners))
    assert ties > 50 and wanted[-2:] == [2, 0]
    assert decided(logits)[1].tolist() == wanted


def test_the_soft_vote_is_the_largest_mean_probability() -> None:
    logits = torch.randn(4, 300, CLASSES, generator=torch.Generator().manual_seed(6)) * 3
    wanted = np.exp(logits.double().log_softmax(-1).numpy()).mean(axis=0).argmax(axis=-1)
    assert decided(logits)[0].tolist() == wanted.tolist()
    # One sure member outweighs two that hesitate; by majority it would lose.
    p = torch.tensor([[[0.02, 0.98]], [[0.55, 0.45]], [[0.55, 0.45]]])
    soft, hard, _ = decided(p.log())
    assert soft.tolist() == [1] and hard.tolist() == [0]


def test_members_that_agree_are_certain() -> None:
    one = torch.randn(1, 200, CLASSES, generator=torch.Generator().manual_seed(7)) * 4
    assert float(decided(one.expand(6, -1, -1))[2].abs().max()) < 1e-6


def test_two_members_certain_of_different_classes_disagree_by_ln_2() -> None:
    logits = torch.full((2, 1, CLASSES), -200.0)
    logits[0, 0, 1] = logits[1, 0, 3] = 200.0
    assert float(decided(logits)[2]) == pytest.approx(math.log(2), abs=1e-6)


def test_disagreement_equals_a_reference_in_float64_and_stays_in_bounds() -> None:
    generator = torch.Generator().manual_seed(8)
    for scale in (0.1, 2.0, 30.0, 1000.0):
        logits = torch.randn(7, 300, CLASSES, generator=generator) * scale
        shifted = logits.double().numpy()
        shifted = shifted - shifted.max(axis=-1, keepdims=True)
        p = np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)

        def entropy(p: np.ndarray) -> np.ndarray:
            return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=-1)

        disagreement = decided(logits)[2].numpy()
        np.testing.assert_allclose(disagreement, entropy(p.mean(0)) - entropy(p).mean(0), atol=3e-6)
        assert disagreement.min() >= 0 and disagreement.max() <= math.log(CLASSES) + 1e-6


def test_an_images_uncertainty_is_the_mean_of_its_most_uncertain_tenth() -> None:
    pixels = torch.randperm(200, generator=torch.Generator().manual_seed(9)).float()
    both = torch.stack([pixels.view(20, 10), 3 * pixels.view(20, 10)])
    masks = torch.zeros(2, 20, 10, dtype=torch.uint8)
    none = torch.zeros(2, 3, 5, dtype=torch.int64)
    labels = Labels(masks, masks, both, none, none)
    wanted = float(np.mean(range(180, 200)))
    assert labels.image_uncertainty().tolist() == pytest.approx([wanted, 3 * wanted])


def test_a_batch_is_labelled_as_its_images_one_by_one(ensemble: Ensemble) -> None:
    maps = random_maps(3)
    with torch.no_grad():
        together = ensemble.label(maps, SIZE)
        for i in range(3):
            alone = ensemble.label([m[i : i + 1] for m in maps], SIZE)
            assert torch.equal(alone.soft[0], together.soft[i])
            assert torch.equal(alone.hard[0], together.hard[i])
            torch.testing.assert_close(alone.uncertainty[0], together.uncertainty[i])


def test_maps_of_half_precision_are_projected_in_full(ensemble: Ensemble) -> None:
    half = [m.bfloat16() for m in random_maps(2)]
    with torch.no_grad():
        labels = ensemble.label(half, SIZE)
        wanted = ensemble.label([m.float() for m in half], SIZE)
    assert torch.equal(labels.uncertainty, wanted.uncertainty)
    assert torch.equal(labels.soft, wanted.soft)


def test_the_votes_on_mirrored_images_count_as_those_of_as_many_more_members(
    ensemble: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    sided = ("background", "l_eye", "r_eye", "nose", "mouth")
    ensemble.config = ensemble.config.model_copy(update={"class_names": sided})
    maps, mirrored = random_maps(3), [m.flip(0) for m in random_maps(3)]
    with torch.no_grad():
        of_mirrored = ensemble(upsampled(mirrored)).unflatten(1, (3, SIZE, SIZE))
        back = of_mirrored.flip(3)[..., [0, 2, 1, 3, 4]].flatten(1, 3)
        wanted = decided(torch.cat([ensemble(upsampled(maps)), back]))
        labels = ensemble.label(maps, SIZE, mirrored)
        monkeypatch.setitem(module._CELL_BYTES, "cpu", 1)
        in_rounds = ensemble.label(maps, SIZE, mirrored)
    for found in (labels, in_rounds):
        assert (found.soft.flatten() == wanted[0]).double().mean() >= 0.999
        assert (found.hard.flatten() == wanted[1]).double().mean() >= 0.999
        torch.testing.assert_close(found.uncertainty.flatten(), wanted[2], rtol=1e-4, atol=1e-5)


def test_a_mirrored_image_gets_the_mirrored_labels(ensemble: Ensemble) -> None:
    maps, mirrored = random_maps(2), [m.flip(0) for m in random_maps(2)]
    with torch.no_grad():
        once, again = ensemble.label(maps, SIZE, mirrored), ensemble.label(mirrored, SIZE, maps)
    assert torch.equal(again.soft, once.soft.flip(2))
    torch.testing.assert_close(again.uncertainty, once.uncertainty.flip(2))
