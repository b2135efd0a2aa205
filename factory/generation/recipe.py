"""The recipe of a dataset, which decides its bytes beside its size: the models and their use."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel

from factory.config import Config, GenerateConfig
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


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """The recipe by which the samples of a dataset are made; `Plan.recipe` holds it as JSON."""

    method: int
    """`RECIPE_VERSION` of the code that made the plan."""
    seed: int
    image_size: int
    """Height and width of the images, in pixels."""
    sampler: Annotated[str, AfterValidator(known_sampler)]
    eta: float | None
    """The noise of a sampler that `has_eta`; None for others."""
    sampling_timesteps: tuple[int, ...]
    """Decreasing timesteps, those of the features among them. Empty: all of the model's."""
    clip: float | None
    """Sampling clips each predicted x_0 to [-clip, clip]; None: not at all."""
    device: Literal["cpu", "cuda"]
    batch_size: int
    precision: Literal["fp32", "bf16"]
    compiled: bool
    noise: str
    """Name of the generator that draws the noise."""
    feature_source: Literal["renoise", "trajectory"]
    """The source of the maps; see `GenerateConfig.feature_source`."""
    vote: Literal["soft", "hard"]
    ddpm_sha256: str
    ensemble_sha256: str

    @property
    def device_draws_noise(self) -> bool:
        """True if the device draws the noise, and not a thread of the CPU."""
        return self.noise == philox.NAME

    @property
    def in_bf16(self) -> bool:
        """True if the network's passes are in bfloat16."""
        return self.precision == "bf16"


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
    recipe = Recipe(
        method=RECIPE_VERSION,
        seed=generate.seed,
        image_size=models.ddpm.image_size,
        sampler=generate.sampler,
        eta=generate.eta if SAMPLERS[generate.sampler].has_eta else None,
        sampling_timesteps=_sampling_timesteps(generate, models),
        clip=models.ddpm.clip,
        feature_source=_feature_source(generate),
        vote=generate.vote,
        ddpm_sha256=models.ddpm.model_hash,
        ensemble_sha256=models.ensemble_hash,
        **_execution(generate, models),
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


def _execution(generate: GenerateConfig, models: Models) -> dict[str, Any]:
    """Returns how the network is run: what the user leaves open is chosen here, once, since other
    kernels round otherwise."""
    device = "cuda" if generate.gpus_per_actor else "cpu"
    bf16 = in_bf16(generate.precision, device)
    batch_size, compile = generate.batch_size, generate.compile
    if batch_size == "auto":
        unet, size = models.ddpm.unet, models.ddpm.image_size
        ensemble = models.ensemble.config
        batch_size = max(1, _BATCH_PIXELS // size**2)
        if device == "cuda":
            batch_size = automatic_batch(unet, size, ensemble.timesteps, ensemble.blocks, bf16)
    return {
        "device": device,
        "batch_size": min(batch_size, generate.samples_per_shard),
        "precision": "bf16" if bf16 else "fp32",
        "compiled": device == "cuda" if compile == "auto" else compile,
        "noise": _NOISE[device],
    }
