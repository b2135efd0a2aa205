"""Every knob of the factory, on one page.

A config is one YAML file over the defaults below; `--set a.b=c` and the short flags override it.
Where nothing of one's own is named (`_OWN`), the defaults are the toy domain (`_TOY`). Otherwise
sources and models that are not named are not there, and `required` names those that a command
needs. Unknown keys are refused, and all problems are told at once.
Frozen; imports no torch, so that a mistake is answered at once.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from os import PathLike
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from factory import storage
from factory.errors import UserError

MAX_COUNT = 2**48
MAX_IMAGE_SIZE = 4096
MAX_YAML_BYTES = 2**18
MAX_YAML_DEPTH = 20
MAX_TOY_BYTES = 2**36
"""Drawings are held in memory."""
TOY = "toy"
_COUNT = r"((?:0|[1-9][0-9]*(?:_[0-9]+)*)(?:\.[0-9]+)?(?:[eE]\+?[0-9]{1,2})?)([kMG]?)"
_SUFFIXES = {"k": 10**3, "M": 10**6, "G": 10**9}


def parse_count(value: object) -> int:
    """A whole number >= 1 as people write it: 1000, 1_000, 1e6, 10k, 1M.

    Raises ValueError quoting anything else.
    """
    text = str(value).strip()
    match = re.fullmatch(_COUNT, text)
    refusal = f"must be a whole number >= 1 (such as 1000, 1e6, 10k), got {text!r}"
    if match is None or isinstance(value, bool):
        raise ValueError(refusal)
    try:
        number = Decimal(match[1].replace("_", "")) * _SUFFIXES.get(match[2], 1)
    except InvalidOperation:
        raise ValueError(refusal) from None
    if number != number.to_integral_value() or not 1 <= number <= MAX_COUNT:
        raise ValueError(refusal)
    return int(number)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"must be a finite number, got {value}")
    return value


def _url(value: object) -> str:
    if not isinstance(value, str | PathLike):
        raise _unquoted(f"must be a path or a URL, got a value of type {type(value).__name__}")
    try:
        return storage.normalize(str(value))
    except UserError as error:
        raise _unquoted(str(error)) from None


def _folder(value: object) -> str:
    """A folder of each machine: one below ~ is below the home folder there."""
    if isinstance(value, str) and value.startswith("~"):
        return value
    place = _url(value)
    if not storage.is_local(place):
        raise _unquoted("must be a folder of each machine, not a URL")
    return place


def _model_url(value: object) -> str:
    return TOY if value == TOY else _url(value)


def _unquoted(problem: str) -> PydanticCustomError:
    """An error of a type of its own: the value may hold a secret, and is not told."""
    return PydanticCustomError("url", "{problem}", {"problem": problem})


def _schedulable(value: float) -> float:
    if 0 < value < 1e-4:
        raise ValueError(f"must be at least 0.0001, which is as fine as Ray counts, got {value:g}")
    return value


def _gpus(value: float) -> float:
    if value > 1 and value != int(value):
        raise ValueError(
            "must be at most 1, or whole: an actor uses one GPU, of which several may have a "
            f"share each, got {value:g}"
        )
    return value


def _some(values: tuple[int, ...]) -> tuple[int, ...]:
    if not values:
        raise ValueError("must name at least one")
    return values


Count = Annotated[int, BeforeValidator(parse_count)]
Width = Annotated[Count, Field(le=2**14)]
Ordinal = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Url = Annotated[str, BeforeValidator(_url)]
Folder = Annotated[str, BeforeValidator(_folder)]
ModelUrl = Annotated[str, BeforeValidator(_model_url)]
"""A place, or `toy` for the embedded model; a folder of that name is ./toy."""


class Section(BaseModel):
    """Frozen, and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)


