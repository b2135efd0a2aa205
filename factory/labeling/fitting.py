"""Fits the ensemble on few labelled images: all members at once, descriptors gathered on the fly.

The maps of every image are computed once and kept at their native resolution; a step gathers the
descriptors of its random pixels from them, so the full descriptor matrix never exists.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from factory.classes import IGNORE_ID, Classes
from factory.config import Config
from factory.data.sources import Labelled
from factory.diffusion.checkpoints import Model
from factory.diffusion.process import linear_schedule
from factory.errors import UserError
from factory.images import UInt8, to_signed
from factory.labeling.ensemble import Ensemble, EnsembleConfig
from factory.labeling.features import (
    default_blocks,
    descriptor_dim,
    pixel_descriptors,
    renoised_maps,
    shared_noise,
)

_IMAGES_PER_PASS = 8
_STANDARDISATION_PIXELS = 200
_LOG_STEPS = 100


def ensemble_config(model: Model, classes: Classes, config: Config) -> EnsembleConfig:
    """What the new ensemble's weights will mean. Raises UserError where the model lacks a block."""
    blocks = config.features.blocks or default_blocks(model.unet.config)
    timesteps = config.features.timesteps
    if max(blocks) >= model.unet.num_blocks:
        raise UserError(
            f"features.blocks: {max(blocks)} is not one of the model's decoder blocks "
            f"0..{model.unet.num_blocks - 1}."
        )
    if max(timesteps) >= model.diffusion.num_timesteps:
        raise UserError(
            f"features.timesteps: {max(timesteps)} is not below the model's "
            f"{model.diffusion.num_timesteps} timesteps."
        )
    return EnsembleConfig(
        class_names=classes.names,
        palette=classes.palette,
        image_size=model.image_size,
        timesteps=timesteps,
        blocks=tuple(blocks),
        noise_seed=config.ensemble.seed,
        descriptor_dim=descriptor_dim(model.unet.config, timesteps, blocks),
        num_members=config.ensemble.num_members,
        hidden=config.ensemble.hidden,
        ddpm_hash=model.model_hash,
    )


def fit_ensemble(
    model: Model,
    labelled: Labelled,
    config: Config,
    tell: Callable[[str], None] = print,
) -> Ensemble:
    """An ensemble in eval mode, fitted with Adam and cross-entropy over all members.

    The image is the unit of the split: `labelled` holds training images alone.
    """
    learned = ensemble_config(model, labelled.classes, config)
    torch.manual_seed(config.ensemble.seed)
    images, masks = labelled.images, labelled.masks
    if config.ensemble.horizontal_flip:
        mirrored = mirror_ids(labelled.classes)[masks[:, :, ::-1]]
        images, masks = (
            np.concatenate([images, images[:, :, ::-1]]),
            np.concatenate([masks, mirrored]),
        )
    data = TrainingPixels(image_maps(model, learned, images), torch.from_numpy(masks).flatten(1))
    return _fit(Ensemble(learned), data, config, tell)


def mirror_ids(classes: Classes) -> UInt8:
    """(256,) the id of each class in a mirrored image: l_x and r_x change places."""
    table = np.arange(256, dtype=np.uint8)
    for i, name in enumerate(classes.names):
        for side, other in (
            ("l_", "r_"),
            ("r_", "l_"),
            ("left_", "right_"),
            ("right_", "left_"),
        ):
            partner = other + name.removeprefix(side)
            if name.startswith(side) and partner in classes.names:
                table[i] = classes.names.index(partner)
    return table


def image_maps(model: Model, learned: EnsembleConfig, images: UInt8) -> list[torch.Tensor]:
    """Maps (N, C_m, h_m, w_m) float32 of images (N, S, S, 3) uint8, at native resolution."""
    noise = shared_noise(learned.noise_seed, learned.image_size)
    schedule = linear_schedule(model.diffusion)
    parts = []
    for start in range(0, len(images), _IMAGES_PER_PASS):
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + _IMAGES_PER_PASS]))
        x_0 = to_signed(pixels.permute(0, 3, 1, 2)).contiguous()
        with torch.inference_mode():
            parts.append(
                renoised_maps(model.unet, schedule, x_0, noise, learned.timesteps, learned.blocks)
            )
    return [torch.cat(maps).clone() for maps in zip(*parts, strict=True)]


@dataclass(frozen=True)
class TrainingPixels:
    """Maps of N images and their labels (N, S * S) uint8, 255 = ignore."""

    maps: Sequence[torch.Tensor]
    labels: torch.Tensor

    def draw(self, num: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Descriptors (about num, D) and labels of random pixels, spread over all images."""
        num_images, num_pixels = self.labels.shape
        maps, labels = self.maps, self.labels
        if num < num_images:
            chosen = torch.randperm(num_images)[:num]
            maps, labels = [m[chosen] for m in maps], labels[chosen]
        pixels = torch.randint(num_pixels, (len(labels), num // len(labels)))
        descriptors = pixel_descriptors(maps, pixels, round(num_pixels**0.5))
        return descriptors.flatten(0, 1), labels.gather(1, pixels).flatten().long()


def _fit(
    ensemble: Ensemble,
    data: TrainingPixels,
    config: Config,
    tell: Callable[[str], None],
) -> Ensemble:
    knobs = config.ensemble
    sample, _ = data.draw(_STANDARDISATION_PIXELS * len(data.labels))
    mean, deviation = sample.mean(dim=0), sample.std(dim=0).clamp_min(1e-6)
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=knobs.learning_rate, fused=True)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, knobs.num_steps)
    started = time.monotonic()
    ensemble.train()
    for step in range(1, knobs.num_steps + 1):
        descriptors, labels = data.draw(knobs.pixels_per_step)
        loss = members_loss(ensemble((descriptors - mean) / deviation), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.step()
        if step % _LOG_STEPS == 0 or step == knobs.num_steps:
            seconds = time.monotonic() - started
            told = f"fit | step {step}/{knobs.num_steps} | loss {float(loss.detach()):.4f}"
            tell(f"{told} | {seconds:.1f}s")
    ensemble.fold_standardisation(mean, deviation)
    return ensemble.eval().requires_grad_(False)


def members_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (K, N, C), (N,) summed over members, mean over pixels that are not ignored.

    The sum makes every member's gradient that of its own loss. 0 where all pixels are ignored.
    """
    repeated = labels.repeat(len(logits))
    total = F.cross_entropy(logits.flatten(0, 1), repeated, ignore_index=IGNORE_ID, reduction="sum")
    return total / (labels != IGNORE_ID).sum().clamp_min(1)
