"""The sections that stages read: train, models, features, ensemble, evaluate, generate."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from factory.values import (
    Count,
    Fraction,
    ModelUrl,
    Ordinal,
    Positive,
    Section,
    Seed,
    Url,
    Width,
    gpus,
    schedulable,
    some,
)


class UNetConfig(Section):
    """The network's shape; names as in diffusers' `UNet2DModel`, google/ddpm-* conventions.

    For images of one's own, what is absent follows data.image_size: levels down to 8 pixels, six at
    most, of 64, 128, 192 and then 256 channels, with attention at 16 pixels and below.
    """

    block_out_channels: Annotated[tuple[Width, ...], Field(max_length=8), AfterValidator(some)] = (
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
    """The share of the activations that are dropped in training."""
    norm_num_groups: Count = 32
    """Groups of channels that are normalised together; every width must be divisible by it."""


class DiffusionConfig(Section):
    """The noise schedule: linear betas (Ho et al. 2020, section 4)."""

    num_timesteps: Annotated[Count, Field(le=100_000)] = 1000
    """Steps from a clean image to noise."""
    beta_start: Positive = 1e-4
    """The variance of the noise that the first step adds."""
    beta_end: Positive = 0.02
    """The variance of the noise that the last step adds."""


class TrainConfig(Section):
    """Stage 1: fits the DDPM with Ray Train. The defaults are for drawn faces; for images of one's
    own num_steps is 20,000, learning_rate 2e-4 and warmup_steps 500 if absent."""

    url: Url = "out/run"
    """The run: checkpoints, sample sheets, metrics; the result is in its folder `model`."""
    initial_model_url: Url | None = None
    """A model folder to start from instead of random weights."""
    num_workers: Count = 1
    """Processes that share each batch; on GPUs, one GPU each."""
    use_gpu: bool | Literal["auto"] = "auto"
    """Whether workers train on GPUs. auto: where the cluster has as many as workers."""
    cpus_per_worker: Count = 1
    """CPU cores of a worker, which are its threads."""
    num_steps: Count = 3000
    """Optimiser steps. A finished training goes on where this is raised, and a running one ends
    earlier where it is lowered."""
    batch_size: Count = 32
    """Images a step, over all workers."""
    learning_rate: Positive = 6e-4
    """The learning rate of AdamW after the warm-up."""
    warmup_steps: Count = 300
    """Steps in which the learning rate grows from 0."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """The weight decay of AdamW."""
    max_grad_norm: Positive = 1.0
    """The largest norm of the gradient; a larger one is scaled down."""
    ema_decay: Fraction = 0.999
    """Reached gradually: after n steps the decay is min(ema_decay, (1 + n) / (10 + n))."""
    horizontal_flip: bool = True
    """Learn from mirrored images too."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """bf16: autocast; weights, EMA and optimiser stay float32. auto: bf16 on GPUs and on CPUs with
    instructions for it, as each worker finds its own."""
    compile: bool = True
    """On GPUs; where that is not possible it says so and goes on without."""
    weights_dtype: Literal["fp32", "bf16"] = "fp32"
    """Of the resulting model folder; bf16 halves it."""
    seed: Seed = 0
    """Decides the first weights, the order of the images, and the noise."""
    log_steps: Count = 50
    """A line of progress every so many steps."""
    checkpoint_steps: Count = 1000
    """A checkpoint every so many steps."""
    sample_steps: Count = 2000
    """A sheet of samples every so many steps."""
    num_checkpoints_to_keep: Count = 2
    """How many of the newest checkpoints stay; older ones are deleted."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    """How often a dead worker group is restarted from the last checkpoint."""
    worker_wait_seconds: Positive = 3600.0
    """How long a cluster may take to have room for all workers, at the start and after a loss."""
    resume_anyway: bool = False
    """Go on from the newest checkpoint although keys of this section, or the images, are others
    than before; the result is then not bit-equal to an undisturbed run's, and its card says so."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the extra `tensorboard`, and a local url)."""