class Source(Section):
    """Where images, and perhaps masks, come from."""

    kind: Literal["toy", "folder", "pairs"] = "toy"
    """toy: drawn faces; folder: images without masks; pairs: images beside masks."""
    url: Url | None = None
    """The folder (folder, pairs)."""
    num: Count | None = None
    """Toy: how many to draw. Others: use only the first so many."""
    seed: Seed = 0
    """Toy: which drawings."""
    images: str = "images"
    """Pairs: sub-folder of the images."""
    masks: str = "masks"
    """Pairs: sub-folder of the masks, `L` or palette PNG, value = class id, 255 = ignore."""
    classes_url: Url | None = None
    """Pairs: JSON of class names, {"0": name, ...} or [name, ...]."""
    names_url: Url | None = None
    """Pairs: JSON list of image file names to use; all if absent."""
    names_key: str | None = None
    """The key of that list, where the JSON is an object of several lists."""

    @model_validator(mode="after")
    def _complete(self) -> "Source":
        if unread := [key for key in _UNREAD[self.kind] if self._is_set(key)]:
            raise ValueError(f"kind {self.kind} does not read {', '.join(unread)}. {_INSTEAD}")
        if self.names_key is not None and self.names_url is None:
            raise ValueError("names_key needs names_url: the JSON file of the lists")
        if self.kind == "toy" and self.num is None:
            raise ValueError("kind toy needs num: how many drawings")
        if self.kind != "toy" and self.url is None:
            raise ValueError(f"kind {self.kind} needs url: the folder")
        if self.kind == "pairs" and self.classes_url is None:
            raise ValueError("kind pairs needs classes_url: a JSON file of class names")
        return self

    def _is_set(self, key: str) -> bool:
        """Whether a key has another value than its default, which stored configs spell out."""
        value = getattr(self, key)
        return bool(value != type(self).model_fields[key].default)


_UNREAD = {
    "toy": ("url", "images", "masks", "classes_url", "names_url", "names_key"),
    "folder": ("seed", "images", "masks"),
    "pairs": ("seed",),
}
"""Keys of a source that say nothing to its kind: whoever sets one means another kind."""
_INSTEAD = (
    "Set kind: folder for all images below url, kind: pairs for images beside masks, kind: toy for "
    "drawings; or leave these keys out."
)


class Data(Section):
    """The images of the domain."""

    image_size: Annotated[Count, Field(le=MAX_IMAGE_SIZE)] = 32
    """Height and width in pixels; larger or oblong images are cropped to a square and scaled. For
    images of one's own 64 if absent."""
    unlabelled: Source | None = None
    """What the DDPM learns from."""
    labelled: Source | None = None
    """The few labelled images that the ensemble learns from."""
    test: Source | None = None
    """Labelled images, none of them in `labelled`, for `factory evaluate`."""
    cache_dir: Folder | None = None
    """Where each machine keeps the decoded images that `train` reads; absent: factory/images in
    $XDG_CACHE_HOME or ~/.cache. What was used longest ago is removed for what is new."""
    cache_gib: Positive = 100.0
    """That the cache may hold on each machine."""


class UNet(Section):
    """The network's shape; names as in diffusers' `UNet2DModel`, google/ddpm-* conventions.

    For images of one's own, what is absent follows data.image_size: levels down to 8 pixels, six at
    most, of 64, 128, 192 and then 256 channels, with attention at 16 pixels and below.
    """

    block_out_channels: Annotated[tuple[Width, ...], Field(max_length=8), AfterValidator(_some)] = (
        64,
        96,
        128,
    )
    """Channels per level, from full resolution down; each level halves the resolution."""
    layers_per_block: Annotated[Count, Field(le=16)] = 1
    """Residual blocks per level on the way down; one more on the way up."""
    attention_levels: tuple[Ordinal, ...] = (2,)
    """Levels with self-attention (0 = full resolution); the middle always has it."""
    dropout: Fraction = 0.0
    norm_num_groups: Count = 32


class Diffusion(Section):
    """The noise schedule: linear betas (Ho et al. 2020, section 4)."""

    num_timesteps: Annotated[Count, Field(le=100_000)] = 1000
    beta_start: Positive = 1e-4
    beta_end: Positive = 0.02


