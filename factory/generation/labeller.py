"""Labels the images of a shard, without Ray: images -> features -> masks -> samples.

A sample depends on the bytes of its image and the plan alone: all images get the one noise that the
ensemble was fitted with, and batches have a fixed shape that never crosses a shard.

Shapes: B batch, S image size.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import torch

from factory.diffusion.compilation import compiled_alike, one_first
from factory.diffusion.noise import normal_noise, sample_seed
from factory.errors import CannotCompile
from factory.generation.frozen_models import FrozenModels, SampledBatch
from factory.generation.label_recipe import LabelRecipe
from factory.generation.label_source import SourceImage
from factory.generation.recipe import Models
from factory.images import UInt8, to_channels_last_arrays, to_signed
from factory.labeling.head import Labels
from factory.shards.plan import Plan, ShardSpec
from factory.shards.schema import Sample, sample_key


class Images(Protocol):
    """Images that are labelled, by their numbers."""

    def read(self, start: int, stop: int) -> Iterator[SourceImage]:
        """Yields the images start..stop-1 in order; those that come next are read meanwhile."""


class Labeller(FrozenModels):
    """Makes the samples of a plan's shards; see `BatchMaker`.

    Raises CannotCompile, and UserError where the GPU is not made for the plan's precision.
    """

    recipe: LabelRecipe

    def __init__(self, models: Models, plan: Plan, images: Images) -> None:
        super().__init__(models, LabelRecipe.model_validate(plan.recipe), plan.command)
        self.images = images
        if self.recipe.compiled:
            self._compile()

    @torch.inference_mode()
    def _compile(self) -> None:
        """Compiles by one pass: a shard has a deadline, this has none."""
        self.features = compiled_alike(self.features)
        x = torch.zeros((self.recipe.batch_size, *self.shape), device=self.device)
        try:
            with one_first():
                self._maps(x)
        except CannotCompile as error:
            raise CannotCompile(error.reason, self.recipe.command) from error

    def batches(self, spec: ShardSpec) -> Iterator[SampledBatch]:
        """Yields the shard's samples in order, batch by batch.

        Raises FloatingPointError, which names an image whose labels are not finite, and what
        `Images.read` raises.
        """
        images, size = self.images.read(spec.start, spec.stop), self.recipe.batch_size
        for start in range(spec.start, spec.stop, size):
            few = list(islice(images, size))
            labels = self._labels([image.pixels for image in few], size)
            yield SampledBatch(self._samples(start, few, labels))

    @torch.inference_mode()
    def _labels(self, images: Sequence[UInt8], batch_size: int) -> Labels:
        """Labels of images (S, S, 3), and of as many black ones as a batch lacks."""
        size = self.recipe.image_size
        pixels = np.zeros((batch_size, size, size, 3), np.uint8)
        pixels[: len(images)] = images
        x_0 = to_signed(torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2))
        return self.ensemble.label(self._maps(x_0.contiguous()), size)

    def _maps(self, x_0: torch.Tensor) -> list[torch.Tensor]:
        x_0 = x_0.to(memory_format=self.layout)
        return self.renoised_maps(x_0, self.ensemble_config.timesteps)

    def _samples(self, start: int, images: Sequence[SourceImage], labels: Labels) -> list[Sample]:
        scores = labels.image_uncertainty().tolist()
        masks = labels.masks(self.recipe.vote).cpu().numpy()
        unfit = [
            image.name
            for image, score in zip(images, scores, strict=False)
            if not np.isfinite(score)
        ]
        if unfit:
            raise FloatingPointError(
                f"the labels of {unfit[0]} are not finite: the model's weights are broken, or too "
                f"much for label.precision = {self.recipe.precision}"
            )
        return [
            Sample(
                key=sample_key(start + i),
                image=image.pixels,
                mask=masks[i],
                seed=self.ensemble_config.noise_seed,
                uncertainty=scores[i],
                model_id=self.model_id,
                source=image.name,
            )
            for i, image in enumerate(images)
        ]

    @torch.inference_mode()
    def probe(self) -> tuple[torch.Tensor, list[Sample]]:
        """Labels a batch of noise: the uncertainty of its pixels (B, S, S), and its samples."""
        seeds = [sample_seed(0, i) for i in range(self.probe_size)]
        noise = normal_noise(seeds, self.shape, stream=0)
        images = [SourceImage("", pixels) for pixels in to_channels_last_arrays(noise)]
        labels = self._labels([image.pixels for image in images], len(images))
        return labels.uncertainty.cpu().contiguous(), self._samples(0, images, labels)
