"""The frozen models of a dataset on the device of its plan: maps of images in its precision.

Shapes: B batch, C channels (3 for RGB, 1 for grey), S image size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from factory.classes import IGNORE_ID
from factory.diffusion.checkpoints import Model
from factory.diffusion.network import FeaturesFn, NetworkFn
from factory.diffusion.prediction import epsilon_of
from factory.diffusion.schedule import linear_schedule
from factory.errors import UserError
from factory.generation.recipe import Computation, Execution, Models
from factory.labeling.features import renoised_maps, shared_noise
from factory.labeling.head import Labels, Maps
from factory.precision import autocast, gpu_is_made_for_bf16
from factory.scores import Counts
from factory.shards.columns import EXPECTED_CLASS_IOU, EXPECTED_IOU
from factory.shards.plan import ShardSpec
from factory.shards.receipts import Drawn
from factory.shards.schema import Sample

PROBE_PIXELS = 2**14
"""A CPU's probe has at most so many pixels: from there on, the toy network's numbers depend neither
on the batch nor on the number of threads."""


@dataclass(frozen=True)
class SampledBatch:
    """Samples that went through the network together."""

    samples: list[Sample]
    num_redrawn: int = 0
    """The number of draws that were not finite."""
    drawn: Drawn | None = None
    """Of samples that are chosen: what they are chosen from. None of others."""


class BatchMaker(Protocol):
    """Makes the samples of a plan's shards: it draws images, or reads them. One iteration of
    `batches` at a time."""

    @property
    def device(self) -> torch.device:
        """The device of its models."""

    def batches(self, spec: ShardSpec) -> Iterator[SampledBatch]:
        """Yields the shard's samples in order, batch by batch."""

    def probe(self) -> tuple[torch.Tensor, list[Sample]]:
        """Makes a batch that shows how this hardware rounds: numbers before they are rounded, of
        any shape and on the CPU, and samples."""


class FrozenDDPM:
    """A DDPM on the device of a plan.

    section: the section of the config that the plan is of, for messages. Raises UserError where the
    GPU is not made for the plan's precision.
    """

    def __init__(self, ddpm: Model, recipe: Computation, section: str) -> None:
        self.device = torch.device(recipe.device)
        _check_precision(recipe, section)
        self.recipe = recipe
        self.shape = (recipe.channels, recipe.image_size, recipe.image_size)
        self.layout = _memory_format(self.device, recipe.image_size)
        self.unet = ddpm.unet.to(self.device)
        self.unet.to(memory_format=self.layout)
        self.network: NetworkFn = self.unet.outputs_and_features
        self.features: FeaturesFn = self.unet.features
        self.schedule = linear_schedule(ddpm.diffusion).to(self.device)
        self.prediction_type = ddpm.diffusion.prediction_type

    def epsilon_and_features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Sequence[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Runs the network for the noise and decoder maps, in the plan's precision."""
        with self.precision():
            output, maps = self.network(x_t, t, tuple(blocks))
        return epsilon_of(self.prediction_type, self.schedule, x_t, t, output), maps

    def precision(self) -> torch.autocast:
        """The context in which the network runs in the plan's precision."""
        return autocast(self.recipe.in_bf16, self.device.type)


class FrozenModels(FrozenDDPM):
    """A DDPM and a head on the device of a plan; see `FrozenDDPM`."""

    recipe: Execution

    def __init__(self, models: Models, recipe: Execution, section: str) -> None:
        super().__init__(models.ddpm, recipe, section)
        self.ensemble = models.ensemble.to(self.device)
        self.ensemble_config = models.ensemble.config
        self.model_id = models.model_id
        noise = shared_noise(self.ensemble_config.noise_seed, recipe.image_size, recipe.channels)
        self.noise = noise.to(self.device)

    @property
    def probe_size(self) -> int:
        """The number of images of a probe.

        Kernels are chosen by shape, so it is the plan's own batch, or on a CPU, where that would
        take long, one of PROBE_PIXELS.
        """
        size = self.recipe.batch_size
        if self.device.type == "cpu" and not self.recipe.compiled:
            size = min(size, max(1, PROBE_PIXELS // self.recipe.image_size**2))
        return size

    def labels(self, maps: Maps, x_0: torch.Tensor, within: torch.Tensor | None = None) -> Labels:
        """Returns the labels of images (B, C, S, S) by their maps, and, where the head asks for
        them, by those of the mirrored images. within: see `Head.label`."""
        mirrored = None
        if self.ensemble_config.mirrored:
            flipped = x_0.flip(-1).contiguous(memory_format=self.layout)
            mirrored = self.renoised_maps(flipped, self.ensemble_config.timesteps)
        return self.ensemble.label(maps, self.recipe.image_size, mirrored, within)

    def masks(self, labels: Labels) -> torch.Tensor:
        """(B, S, S) uint8 class ids, by the plan's vote; pixels that are too uncertain are 255."""
        masks, limit = labels.masks(self.recipe.vote), self.recipe.ignored_above
        return masks if limit is None else masks.masked_fill(labels.uncertainty > limit, IGNORE_ID)

    def expected(self, uncertainty: float, overlap: Counts) -> dict[str, Any]:
        """The fields of a sample that tell what is expected of its mask; none where the plan does
        not tell it. overlap: see `Calibration.expected`."""
        if (calibration := self.recipe.calibration) is None:
            return {}
        expected = calibration.expected(uncertainty, overlap)
        return {EXPECTED_IOU: expected.iou, EXPECTED_CLASS_IOU: expected.class_ious}

    def renoised_maps(self, x_0: torch.Tensor, timesteps: Sequence[int]) -> list[torch.Tensor]:
        """Returns the maps of images (B, C, S, S), in the descriptor's order."""
        blocks = self.ensemble_config.blocks
        with self.precision():
            return renoised_maps(self.features, self.schedule, x_0, self.noise, timesteps, blocks)


def _check_precision(recipe: Computation, section: str) -> None:
    if recipe.device == "cuda" and recipe.in_bf16 and not gpu_is_made_for_bf16():
        raise UserError(
            f"{section}.precision: the plan says bf16, which {torch.cuda.get_device_name()} has no "
            f"instructions for. Start a dataset at another --out with --set {section}.precision="
            "fp32."
        )


def _memory_format(device: torch.device, image_size: int) -> torch.memory_format:
    """Channels last suits convolutions; on a CPU, small maps lose more in their normalisation."""
    wins = device.type == "cuda" or image_size >= 64
    return torch.channels_last if wins else torch.contiguous_format
