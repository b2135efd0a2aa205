"""What one shard takes, without Ray: noise -> images -> features -> masks -> samples.

A sample depends on (run seed, index) and the plan alone: its noise comes from its own stream, and
batches have a fixed shape that never crosses a shard.

Shapes: B batch, S image size.
"""

import copy
import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from factory.config import Config, Generate
from factory.diffusion import philox
from factory.diffusion.checkpoints import Model
from factory.diffusion.compilation import compiled_alike, one_first
from factory.diffusion.process import (
    NoiseAhead,
    NoiseFn,
    Schedule,
    linear_schedule,
    normal_noise,
    sample_seed,
)
from factory.diffusion.samplers import (
    ddim,
    dpm_solver,
    high_noise_timesteps,
    log_snr_timesteps,
    sde_dpm_solver,
    uniform_timesteps,
    unipc,
)
from factory.errors import UserError
from factory.gpu_memory import automatic_batch
from factory.images import to_channels_last_arrays, to_signed, to_uint8
from factory.labeling import stage
from factory.labeling.ensemble import Ensemble
from factory.labeling.features import FeaturesFn, renoised_maps, shared_noise
from factory.labeling.labels import label_maps
from factory.precision import autocast, gpu_is_made_for_bf16, in_bf16
from factory.shards.plan import MAX_SHARDS, Plan, ShardSpec
from factory.shards.schema import Sample, sample_key

Network = Callable[
    [torch.Tensor, torch.Tensor, Collection[int]], tuple[torch.Tensor, dict[int, torch.Tensor]]
]

METHOD = 3
"""Grows when the same settings give other bytes than before: datasets of older code are then
refused, not mixed with new shards."""
MAX_REDRAWS = 3
"""Of a sample that is not finite."""
_GRIDS = {
    "ddim": uniform_timesteps,
    "sde_dpm_solver": high_noise_timesteps,
    "unipc": log_snr_timesteps,
    "dpm_solver": log_snr_timesteps,
}
"""What each sampler walks (docs/performance.md)."""
_PROBE_PIXELS = 2**14
"""Of a CPU's probe, where a batch of shards has more: from so many on, the toy network's numbers no
longer depend on the batch, nor on the number of threads."""
_BATCH_PIXELS = 2**17
"""Of images that go through the network together on a CPU: 32 of 64 px."""
_NOISE = {"cpu": "numpy's philox, ziggurat", "cuda": philox.NAME}
"""Who draws it: a GPU would wait for the CPU's, and a CPU is faster at its own."""


@dataclass(frozen=True)
class Models:
    """The frozen DDPM and its ensemble."""

    ddpm: Model
    ensemble: Ensemble
    ensemble_hash: str

    @property
    def model_id(self) -> str:
        """12 hex digits over both models' weights and configs."""
        joined = self.ddpm.model_hash + self.ensemble_hash
        return hashlib.sha256(joined.encode()).hexdigest()[:12]


def load_models(config: Config) -> Models:
    """Both models of a config. Raises UserError."""
    return Models(*stage.load_models(config))


def make_plan(config: Config, models: Models) -> Plan:
    """Everything that decides the bytes of the dataset. Raises UserError."""
    generate, learned = config.generate, models.ensemble.config
    _check_num_steps(generate, models)
    if generate.num > MAX_SHARDS * generate.samples_per_shard:
        raise UserError(
            f"generate.samples_per_shard: {generate.samples_per_shard:,} makes more than "
            f"{MAX_SHARDS:,} shards of {generate.num:,} pairs. Raise it."
        )
    sampling_timesteps = _grid(generate, linear_schedule(models.ddpm.diffusion), learned.timesteps)
    return Plan(
        num=generate.num,
        samples_per_shard=generate.samples_per_shard,
        format=generate.format,
        class_names=learned.class_names,
        palette=learned.palette,
        recipe={
            "method": METHOD,
            "seed": generate.seed,
            "image_size": models.ddpm.image_size,
            "sampler": generate.sampler,
            "eta": generate.eta if generate.sampler == "ddim" else None,
            "sampling_timesteps": sampling_timesteps,
            "clip": models.ddpm.clip,
            **_execution(generate, models),
            "feature_source": _feature_source(config),
            "vote": config.ensemble.vote,
            "ddpm_sha256": models.ddpm.model_hash,
            "ensemble_sha256": models.ensemble_hash,
        },
    )


def _feature_source(config: Config) -> str:
    """auto: by how well the labels agree with the consensus of many re-noised passes."""
    source, sampler = config.features.source, config.generate.sampler
    if source == "auto":
        return "trajectory" if sampler in ("unipc", "dpm_solver") else "renoise"
    return source