class ModelsConfig(Section):
    """The trained models that fit, evaluate and generate use; `toy` is the embedded one."""

    ddpm_url: ModelUrl | None = None
    """A DDPM in diffusers' layout."""
    ensemble_url: ModelUrl | None = None
    """The ensemble's folder, written by fit."""


class FeaturesConfig(Section):
    """What the ensemble sees of the frozen U-Net (Baranchuk et al. 2022, section 3)."""

    timesteps: Annotated[tuple[Ordinal, ...], AfterValidator(some)] = (50, 150, 250)
    """How noisy an image is made before the network looks at it; each costs one pass."""
    blocks: Annotated[tuple[Ordinal, ...], AfterValidator(some)] | None = None
    """Decoder blocks, 0 = the first after the middle; absent: chosen by the network's shape."""
    source: Literal["auto", "renoise", "trajectory"] = "auto"
    """Of generated images: renoise = noise the finished image again, as in fitting;
    trajectory = read the maps while sampling passes those timesteps, without extra passes.
    auto: trajectory where it is as good, which is with unipc and dpm_solver; else renoise."""


class EnsembleConfig(Section):
    """Stage 2: the pixel classifiers (Baranchuk et al. 2022: ten MLPs, hidden 128 and 32)."""

    head: str = "ensemble"
    """The kind of classifier: ensemble is the one there is."""
    num_members: Annotated[Count, Field(le=1000)] = 10
    """Classifiers, which are fitted from different starts."""
    hidden: tuple[Width, Width] = (128, 32)
    """Widths of the two hidden layers."""
    num_steps: Count = 600
    """Optimiser steps."""
    pixels_per_step: Annotated[Count, Field(ge=2)] = 1024
    """Pixels a step; all members see the same."""
    learning_rate: Positive = 1e-2
    """The learning rate of Adam at the start; it falls to 0 along a cosine."""
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
    """Decides the first weights, the pixels that are drawn, and the noise on labelled images."""


class EvaluateConfig(Section):
    """Measures the labels on `data.test`."""

    url: Url = "out/run/evaluation"
    """Absent: the folder `evaluation` of train.url."""
    num_pictures: Count = 12
    """Rows of the picture sheet."""
    batch_size: Count = 16
    """Images at once."""


class GenerateConfig(Section):
    """Stage 3: samples, labels and writes image/mask pairs."""

    url: Url = "out/run/dataset"
    """Absent: the folder `dataset` of train.url."""
    num: Count = 64
    """For images of one's own 1000 if absent."""
    extend: bool = False
    """Whether a dataset of fewer pairs that lies at url may grow to num."""
    samples_per_shard: Count = 1000
    """Pairs of a shard, which is one file."""
    format: Literal["parquet", "webdataset"] = "parquet"
    """parquet: rows of a Parquet file; webdataset: members of a tar file."""
    seed: Seed = 0
    """With the index, a sample's identity: the same pair always comes out the same."""
    batch_size: Count | Literal["auto"] = "auto"
    """Part of the plan: the last batch of a shard is padded, so kernels see one shape. auto: by
    image size; on a GPU by what the network takes, too: 8 GiB at most, as an estimate."""
    sampler: str = "sde_dpm_solver"
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
    cpus_per_actor: Annotated[float, Field(gt=0, le=256), AfterValidator(schedulable)] = 1.0
    """Threads of an actor, rounded down, one at least. Small batches are rounded by their number:
    where that changes a bit, a dataset goes on only with as many as it was begun with."""
    gpus_per_actor: Annotated[
        float, Field(ge=0, le=8), AfterValidator(schedulable), AfterValidator(gpus)
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
    """A line of progress every so many seconds."""
    license: str = "other"
    """Of the generated data, for its card (a Hugging Face licence id)."""

    @property
    def threads_per_actor(self) -> int:
        """With how many threads torch computes in whoever makes shards."""
        return max(1, int(self.cpus_per_actor))
