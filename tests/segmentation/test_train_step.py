import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from factory.classes import IGNORE_ID
from factory.config import parse_config
from factory.segmentation.batches import Batch
from factory.segmentation.train_step import learning_rate, new_state, pixel_loss, train_step

CPU = torch.device("cpu")
SETTINGS = parse_config({"segment": {"num_steps": 10, "warmup_steps": 2}}).segment


def test_a_pair_counts_by_its_weight_and_none_of_its_ignored_pixels() -> None:
    torch.manual_seed(0)
    logits, masks = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 4, 4))
    masks[0, :2] = IGNORE_ID
    of_pairs = [
        F.cross_entropy(logits[:1, :, 2:], masks[:1, 2:]),
        F.cross_entropy(logits[1:], masks[1:]),
    ]
    wanted = (0.25 * of_pairs[0] + of_pairs[1]) / 1.25
    torch.testing.assert_close(pixel_loss(logits, masks, torch.tensor([0.25, 1.0])), wanted)


def test_a_pair_all_of_whose_pixels_are_ignored_teaches_nothing() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = pixel_loss(logits, torch.full((1, 4, 4), IGNORE_ID), torch.ones(1))
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None and not logits.grad.any()


def test_the_rate_grows_along_a_line_and_falls_along_a_cosine() -> None:
    rates = [learning_rate(SETTINGS, step) for step in range(11)]
    assert rates[0] == pytest.approx(SETTINGS.learning_rate / 2)
    assert rates[5] == pytest.approx(SETTINGS.learning_rate / 2)
    assert rates[10] == pytest.approx(0) and rates == sorted(rates[:2]) + rates[2:]
    assert rates[3] == pytest.approx(SETTINGS.learning_rate * (1 + math.cos(0.3 * math.pi)) / 2)


def test_batch_normalisation_of_the_average_follows_that_of_the_network() -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))

    state = new_state(make, SETTINGS, CPU)
    images, masks = torch.randint(0, 256, (4, 3, 8, 8)).byte(), torch.randint(0, 4, (4, 8, 8))
    train_step(
        state, state.unet, Batch(images, masks.byte(), torch.ones(4)), torch.arange(256), SETTINGS
    )
    mean = state.unet.get_buffer("1.running_mean")
    assert mean.any() and torch.equal(state.ema.get_buffer("1.running_mean"), mean)
