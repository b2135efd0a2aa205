"""The recipe of a dataset, which decides its bytes beside its size: the models and their use."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel

from factory.config import Config, GenerateConfig, ShardsConfig
from factory.diffusion import philox
from factory.diffusion.checkpoints import Model
from factory.diffusion.samplers import SAMPLERS
from factory.diffusion.schedule import linear_schedule
from factory.errors import UserError, nearest
from factory.generation.gpu_memory import automatic_batch
from factory.labeling import commands
from factory.labeling.head import Head
from factory.precision import in_bf16
from factory.shards.plan import MAX_SHARDS, Plan

RECIPE_VERSION = 3
"""Increment when identical settings produce different bytes, so that an older dataset is rejected
instead of mixed."""
_BATCH_PIXELS = 2**17
"""A CPU's automatic batch has so many pixels: 32 images of 64 px."""
_NOISE = {"cpu": "numpy's philox, ziggurat", "cuda": philox.NAME}
"""Generators of noise by device: a GPU would wait for the CPU's, and a CPU is faster at its own."""


def known_sampler(name: str) -> str:
    """Returns the name of a sampler; raises ValueError naming the nearest if there is none."""
    if name not in SAMPLERS:
        raise ValueError(f"{name!r} is no sampler. {nearest(name, SAMPLERS)}")
    return name


class Execution(BaseModel, frozen=True, extra="forbid"):
    """The models of a dataset, and how they are run; a part of every recipe."""

    method: int
    """`RECIPE_VERSION` of the code that made the plan."""
    image_size: int
    """Height and width of the images that the models know, in pixels."""
    device: Literal["cpu", "cuda"]
    batch_size: int
    precision: Literal["fp32", "bf16"]
    compiled: bool
    vote: Literal["soft", "hard"]
    ddpm_sha256: str
    ensemble_sha256: str

    @property
    def in_bf16(self) -> bool:
        """True if the network's passes are in bfloat16."""
        return self.precision == "bf16"


class Recipe(Execution, frozen=True):
    """The recipe by which the samples of a dataset are made; `Plan.recipe` holds it as JSON."""

    seed: int
    sampler: Annotated[str, AfterValidator(known_sampler)]
    eta: float | None
    """The noise of a sampler that `has_eta`; None for others."""
    sampling_timesteps: tuple[int, ...]
    """Decreasing timesteps, those of the features among them. Empty: all of the model's."""
    clip: float | None
    """Sampling clips each predicted x_0 to [-clip, clip]; None: not at all."""
    noise: str
    """Name of the generator that draws the noise."""
    feature_source: Literal["renoise", "trajectory"]
    """The source of the maps; see `GenerateConfig.feature_source`."""

    @property
    def device_draws_noise(self) -> bool:
        """True if the device draws the noise, and not a thread of the CPU."""
        return self.noise == philox.NAME


@dataclass(frozen=True)
class Models:
    """The frozen DDPM and the head on its features."""

    ddpm: Model
    ensemble: Head
    ensemble_hash: str

    @property
    def model_id(self) -> str:
        """12 hex digits over the weights and configs of both models."""
        joined = self.ddpm.model_hash + self.ensemble_hash
        return hashlib.sha256(joined.encode()).hexdigest()[:12]


def load_models(config: Config) -> Models:
    """Loads both models of a config. Raises UserError."""
    return Models(*commands.load_models(config))


def make_plan(config: Config, models: Models) -> Plan:
    """Returns everything that decides the bytes of the dataset. Raises UserError."""
    generate, ensemble = config.generate, models.ensemble.config
    try:
        known_sampler(generate.sampler)
    except ValueError as error:
        raise UserError(f"generate.sampler: {error}") from None
    if problems := list(_problems(generate, models)):
        raise UserError(problems)
    execution = execution_of(generate, models)
    recipe = Recipe(
        **execution.model_dump(),
        seed=generate.seed,
        sampler=generate.sampler,
        eta=generate.eta if SAMPLERS[generate.sampler].has_eta else None,
        sampling_timesteps=_sampling_timesteps(generate, models),
        clip=models.ddpm.clip,
        feature_source=_feature_source(generate),
        noise=_NOISE[execution.device],
    )
    return Plan(
        num=generate.num,
        samples_per_shard=generate.samples_per_shard,
        format=generate.format,
        class_names=ensemble.class_names,
        palette=ensemble.palette,
        recipe=recipe.model_dump(mode="json"),
    )


def _problems(generate: GenerateConfig, models: Models) -> Iterator[str]:
    """Returns the reasons why these models cannot make such a dataset."""
    num_steps, num_pinned = generate.num_sampling_steps, len(models.ensemble.config.timesteps)
    num_timesteps = models.ddpm.diffusion.num_timesteps
    if SAMPLERS[generate.sampler].grid is not None and not num_pinned < num_steps <= num_timesteps:
        yield (
            f"generate.num_sampling_steps: {num_steps} must be more than {num_pinned}, the number "
            f"of feature timesteps, and at most {num_timesteps}, the model's timesteps."
        )
    if generate.num > MAX_SHARDS * generate.samples_per_shard:
        yield (
            f"generate.samples_per_shard: {generate.samples_per_shard:,} makes more than "
            f"{MAX_SHARDS:,} shards of {generate.num:,} pairs. Raise it."
        )


def _sampling_timesteps(generate: GenerateConfig, models: Models) -> tuple[int, ...]:
    grid = SAMPLERS[generate.sampler].grid
    if grid is None:
        return ()
    schedule, pinned = linear_schedule(models.ddpm.diffusion), models.ensemble.config.timesteps
    return grid(schedule, generate.num_sampling_steps, pinned)


def _feature_source(generate: GenerateConfig) -> Literal["renoise", "trajectory"]:
    asked = generate.feature_source
    return SAMPLERS[generate.sampler].feature_source if asked == "auto" else asked


def execution_of(settings: ShardsConfig, models: Models) -> Execution:
    """Returns the models and how they are run: what the user leaves open is chosen here, once,
    since other kernels round otherwise."""
    device: Literal["cpu", "cuda"] = "cuda" if settings.gpus_per_actor else "cpu"
    bf16 = in_bf16(settings.precision, device)
    batch_size, compile = settings.batch_size, settings.compile
    if batch_size == "auto":
        unet, size = models.ddpm.unet, models.ddpm.image_size
        ensemble = models.ensemble.config
        batch_size = max(1, _BATCH_PIXELS // size**2)
        if device == "cuda":
            batch_size = automatic_batch(unet, size, ensemble.timesteps, ensemble.blocks, bf16)
    return Execution(
        method=RECIPE_VERSION,
        image_size=models.ddpm.image_size,
        device=device,
        batch_size=min(int(batch_size), settings.samples_per_shard),
        precision="bf16" if bf16 else "fp32",
        compiled=device == "cuda" if compile == "auto" else compile,
        vote=settings.vote,
        ddpm_sha256=models.ddpm.model_hash,
        ensemble_sha256=models.ensemble_hash,
    )
