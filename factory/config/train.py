"""The section `train`, with the network's shape and its noise schedule."""

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from factory.config.workers import WorkersConfig
from factory.values import (
    Count,
    Fraction,
    ModelUrl,
    Number,
    Ordinal,
    Positive,
    Section,
    Seed,
    Url,
    Width,
    some,
)

PredictionType = Literal["epsilon", "v_prediction"]
"""What a network predicts, by diffusers' names: see `factory.diffusion.prediction`."""


class UNetConfig(Section):
    """The network's shape; names as in diffusers' `UNet2DModel`, google/ddpm-* conventions.

    What is absent follows the preset, or else data.image_size.
    """

    block_out_channels: Annotated[tuple[Width, ...], Field(max_length=8), AfterValidator(some)] = (
        *(64, 128, 192, 256),
    )
    """Channels per level, from full resolution down; each level halves the resolution."""
    layers_per_block: Annotated[Count, Field(le=16)] = 1
    """Residual blocks per level on the way down; one more on the way up."""
    attention_levels: tuple[Ordinal, ...] = (2, 3)
    """Levels with self-attention (0 = full resolution); the middle always has it."""
    dropout: Fraction = 0.0
    """The share of the activations that are dropped in training."""
    norm_num_groups: Count = 32
    """Groups of channels that are normalised together; every width must be divisible by it."""


class DiffusionConfig(Section):
    """The noise schedule: linear betas (Ho et al. 2020, section 4), and what is predicted."""

    num_timesteps: Annotated[Count, Field(le=100_000)] = 1000
    """Steps from a clean image to noise."""
    beta_start: Positive = 1e-4
    """The variance of the noise that the first step adds."""
    beta_end: Positive = 0.02
    """The variance of the noise that the last step adds."""
    prediction_type: PredictionType = "epsilon"
    """What the network predicts: epsilon, the noise; v_prediction, v = alpha epsilon - sigma x_0,
    which is the noise where there is little of it, and the image where there is much."""

    def identity(self) -> dict[str, Any]:
        """What the identity of a model has of it. Models of older versions predict epsilon, and
        theirs says nothing of it."""
        implied = {"prediction_type"} if self.prediction_type == "epsilon" else None
        return self.model_dump(exclude=implied)


class TrainConfig(WorkersConfig):
    """Stage 1: fits the DDPM with Ray Train. Steps, batch, rate and warm-up follow the preset."""

    section: ClassVar[str] = "train"

    url: Url = "out/run"
    """The run: checkpoints, sample sheets, metrics; the result is in its folder `model`."""
    initial_model_url: ModelUrl | None = None
    """A model folder to start from instead of random weights; `toy` and `toy64` are the
    embedded ones."""
    unet: UNetConfig = UNetConfig()
    """The network's shape."""
    diffusion: DiffusionConfig = DiffusionConfig()
    """The noise schedule, and what the network predicts."""
    num_steps: Count = 20_000
    """Optimiser steps. A training goes on where this is raised, and ends earlier where it is
    lowered; from when on its learning rate falls, see decay."""
    batch_size: Count = 32
    """Images a step, over all workers."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """What makes steps of gradients. muon: orthogonal ones for matrices and the kernels of
    convolutions, and AdamW's for the rest, which learns faster; adamw: AdamW's for all."""
    learning_rate: Positive = 2e-4
    """The learning rate after the warm-up."""
    warmup_steps: Count = 500
    """Steps in which the learning rate grows from 0."""
    decay: Fraction = 0.25
    """The share of the steps, the last ones, in which the learning rate falls to 0 along a line. A
    run that has come to them and is made longer goes on from where they began, of which a
    checkpoint is kept."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.0
    """The weight decay of the optimiser."""
    max_grad_norm: Positive = 1.0
    """The largest norm of the gradient; a larger one is scaled down."""
    ema_decay: Fraction = 0.999
    """The decay of the averaged weights, reached gradually: after n steps it is min(ema_decay, (1 +
    n) / (10 + n))."""
    horizontal_flip: bool = True
    """Learn from mirrored images too."""
    compile: bool = True
    """Compiles the network on GPUs; where that is not possible it says so and goes on without."""
    weights_dtype: Literal["fp32", "bf16"] = "fp32"
    """The type of the weights in the resulting model folder; bf16 halves its size."""
    seed: Seed = 0
    """The seed decides the first weights, the order of the images, and the noise."""
    sample_steps: Count = 2000
    """A sheet of samples every so many steps."""
    probe_steps: Count = 1000
    """Every so many steps, and after the last, the averaged network is scored by how well a linear
    classifier tells the labels of `data.labelled` by its features; the best one is kept in the
    folder `best` of the run. Where num_steps is less, none is, and the labels are not read."""
    tensorboard: bool = False
    """Writes TensorBoard events, too (needs the extra `tensorboard`, and a local url)."""

    @property
    def falls_from(self) -> float:
        """The number of steps after which the learning rate falls."""
        return falls_from(self.num_steps, self.decay)


def falls_from(num_steps: int, decay: float) -> float:
    """The number of steps after which a learning rate falls in the last share of them; infinity if
    it does not fall."""
    return num_steps * (1 - decay) if decay else math.inf
