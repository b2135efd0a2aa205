"""What one shard takes, without Ray: noise -> images -> features -> masks -> samples.

A sample depends on (run seed, index) and the plan alone: its noise comes from its own stream, and
batches have a fixed shape that never crosses a shard.

Shapes: B batch, S image size.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from factory import embedded
from factory.config import Config, Generate
from factory.diffusion.checkpoints import Model
from factory.diffusion.process import (
    Schedule,
    linear_schedule,
    normal_noise,
    sample_seed,
    step_noise,
)
from factory.diffusion.samplers import (
    ddim,
    ddpm,
    dpm_solver,
    log_snr_timesteps,
    uniform_timesteps,
)
from factory.errors import UserError
from factory.images import to_channels_last_arrays, to_signed, to_uint8
from factory.labeling.ensemble import Ensemble, label_maps, load_ensemble
from factory.labeling.features import renoised_maps, shared_noise
from factory.labeling.stage import load_ddpm
from factory.shards.plan import Plan, ShardSpec
from factory.shards.schema import Sample, sample_key

MAX_SHARDS = 100_000
"""The driver keeps a little of each; files should be large anyway."""


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
    """Both models; those that are not named are the embedded toy ones. Raises UserError."""
    ddpm_model = load_ddpm(config)
    url = config.models.ensemble_url or embedded.ENSEMBLE_URL
    ensemble, ensemble_hash = load_ensemble(url, ddpm_model.model_hash)
    return Models(ddpm_model, ensemble, ensemble_hash)


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
            "seed": generate.seed,
            "image_size": models.ddpm.image_size,
            "batch_size": min(generate.batch_size, generate.samples_per_shard),
            "sampler": generate.sampler,
            "eta": generate.eta if generate.sampler == "ddim" else None,
            "sampling_timesteps": sampling_timesteps,
            "precision": generate.precision,
            "device": "cuda" if generate.gpus_per_actor else "cpu",
            "feature_source": config.features.source,
            "vote": config.ensemble.vote,
            "ddpm_sha256": models.ddpm.model_hash,
            "ensemble_sha256": models.ensemble_hash,
        },
    )


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
    grid = log_snr_timesteps if generate.sampler == "dpm_solver" else uniform_timesteps
    return grid(schedule, generate.num_sampling_steps, pinned)


class Synthesizer:
    """Makes the samples of a plan's shards."""

    def __init__(self, models: Models, plan: Plan) -> None:
        self.recipe: dict[str, Any] = plan.recipe
        self.device = torch.device(self.recipe["device"])
        self.unet = models.ddpm.unet.to(self.device)
        self.ensemble = models.ensemble.to(self.device)
        self.learned = models.ensemble.config
        self.schedule = linear_schedule(models.ddpm.diffusion)
        self.model_id = models.model_id
        self.noise = shared_noise(self.learned.noise_seed, self.learned.image_size)

    def samples(
        self, spec: ShardSpec, made: Callable[[int], None] = lambda num: None
    ) -> Iterator[Sample]:
        """The shard's samples in order; made(num) is called after each batch."""
        size = self.recipe["batch_size"]
        for start in range(spec.start, spec.stop, size):
            # The last batch is padded with samples past its end, which are dropped.
            batch = self._batch(range(start, start + size))
            kept = min(size, spec.stop - start)
            yield from batch[:kept]
            made(kept)

    @torch.inference_mode()
    def _batch(self, indices: Sequence[int]) -> list[Sample]:
        seeds = [sample_seed(self.recipe["seed"], index) for index in indices]
        tap = _Tap(self) if self.recipe["feature_source"] == "trajectory" else None
        x_0 = self._sample(seeds, tap)
        labels = label_maps(
            self.ensemble,
            tap.collected() if tap else self._renoised(x_0),
            self.recipe["image_size"],
            self.recipe["vote"],
        )
        scores = _finite(labels.image_uncertainty(), "uncertainty").tolist()
        images, masks = to_channels_last_arrays(x_0), labels.masks.cpu().numpy()
        return [
            Sample(sample_key(index), image, mask, seed, score, self.model_id)
            for index, image, mask, seed, score in zip(
                indices, images, masks, seeds, scores, strict=True
            )
        ]

    def _sample(self, seeds: Sequence[int], tap: "_Tap | None") -> torch.Tensor:
        """x_0 (B, 3, S, S) in [-1, 1]."""
        shape = (3, self.recipe["image_size"], self.recipe["image_size"])
        x_t = normal_noise(seeds, shape, stream=0).to(self.device)
        epsilon_fn = tap or self.epsilon
        schedule, timesteps = self.schedule, self.recipe["sampling_timesteps"]
        noise = step_noise(seeds, shape, self.device)
        if self.recipe["sampler"] == "ddpm":
            x_0 = ddpm(epsilon_fn, schedule, x_t, noise)
        elif self.recipe["sampler"] == "ddim":
            x_0 = ddim(epsilon_fn, schedule, x_t, timesteps, self.recipe["eta"], noise)
        else:
            x_0 = dpm_solver(epsilon_fn, schedule, x_t, timesteps)
        return _finite(x_0, "image")

    def epsilon(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """The network's prediction, in the plan's precision."""
        return self.epsilon_and_features(x_t, t, ())[0]

    def epsilon_and_features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Sequence[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """The same, with decoder maps."""
        bf16 = self.recipe["precision"] == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.unet.epsilon_and_features(x_t, t, blocks)

    def _renoised(self, x_0: torch.Tensor) -> list[torch.Tensor]:
        """Maps of the images as they are stored: rounded to uint8."""
        return renoised_maps(
            self.unet,
            self.schedule,
            to_signed(to_uint8(x_0)),
            self.noise,
            self.learned.timesteps,
            self.learned.blocks,
        )


class _Tap:
    """An epsilon function that keeps the maps where sampling passes the feature timesteps."""

    def __init__(self, synthesizer: Synthesizer) -> None:
        self.synthesizer = synthesizer
        self.kept: dict[int, dict[int, torch.Tensor]] = {}

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        timestep = int(t[0])
        learned = self.synthesizer.learned
        if timestep not in learned.timesteps:
            return self.synthesizer.epsilon(x_t, t)
        epsilon, maps = self.synthesizer.epsilon_and_features(x_t, t, learned.blocks)
        self.kept[timestep] = maps
        return epsilon

    def collected(self) -> list[torch.Tensor]:
        """Maps in the descriptor's order."""
        learned = self.synthesizer.learned
        return [self.kept[t][block].float() for t in learned.timesteps for block in learned.blocks]


def _finite(values: torch.Tensor, what: str) -> torch.Tensor:
    if not bool(torch.isfinite(values).all()):
        raise FloatingPointError(
            f"a generated {what} is not finite: the model's weights are broken"
        )
    return values
