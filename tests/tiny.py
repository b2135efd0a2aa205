"""Models with random weights, small enough to make an image in milliseconds."""

from pathlib import Path
from typing import Any

import torch

from factory.config import parse_config
from factory.data.toy.faces import CLASSES, PALETTE
from factory.diffusion.checkpoints import load_model, save_model
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.network import descriptor_dim
from factory.labeling.ensemble import Ensemble, EnsembleConfig
from factory.labeling.heads import save_head

TREE: dict[str, dict[str, Any]] = {
    "data": {"image_size": 16, "unlabelled": {"kind": "toy", "num": 64}},
    "train": {
        "unet": {
            "block_out_channels": [16, 32],
            "layers_per_block": 1,
            "attention_levels": [1],
            "norm_num_groups": 8,
        },
        "diffusion": {"num_timesteps": 100, "beta_start": 1e-3, "beta_end": 0.2},
    },
    "fit": {"timesteps": [10, 40], "blocks": [1, 2]},
}
"""The config of these models, as nested mappings."""


def save_models(folder: Path, channels: int = 3, seed: int = 0) -> dict[str, str]:
    """Writes a DDPM and an ensemble on its features; returns the config's `models` section.

    channels: those of the DDPM's images. seed: of the random weights.
    """
    config = parse_config(TREE)
    torch.manual_seed(seed)
    ddpm_url, ensemble_url = str(folder / "ddpm"), str(folder / "ensemble")
    unet = UNet(config.train.unet, channels)
    save_model(unet, config.train.diffusion, 16, ddpm_url)
    ensemble_config = EnsembleConfig(
        class_names=CLASSES,
        palette=PALETTE,
        image_size=16,
        timesteps=(10, 40),
        blocks=(1, 2),
        noise_seed=0,
        descriptor_dim=descriptor_dim(unet, (10, 40), (1, 2)),
        num_members=3,
        hidden=(8, 4),
        ddpm_hash=load_model(ddpm_url).model_hash,
    )
    save_head(Ensemble(ensemble_config), ensemble_url)
    return {"ddpm_url": ddpm_url, "ensemble_url": ensemble_url}
