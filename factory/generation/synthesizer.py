"""Makes the samples of a shard, without Ray: noise -> images -> features -> masks -> samples.

A sample depends on (run seed, index) and the plan alone: its noise comes from its own stream, and
batches have a fixed shape that never crosses a shard.

Shapes: B batch, C channels (3 for RGB, 1 for grey), S image size.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import torch

from factory.diffusion import philox
from factory.diffusion.compilation import compiled_alike, one_first
from factory.errors import UserError
from factory.generation.choosing import Choosing
from factory.generation.drawing import Drawing, Draws
from factory.generation.frozen_models import FrozenModels, SampledBatch
from factory.generation.recipe import Models, Recipe
from factory.images import to_channels_last_arrays, to_signed, to_uint8
from factory.labeling.features import FeatureTap
from factory.likeness.training_images import FILE, TrainingImages
from factory.shards.choice import Choice
from factory.shards.columns import NEAREST_COLUMNS
from factory.shards.plan import Plan, ShardSpec
from factory.shards.schema import Sample, sample_key


class Synthesizer(Drawing[Sample], FrozenModels):
    """Makes the samples of a plan's shards; see `BatchMaker`.

    max_draws: how many images may be drawn for each sample where samples are chosen.

    Where the plan says that the network is compiled, making one takes a minute, once on a machine;
    raises CannotCompile, and UserError where the GPU is not made for the plan's precision.
    """

    recipe: Recipe

    def __init__(self, models: Models, plan: Plan, max_draws: int = 10) -> None:
        super().__init__(models, Recipe.model_validate(plan.recipe), plan.command)
        self.choice, self.max_draws = plan.choice, max_draws
        self.training_images = _training_images(models, self.recipe, self.device)
        self.draw = philox.normal
        if self.recipe.compiled:
            self._compile()

    @torch.inference_mode()
    def _compile(self) -> None:
        """Compiles by one pass of each function: a shard has a deadline, this has none."""
        self.network = compiled_alike(self.network)
        self.features = compiled_alike(self.features)
        self.draw = compiled_alike(self.draw)
        draws = self.draws(0, self.recipe.batch_size)
        x = torch.zeros((len(draws.indices), *self.shape), device=self.device)
        x = x.to(memory_format=self.layout)
        t = x.new_zeros(len(x), dtype=torch.int64)
        with one_first():
            if self.recipe.device_draws_noise:
                self.first_noise(draws)
            self.epsilon_and_features(x, t, ())
            if self.recipe.feature_source == "renoise" or self.ensemble_config.mirrored:
                self.renoised_maps(x, self.ensemble_config.timesteps)
            if self.recipe.feature_source == "trajectory":
                self.epsilon_and_features(x, t, self.ensemble_config.blocks)

    def batches(self, spec: ShardSpec) -> Iterator[SampledBatch]:
        """Yields the shard's samples in order, batch by batch; raises as `drawn` does."""
        if self.choice is not None:
            yield from self._chosen(spec, self.choice)
            return
        for samples, num_redrawn in self.drawn(spec.start, spec.stop):
            yield SampledBatch(samples, num_redrawn)

    def _chosen(self, spec: ShardSpec, choice: Choice) -> Iterator[SampledBatch]:
        """Yields the shard's samples in the end, and nothing with each batch that is drawn before.
        Raises CannotChoose."""
        choosing = Choosing(spec, choice, self.max_draws)
        with closing(self.offered(spec.start, spec.stop)) as offered:
            while not choosing.is_complete:
                yield SampledBatch([])
                choosing.take(next(offered))
        yield SampledBatch(choosing.chosen(), drawn=choosing.drawn())

    def samples(self, spec: ShardSpec) -> Iterator[Sample]:
        """Yields the samples of `batches`, one by one."""
        for batch in self.batches(spec):
            yield from batch.samples

    @torch.inference_mode()
    def made(self, draws: Draws, x_t: torch.Tensor) -> list[Sample | None]:
        """Returns the samples from x_T; None for those that are not finite."""
        x_0, maps = self._images_and_maps(draws, x_t)
        return self._labelled(draws, x_0, maps)

    def _images_and_maps(
        self, draws: Draws, x_t: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Returns x_0 (B, C, S, S), in [-1, 1] unless the model has another `clip`, and the maps in
        the descriptor's order. Images are re-noised as they are stored, rounded to uint8."""
        tapped = self.recipe.feature_source == "trajectory"
        tap = FeatureTap(
            self.epsilon_and_features,
            self.timesteps,
            self.ensemble_config.timesteps if tapped else (),
            self.ensemble_config.blocks,
        )
        x_0 = self.x_0(tap, draws, x_t)
        if tapped:
            return x_0, tap.maps()
        return x_0, self.renoised_maps(_as_stored(x_0), self.ensemble_config.timesteps)

    def _labelled(
        self, draws: Draws, x_0: torch.Tensor, maps: Sequence[torch.Tensor]
    ) -> list[Sample | None]:
        """Labels images by their maps; returns samples, None for those that are not finite."""
        stored = _as_stored(x_0)
        labels, nearest = self.labels(maps, stored), self._nearest(stored)
        scores = labels.image_uncertainty()
        finite = (x_0.flatten(1).isfinite().all(dim=1) & scores.isfinite()).tolist()
        images = to_channels_last_arrays(x_0)
        masks = self.masks(labels).cpu().numpy()
        overlaps = labels.overlaps(self.recipe.vote).cpu().numpy()
        columns = (draws.indices, images, masks, draws.seeds, scores.tolist(), overlaps, finite)
        return [
            Sample(
                sample_key(index),
                image,
                mask,
                seed,
                score,
                self.model_id,
                **self.expected(score, overlap),
                **near,
            )
            if fit
            else None
            for index, image, mask, seed, score, overlap, fit, near in zip(
                *columns, nearest, strict=True
            )
        ]

    def _nearest(self, stored: torch.Tensor) -> list[dict[str, Any]]:
        """The fields of each sample's image that tell of the nearest training image, if the plan
        has them."""
        if self.training_images is None:
            return [{} for _ in stored]
        found = self.training_images.nearest(stored)
        return [
            dict(zip(NEAREST_COLUMNS, each, strict=True))
            for each in zip(found.distances.tolist(), found.indices.tolist(), strict=True)
        ]

    @torch.inference_mode()
    def probe(self) -> tuple[torch.Tensor, list[Sample]]:
        """Makes a batch that shows how this hardware rounds, like shards but in few passes of the
        network: x_0 (B, C, S, S) on the CPU, before it is rounded, and its finite samples."""
        timesteps = self.ensemble_config.timesteps
        last, tapped = self.schedule.num_timesteps - 1, min(timesteps)
        brief, draws = copy.copy(self), self.draws(0, self.probe_size)
        brief.ensemble_config = self.ensemble_config.model_copy(update={"timesteps": (tapped,)})
        few = tuple(sorted({last, tapped}, reverse=True))
        brief.recipe = self.recipe.model_copy(update={"sampling_timesteps": few})
        x_0, maps = brief._images_and_maps(draws, self.first_noise(draws))
        # The maps of one timestep stand for those of all: their kernels are the same.
        samples = self._labelled(draws, x_0, maps * len(timesteps))
        return x_0.cpu().contiguous(), [sample for sample in samples if sample is not None]


def _training_images(models: Models, recipe: Recipe, device: torch.device) -> TrainingImages | None:
    """What is known of the training images, if samples tell how near they are to them. Raises
    UserError where it is not what the plan was made with."""
    if recipe.training_images_sha256 is None:
        return None
    found = models.training_images
    if found is None or found.sha256 != recipe.training_images_sha256:
        raise UserError(
            f"{models.ddpm.url}: {FILE} is not the one that the dataset was begun with. Copy that "
            "back, or start a dataset at another --out."
        )
    return found.to(device)


def _as_stored(x_0: torch.Tensor) -> torch.Tensor:
    """Images in [-1, 1] as they are once they are rounded to uint8."""
    return to_signed(to_uint8(x_0))
