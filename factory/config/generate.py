"""The section `generate`: what decides a dataset's bytes beside the models, and how it is made."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from factory.config.shards import ShardsConfig
from factory.values import Count, Number, Positive, Section, Seed, Url, share

_KEPT = share("0.5 for the more certain half", "To keep all, leave it out.")
_FOR_VALIDATION = share("0.1 for every tenth pair", "For no validation split leave it out.")
MAX_DRAWS = 1000
"""No more images are drawn for a pair, however many `GenerateConfig.max_draws` asks for."""


def _numbers_of_classes(value: object, numbers: ValidatorFunctionWrapHandler) -> Mapping[str, int]:
    """How many pairs show each class. Raises ValueError quoting anything else."""
    try:
        found: Mapping[str, int] = numbers(value)
    except ValidationError:
        got = f", got {value}" if isinstance(value, Mapping) else ""
        raise ValueError(
            "must be classes, each with the number of pairs, 1 or more, that show it at least, "
            f"such as {{hat: 500}}{got}"
        ) from None
    return found


class SelectConfig(Section):
    """Which of the pairs that are drawn are kept; each shard chooses among its own. Part of the
    plan."""

    keep: (
        Annotated[float, share("0.5 for the more certain half", "To keep all, leave it out.")]
        | None
    ) = None
    """The share of the drawn pairs that is kept, the most certain ones: with 0.5 twice as many are
    drawn."""
    min_expected_iou: Annotated[Number, Field(gt=0, le=1)] | None = None
    """Only masks of which such an IoU is expected, by an ensemble fitted with
    fit.calibration_folds."""
    at_least: Annotated[Mapping[str, Count], WrapValidator(_numbers_of_classes)] = Field(
        default_factory=dict
    )
    """How many pairs show a class at least, such as {hat: 500}; all numbers together are at most
    generate.num. Where a dataset is extended, it goes on at this rate."""


class GenerateConfig(ShardsConfig):
    """Stage 3: samples, labels and writes image/mask pairs."""

    section: ClassVar[str] = "generate"

    url: Url = "out/run/dataset"
    """The folder of the dataset; absent: the folder `dataset` of train.url."""
    num: Count = 64
    """The number of pairs; for images of one's own 1000 if absent."""
    format: Literal["parquet", "webdataset"] = "parquet"
    """parquet: rows of a Parquet file; webdataset: members of a tar file."""
    val_fraction: Annotated[float, _FOR_VALIDATION] | None = None
    """The share of the pairs that is for validation, such as 0.1; part of the plan. They lie in
    files of their own, `data/validation-*`. A pair's key alone decides, so that a pair stays in its
    split when the dataset grows, or is made anew. Absent: all are for training."""
    extend: bool = False
    """True if a dataset of fewer pairs that lies at url may grow to num."""
    min_training_distance: Positive | Literal["unusual"] | None = None
    """Pairs whose image is nearer to a training image are replaced by others; 1 is what is usual
    between two training images. unusual: nearer than 99 in 100 training images are to another one.
    Part of the plan."""
    select: SelectConfig = SelectConfig()
    """Which of the pairs that are drawn are kept; all of them if absent."""
    max_draws: Annotated[Count, Field(le=MAX_DRAWS)] = 10
    """At most so many images are drawn for each pair of a shard to find those that select and
    min_training_distance ask for; the shard fails where that does not do."""
    seed: Seed = 0
    """The seed is, with the index, a sample's identity: the same pair always comes out the same."""
    sampler: str = "auto"
    """auto: dpm_solver for a DDPM that predicts v, else sde_dpm_solver. sde_dpm_solver
    (SDE-DPM-Solver++(2M)): second order, with noise, which forgives a model its short training;
    unipc, dpm_solver (DPM-Solver++(2M)): second order without; ddim: see eta; ddpm: every
    timestep."""
    eta: Annotated[Number, Field(ge=0, le=1)] = 1.0
    """ddim's noise: 0 = deterministic, 1 = ancestral, which forgives a model its short training."""
    feature_source: Literal["auto", "renoise", "trajectory"] = "auto"
    """The source of the ensemble's features of a generated image. renoise: the finished image is
    noised again, as in fitting; trajectory: the maps are read while sampling passes those
    timesteps, without extra passes. auto: trajectory with the samplers where it is as good, unipc
    and dpm_solver; else renoise. Mirrored images, where the ensemble votes on them, are always
    noised again."""
    num_sampling_steps: Annotated[Count, Field(ge=2)] = 20
    """Network passes an image: more than the timesteps of the ensemble's features, and at most the
    timesteps of the model; ddpm always makes all of these."""
