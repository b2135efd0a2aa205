"""The recipe of a dataset, which decides its bytes beside its size: the models and their use."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from factory import embedded
from factory.calibration import Calibration
from factory.config import Config, GenerateConfig, ShardsConfig
from factory.diffusion import philox
from factory.diffusion.checkpoints import Model
from factory.diffusion.samplers import SAMPLERS
from factory.diffusion.schedule import linear_schedule
from factory.errors import UserError, nearest
from factory.generation.choice_settings import choice_of
from factory.generation.gpu_memory import automatic_batch
from factory.labeling import commands
from factory.labeling.head import Head, HeadConfig
from factory.likeness.training_images import TrainingImages, read_training_images
from factory.precision import in_bf16
from factory.progress import tell
from factory.shards.choice import Choice
from factory.shards.plan import MAX_SHARDS, Plan
from factory.shards.splits import split_problem
from factory.values import EMBEDDED

_LATER = (
    *("mask_column", "val_fraction", "metadata_files", "calibration", "ignored_above"),
    *("training_images_sha256", "choice"),
)
"""The keys that recipes of older versions do not have."""
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


class Computation(BaseModel, frozen=True, extra="forbid"):
    """The DDPM of a recipe, and how it is run."""

    method: int
    """`RECIPE_VERSION` of the code that made the plan."""
    image_size: int
    """Height and width of the images that the models know, in pixels."""
    channels: Annotated[int, Field(exclude_if=lambda channels: channels == 3)] = 3
    """The channels of these images. Plans of RGB images do not tell it, as there was no other."""
    device: Literal["cpu", "cuda"]
    batch_size: int
    precision: Literal["fp32", "bf16"]
    compiled: bool
    ddpm_sha256: str

    @property
    def in_bf16(self) -> bool:
        """True if the network's passes are in bfloat16."""
        return self.precision == "bf16"


class ImageRecipe(Computation, frozen=True):
    """The recipe by which images are drawn."""

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

    @property
    def device_draws_noise(self) -> bool:
        """True if the device draws the noise, and not a thread of the CPU."""
        return self.noise == philox.NAME