class Train(Section):
    """Stage 1: fits the DDPM with Ray Train. The defaults are for drawn faces; for images of one's
    own num_steps is 20,000, learning_rate 2e-4 and warmup_steps 500 if absent."""

    url: Url = "out/run"
    """The run: checkpoints, sample sheets, metrics; the result is in its folder `model`."""
    initial_model_url: Url | None = None
    """A model folder to start from instead of random weights."""
    num_workers: Count = 1
    use_gpu: bool | Literal["auto"] = "auto"
    cpus_per_worker: Count = 1
    num_steps: Count = 3000
    batch_size: Count = 32
    """Images a step, over all workers."""
    learning_rate: Positive = 6e-4
    warmup_steps: Count = 300
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    max_grad_norm: Positive = 1.0
    ema_decay: Fraction = 0.999
    """Reached gradually: after n steps the decay is min(ema_decay, (1 + n) / (10 + n))."""
    horizontal_flip: bool = True
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16: autocast; weights, EMA and optimiser stay float32. auto: bf16 on GPUs and on CPUs with
    instructions for it, as each worker finds its own."""
    compile: bool = True
    """On GPUs; where that is not possible it says so and goes on without."""
    weights_dtype: Literal["fp32", "bf16"] = "fp32"
    """Of the resulting model folder; bf16 halves it."""
    seed: Seed = 0
    log_steps: Count = 50
    checkpoint_steps: Count = 1000
    sample_steps: Count = 2000
    """A sheet of samples every so many steps."""
    num_checkpoints_to_keep: Count = 2
    max_failures: Annotated[int, Field(ge=0)] = 3
    """How often a dead worker group is restarted from the last checkpoint."""
    worker_wait_seconds: Positive = 3600.0
    """How long a cluster may take to have room for all workers, at the start and after a loss."""
    resume_anyway: bool = False
    """Go on from the newest checkpoint although keys of this section, or the images, are others
    than before; the result is then not bit-equal to an undisturbed run's, and its card says so."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the extra `tensorboard`, and a local url)."""


class Models(Section):
    """The trained models that fit, evaluate and generate use; `toy` is the embedded one."""

    ddpm_url: ModelUrl | None = None
    """A DDPM in diffusers' layout."""
    ensemble_url: ModelUrl | None = None
    """The ensemble's folder, written by fit."""


class Features(Section):
    """What the ensemble sees of the frozen U-Net (Baranchuk et al. 2022, section 3)."""

    timesteps: Annotated[tuple[Ordinal, ...], AfterValidator(_some)] = (50, 150, 250)
    blocks: Annotated[tuple[Ordinal, ...], AfterValidator(_some)] | None = None
    """Decoder blocks, 0 = the first after the middle; absent: chosen by the network's shape."""
    source: Literal["auto", "renoise", "trajectory"] = "auto"
    """Of generated images: renoise = noise the finished image again, as in fitting;
    trajectory = read the maps while sampling passes those timesteps, without extra passes.
    auto: trajectory where it is as good, which is with unipc and dpm_solver; else renoise."""


class Ensemble(Section):
    """Stage 2: the pixel classifiers (Baranchuk et al. 2022: ten MLPs, hidden 128 and 32)."""

    num_members: Annotated[Count, Field(le=1000)] = 10
    hidden: tuple[Width, Width] = (128, 32)
    num_steps: Count = 600
    pixels_per_step: Annotated[Count, Field(ge=2)] = 1024
    learning_rate: Positive = 1e-2
    pool_gib: Positive = 1.0
    """Memory for the pixels learned from, 1 KiB each: a random part of them where not all fit."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of fitting, with its passes of the network. auto: bf16 on GPUs and CPUs made for it. Test
    images are evaluated in fp32, generated ones labelled in generate.precision."""
    vote: Literal["hard", "soft"] = "soft"
    """hard: majority of the members, ties to the smallest id; soft: largest mean probability."""
    horizontal_flip: bool = True
    """Learn from mirrored images too; classes named l_x and r_x change places."""
    weights_dtype: Literal["fp32", "bf16"] = "fp32"
    """Of the ensemble's folder; bf16 halves it."""
    seed: Seed = 0


