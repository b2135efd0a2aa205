"""An ensemble whose every number is random."""

import pytest
import torch
from torch import nn

from factory.labeling.ensemble import Ensemble, EnsembleConfig

CONFIG = EnsembleConfig(
    class_names=("background", "skin", "hair", "eye", "mouth"),
    palette=((0, 0, 0), (250, 0, 0), (0, 250, 0), (0, 0, 250), (9, 9, 9)),
    image_size=16,
    timesteps=(10, 40),
    blocks=(0, 1),
    noise_seed=0,
    descriptor_dim=19,
    num_members=3,
    hidden=(12, 8),
    ddpm_hash="ab" * 32,
)


@pytest.fixture
def ensemble() -> Ensemble:
    """With biases and batch statistics that are not those of a fresh network."""
    torch.manual_seed(0)
    ensemble = Ensemble(CONFIG)
    for norm in (ensemble.norm_1, ensemble.norm_2):
        nn.init.normal_(norm.weight, 1.0, 0.3)
        nn.init.normal_(norm.bias, 0.0, 0.3)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
    for bias in (ensemble.linear_1.bias, ensemble.bias_2, ensemble.bias_3):
        nn.init.normal_(bias)
    return ensemble.eval()
