"""Draws images from noise, a batch at a time; what is made of them is for whoever draws.

An image depends on (run seed, index) and the recipe alone: its noise comes from its own stream, and
batches have a fixed shape.

Shapes: B batch, C channels (3 for RGB, 1 for grey), S image size.
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from itertools import count
from typing import Generic, TypeVar

import torch

from factory.diffusion import philox
from factory.diffusion.noise import NoiseAhead, NoiseFn, normal_noise, sample_seed
from factory.diffusion.samplers import SAMPLERS
from factory.generation.frozen_models import FrozenDDPM
from factory.generation.recipe import ImageRecipe
from factory.labeling.features import FeatureTap
from factory.shards.schema import sample_key

T = TypeVar("T")
MAX_REDRAWS = 3
"""The number of times that a non-finite sample is redrawn before its shard fails."""


@dataclass(frozen=True)
class Draws:
    """The samples that a batch draws, and the noise that they are drawn from."""

    indices: Sequence[int]
    seeds: tuple[int, ...]
    """A seed for each sample; see `sample_seed`."""


class Drawing(FrozenDDPM, ABC, Generic[T]):
    """Draws images by a recipe; each becomes a T. One iteration of `drawn` at a time."""

    recipe: ImageRecipe
    draw: philox.Draw
    """What draws noise on a GPU; subclasses may compile it."""

    @abstractmethod
    def made(self, draws: Draws, x_t: torch.Tensor) -> list[T | None]:
        """What becomes of the images from x_T (B, C, S, S); None for those that are not finite."""

    def drawn(self, start: int, stop: int) -> Iterator[tuple[list[T], int]]:
        """Yields what is made of the images start..stop-1, batch by batch, with the number of draws
        that were not finite.

        An image that is not finite is drawn again from the noise of its next retry. Raises
        FloatingPointError where MAX_REDRAWS of them do not help.
        """
        size = self.recipe.batch_size
        # The last batch is padded with images past its end, which are dropped.
        batches = [self.draws(first, size) for first in range(start, stop, size)]
        with ExitStack() as stack:
            for draws, x_t in self._noise_ahead(iter(batches), stack):
                yield self._finite(draws, x_t, min(size, stop - draws.indices[0]))

    def offered(self, start: int, stop: int) -> Generator[list[T | None]]:
        """Yields what is made of one draw of the images start..stop-1 after the other, batch by
        batch, then of the second ones, and so on without end; None for those that are not finite.
        """
        rows, size = stop - start, self.recipe.batch_size
        batches = (
            self._draws_of([(start + i % rows, i // rows) for i in range(first, first + size)])
            for first in count(0, size)
        )
        with ExitStack() as stack:
            for draws, x_t in self._noise_ahead(batches, stack):
                yield self.made(draws, x_t)

    def draws(self, start: int, num: int) -> Draws:
        """The draws of num images from index start on."""
        return self._draws_of([(i, 0) for i in range(start, start + num)])

    def _draws_of(self, each: Sequence[tuple[int, int]]) -> Draws:
        """The draws of images, by index and retry."""
        seeds = (sample_seed(self.recipe.seed, index, retry) for index, retry in each)
        return Draws([index for index, _ in each], tuple(seeds))

    def _noise_ahead(
        self, batches: Iterator[Draws], stack: ExitStack
    ) -> Iterator[tuple[Draws, torch.Tensor]]:
        """Yields each batch with its x_T; a CPU's thread draws it while another is sampled."""
        if self.recipe.device_draws_noise:
            yield from ((draws, self.first_noise(draws)) for draws in batches)
            return
        ahead = stack.enter_context(ThreadPoolExecutor(1, "noise"))
        draws = next(batches)
        coming = ahead.submit(self.first_noise, draws)
        for following in batches:
            x_t, coming = coming.result(), ahead.submit(self.first_noise, following)
            yield draws, x_t
            draws = following
        yield draws, coming.result()

    @torch.inference_mode()
    def first_noise(self, draws: Draws) -> torch.Tensor:
        """Returns x_T (B, C, S, S), on the device that draws it."""
        if self.recipe.device_draws_noise:
            return self._device_noise(draws, [0])(0)
        return normal_noise(draws.seeds, self.shape, stream=0)

    def _device_noise(self, draws: Draws, streams: Sequence[int]) -> philox.DeviceNoise:
        return philox.DeviceNoise(draws.seeds, self.shape, streams, self.device, self.draw)

    def _step_noise(
        self, draws: Draws, timesteps: Sequence[int]
    ) -> AbstractContextManager[NoiseFn]:
        """Returns the noise that a sampler adds at these timesteps: stream t + 1 of each sample."""
        if self.recipe.device_draws_noise:
            noise = self._device_noise(draws, [t + 1 for t in timesteps])
            return nullcontext(lambda t: noise(t + 1))
        return NoiseAhead(draws.seeds, self.shape, timesteps)

    def _finite(self, draws: Draws, x_t: torch.Tensor, num: int) -> tuple[list[T], int]:
        """Returns what is made of the first num images from x_T, and the number of redraws.

        The whole batch is drawn again, so that the network sees one shape, but only what is
        missing is taken from it.
        """
        found, num_redrawn = self.made(draws, x_t)[:num], 0
        for retry in range(1, MAX_REDRAWS + 1):
            unfit = {draws.indices[i] for i, each in enumerate(found) if each is None}
            if not unfit:
                break
            num_redrawn += len(unfit)
            seeds = (
                sample_seed(self.recipe.seed, index, retry) if index in unfit else seed
                for index, seed in zip(draws.indices, draws.seeds, strict=True)
            )
            draws = replace(draws, seeds=tuple(seeds))
            again = self.made(draws, self.first_noise(draws))
            found = [again[i] if each is None else each for i, each in enumerate(found)]
        missing = [i for i, each in enumerate(found) if each is None]
        if missing:
            raise FloatingPointError(
                f"sample {sample_key(draws.indices[missing[0]])} is not finite, nor were "
                f"{MAX_REDRAWS} other draws of it: the model's weights are broken, or too much "
                f"for generate.precision = {self.recipe.precision}"
            )
        return [each for each in found if each is not None], num_redrawn

    @property
    def timesteps(self) -> Sequence[int]:
        """The timesteps that sampling passes, decreasing."""
        every = range(self.schedule.num_timesteps - 1, -1, -1)
        return self.recipe.sampling_timesteps or every

    def x_0(self, epsilon_fn: FeatureTap, draws: Draws, x_t: torch.Tensor) -> torch.Tensor:
        """Samples from x_T, on any device, to images (B, C, S, S) on the DDPM's device."""
        timesteps = self.timesteps
        recipe, sampler = self.recipe, SAMPLERS[self.recipe.sampler]
        eta = {} if recipe.eta is None else {"eta": recipe.eta}
        x_t = x_t.to(self.device, memory_format=self.layout)
        args = epsilon_fn, self.schedule, x_t, timesteps
        if not sampler.adds_noise or recipe.eta == 0:
            return sampler.draw(*args, clip=recipe.clip, **eta)
        # The last step lands on the image, without noise.
        with self._step_noise(draws, timesteps[:-1]) as noise:
            return sampler.draw(*args, noise=noise, clip=recipe.clip, **eta)