def _execution(generate: Generate, models: Models) -> dict[str, Any]:
    """How the network is run, with what is left to us chosen: other kernels round otherwise."""
    device = "cuda" if generate.gpus_per_actor else "cpu"
    bf16 = in_bf16(generate.precision, device)
    batch_size, compile = generate.batch_size, generate.compile
    if batch_size == "auto":
        unet, size = models.ddpm.unet.config, models.ddpm.image_size
        learned = models.ensemble.config
        batch_size = max(1, _BATCH_PIXELS // size**2)
        if device == "cuda":
            batch_size = automatic_batch(unet, size, learned.timesteps, learned.blocks, bf16)
    return {
        "device": device,
        "batch_size": min(batch_size, generate.samples_per_shard),
        "precision": "bf16" if bf16 else "fp32",
        "compiled": device == "cuda" if compile == "auto" else compile,
        "noise": _NOISE[device],
    }


def _check_num_steps(generate: Generate, models: Models) -> None:
    num_steps, num_pinned = generate.num_sampling_steps, len(models.ensemble.config.timesteps)
    num_timesteps = models.ddpm.diffusion.num_timesteps
    if generate.sampler != "ddpm" and not num_pinned < num_steps <= num_timesteps:
        raise UserError(
            f"generate.num_sampling_steps: {num_steps} must be more than {num_pinned}, the number "
            f"of feature timesteps, and at most {num_timesteps}, the model's timesteps."
        )


def _grid(generate: Generate, schedule: Schedule, pinned: Sequence[int]) -> Sequence[int]:
    """The sampler's timesteps, which contain those of the features; all of them told as []."""
    if generate.sampler == "ddpm":
        return ()
    return _GRIDS[generate.sampler](schedule, generate.num_sampling_steps, pinned)


class Synthesizer:
    """Makes the samples of a plan's shards. One call of `samples` at a time.

    Where the plan says that the network is compiled, making one takes a minute, once on a machine;
    raises CannotCompile, and UserError where the GPU is not made for the plan's precision.
    """

    def __init__(self, models: Models, plan: Plan) -> None:
        self.recipe: dict[str, Any] = plan.recipe
        self.device = torch.device(self.recipe["device"])
        _check_precision(self.recipe)
        self.layout = _memory_format(self.device, self.recipe["image_size"])
        self.unet = models.ddpm.unet.to(self.device)
        self.unet.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.network: Network = self.unet.epsilon_and_features
        self.features: FeaturesFn = self.unet.features
        self.draw: philox.Draw = philox.normal
        self.ensemble = models.ensemble.to(self.device)
        self.learned = models.ensemble.config
        self.schedule = linear_schedule(models.ddpm.diffusion).to(self.device)
        self.model_id = models.model_id
        noise = shared_noise(self.learned.noise_seed, self.learned.image_size)
        self.noise = noise.to(self.device)
        if self.recipe["compiled"]:
            self._compile()

    @torch.inference_mode()
    def _compile(self) -> None:
        """All that runs compiled, by a pass of each: a shard has a deadline, this has none."""
        self.network = compiled_alike(self.network)
        self.features = compiled_alike(self.features)
        self.draw = compiled_alike(self.draw)
        batch = _Batch(self, range(self.recipe["batch_size"]))
        x = torch.zeros((len(batch.indices), *batch.shape), device=self.device)
        x = x.to(memory_format=self.layout)
        with one_first():
            if self.draws_itself:
                batch.first_noise()
            self.epsilon_and_features(x, x.new_zeros(len(x), dtype=torch.int64), ())
            if self.recipe["feature_source"] == "renoise":
                self.renoised_maps(x)
            else:
                t = x.new_zeros(len(x), dtype=torch.int64)
                self.epsilon_and_features(x, t, self.learned.blocks)

    @property
    def draws_itself(self) -> bool:
        """Whether the device draws the noise, not a thread of the CPU."""
        return bool(self.recipe["noise"] == philox.NAME)

    def samples(
        self, spec: ShardSpec, made: Callable[[int, int], None] = lambda num, redrawn: None
    ) -> Iterator[Sample]:
        """The shard's samples in order; made(num, redrawn) is called after each batch.

        A sample that is not finite is drawn again from the noise of its next retry; redrawn counts
        these. Raises FloatingPointError where MAX_REDRAWS of them do not help.
        """
        size = self.recipe["batch_size"]
        starts = range(spec.start, spec.stop, size)
        # The last batch is padded with samples past its end, which are dropped.
        batches = [_Batch(self, range(start, start + size)) for start in starts]
        with ExitStack() as stack:
            for batch, x_t in zip(batches, self._first_noise(batches, stack), strict=True):
                kept = min(size, spec.stop - batch.indices[0])
                samples, redrawn = batch.samples(x_t, kept)
                yield from samples
                made(kept, redrawn)

    def _first_noise(self, batches: Sequence["_Batch"], stack: ExitStack) -> Iterator[torch.Tensor]:
        """x_T of each batch; what a CPU draws, a thread draws while the batch before is sampled."""
        if self.draws_itself:
            yield from (batch.first_noise() for batch in batches)
            return
        ahead = stack.enter_context(ThreadPoolExecutor(1, "noise"))
        following = ahead.submit(batches[0].first_noise)
        for batch in batches[1:]:
            x_t, following = following.result(), ahead.submit(batch.first_noise)
            yield x_t
        yield following.result()

    @torch.inference_mode()
    def probe(self) -> tuple[torch.Tensor, list[Sample]]:
        """A batch that shows how this hardware rounds, made as shards are but in few passes of the
        network: x_0 (B, 3, S, S) on the CPU, before it is rounded, and its finite samples.

        Kernels are chosen by shape, so it is the plan's own batch, or on a CPU, where that would
        take long, one of _PROBE_PIXELS.
        """
        size = self.recipe["batch_size"]
        if self.device.type == "cpu" and not self.recipe["compiled"]:
            size = min(size, max(1, _PROBE_PIXELS // self.recipe["image_size"] ** 2))
        last, tapped = self.schedule.num_timesteps - 1, min(self.learned.timesteps)
        brief = copy.copy(self)
        brief.learned = self.learned.model_copy(update={"timesteps": (tapped,)})
        brief.recipe = {**self.recipe, "sampling_timesteps": sorted({last, tapped}, reverse=True)}
        batch = _Batch(brief, range(size))
        x_0 = batch._x_0(batch.first_noise())
        # The maps of one timestep stand for those of all: their kernels are the same.
        maps = batch._maps(x_0) * len(self.learned.timesteps)
        samples = [sample for sample in batch._labelled(x_0, maps) if sample is not None]
        return x_0.cpu().contiguous(), samples

    def epsilon_and_features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Sequence[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """The network's prediction and decoder maps, in the plan's precision."""
        with self._precision():
            return self.network(x_t, t, tuple(blocks))

    def renoised_maps(self, x_0: torch.Tensor) -> list[torch.Tensor]:
        """The maps of images (B, 3, S, S) in the descriptor's order, in the plan's precision."""
        timesteps, blocks = self.learned.timesteps, self.learned.blocks
        with self._precision():
            return renoised_maps(self.features, self.schedule, x_0, self.noise, timesteps, blocks)

    def _precision(self) -> torch.autocast:
        return autocast(self.recipe["precision"] == "bf16", self.device.type)


def _check_precision(recipe: Mapping[str, Any]) -> None:
    if recipe["device"] == "cuda" and recipe["precision"] == "bf16" and not gpu_is_made_for_bf16():
        raise UserError(
            f"generate.precision: the plan says bf16, which {torch.cuda.get_device_name()} has no "
            "instructions for. Start a dataset at another --out with --set generate.precision=fp32."
        )


def _memory_format(device: torch.device, image_size: int) -> torch.memory_format:
    """Channels last suits convolutions; on a CPU, small maps lose more in their normalisation."""
    wins = device.type == "cuda" or image_size >= 64
    return torch.channels_last if wins else torch.contiguous_format


class _Batch:
    """Samples that go through the network together.

    Called as an epsilon function, it keeps the maps where sampling passes the feature timesteps.
    """

    def __init__(self, synthesizer: Synthesizer, indices: Sequence[int]) -> None:
        self.synthesizer = synthesizer
        self.recipe = synthesizer.recipe
        self.indices = indices
        self.seeds = [sample_seed(self.recipe["seed"], index) for index in indices]
        self.shape = (3, self.recipe["image_size"], self.recipe["image_size"])
        self.kept: dict[int, dict[int, torch.Tensor]] = {}

    @torch.inference_mode()
    def first_noise(self) -> torch.Tensor:
        """x_T, where it is drawn."""
        if self.synthesizer.draws_itself:
            return self._device_noise([0])(0)
        return normal_noise(self.seeds, self.shape, stream=0)

    def _device_noise(self, streams: Sequence[int]) -> philox.DeviceNoise:
        made_by = self.synthesizer
        return philox.DeviceNoise(self.seeds, self.shape, streams, made_by.device, made_by.draw)

    def _step_noise(self, timesteps: Sequence[int]) -> AbstractContextManager[NoiseFn]:
        """What a sampler adds at these timesteps: their stream t + 1."""
        if self.synthesizer.draws_itself:
            noise = self._device_noise([t + 1 for t in timesteps])
            return nullcontext(lambda t: noise(t + 1))
        return NoiseAhead(self.seeds, self.shape, timesteps)

    def samples(self, x_t: torch.Tensor, num: int) -> tuple[list[Sample], int]:
        """The first num samples from x_T, and how many draws were not finite.

        The whole batch is drawn again, so that the network sees one shape, but only what is
        missing is taken from it.
        """
        drawn, redrawn = self._draw(x_t)[:num], 0
        for retry in range(1, MAX_REDRAWS + 1):
            unfit = [i for i, sample in enumerate(drawn) if sample is None]
            if not unfit:
                break
            redrawn += len(unfit)
            for i in unfit:
                self.seeds[i] = sample_seed(self.recipe["seed"], self.indices[i], retry)
            again = self._draw(self.first_noise())
            drawn = [again[i] if sample is None else sample for i, sample in enumerate(drawn)]
        if None in drawn:
            raise FloatingPointError(
                f"sample {sample_key(self.indices[drawn.index(None)])} is not finite, nor were "
                f"{MAX_REDRAWS} other draws of it: the model's weights are broken, or too much "
                f"for generate.precision = {self.recipe['precision']}"
            )
        return [sample for sample in drawn if sample is not None], redrawn

    @torch.inference_mode()
    def _draw(self, x_t: torch.Tensor) -> list[Sample | None]:
        """From x_T to the samples; None for those that are not finite."""
        x_0 = self._x_0(x_t)
        return self._labelled(x_0, self._maps(x_0))

    def _labelled(self, x_0: torch.Tensor, maps: Sequence[torch.Tensor]) -> list[Sample | None]:
        """The samples of images and their maps; None for those that are not finite."""
        made_by = self.synthesizer
        labels = label_maps(made_by.ensemble, maps, self.recipe["image_size"])
        scores = labels.image_uncertainty()
        finite = (x_0.flatten(1).isfinite().all(dim=1) & scores.isfinite()).tolist()
        images = to_channels_last_arrays(x_0)
        masks = labels.masks(self.recipe["vote"]).cpu().numpy()
        columns = (self.indices, images, masks, self.seeds, scores.tolist(), finite)
        return [
            Sample(sample_key(index), image, mask, seed, score, made_by.model_id) if fit else None
            for index, image, mask, seed, score, fit in zip(*columns, strict=True)
        ]

    def _x_0(self, x_t: torch.Tensor) -> torch.Tensor:
        """From x_T, of any device, to images (B, 3, S, S) on the synthesizer's.

        They are in [-1, 1] unless the model asks for another `clip`.
        """
        x_t = x_t.to(self.synthesizer.device, memory_format=self.synthesizer.layout)
        schedule, sampler = self.synthesizer.schedule, self.recipe["sampler"]
        clip = self.recipe["clip"]
        every = range(schedule.num_timesteps - 1, -1, -1)
        timesteps = self.recipe["sampling_timesteps"] or every
        # Known by its order: to ask the device for t would be to wait for it.
        self.upcoming = iter(timesteps)
        if sampler in ("unipc", "dpm_solver"):
            solver = unipc if sampler == "unipc" else dpm_solver
            return solver(self, schedule, x_t, timesteps, clip=clip)
        if self.recipe["eta"] == 0:
            return ddim(self, schedule, x_t, timesteps, clip=clip)
        # The last step lands on the image, without noise.
        with self._step_noise(timesteps[:-1]) as noise:
            if sampler == "sde_dpm_solver":
                return sde_dpm_solver(self, schedule, x_t, timesteps, noise, clip)
            eta = 1.0 if sampler == "ddpm" else self.recipe["eta"]
            return ddim(self, schedule, x_t, timesteps, eta, noise, clip)

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        timestep, learned = next(self.upcoming), self.synthesizer.learned
        tapped = self.recipe["feature_source"] == "trajectory" and timestep in learned.timesteps
        blocks = learned.blocks if tapped else ()
        epsilon, maps = self.synthesizer.epsilon_and_features(x_t, t, blocks)
        if tapped:
            self.kept[timestep] = maps
        return epsilon

    def _maps(self, x_0: torch.Tensor) -> list[torch.Tensor]:
        """In the descriptor's order; re-noised are the images as stored, rounded to uint8.

        Those of the trajectory are given away: a shard has many batches, and room for the maps of
        one.
        """
        learned = self.synthesizer.learned
        if self.recipe["feature_source"] == "trajectory":
            kept, self.kept = self.kept, {}
            return [kept[t][block] for t in learned.timesteps for block in learned.blocks]
        return self.synthesizer.renoised_maps(to_signed(to_uint8(x_0)))