class Execution(Computation, frozen=True):
    """The models of a dataset, and how they are run; a part of every dataset's recipe."""

    vote: Literal["soft", "hard"]
    ensemble_sha256: str
    mask_column: Literal["mask", "label", "annotation"] = "mask"
    """The name of the masks' column."""
    val_fraction: float | None = None
    """The share of the rows that is for validation; None: there is no such split."""
    metadata_files: bool = False
    """True if a table lies beside each tar."""
    calibration: Calibration | None = None
    """What votes and uncertainty mean, as the ensemble's folder tells it; None if it does not."""
    ignored_above: float | None = None
    """Pixels of larger uncertainty, in nats, are ignored in masks; None: none is."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Plans of older versions do not have these keys, and stay as they are.
        told: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        for name in told.keys() & set(_LATER):
            if told[name] == fields[name].default:
                del told[name]
        return told


class Recipe(Execution, ImageRecipe, frozen=True):
    """The recipe by which the samples of a dataset are made; `Plan.recipe` holds it as JSON."""

    feature_source: Literal["renoise", "trajectory"]
    """The source of the maps; see `GenerateConfig.feature_source`."""
    training_images_sha256: str | None = None
    """The hash of what the DDPM's folder keeps of its training images, by which each sample tells
    how near it is to one; None if samples do not."""
    choice: Choice | None = None
    """What samples are chosen by; None if all that is drawn is taken."""


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

    @cached_property
    def training_images(self) -> TrainingImages | None:
        """What the DDPM's folder keeps of its training images. Raises UserError where that is
        damaged."""
        return read_training_images(self.ddpm.url) if self.ddpm.url else None


def load_models(config: Config) -> Models:
    """Loads both models of a config. Raises UserError."""
    return Models(*commands.load_models(config))


def make_plan(config: Config, models: Models, tells_distances: bool = True) -> Plan:
    """Returns everything that decides the bytes of the dataset. Raises UserError.

    tells_distances: False for a dataset that was begun when nothing was known of the DDPM's
    training images.
    """
    generate, ensemble = config.generate, models.ensemble.config
    images = image_recipe(
        generate, models.ddpm, ensemble.timesteps, ensemble.blocks, ensemble.num_views
    )
    recipe = Recipe(
        **images.model_dump(),
        **_labels_of(generate, models),
        feature_source=_feature_source(generate, images.sampler),
        val_fraction=generate.val_fraction,
        metadata_files=generate.format == "webdataset",
        training_images_sha256=_training_images(models) if tells_distances else None,
        choice=choice_of(
            generate,
            ensemble,
            models.training_images if tells_distances else None,
            is_embedded=models.ddpm.url == embedded.DDPM_URL,
        ),
    )
    if problem := split_problem(generate.num, generate.val_fraction):
        raise UserError(f"generate.val_fraction: {problem}")
    return Plan(
        num=generate.num,
        samples_per_shard=generate.samples_per_shard,
        format=generate.format,
        class_names=ensemble.class_names,
        palette=ensemble.palette,
        recipe=recipe.model_dump(mode="json"),
    )


def _training_images(models: Models) -> str | None:
    """The hash of what is known of the training images; tells where nothing is."""
    if models.training_images is not None:
        return models.training_images.sha256
    if models.ddpm.url and embedded.ddpm_name(models.ddpm.url) not in EMBEDDED:
        tell(
            "generate | pairs will not tell how near they are to training images, which the DDPM's "
            "folder does not keep. `factory fingerprint` adds that, before a dataset is begun"
        )
    return None


def image_recipe(
    generate: GenerateConfig,
    ddpm: Model,
    pinned: Sequence[int],
    blocks: Sequence[int],
    num_views: int = 1,
) -> ImageRecipe:
    """The recipe by which a DDPM draws images. Raises UserError.

    pinned, blocks: timesteps and blocks of the features of the ensemble that labels the images, or
    will do; sampling passes these timesteps. num_views: the views of an image that it votes on.
    """
    generate = _with_sampler(generate, ddpm)
    if problems := list(_problems(generate, ddpm, len(pinned))):
        raise UserError(problems)
    computation = _computation(generate, ddpm, num_views * len(pinned), blocks)
    grid = SAMPLERS[generate.sampler].grid
    timesteps: tuple[int, ...] = ()
    if grid is not None:
        timesteps = grid(linear_schedule(ddpm.diffusion), generate.num_sampling_steps, pinned)
    return ImageRecipe(
        **computation.model_dump(),
        seed=generate.seed,
        sampler=generate.sampler,
        eta=generate.eta if SAMPLERS[generate.sampler].has_eta else None,
        sampling_timesteps=timesteps,
        clip=ddpm.clip,
        noise=_NOISE[computation.device],
    )


def _with_sampler(generate: GenerateConfig, ddpm: Model) -> GenerateConfig:
    """The settings with the name of a sampler for `auto`. Raises UserError if there is none such.

    One that adds noise forgives a network of the noise that its pictures have other tints than
    those it learned from; a network of v draws these at once, and grain is all that is left of it
    (docs/measurements/results.md).
    """
    of_kind = {"epsilon": "sde_dpm_solver", "v_prediction": "dpm_solver"}
    asked = generate.sampler
    try:
        name = known_sampler(of_kind[ddpm.diffusion.prediction_type] if asked == "auto" else asked)
    except ValueError as error:
        raise UserError(f"generate.sampler: {error}") from None
    return generate.model_copy(update={"sampler": name})


def _problems(generate: GenerateConfig, ddpm: Model, num_pinned: int) -> Iterator[str]:
    """Returns the reasons why this model cannot draw such images."""
    num_steps, num_timesteps = generate.num_sampling_steps, ddpm.diffusion.num_timesteps
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


def _feature_source(generate: GenerateConfig, sampler: str) -> Literal["renoise", "trajectory"]:
    asked = generate.feature_source
    return SAMPLERS[sampler].feature_source if asked == "auto" else asked


def execution_of(settings: ShardsConfig, models: Models) -> Execution:
    """Returns the models and how they are run."""
    ensemble = models.ensemble.config
    num_passes = ensemble.num_views * len(ensemble.timesteps)
    computation = _computation(settings, models.ddpm, num_passes, ensemble.blocks)
    return Execution(**computation.model_dump(), **_labels_of(settings, models))


def _labels_of(settings: ShardsConfig, models: Models) -> dict[str, Any]:
    """The fields of an `Execution` that tell how images are labelled. Raises UserError."""
    return {
        "vote": settings.vote,
        "ensemble_sha256": models.ensemble_hash,
        "mask_column": settings.mask_column,
        "calibration": models.ensemble.config.calibration,
        "ignored_above": _ignored_above(settings, models.ensemble.config),
    }


def _ignored_above(settings: ShardsConfig, ensemble: HeadConfig) -> float | None:
    """The uncertainty in nats above which pixels are ignored; None if none is. Raises UserError."""
    asked, key = settings.ignore_uncertainty, f"{settings.section}.ignore_uncertainty"
    if asked is None:
        return None
    most = math.log(len(ensemble.class_names))
    if asked != "wrong":
        if asked > most:
            raise UserError(
                f"{key}: {asked:g} ignores no pixel: {len(ensemble.class_names)} classes have "
                f"{most:.3g} nats at most. Give less, or leave it out."
            )
        return asked
    if ensemble.calibration is None:
        raise UserError(
            f"{key}: the ensemble does not know which pixels are wrong more often than right. Fit "
            "it anew with --set fit.calibration_folds=3, or give a number of nats in place of "
            "wrong."
        )
    if ensemble.calibration.wrong_above == 0:
        raise UserError(
            f"{key}: by the ensemble's calibration all pixels are wrong more often than right, and "
            "wrong would ignore them all. Label more images and fit it anew, or give a number of "
            "nats."
        )
    if ensemble.calibration.wrong_above is None:
        tell(f"{key}: no pixels are wrong more often than right, and none is ignored")
    return ensemble.calibration.wrong_above


def _computation(
    settings: ShardsConfig, ddpm: Model, num_passes: int, blocks: Sequence[int]
) -> Computation:
    """Returns how the network is run: what the user leaves open is chosen here, once, since other
    kernels round otherwise."""
    device: Literal["cpu", "cuda"] = "cuda" if settings.gpus_per_actor else "cpu"
    bf16 = in_bf16(settings.precision, device)
    batch_size, compile = settings.batch_size, settings.compile
    if batch_size == "auto":
        batch_size = max(1, _BATCH_PIXELS // ddpm.image_size**2)
        if device == "cuda":
            batch_size = automatic_batch(ddpm.unet, ddpm.image_size, num_passes, blocks, bf16)
    return Computation(
        method=RECIPE_VERSION,
        image_size=ddpm.image_size,
        channels=ddpm.channels,
        device=device,
        batch_size=min(int(batch_size), settings.samples_per_shard),
        precision="bf16" if bf16 else "fp32",
        compiled=device == "cuda" if compile == "auto" else compile,
        ddpm_sha256=ddpm.model_hash,
    )
