"""Makes the samples of a shard, without Ray: noise -> images -> features -> masks -> samples.

A sample depends on (run seed, index) and the plan alone: its noise comes from its own stream, and
batches have a fixed shape that never crosses a shard.

Shapes: B batch, S image size.
"""

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace

import torch

from factory.diffusion import philox
from factory.diffusion.compilation import compiled_alike, one_first
from factory.diffusion.noise import NoiseAhead, NoiseFn, normal_noise, sample_seed
from factory.diffusion.samplers import SAMPLERS
from factory.generation.frozen_models import FrozenModels, SampledBatch
from factory.generation.recipe import Models, Recipe
from factory.images import to_channels_last_arrays, to_signed, to_uint8
from factory.labeling.features import FeatureTap
from factory.shards.plan import Plan, ShardSpec
from factory.shards.schema import Sample, sample_key

MAX_REDRAWS = 3
"""The number of times that a non-finite sample is redrawn before its shard fails."""


@dataclass(frozen=True)
class _Draws:
    """The samples that a batch draws, and the noise that they are drawn from."""

    indices: range
    seeds: tuple[int, ...]
    """A seed for each sample; see `sample_seed`."""


class Synthesizer(FrozenModels):
    """Makes the samples of a plan's shards; see `BatchMaker`.

    Where the plan says that the network is compiled, making one takes a minute, once on a machine;
    raises CannotCompile, and UserError where the GPU is not made for the plan's precision.
    """

    recipe: Recipe

    def __init__(self, models: Models, plan: Plan) -> None:
        super().__init__(models, Recipe.model_validate(plan.recipe), plan.command)
        self.draw: philox.Draw = philox.normal
        if self.recipe.compiled:
            self._compile()

    @torch.inference_mode()
    def _compile(self) -> None:
        """Compiles by one pass of each function: a shard has a deadline, this has none."""
        self.network = compiled_alike(self.network)
        self.features = compiled_alike(self.features)
        self.draw = compiled_alike(self.draw)
        draws = self._draws(0, self.recipe.batch_size)
        x = torch.zeros((len(draws.indices), *self.shape), device=self.device)
        x = x.to(memory_format=self.layout)
        t = x.new_zeros(len(x), dtype=torch.int64)
        with one_first():
            if self.recipe.device_draws_noise:
                self._first_noise(draws)
            self.epsilon_and_features(x, t, ())
            if self.recipe.feature_source == "renoise":
                self.renoised_maps(x, self.ensemble_config.timesteps)
            else:
                self.epsilon_and_features(x, t, self.ensemble_config.blocks)

    def batches(self, spec: ShardSpec) -> Iterator[SampledBatch]:
        """Yields the shard's samples in order, batch by batch.

        A sample that is not finite is drawn again from the noise of its next retry. Raises
        FloatingPointError where MAX_REDRAWS of them do not help.
        """
        size = self.recipe.batch_size
        # The last batch is padded with samples past its end, which are dropped.
        batches = [self._draws(start, size) for start in range(spec.start, spec.stop, size)]
        with ExitStack() as stack:
            for draws, x_t in zip(batches, self._noise_ahead(batches, stack), strict=True):
                yield self._finite_samples(draws, x_t, min(size, spec.stop - draws.indices[0]))

    def samples(self, spec: ShardSpec) -> Iterator[Sample]:
        """Yields the samples of `batches`, one by one."""
        for batch in self.batches(spec):
            yield from batch.samples

    def _draws(self, start: int, num: int) -> _Draws:
        indices = range(start, start + num)
        return _Draws(indices, tuple(sample_seed(self.recipe.seed, i) for i in indices))

    def _noise_ahead(self, batches: Sequence[_Draws], stack: ExitStack) -> Iterator[torch.Tensor]:
        """Yields x_T of each batch; a CPU's thread draws it while the batch before is sampled."""
        if self.recipe.device_draws_noise:
            yield from map(self._first_noise, batches)
            return
        ahead = stack.enter_context(ThreadPoolExecutor(1, "noise"))
        following = ahead.submit(self._first_noise, batches[0])
        for draws in batches[1:]:
            x_t, following = following.result(), ahead.submit(self._first_noise, draws)
            yield x_t
        yield following.result()

    @torch.inference_mode()
    def _first_noise(self, draws: _Draws) -> torch.Tensor:
        """Returns x_T (B, 3, S, S), on the device that draws it."""
        if self.recipe.device_draws_noise:
            return self._device_noise(draws, [0])(0)
        return normal_noise(draws.seeds, self.shape, stream=0)

    def _device_noise(self, draws: _Draws, streams: Sequence[int]) -> philox.DeviceNoise:
        return philox.DeviceNoise(draws.seeds, self.shape, streams, self.device, self.draw)

    def _step_noise(
        self, draws: _Draws, timesteps: Sequence[int]
    ) -> AbstractContextManager[NoiseFn]:
        """Returns the noise that a sampler adds at these timesteps: stream t + 1 of each sample."""
        if self.recipe.device_draws_noise:
            noise = self._device_noise(draws, [t + 1 for t in timesteps])
            return nullcontext(lambda t: noise(t + 1))
        return NoiseAhead(draws.seeds, self.shape, timesteps)

    def _finite_samples(self, draws: _Draws, x_t: torch.Tensor, num: int) -> SampledBatch:
        """Returns the first num samples from x_T.

        The whole batch is drawn again, so that the network sees one shape, but only what is
        missing is taken from it.
        """
        samples, num_redrawn = self._sampled(draws, x_t)[:num], 0
        for retry in range(1, MAX_REDRAWS + 1):
            unfit = {draws.indices[i] for i, sample in enumerate(samples) if sample is None}
            if not unfit:
                break
            num_redrawn += len(unfit)
            seeds = (
                sample_seed(self.recipe.seed, index, retry) if index in unfit else seed
                for index, seed in zip(draws.indices, draws.seeds, strict=True)
            )
            draws = replace(draws, seeds=tuple(seeds))
            again = self._sampled(draws, self._first_noise(draws))
            samples = [again[i] if sample is None else sample for i, sample in enumerate(samples)]
        if None in samples:
            raise FloatingPointError(
                f"sample {sample_key(draws.indices[samples.index(None)])} is not finite, nor were "
                f"{MAX_REDRAWS} other draws of it: the model's weights are broken, or too much "
                f"for generate.precision = {self.recipe.precision}"
            )
        return SampledBatch([sample for sample in samples if sample is not None], num_redrawn)

    @torch.inference_mode()
    def _sampled(self, draws: _Draws, x_t: torch.Tensor) -> list[Sample | None]:
        """Returns the samples from x_T; None for those that are not finite."""
        x_0, maps = self._images_and_maps(draws, x_t)
        return self._labelled(draws, x_0, maps)

    def _images_and_maps(
        self, draws: _Draws, x_t: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Returns x_0 (B, 3, S, S), in [-1, 1] unless the model has another `clip`, and the maps in
        the descriptor's order. Images are re-noised as they are stored, rounded to uint8."""
        every = range(self.schedule.num_timesteps - 1, -1, -1)
        timesteps = self.recipe.sampling_timesteps or every
        tapped = self.recipe.feature_source == "trajectory"
        tap = FeatureTap(
            self.epsilon_and_features,
            timesteps,
            self.ensemble_config.timesteps if tapped else (),
            self.ensemble_config.blocks,
        )
        x_0 = self._x_0(tap, draws, x_t, timesteps)
        return x_0, tap.maps() if tapped else self._renoised(x_0)

    def _renoised(self, x_0: torch.Tensor) -> list[torch.Tensor]:
        images = to_signed(to_uint8(x_0))
        return self.renoised_maps(images, self.ensemble_config.timesteps)

    def _x_0(
        self, epsilon_fn: FeatureTap, draws: _Draws, x_t: torch.Tensor, timesteps: Sequence[int]
    ) -> torch.Tensor:
        """Samples from x_T, on any device, to images (B, 3, S, S) on the synthesizer's device."""
        recipe, sampler = self.recipe, SAMPLERS[self.recipe.sampler]
        eta = {} if recipe.eta is None else {"eta": recipe.eta}
        x_t = x_t.to(self.device, memory_format=self.layout)
        args = epsilon_fn, self.schedule, x_t, timesteps
        if not sampler.adds_noise or recipe.eta == 0:
            return sampler.draw(*args, clip=recipe.clip, **eta)
        # The last step lands on the image, without noise.
        with self._step_noise(draws, timesteps[:-1]) as noise:
            return sampler.draw(*args, noise=noise, clip=recipe.clip, **eta)

    def _labelled(
        self, draws: _Draws, x_0: torch.Tensor, maps: Sequence[torch.Tensor]
    ) -> list[Sample | None]:
        """Labels images by their maps; returns samples, None for those that are not finite."""
        labels = self.ensemble.label(maps, self.recipe.image_size)
        scores = labels.image_uncertainty()
        finite = (x_0.flatten(1).isfinite().all(dim=1) & scores.isfinite()).tolist()
        images = to_channels_last_arrays(x_0)
        masks = labels.masks(self.recipe.vote).cpu().numpy()
        columns = (draws.indices, images, masks, draws.seeds, scores.tolist(), finite)
        return [
            Sample(sample_key(index), image, mask, seed, score, self.model_id) if fit else None
            for index, image, mask, seed, score, fit in zip(*columns, strict=True)
        ]

    @torch.inference_mode()
    def probe(self) -> tuple[torch.Tensor, list[Sample]]:
        """Makes a batch that shows how this hardware rounds, like shards but in few passes of the
        network: x_0 (B, 3, S, S) on the CPU, before it is rounded, and its finite samples."""
        timesteps = self.ensemble_config.timesteps
        last, tapped = self.schedule.num_timesteps - 1, min(timesteps)
        brief, draws = copy.copy(self), self._draws(0, self.probe_size)
        brief.ensemble_config = self.ensemble_config.model_copy(update={"timesteps": (tapped,)})
        few = tuple(sorted({last, tapped}, reverse=True))
        brief.recipe = self.recipe.model_copy(update={"sampling_timesteps": few})
        x_0, maps = brief._images_and_maps(draws, self._first_noise(draws))
        # The maps of one timestep stand for those of all: their kernels are the same.
        samples = self._labelled(draws, x_0, maps * len(timesteps))
        return x_0.cpu().contiguous(), [sample for sample in samples if sample is not None]
