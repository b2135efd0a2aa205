"""Fits the ensemble on few labelled images: all members at once, on a pool of their pixels.

Labels are known before descriptors, so the pixels to learn from are chosen first. The maps of a
few images at a time are then made, read at those pixels and dropped: memory is that of the pool,
however many and however large the images are. Each step draws rows of the pool.

The pool holds descriptors along their principal axes, and the axes become part of the members'
first layer at the end. Adam scales coordinates one by one: channels vary hand in hand, principal
coordinates do not, so far fewer steps suffice; and axes along which next to nothing varies, most of
them, cost nothing.

Shapes: N images, S image size, P pixels of the pool, D descriptor, Q axes, K members, C classes.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
import torch.nn.functional as F

from factory.classes import IGNORE_ID, Classes
from factory.config import Config
from factory.config import EnsembleConfig as EnsembleSettings
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.diffusion.network import descriptor_dim
from factory.diffusion.schedule import linear_schedule
from factory.errors import UserError
from factory.images import UInt8, to_signed
from factory.labeling.ensemble import Ensemble, EnsembleConfig
from factory.labeling.features import (
    pixel_descriptors,
    projected_descriptors,
    renoised_maps,
    shared_noise,
)
from factory.precision import autocast, in_bf16

Maps = Sequence[torch.Tensor]
"""(B, C_m, h_m, w_m) float32 of B images, in the descriptor's order."""

_PIXELS_PER_PASS = 2**15
"""Of the images that pass the network together: 8 of 64 px, or one of 256."""
_MAX_PIXELS = 2**24
"""That torch.multinomial draws from."""
_CLASS_SHARE = 0.75
"""1 draws pixels as they occur, 0 draws all classes alike: between the two, mean IoU is largest."""
_NUM_AXES = 512
_AXES_IMAGES, _AXES_PIXELS = 16, 2**14
"""That tell the axes."""
_LOG_STEPS = 100


