"""A whole config: its sections, what cannot stand together, and what a command needs of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import model_validator

from factory import storage
from factory.config.data import DataConfig
from factory.config.defaults import with_defaults
from factory.config.stages import (
    DiffusionConfig,
    EnsembleConfig,
    EvaluateConfig,
    FeaturesConfig,
    GenerateConfig,
    ModelsConfig,
    TrainConfig,
    UNetConfig,
)
from factory.errors import UserError
from factory.values import Section


class Config(Section):
    """One run, whole."""

    data: DataConfig = DataConfig()
    unet: UNetConfig = UNetConfig()
    diffusion: DiffusionConfig = DiffusionConfig()
    train: TrainConfig = TrainConfig()
    models: ModelsConfig = ModelsConfig()
    features: FeaturesConfig = FeaturesConfig()
    ensemble: EnsembleConfig = EnsembleConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    generate: GenerateConfig = GenerateConfig()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, tree: Any) -> Any:
        return with_defaults(tree, cls.model_fields.keys()) if isinstance(tree, Mapping) else tree

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        problems = list(_cross_problems(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self


_REMEDIES = {
    "data.unlabelled": "Name the images that the DDPM learns from: {{kind: folder, url: FOLDER}}.",
    "data.labelled": (
        "Name the images and masks that the ensemble learns from: "
        "{{kind: pairs, url: FOLDER, classes_url: FILE}}."
    ),
    "data.test": (
        "Name labelled images that are none of data.labelled: "
        "{{kind: pairs, url: FOLDER, classes_url: FILE}}."
    ),
    "models.ddpm_url": (
        "Name a DDPM's folder with --ddpm: {model} is where `factory train` puts its result; toy "
        "is the embedded one."
    ),
    "models.ensemble_url": (
        "Name the ensemble's folder, --out of `factory fit`, --ensemble of others."
    ),
}


def required(config: Config, key: str, *others: str) -> Any:
    """The value of a key that a command needs, others being those that it needs after it.

    Raises UserError naming all that are not set, where this one is not.
    """
    if (value := _value(config, key)) is not None:
        return value
    model = storage.join(config.train.url, "model")
    missing = [other for other in (key, *others) if _value(config, other) is None]
    raise UserError(
        [f"{name} is not set. {_REMEDIES[name].format(model=model)}" for name in missing]
    )


def _value(config: Config, key: str) -> Any:
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def _cross_problems(config: Config) -> Sequence[str]:
    """What single fields cannot see."""
    found = []
    size, levels = config.data.image_size, len(config.unet.block_out_channels)
    if size % 2 ** (levels - 1):
        found.append(
            f"data.image_size: {size} must be divisible by {2 ** (levels - 1)}, "
            f"as unet.block_out_channels has {levels} levels"
        )
    for name in ("unlabelled", "labelled", "test"):
        source = getattr(config.data, name)
        if source is not None:
            found += [f"data.{name}.{problem}" for problem in source.size_problems(size)]
    found += [f"unet.{problem}" for problem in unet_problems(config.unet)]
    if config.diffusion.beta_end >= 1 or config.diffusion.beta_start >= 1:
        found.append("diffusion.beta_start and diffusion.beta_end must be below 1")
    if config.train.batch_size % config.train.num_workers:
        found.append(
            f"train.batch_size: {config.train.batch_size} must be divisible by "
            f"train.num_workers = {config.train.num_workers}"
        )
    for t in config.features.timesteps:
        if t >= config.diffusion.num_timesteps:
            found.append(
                f"features.timesteps: {t} must be below diffusion.num_timesteps = "
                f"{config.diffusion.num_timesteps}"
            )
    for name in ("timesteps", "blocks"):
        values = getattr(config.features, name) or ()
        if len(set(values)) != len(values):
            found.append(f"features.{name}: {values} has a value twice")
    generate = config.generate
    if generate.min_actors > generate.max_actors:
        found.append(
            f"generate.min_actors: {generate.min_actors} must not be above "
            f"generate.max_actors = {generate.max_actors}"
        )
    if not 2 <= generate.num_sampling_steps <= config.diffusion.num_timesteps:
        found.append(
            f"generate.num_sampling_steps: {generate.num_sampling_steps} must be 2 to "
            f"diffusion.num_timesteps = {config.diffusion.num_timesteps}"
        )
    return found


def unet_problems(unet: UNetConfig) -> list[str]:
    """Why no network can have this shape."""
    found = []
    width, levels = unet.block_out_channels[0], len(unet.block_out_channels)
    if width < 4 or width % 2:
        found.append(
            f"block_out_channels: the first, {width}, must be even and at least 4, "
            "half of it for sines of the timestep and half for cosines"
        )
    for channels in unet.block_out_channels:
        if channels % unet.norm_num_groups:
            found.append(
                f"block_out_channels: {channels} must be divisible by "
                f"norm_num_groups = {unet.norm_num_groups}"
            )
    for level in unet.attention_levels:
        if level >= levels:
            found.append(f"attention_levels: {level} is not one of the levels 0..{levels - 1}")
    return found
