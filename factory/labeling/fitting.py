"""Fits a head on few labelled images.

The maps of a few images at a time are made by passes of the frozen network; the kind of the head
decides what is learned from them.

Shapes: N images of C channels, S image size, C_m channels of map m.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from factory.classes import Classes
from factory.config import Config, FitConfig, check_section
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.diffusion.network import blocks_in_words, descriptor_dim
from factory.diffusion.schedule import linear_schedule
from factory.errors import UserError, counted
from factory.images import UInt8, to_signed
from factory.labeling.features import Places, renoised_maps, shared_noise
from factory.labeling.head import Head, HeadConfig, Labels, Maps
from factory.labeling.heads import HEADS, check_kind
from factory.labeling.mirroring import mirror_ids
from factory.precision import autocast, in_bf16
from factory.values import block_word

_PIXELS_PER_PASS = 2**15
"""The pixels of the images that pass the network together: 8 images of 64 px, or one of 256."""


def places_of_features(model: Model, config: Config) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The timesteps and the blocks whose features a head of the config uses.

    Raises UserError if the model lacks a block or a timestep, or one of them is named twice.
    """
    check_section(config, "fit")
    blocks = config.fit.blocks or model.unet.default_blocks
    timesteps = config.fit.timesteps
    problems = []
    if lacking := sorted(set(blocks) - set(model.unet.block_channels)):
        problems.append(
            f"fit.blocks: {', '.join(map(str, map(block_word, lacking)))}: the model's blocks are "
            f"{blocks_in_words(model.unet)}."
        )
    if max(timesteps) >= model.diffusion.num_timesteps:
        problems.append(
            f"fit.timesteps: {max(timesteps)} is not below the model's "
            f"{counted(model.diffusion.num_timesteps, 'timestep')}."
        )
    if problems:
        raise UserError(problems)
    return timesteps, tuple(blocks)


def new_head_config(model: Model, classes: Classes, config: Config) -> HeadConfig:
    """The config of a new head.

    Raises UserError if there is no such kind, and as `places_of_features` does.
    """
    check_kind(config.fit.head)
    timesteps, blocks = places_of_features(model, config)
    kind, settings = HEADS[config.fit.head], config.fit
    content = {
        "class_names": classes.names,
        "palette": classes.palette,
        "image_size": model.image_size,
        "timesteps": timesteps,
        "blocks": tuple(map(block_word, blocks)),
        "noise_seed": config.fit.seed,
        "descriptor_dim": descriptor_dim(model.unet, timesteps, blocks),
        "ddpm_hash": model.model_hash,
        "mirrored": settings.mirrored_votes and settings.horizontal_flip,
        **{name: getattr(settings, name) for name in kind.own_fields},
    }
    return kind.config.model_validate(content)


def fit_head(model: Model, labelled: Labelled, config: Config) -> Head:
    """A head of the kind that the config names, in eval mode, fitted on labelled images.

    The image is the unit of the split: `labelled` holds training images alone. Raises UserError
    where all of their pixels are ignored.
    """
    head_config = new_head_config(model, labelled.classes, config)
    images, masks = labelled.images, labelled.masks
    if config.fit.horizontal_flip:
        images, masks = with_mirrored(labelled)
    order = training_order(len(images), config.fit)
    passes = map_passes(model, head_config.places, images[order], config.fit)
    masks_in_order = torch.from_numpy(masks[order])
    return HEADS[config.fit.head].fit(passes, masks_in_order, head_config, config.fit)


def training_order(num: int, settings: FitConfig) -> npt.NDArray[np.int64]:
    """The order in which so many images are learned from: a random one, by fit.seed."""
    return np.random.default_rng(settings.seed).permutation(num)


def with_mirrored(labelled: Labelled) -> tuple[UInt8, UInt8]:
    """Images and masks, each followed by their mirrored ones."""
    mirrored = mirror_ids(labelled.classes)[labelled.masks[:, :, ::-1]]
    images = np.concatenate([labelled.images, labelled.images[:, :, ::-1]])
    return images, np.concatenate([labelled.masks, mirrored])


def image_maps(model: Model, head_config: HeadConfig, images: UInt8) -> list[torch.Tensor]:
    """Maps (N, C_m, h_m, w_m) float32 of images (N, S, S, C) uint8, at native resolution."""
    passes = map_passes(model, head_config.places, images)
    return [torch.cat(maps) for maps in zip(*passes, strict=True)]


def label_in_batches(
    model: Model,
    head: Head,
    images: UInt8,
    batch_size: int,
    within: npt.NDArray[np.bool_] | None = None,
) -> Iterator[Labels]:
    """The labels of images (N, S, S, C) uint8, so many at once, from maps in float32.

    within: (N, S, S) the pixels that count for overlaps; None if all do.
    """
    for _, labels in maps_and_labels(model, head, images, batch_size, within):
        yield labels


def maps_and_labels(
    model: Model,
    head: Head,
    images: UInt8,
    batch_size: int,
    within: npt.NDArray[np.bool_] | None = None,
) -> Iterator[tuple[Maps, Labels]]:
    """The maps of images as they are, and their labels; as `label_in_batches` has them."""
    for start in range(0, len(images), batch_size):
        few = images[start : start + batch_size]
        maps = image_maps(model, head.config, few)
        mirrored = image_maps(model, head.config, few[:, :, ::-1]) if head.config.mirrored else None
        counted = None
        if within is not None:
            counted = torch.from_numpy(within[start : start + batch_size]).to(maps[0].device)
        with torch.inference_mode():
            yield maps, head.label(maps, head.config.image_size, mirrored, counted)


def images_of_pass(model: Model) -> int:
    """The images that pass the network together."""
    return max(1, _PIXELS_PER_PASS // model.image_size**2)


def map_passes(
    model: Model,
    places: Places,
    images: UInt8,
    settings: FitConfig | None = None,
) -> Iterator[Maps]:
    """The maps of images (N, S, S, C) uint8, a few images at a time, on the model's device.

    In the precision of fitting if its settings are given, else in float32.
    """
    device = next(model.unet.parameters()).device
    bf16 = settings is not None and in_bf16(settings.precision, device.type)
    noise = shared_noise(places.noise_seed, model.image_size, model.channels)
    schedule = linear_schedule(model.diffusion)
    step = images_of_pass(model)
    for start in range(0, len(images), step):
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + step]))
        x_0 = to_signed(pixels.permute(0, 3, 1, 2)).contiguous().to(device)
        with torch.no_grad(), autocast(bf16, device.type):
            maps = renoised_maps(
                model.unet.features,
                schedule,
                x_0,
                noise,
                places.timesteps,
                places.blocks,
            )
        yield [m.float() for m in maps]