def new_ensemble_config(model: Model, classes: Classes, config: Config) -> EnsembleConfig:
    """What the new ensemble's weights will mean. Raises UserError where the model lacks a block."""
    blocks = config.features.blocks or model.unet.default_blocks
    timesteps = config.features.timesteps
    num_blocks = len(model.unet.block_channels)
    if max(blocks) >= num_blocks:
        raise UserError(
            f"features.blocks: {max(blocks)} is not one of the model's decoder blocks "
            f"0..{num_blocks - 1}."
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
        descriptor_dim=descriptor_dim(model.unet, timesteps, blocks),
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

    The image is the unit of the split: `labelled` holds training images alone. Raises UserError
    where all of their pixels are ignored.
    """
    ensemble_config = new_ensemble_config(model, labelled.classes, config)
    images, masks = labelled.images, labelled.masks
    if config.ensemble.horizontal_flip:
        images, masks = with_mirrored(labelled)
    order = np.random.default_rng(config.ensemble.seed).permutation(len(images))
    passes = map_passes(model, ensemble_config, images[order], config.ensemble)
    return fit_maps(passes, torch.from_numpy(masks[order]), ensemble_config, config.ensemble, tell)


def fit_maps(
    passes: Iterable[Maps],
    masks: torch.Tensor,
    ensemble_config: EnsembleConfig,
    settings: EnsembleSettings,
    tell: Callable[[str], None],
) -> Ensemble:
    """The ensemble fitted to masks (N, S, S) uint8 and to maps, on their device, in eval mode.

    passes: the maps of the images in the masks' order, a few images at a time. The order should be
    random: the first images tell the axes.
    """
    torch.manual_seed(settings.seed)
    started = time.monotonic()
    num_axes = min(_NUM_AXES, ensemble_config.descriptor_dim)
    room = max(1, int(settings.pool_gib * 2**30 / (2 * num_axes)))
    chosen = choose_pixels(masks.flatten(1), min(room, _MAX_PIXELS))
    pool = read_pool(passes, chosen, ensemble_config)
    seconds = time.monotonic() - started
    tell(f"fit | {len(chosen):,} pixels of {len(masks)} images | {seconds:.1f}s")
    return fit_pool(ensemble_config, pool, settings, tell)


def with_mirrored(labelled: Labelled) -> tuple[UInt8, UInt8]:
    """Images and masks, each followed by their mirrored ones."""
    mirrored = mirror_ids(labelled.classes)[labelled.masks[:, :, ::-1]]
    images = np.concatenate([labelled.images, labelled.images[:, :, ::-1]])
    return images, np.concatenate([labelled.masks, mirrored])


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


def image_maps(model: Model, ensemble_config: EnsembleConfig, images: UInt8) -> list[torch.Tensor]:
    """Maps (N, C_m, h_m, w_m) float32 of images (N, S, S, 3) uint8, at native resolution."""
    passes = map_passes(model, ensemble_config, images)
    return [torch.cat(maps) for maps in zip(*passes, strict=True)]


def map_passes(
    model: Model,
    ensemble_config: EnsembleConfig,
    images: UInt8,
    settings: EnsembleSettings | None = None,
) -> Iterator[Maps]:
    """The maps of images (N, S, S, 3) uint8, a few images at a time, on the model's device.

    In the precision of fitting where its knobs are given, else in float32.
    """
    device = next(model.unet.parameters()).device
    bf16 = settings is not None and in_bf16(settings.precision, device.type)
    noise = shared_noise(ensemble_config.noise_seed, ensemble_config.image_size)
    schedule = linear_schedule(model.diffusion)
    step = max(1, _PIXELS_PER_PASS // ensemble_config.image_size**2)
    for start in range(0, len(images), step):
        pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + step]))
        x_0 = to_signed(pixels.permute(0, 3, 1, 2)).contiguous().to(device)
        with torch.no_grad(), autocast(bf16, device.type):
            maps = renoised_maps(
                model.unet.features,
                schedule,
                x_0,
                noise,
                ensemble_config.timesteps,
                ensemble_config.blocks,
            )
        yield [m.float() for m in maps]


@dataclass(frozen=True)
class ChosenPixels:
    """P pixels of N images, in the images' order, none of them ignored."""

    places: torch.Tensor
    """(P,) int64: image * S * S + row * S + column, ascending."""
    labels: torch.Tensor
    """(P,) int64 class ids."""
    weights: torch.Tensor
    """(P,) float64: how often to draw each, relative to the others."""

    def __len__(self) -> int:
        return len(self.places)

    def to(self, device: torch.device) -> "ChosenPixels":
        """The same there, for draws on that device."""
        return ChosenPixels(*(p.to(device) for p in (self.places, self.labels, self.weights)))


def choose_pixels(labels: torch.Tensor, num: int) -> ChosenPixels:
    """At most num random pixels of N images; labels (N, S * S) uint8, 255 = ignore.

    Where not all fit, those of rare classes are likelier to be kept. A class of n pixels in the
    images is drawn n ** 0.75 times as often as one of a single pixel, whatever was kept of it.
    Raises UserError where every pixel is ignored.
    """
    places = (labels.flatten() != IGNORE_ID).nonzero().flatten()
    if len(places) == 0:
        raise UserError(
            "data.labelled: every pixel of its masks is ignored (255); there is nothing to learn "
            "from. Give masks with class ids."
        )
    ids = labels.flatten()[places].long()
    counts = ids.bincount().double()
    # The first to arrive of exponential waits is a draw without replacement by their rates.
    waits = torch.empty(len(places)).exponential_() * counts.sqrt().float()[ids]
    first = waits.topk(min(num, len(places)), largest=False).indices.sort().values
    places, ids = places[first], ids[first]
    shares = counts**_CLASS_SHARE / ids.bincount(minlength=len(counts))
    return ChosenPixels(places, ids, shares[ids])


@dataclass(frozen=True)
class Axes:
    """Coordinates of descriptors: standardised, then along principal axes."""

    mean: torch.Tensor
    """(D,)."""
    deviation: torch.Tensor
    """(D,)."""
    directions: torch.Tensor
    """(D, Q): orthogonal, of one length, with which coordinates deviate by 1 over all."""

    @classmethod
    def of(cls, sample: torch.Tensor) -> "Axes":
        """Those along which the descriptors (n, D) vary most, at most 512."""
        mean, deviation = sample.mean(dim=0), sample.std(dim=0, correction=0).clamp_min(1e-6)
        sample = (sample - mean) / deviation
        _, _, axes = torch.pca_lowrank(sample, min(_NUM_AXES, *sample.shape), center=False)
        return cls(mean, deviation, axes / (sample @ axes).std().clamp_min(1e-6))

    def coordinates(self, maps: Maps, pixels: torch.Tensor, image_size: int) -> torch.Tensor:
        """(P, Q) of pixels (P,), each an index (image * S + row) * S + column."""
        matrix = self.directions / self.deviation[:, None]
        return projected_descriptors(maps, matrix, pixels, image_size) - self.mean @ matrix

    def unfolded(self, fitted: Ensemble, ensemble_config: EnsembleConfig) -> Ensemble:
        """An ensemble fitted to coordinates, as one that takes descriptors; in eval mode."""
        ensemble = Ensemble(ensemble_config).to(self.mean.device)
        weights = fitted.state_dict()
        weights["linear_1.weight"] = weights["linear_1.weight"] @ self.directions.T
        ensemble.load_state_dict(weights)
        ensemble.fold_standardisation(self.mean, self.deviation)
        return ensemble.eval().requires_grad_(False)


@dataclass(frozen=True)
class PixelPool:
    """All that a fit learns from."""

    coordinates: torch.Tensor
    """(P, Q) bfloat16, on the device that fits."""
    pixels: ChosenPixels
    """There, too."""
    axes: Axes

    def draw(self, num: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates (num, Q) bfloat16 and labels (num,) of random pixels."""
        rows = torch.multinomial(self.pixels.weights, num, replacement=True)
        return self.coordinates[rows], self.pixels.labels[rows]


def read_pool(
    passes: Iterable[Maps], pixels: ChosenPixels, ensemble_config: EnsembleConfig
) -> PixelPool:
    """Reads the pixels off the maps of all images, which come a few images at a time."""
    size = ensemble_config.image_size
    parts = with_places(passes, pixels.places, size)
    first: list[tuple[Maps, torch.Tensor]] = []
    while sum(len(maps[0]) for maps, _ in first) < _AXES_IMAGES and (part := next(parts, None)):
        first.append(part)
    axes = Axes.of(sampled_descriptors(first, size))
    shape = (len(pixels), axes.directions.shape[1])
    coordinates = torch.empty(shape, dtype=torch.bfloat16, device=axes.mean.device)
    start = 0
    for maps, places in chain((first.pop(0) for _ in range(len(first))), parts):
        coordinates[start : start + len(places)] = axes.coordinates(maps, places, size)
        start += len(places)
    assert start == len(pixels), "the maps are those of the images that the pixels are of"
    return PixelPool(coordinates, pixels.to(coordinates.device), axes)


def with_places(
    passes: Iterable[Maps], places: torch.Tensor, image_size: int
) -> Iterator[tuple[Maps, torch.Tensor]]:
    """Each pass with the places in its own images, if it has any; places ascending, of all."""
    first_place = first = 0
    for maps in passes:
        last_place = first_place + len(maps[0]) * image_size**2
        last = int(torch.searchsorted(places, last_place))
        if last > first:
            yield maps, (places[first:last] - first_place).to(maps[0].device)
        first_place, first = last_place, last


def sampled_descriptors(
    parts: Sequence[tuple[Maps, torch.Tensor]], image_size: int
) -> torch.Tensor:
    """(n, D) of some of the places of each part."""
    num = _AXES_PIXELS // len(parts)
    return torch.cat(
        [
            pixel_descriptors(
                maps, places[torch.randperm(len(places))[:num].to(places.device)], image_size
            )
            for maps, places in parts
        ]
    )


def fit_pool(
    ensemble_config: EnsembleConfig,
    pool: PixelPool,
    settings: EnsembleSettings,
    tell: Callable[[str], None],
) -> Ensemble:
    """The ensemble fitted to the pool, on its device, in eval mode."""
    device, num_axes = pool.coordinates.device, pool.coordinates.shape[1]
    bf16 = in_bf16(settings.precision, device.type)
    ensemble = Ensemble(ensemble_config.model_copy(update={"descriptor_dim": num_axes}))
    ensemble.to(device).train()
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=settings.learning_rate, fused=True)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.num_steps)
    started = time.monotonic()
    for step in range(1, settings.num_steps + 1):
        coordinates, labels = pool.draw(settings.pixels_per_step)
        with autocast(bf16, device.type):
            logits = ensemble(coordinates.float())
        loss = members_loss(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.step()
        if step % _LOG_STEPS == 0 or step == settings.num_steps:
            seconds = time.monotonic() - started
            told = f"fit | step {step}/{settings.num_steps} | loss {float(loss.detach()):.4f}"
            tell(f"{told} | {seconds:.1f}s")
    return pool.axes.unfolded(ensemble, ensemble_config)


def members_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (K, N, C), (N,) summed over members, mean over pixels that are not ignored.

    The sum makes every member's gradient that of its own loss. 0 where all pixels are ignored.
    """
    repeated = labels.repeat(len(logits))
    total = F.cross_entropy(logits.flatten(0, 1), repeated, ignore_index=IGNORE_ID, reduction="sum")
    return total / (labels != IGNORE_ID).sum().clamp_min(1)