class Evaluate(Section):
    """Measures the labels on `data.test`."""

    url: Url = "out/run/evaluation"
    """Absent: the folder `evaluation` of train.url."""
    num_pictures: Count = 12
    """Rows of the picture sheet."""
    batch_size: Count = 16


class Generate(Section):
    """Stage 3: samples, labels and writes image/mask pairs."""

    url: Url = "out/run/dataset"
    """Absent: the folder `dataset` of train.url."""
    num: Count = 64
    """For images of one's own 1000 if absent."""
    extend: bool = False
    """Whether a dataset of fewer pairs that lies at url may grow to num."""
    samples_per_shard: Count = 1000
    format: Literal["parquet", "webdataset"] = "parquet"
    seed: Seed = 0
    """With the index, a sample's identity: the same pair always comes out the same."""
    batch_size: Count | Literal["auto"] = "auto"
    """Part of the plan: the last batch of a shard is padded, so kernels see one shape. auto: by
    image size; on a GPU by what the network takes, too: 8 GiB at most, as an estimate."""
    sampler: Literal["sde_dpm_solver", "unipc", "dpm_solver", "ddim", "ddpm"] = "sde_dpm_solver"
    """sde_dpm_solver (SDE-DPM-Solver++(2M)): second order, with noise, which forgives a model its
    short training; unipc, dpm_solver (DPM-Solver++(2M)): second order without; ddim: see eta; ddpm:
    every timestep."""
    eta: Annotated[float, Field(ge=0, le=1)] = 1.0
    """ddim's noise: 0 = deterministic, 1 = ancestral, which forgives a model its short training."""
    num_sampling_steps: Count = 20
    """Network passes an image; ddpm always makes all of diffusion's timesteps."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Part of the plan. auto: bf16 on GPUs and CPUs made for it; a driver that has no GPU takes it
    that the workers' are. fp32: never TF32."""
    compile: bool | Literal["auto"] = "auto"
    """Part of the plan. auto: on GPUs, in an actor's first minutes; by cpus_per_actor threads. What
    was compiled is kept in ~/.cache/factory/inductor."""
    workers: Literal["ray", "here"] = "ray"
    """Who makes the shards: the actors of a pool, or the command's own process, one shard after the
    other and without Ray. The bytes are the same."""
    min_actors: Count = 1
    """Where this machine alone has no room for so many, nothing is started."""
    max_actors: Count = 2
    """Asked for at once, where there are as many shards; they begin as room is found for them."""
    cpus_per_actor: Annotated[float, Field(gt=0, le=256), AfterValidator(_schedulable)] = 1.0
    """Threads of an actor, rounded down, one at least. Small batches are rounded by their number:
    where that changes a bit, a dataset goes on only with as many as it was begun with."""
    gpus_per_actor: Annotated[
        float, Field(ge=0, le=8), AfterValidator(_schedulable), AfterValidator(_gpus)
    ] = 0.0
    """An actor uses one GPU: 1 for one of its own, 0.5 for two actors on each, every one with that
    share of the memory. 2 and more keep the others idle."""
    max_shard_retries: Annotated[int, Field(ge=0)] = 2
    """How often a shard is tried again after its actor died or failed, before the job stops."""
    max_failed_shards: Annotated[int, Field(ge=0)] = 3
    """How many shards may fail in a row, each for good, before the job stops."""
    shard_deadline_seconds: Positive | Literal["auto"] = "auto"
    """A shard that takes longer hangs: its actor is replaced. auto: ten times the median shard, ten
    minutes at least."""
    no_progress_timeout_seconds: Positive = 6 * 3600.0
    """The job stops when no shard at all is finished for so long."""
    allow_unlike_hardware: bool = False
    """Whether actors may join whose hardware or library versions round otherwise than those of the
    first: receipts then tell what each shard was made with, and only the like makes it again."""
    progress_seconds: Positive = 5.0
    license: str = "other"
    """Of the generated data, for its card (a Hugging Face licence id)."""

    @property
    def threads_per_actor(self) -> int:
        """With how many threads torch computes in whoever makes shards."""
        return max(1, int(self.cpus_per_actor))


