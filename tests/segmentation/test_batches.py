from itertools import islice

import numpy as np
import pytest
import torch

from factory.config import Config
from factory.segmentation.batches import Batch, Pairs
from factory.segmentation.material import Material, open_shards, read_material


def batches(config: Config, steps: range, rank: int = 0, num_ranks: int = 1) -> list[Batch]:
    material = read_material(config)
    shards = open_shards(config.segment, material, rank, num_ranks)
    return list(Pairs(shards, material.real, rank, num_ranks).batches(config.segment, steps))


def assert_equal(first: list[Batch], second: list[Batch]) -> None:
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.masks, other.masks)


def num_real(batch: Batch, material: Material) -> int:
    """The images of a batch that are among the real ones."""
    assert material.real is not None
    real = {image.transpose(2, 0, 1).tobytes() for image in material.real.images}
    return sum(image.numpy().tobytes() in real for image in batch.images)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("pairs", ["synthetic", "real", "both"])
def test_a_step_has_the_same_pairs_wherever_a_training_went_on(segment_config, pairs, rank) -> None:
    config = segment_config(pairs=pairs)
    # 30 pairs and 6 real ones: these steps go through several epochs of both.
    whole = batches(config, range(20), rank, 2)
    assert_equal(whole[13:], batches(config, range(13, 20), rank, 2))
    assert not torch.equal(whole[0].images, whole[1].images)


@pytest.mark.parametrize(("share", "num"), [(0.25, 1), (0.5, 2), (0.01, 1), (0.99, 3)])
def test_so_many_of_a_batch_are_real_over_all_ranks(segment_config, share, num) -> None:
    config = segment_config(real_share=share)
    material = read_material(config)
    for parts in zip(*(batches(config, range(4), rank, 3) for rank in range(3)), strict=True):
        assert [len(part.images) for part in parts] == [1, 1, 2]
        assert sum(num_real(part, material) for part in parts) == num


def test_an_epoch_of_real_pairs_has_each_of_them_once(segment_config) -> None:
    config = segment_config(pairs="real", batch_size=3)
    ranks = [batches(config, range(2), rank, 2) for rank in range(2)]
    seen = {image.numpy().tobytes() for rank in ranks for batch in rank for image in batch.images}
    assert len(seen) == 6


def test_real_pairs_count_once_and_synthetic_ones_by_what_is_expected_of_them() -> None:
    from factory.segmentation.batches import _joined

    sample = {"image": torch.zeros(3, 2, 2), "mask": torch.zeros(2, 2), "expected_iou": 0.25}
    real = iter([(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8))])
    assert _joined([sample], real, weighed=True).weights.tolist() == [0.25, 1.0]
    assert _joined([sample], iter(()), weighed=False).weights.tolist() == [1.0]


def test_samples_without_end_go_on_where_they_were(segment_config) -> None:
    config = segment_config()
    shards = open_shards(config.segment, read_material(config), 0, 1)
    assert shards is not None
    keys = [row["image"].sum().item() for row in islice(shards.endless(), 95)]
    later = [row["image"].sum().item() for row in islice(shards.endless(40, ahead=7), 55)]
    assert keys[40:] == later and sorted(keys[:30]) == sorted(keys[30:60]) != keys[:30]
