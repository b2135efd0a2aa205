"""What the sections of all stages that write shards have: what is written, and who makes it."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from factory.values import Count, Number, Ordinal, Positive, Section, Url, gpus, schedulable


class ShardsConfig(Section):
    """A dataset that workers write, shard by shard."""

    section: ClassVar[str]
    """The name of the section in a config, and of its command."""

    url: Url
    """The folder of the dataset."""
    samples_per_shard: Count = 1000
    """Pairs of a shard, which is one file."""
    mask_column: Literal["mask", "label", "annotation"] = "mask"
    """The name of the masks' column; label and annotation are what training scripts of Hugging Face
    look for."""
    batch_size: Count | Literal["auto"] = "auto"
    """Images at once. Part of the plan: the last batch of a shard is padded, so kernels see one
    shape. auto: by image size; on a GPU by what the network takes, too: 8 GiB at most, as an
    estimate."""
    vote: Literal["hard", "soft"] = "soft"
    """hard: majority of the members, ties to the smallest id; soft: largest mean probability."""
    ignore_uncertainty: Positive | Literal["wrong"] | None = None
    """Pixels of larger uncertainty, in nats, become 255 in masks: nobody learns from them. wrong:
    pixels that are wrong more often than right, by an ensemble fitted with fit.calibration_folds.
    Part of the plan."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the networks; part of the plan. auto: bf16 on GPUs and CPUs made for it; a
    driver that has no GPU takes it that the workers' are. fp32: never TF32."""
    compile: bool | Literal["auto"] = "auto"
    """True if the network is compiled; part of the plan. auto: on GPUs, in an actor's first
    minutes; by cpus_per_actor threads. Compiled kernels are kept in ~/.cache/factory/inductor."""
    workers: Literal["ray", "here"] = "ray"
    """ray: the actors of a pool make the shards; here: the command's own process does, one shard
    after the other and without Ray. The bytes are the same."""
    min_actors: Count = 1
    """Nothing is started where this machine alone has no room for so many."""
    max_actors: Count = 2
    """The most actors. All are asked for at once, where there are as many shards; they begin as
    room is found for them."""
    cpus_per_actor: Annotated[Number, Field(gt=0, le=256), AfterValidator(schedulable)] = 1.0
    """Threads of an actor, rounded down, one at least. Small batches are rounded by their number:
    where that changes a bit, a dataset goes on only with as many as it was begun with."""
    gpus_per_actor: Annotated[
        Number, Field(ge=0, le=8), AfterValidator(schedulable), AfterValidator(gpus)
    ] = 0.0
    """An actor uses one GPU: 1 for one of its own, 0.5 for two actors on each, every one with that
    share of the memory. 2 and more keep the others idle."""
    max_shard_retries: Ordinal = 2
    """A shard is tried again so many times after its actor died or failed, before the job stops."""
    max_failed_shards: Ordinal = 3
    """The number of shards that may fail in a row, each for good, before the job stops."""
    shard_deadline_seconds: Positive | Literal["auto"] = "auto"
    """A shard that takes longer hangs: its actor is replaced. auto: ten times the median shard, ten
    minutes at least."""
    no_progress_timeout_seconds: Positive = 6 * 3600.0
    """The job stops when no shard at all is finished for so long."""
    allow_unlike_hardware: bool = False
    """True if actors may join whose hardware or library versions round otherwise than those of the
    first: receipts then tell what each shard was made with, and only the like makes it again."""
    progress_seconds: Positive = 5.0
    """A line of progress every so many seconds."""
    license: str = "other"
    """The licence of the generated data, for its card (a Hugging Face licence id)."""

    @property
    def threads_per_actor(self) -> int:
        """The number of threads with which torch computes in whoever makes shards."""
        return max(1, int(self.cpus_per_actor))