class Config(Section):
    """One run, whole."""

    data: Data = Data()
    unet: UNet = UNet()
    diffusion: Diffusion = Diffusion()
    train: Train = Train()
    models: Models = Models()
    features: Features = Features()
    ensemble: Ensemble = Ensemble()
    evaluate: Evaluate = Evaluate()
    generate: Generate = Generate()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, tree: Any) -> Any:
        return _with_defaults(tree) if isinstance(tree, Mapping) else tree

    @model_validator(mode="after")
    def _consistent(self) -> "Config":
        problems = list(_cross_problems(self))
        if problems:
            raise ValueError("\n".join(problems))
        return self


_OWN = (
    *("data.unlabelled", "data.labelled", "data.test"),
    *("models.ddpm_url", "models.ensemble_url"),
    *("train.url", "train.initial_model_url"),
)
"""Keys that name something of one's own, unless they name what is the toy domain's."""
_TOY: dict[str, dict[str, Any]] = {
    "data": {
        "unlabelled": {"kind": "toy", "num": 20_000, "seed": 1},
        "labelled": {"kind": "toy", "num": 20, "seed": 2},
        "test": {"kind": "toy", "num": 100, "seed": 3},
    },
    "models": {"ddpm_url": TOY, "ensemble_url": TOY},
    "train": {"url": "out/toy/ddpm"},
    "evaluate": {"url": "out/toy/evaluation"},
    "generate": {"url": "out/toy/dataset"},
}
_TOY_NETWORK = {
    "block_out_channels": (32, 64, 128),
    "attention_levels": (1, 2),
    "norm_num_groups": 16,
}
_OWN_IMAGES: dict[str, dict[str, Any]] = {
    "data": {"image_size": 64},
    "train": {"num_steps": 20_000, "learning_rate": 2e-4, "warmup_steps": 500},
    "generate": {"num": 1000},
}
_LEAST_PIXELS, _MOST_LEVELS, _ATTENTION_PIXELS = 8, 6, 16


