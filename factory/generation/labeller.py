"""Labels the images of a shard, without Ray: images -> features -> masks -> samples.

A sample depends on the bytes of its image and the plan alone: all images get the one noise that the
ensemble was fitted with, and batches have a fixed shape that never crosses a shard.

Shapes: B batch, C channels (3 for RGB, 1 for grey), S image size.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from factory.data.pixels import geometry
from factory.data.pixels.geometry import Box, Placement
from factory.diffusion.compilation import compiled_alike, one_first
from factory.diffusion.noise import normal_noise, sample_seed
from factory.errors import CannotCompile
from factory.generation.frozen_models import FrozenModels, SampledBatch
from factory.generation.label_recipe import LabelRecipe
from factory.generation.recipe import Models
from factory.generation.source_images import Images, SourceImage
from factory.images import UInt8, to_channels_last_arrays, to_signed
from factory.labeling.head import image_uncertainty
from factory.scores import Counts, Score, confusion_matrix
from factory.shards.columns import SCORE_COLUMNS
from factory.shards.plan import Plan, ShardSpec
from factory.shards.schema import Sample, sample_key


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
        """Yields the shard's samples in order, those of each batch of squares.

        Raises FloatingPointError, which names an image whose labels are not finite, and what
        `Images.read` raises.
        """
        images, index = self.images.read(spec.start, spec.stop), spec.start
        begun: deque[SourceImage] = deque()
        done: deque[_Square] = deque()
        squares = _squares(images, begun)
        while few := list(islice(squares, self.recipe.batch_size)):
            done.extend(self._labelled(few, self.recipe.batch_size))
            samples = []
            while begun and len(begun[0].squares) <= len(done):
                image = begun.popleft()
                parts = [done.popleft() for _ in image.squares]
                samples.append(self._sample(index, image, parts))
                index += 1
            yield SampledBatch(samples)

    @torch.inference_mode()
    def _labelled(
        self, squares: Sequence[tuple[UInt8, Placement]], batch_size: int
    ) -> list["_Square"]:
        """The labels of squares, which go through the network with as many black ones as a batch
        lacks."""
        size, channels = self.recipe.image_size, self.recipe.channels
        pixels = np.zeros((batch_size, size, size, channels), np.uint8)
        within = np.zeros((batch_size, size, size), np.bool_)
        for i, (square, place) in enumerate(squares):
            pixels[i] = square
            within[i][place.target.slices] = True
        x_0 = to_signed(torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)).contiguous()
        labels = self.labels(self._maps(x_0), x_0, torch.from_numpy(within).to(self.device))
        parts = self.masks(labels), labels.uncertainty, labels.overlaps(self.recipe.vote)
        found = (each[: len(squares)].cpu() for each in parts)
        return [_Square(m.numpy(), u, o.numpy()) for m, u, o in zip(*found, strict=True)]

    def _maps(self, x_0: torch.Tensor) -> list[torch.Tensor]:
        x_0 = x_0.to(memory_format=self.layout)
        return self.renoised_maps(x_0, self.ensemble_config.timesteps)

    def _sample(self, index: int, image: SourceImage, parts: Sequence["_Square"]) -> Sample:
        pixels = [
            part.uncertainty[place.target.slices].flatten()
            for part, place in zip(parts, image.places, strict=True)
        ]
        score = float(image_uncertainty(torch.cat(pixels)[None])[0])
        if not math.isfinite(score):
            raise FloatingPointError(
                f"the labels of {image.name} are not finite: the model's weights are broken, or "
                f"too much for label.precision = {self.recipe.precision}"
            )
        masks = [part.mask for part in parts]
        if image.whole is None:
            (place,) = image.places
            size = self.recipe.image_size
            mask = geometry.square_ids(masks[0][place.target.slices], size, place)
        else:
            mask = geometry.whole_ids(zip(masks, image.places, strict=True), image.whole.size)
        return Sample(
            key=sample_key(index),
            image=image.pixels,
            mask=mask,
            seed=self.ensemble_config.noise_seed if image.seed is None else image.seed,
            uncertainty=score,
            model_id=self.model_id,
            source=image.name,
            **self.expected(score, np.sum([part.overlap for part in parts], axis=0)),
            **self._compared(image.truth, mask),
        )

    def _compared(self, truth: UInt8 | None, mask: UInt8) -> dict[str, Any]:
        """The fields of a sample that tell how its mask compares to the source's own."""
        if truth is None:
            return {}
        found = Score.of(confusion_matrix(truth, mask, len(self.ensemble_config.class_names)))
        counts = found.hits, found.truth, found.predicted
        return {
            name: tuple(each.tolist()) for name, each in zip(SCORE_COLUMNS, counts, strict=True)
        }

    def probe(self) -> tuple[torch.Tensor, list[Sample]]:
        """Labels a batch of noise: the uncertainty of its pixels (B, S, S), and its samples."""
        seeds = [sample_seed(0, i) for i in range(self.probe_size)]
        squares = list(to_channels_last_arrays(normal_noise(seeds, self.shape, stream=0)))
        all_of_it = Box(0, 0, self.recipe.image_size, self.recipe.image_size)
        place = Placement(all_of_it, all_of_it)
        found = self._labelled([(square, place) for square in squares], len(squares))
        samples = [
            self._sample(i, SourceImage("", [square], [place]), [part])
            for i, (square, part) in enumerate(zip(squares, found, strict=True))
        ]
        return torch.stack([part.uncertainty for part in found]), samples


@dataclass(frozen=True, eq=False)
class _Square:
    """The labels of a square."""

    mask: UInt8
    """(S, S) class ids."""
    uncertainty: torch.Tensor
    """(S, S) nats, on the CPU."""
    overlap: Counts
    """(3, C) how far the mask is expected to overlap with the true one, at its place."""


def _squares(
    images: Iterable[SourceImage], begun: deque[SourceImage]
) -> Iterator[tuple[UInt8, Placement]]:
    """Yields the squares of all images, and their places; each image is added to begun before its
    first one."""
    for image in images:
        begun.append(image)
        yield from zip(image.squares, image.places, strict=True)
