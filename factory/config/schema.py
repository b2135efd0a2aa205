"""A whole config: its sections, what cannot stand together, and what a command needs of it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from pydantic import ValidationInfo, model_validator

from factory import storage
from factory.config.curve import CurveConfig
from factory.config.data import DataConfig
from factory.config.defaults import with_defaults
from factory.config.fit import EvaluateConfig, FitConfig, ModelsConfig
from factory.config.generate import GenerateConfig
from factory.config.label import LabelConfig
from factory.config.presets import preset_table
from factory.config.probe import ProbeConfig
from factory.config.prove import ProveConfig
from factory.config.sample import SampleConfig
from factory.config.segment import SegmentConfig
from factory.config.shards import ShardsConfig
from factory.config.suggest import AdoptConfig, SuggestConfig
from factory.config.train import TrainConfig, UNetConfig
from factory.errors import Problems, UserError
from factory.values import Section

OF_FILE = "of a file"
"""The context in which a config is validated that people wrote into a file."""
_LEAST_IMAGE_SIZE = 8
"""The size, in pixels, that images are counted at if only a model knows it."""


class Config(Section):
    """One run, whole."""

    preset: Literal["toy", "32px", "64px", "128px", "256px"] | None = None
    """Sets image size, network and training as a row of `factory.config.presets`, except for keys
    that are named; toy if the images are drawn faces."""
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    models: ModelsConfig = ModelsConfig()
    probe: ProbeConfig = ProbeConfig()
    fit: FitConfig = FitConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    curve: CurveConfig = CurveConfig()
    generate: GenerateConfig = GenerateConfig()
    label: LabelConfig = LabelConfig()
    sample: SampleConfig = SampleConfig()
    segment: SegmentConfig = SegmentConfig()
    prove: ProveConfig = ProveConfig()
    suggest: SuggestConfig = SuggestConfig()
    adopt: AdoptConfig = AdoptConfig()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, tree: Any, info: ValidationInfo) -> Any:
        is_of_file = info.context == OF_FILE
        return with_defaults(tree, is_of_file) if isinstance(tree, Mapping) else tree

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        if problems := list(_source_problems(self)):
            raise ValueError("\n".join(problems))
        return self


_SOURCES = ("unlabelled", "labelled", "test")
_REMEDIES = {
    "data.image_size": (
        "Name a preset for the size that your images are to have, as `preset: 64px` or with --set "
        "preset=64px, or set data.image_size itself. Presets:\n" + "\n".join(preset_table())
    ),
    "data.unlabelled": "Name the images that the DDPM learns from: {{kind: folder, url: FOLDER}}.",
    "data.labelled": (
        "Name the images and masks that the ensemble learns from: "
        "{{kind: pairs, url: FOLDER, classes_url: FILE}}."
    ),
    "data.test": (
        "Name labelled images that are none of data.labelled: "
        "{{kind: pairs, url: FOLDER, classes_url: FILE}}."
    ),
    "label.source": "Name the images: {{kind: folder, url: FOLDER}}, or `factory label FOLDER`.",
    "adopt.masks": (
        "Name what the tool exported: `factory adopt FILE`, or a folder of corrected PNG masks."
    ),
    "models.ddpm_url": (
        "Name a DDPM's folder with --ddpm: {model} is where `factory train` puts its result; toy "
        "and toy64 are the embedded ones, of drawn faces."
    ),
    "models.ensemble_url": (
        "Name the ensemble's folder, --out of `factory fit`, --ensemble of others."
    ),
}


def required(config: Config, key: str, *others: str) -> Any:
    """The value of a key that a command needs, others being those that it needs after it.

    Raises UserError naming all of them that are not set, if this one is not.
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


def check_section(
    config: Config, name: Literal["train", "fit", "generate", "label", "segment"]
) -> None:
    """Raises UserError for values of a section that cannot stand together, all of them at once.

    Single values were checked when the config was read. Only what reads a section asks this of it:
    a network that cannot be trained here keeps nobody from generating. Section train is checked
    against data.image_size, which must be set.
    """
    problems = Problems()
    for problem in dict.fromkeys(_CHECKS[name](config)):
        problems.add(problem)
    problems.raise_if_any()


def _source_problems(config: Config) -> Iterator[str]:
    """Returns problems of sources at this size, or at the least one if only a model knows it."""
    size = config.data.image_size or _LEAST_IMAGE_SIZE
    named = {f"data.{name}": getattr(config.data, name) for name in _SOURCES}
    named |= {f"{name}.source": getattr(config, name).source for name in ("label", "suggest")}
    for key, source in named.items():
        if source is not None:
            yield from (f"{key}.{problem}" for problem in source.size_problems(size))


def _train_problems(config: Config) -> Iterator[str]:
    train = config.train
    size, levels = config.data.side, len(train.unet.block_out_channels)
    if size % 2 ** (levels - 1):
        yield (
            f"data.image_size: {size} must be divisible by {2 ** (levels - 1)}, "
            f"as train.unet.block_out_channels has {levels} levels"
        )
    yield from (f"train.unet.{problem}" for problem in unet_problems(train.unet))
    if train.diffusion.beta_end >= 1 or train.diffusion.beta_start >= 1:
        yield "train.diffusion.beta_start and train.diffusion.beta_end must be below 1"
    if train.batch_size % train.num_workers:
        yield (
            f"train.batch_size: {train.batch_size} must be divisible by "
            f"train.num_workers = {train.num_workers}"
        )


def _fit_problems(config: Config) -> Iterator[str]:
    for name, values in config.fit.model_dump(include={"timesteps", "blocks"}).items():
        if values is not None and len(set(values)) != len(values):
            yield f"fit.{name}: {values} has a value twice"


def _actor_problems(settings: ShardsConfig) -> Iterator[str]:
    if settings.min_actors > settings.max_actors:
        yield (
            f"{settings.section}.min_actors: {settings.min_actors} must not be above "
            f"{settings.section}.max_actors = {settings.max_actors}"
        )


def _segment_problems(config: Config) -> Iterator[str]:
    segment, least = config.segment, config.segment.num_workers
    if segment.batch_size < least:
        yield (
            f"segment.batch_size: {segment.batch_size} must be at least "
            f"segment.num_workers = {least}, a pair for each worker"
        )
    both = all(
        segment.learns_from(kind, config.data.labelled is not None)
        for kind in ("synthetic", "real")
    )
    if both and segment.batch_size < 2:
        yield "segment.batch_size: must be at least 2, one of the real pairs and one of the others"


_CHECKS: Mapping[str, Callable[[Config], Iterator[str]]] = {
    "train": _train_problems,
    "fit": _fit_problems,
    "generate": lambda config: _actor_problems(config.generate),
    "label": lambda config: _actor_problems(config.label),
    "segment": _segment_problems,
}


def unet_problems(unet: UNetConfig) -> list[str]:
    """Returns the reasons why no network can have this shape."""
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