def _with_defaults(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with those defaults that depend on what it names."""
    # A section whose keys are all commented out is there, and empty.
    full = {
        name: dict(section or {}) if isinstance(section, Mapping | None) else section
        for name, section in tree.items()
    }
    models = full.get("models")
    if isinstance(models, dict) and full.keys() >= Config.model_fields.keys():
        # Whole, as version 0.1 stored it: there, nothing was the embedded model.
        models.update({key: TOY for key, url in models.items() if url is None})
    if not any(_is_own(_at(full, *key.split("."))) for key in _OWN):
        _fill(full, _TOY)
    unlabelled = _at(full, "data", "unlabelled")
    own_images = unlabelled is None or _is_own(unlabelled)
    if own_images:
        _fill(full, _OWN_IMAGES)
    size, widths = _at(full, "data", "image_size"), _at(full, "unet", "block_out_channels")
    if own_images or widths is not None:
        size = Data.model_fields["image_size"].default if size is None else size
        _fill(full, {"unet": _network(size, widths)})
    else:
        _fill(full, {"unet": _TOY_NETWORK})
    _fill(full, _below_run(_at(full, "train", "url")))
    return full


def _at(tree: Mapping[str, Any], section: str, key: str) -> Any:
    """The value of a key, None where there is none."""
    there = tree.get(section)
    return there.get(key) if isinstance(there, Mapping) else getattr(there, key, None)


def _fill(tree: dict[str, Any], defaults: Mapping[str, Mapping[str, Any]]) -> None:
    """Sets what is absent."""
    for section, values in defaults.items():
        there = tree.setdefault(section, {})
        if isinstance(there, dict):
            tree[section] = {**values, **there}


def _is_own(value: Any) -> bool:
    """Whether the value of one of the keys _OWN is not the toy domain's."""
    kind = value.get("kind", TOY) if isinstance(value, Mapping) else getattr(value, "kind", value)
    return kind is not None and kind != TOY


def _network(image_size: Any, widths: Any) -> dict[str, Any]:
    """The section unet for images of this size, of these widths if they are given; see `UNet`."""
    try:
        size = parse_count(image_size)
    except ValueError:
        return {}  # which is told where the size is
    if not isinstance(widths, list | tuple):
        levels = min(_MOST_LEVELS, 1 + int(math.log2(max(1, size / _LEAST_PIXELS))))
        widths = tuple(64 * min(level + 1, 4) for level in range(levels))
    small = (level for level in range(len(widths)) if size / 2**level <= _ATTENTION_PIXELS)
    return {"block_out_channels": widths, "attention_levels": tuple(small)}


def _below_run(url: Any) -> dict[str, dict[str, Any]]:
    """The places that lie below train.url where they are not named."""
    run = Train.model_fields["url"].default
    with suppress(PydanticCustomError):  # which is told where the url is
        run = run if url is None else _url(url)
    return {
        "train": {"url": run},
        "evaluate": {"url": storage.join(run, "evaluation")},
        "generate": {"url": storage.join(run, "dataset")},
    }


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
        if source is None or source.kind != "toy":
            continue
        num_bytes = (source.num or 0) * size**2 * 4
        if num_bytes > MAX_TOY_BYTES:
            found.append(
                f"data.{name}.num: {source.num} drawings of {size}x{size} pixels take "
                f"{num_bytes / 2**30:,.0f} GiB of memory, more than {MAX_TOY_BYTES / 2**30:.0f}: "
                "lower it"
            )
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


def unet_problems(unet: UNet) -> list[str]:
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


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads words as they are written, and refuses what grows without end.

    As in YAML 1.2, only true and false are booleans (not yes, no, on, off), and only decimals are
    numbers (010 and 1:30 are text). Refused are keys given twice, aliases, and deep nesting.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - its own, not SafeLoader's
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise UserError(f"line {line}: aliases (*name) are not read. Write the value itself.")
        if self.depth == MAX_YAML_DEPTH:
            raise UserError(f"line {line}: is nested too deep. Write sections such as `generate:`.")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise UserError(f"line {line}: key {key!r} is given twice. Keep one.")
            seen.add(key)
        return super().construct_mapping(node, deep)


# What a plain word is, by its tag: how it is written, and the characters that it may start with.
for _tag, _word, _starts in (
    ("null", "(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("merge", "<<$", ["<"]),
    ("bool", "(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", "[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)$", [*"-+0123456789"]),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", [*"-+.0123456789"]),
    ("float", r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", [*"-+."]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_word), _starts)


def load_config(file: str | None, overrides: Sequence[tuple[str, Any]] = ()) -> Config:
    """The defaults, under a YAML file, under (dotted key, value) overrides; later ones win.

    Raises UserError with all problems at once.
    """
    tree = _read_yaml(file) if file else {}
    for key, value in overrides:
        _set(tree, key, value)
    return parse_config(tree, place=file or "config")


def parse_config(tree: Mapping[str, Any], place: str = "config") -> Config:
    """A Config from nested mappings. Raises UserError with all problems at once."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(_all_told(error, place)) from None


def dump_config(config: Config) -> str:
    """The resolved config as YAML; `load_config` reads it back to an equal one."""
    text: str = yaml.safe_dump(config_tree(config), sort_keys=False)
    return text


def config_tree(config: Config) -> dict[str, Any]:
    """The resolved config as nested values that JSON has; `parse_config` makes an equal one of it.

    What is not set is left out.
    """
    return config.model_dump(mode="json", exclude_none=True)


def parse_override(text: str) -> tuple[str, Any]:
    """'a.b=c' -> ('a.b', c), the value read as YAML. Raises UserError, which repeats no value."""
    key, separator, value = text.partition("=")
    key = key.strip()
    if not separator or not re.fullmatch(r"\w+(\.\w+)*", key):
        raise UserError("--set: write it as section.key=value, such as generate.num=1000.")
    try:
        return key, _load_yaml(value)
    except UserError as error:
        raise UserError(f"--set {key}=...: {error}") from None
    except (yaml.YAMLError, ValueError):
        raise UserError(f"--set {key}=...: the value is not YAML; quote it.") from None


def _load_yaml(text: str) -> Any:
    if len(text) > MAX_YAML_BYTES:
        raise UserError(
            f"has more than {MAX_YAML_BYTES} bytes. Write a page of sections such as `generate:`."
        )
    return yaml.load(text, _Loader)


def _read_yaml(file: str) -> dict[str, Any]:
    """Raises UserError, which repeats nothing of the file: it may be another one, with secrets."""
    place = storage.normalize(file)
    try:
        content = _load_yaml(storage.read_text(place))
    except FileNotFoundError:
        raise UserError(f"{file}: no such config file.") from None
    except IsADirectoryError:
        raise UserError(f"{file}: is a folder; name a YAML file.") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({storage.reason(error)}).") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not text in UTF-8; a config is a YAML file.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{file}: not readable as YAML: {_yaml_reason(error)}.") from None
    except UserError as error:
        raise UserError([f"{file}: {problem}" for problem in error.problems]) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise UserError(
            f"{file}: expected sections such as `generate:`, got a value of type {kind}."
        )
    return content


def _yaml_reason(error: Exception) -> str:
    """What is wrong and where, without the line itself."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason}, position {error.position}"
    return "a value does not fit its tag"


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        below = tree.get(section)
        if not isinstance(below, dict):
            below = tree[section] = {}
        tree = below
    tree[last] = value


def _all_told(error: ValidationError, place: str) -> list[str]:
    """A line for each key with a problem: where, what, and the nearest name."""
    told: dict[str, list[str]] = {}
    for problem in error.errors():
        path = ".".join(_path(problem["loc"]))
        told.setdefault(path, []).extend(_told(problem, path).splitlines())
    lines = []
    for path, messages in told.items():
        # Of a key that takes values of several kinds, each kind says why it is not.
        messages = ["; or ".join(messages)] if path else list(dict.fromkeys(messages))
        lines += [f"{place}: {path}{': ' if path else ''}{message}" for message in messages]
    return lines


def _path(location: Sequence[int | str]) -> list[str]:
    """The path of a key, without the kinds of value that pydantic names behind it."""
    path: list[str] = []
    section: type[Section] | None = Config
    for part in location:
        if section is None and isinstance(part, str):
            break
        path.append(str(part))
        section = _below(section, part)
    return path


def _told(problem: Any, path: str) -> str:
    """What is wrong with a key, and what to do."""
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        return f"unknown key.{_did_you_mean(path.split('.'))}"
    message: str = problem["msg"].removeprefix("Value error, ")
    if not path or problem["type"] == "url":
        return message
    if problem["type"] in ("model_type", "model_attributes_type"):
        keys = list((_section(path) or Config).model_fields)
        return f"is a section: write keys below it, such as {' and '.join(keys[:2])}."
    given = problem["input"]
    quoted = "" if repr(str(given)) in message or isinstance(given, dict) else f", got {given!r}"
    remedy = ". Quote it." if problem["type"] == "string_type" else ""
    return f"{message[:1].lower()}{message[1:]}{quoted}{remedy}"


def _below(section: type[Section] | None, part: int | str) -> type[Section] | None:
    """The section of this name in a section, if it is one."""
    field = section.model_fields.get(str(part)) if section else None
    kinds = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((kind for kind in kinds if _is_section(kind)), None)


def _section(path: str) -> type[Section] | None:
    """The section at a path, None where there is none."""
    section: type[Section] | None = Config
    for part in filter(None, path.split(".")):
        section = _below(section, part)
    return section


def _did_you_mean(location: Sequence[str]) -> str:
    names = list((_section(".".join(location[:-1])) or Config).model_fields)
    near = difflib.get_close_matches(location[-1], names, n=1, cutoff=0.5)
    parents = ".".join(location[:-1])
    if near:
        return f" Did you mean {'.'.join(filter(None, [parents, near[0]]))}?"
    return f" Known here: {', '.join(names)}."


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)
