"""The sections `models`, `fit` and `evaluate`: the ensemble, and what it is used with."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from factory.values import (
    Block,
    Count,
    Fraction,
    ModelUrl,
    Ordinal,
    Positive,
    Section,
    Seed,
    Url,
    Width,
    some,
)


class ModelsConfig(Section):
    """The trained models that fit, evaluate and generate use; `toy` and `toy64` are the
    embedded ones, of drawn faces."""

    ddpm_url: ModelUrl | None = None
    """A DDPM in diffusers' layout."""
    ensemble_url: ModelUrl | None = None
    """The ensemble's folder, written by fit."""


class FitConfig(Section):
    """Stage 2: the pixel classifiers on the frozen U-Net's features (Baranchuk et al. 2022,
    section 3: ten MLPs with hidden layers of 128 and 32)."""

    timesteps: Annotated[tuple[Ordinal, ...], AfterValidator(some)] = (5,)
    """Timesteps whose noise an image gets before the network looks at it; each costs one pass. The
    paper's are 50, 150 and 250."""
    blocks: Annotated[tuple[Block, ...], AfterValidator(some)] | None = None
    """Decoder blocks, 0 = the first after the middle, and the middle block itself as the word
    middle; absent: decoder blocks that are chosen by the network's shape."""
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
    label_smoothing: Fraction = 0.1
    """The share of each label that is spread evenly over all classes, so that masks drawn roughly
    are not learned as if they were certain; 0 = the paper's."""
    pool_gib: Positive = 1.0
    """Memory for the pixels learned from, 1 KiB each: a random part of them where not all fit."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of fitting, with its passes of the network. auto: bf16 on GPUs and CPUs made for
    it. Test images are evaluated in fp32, generated ones labelled in generate.precision."""
    horizontal_flip: bool = True
    """Learn from mirrored images too; classes whose names differ in the side alone, as l_eye and
    r_eye, lung_left and lung_right, change places."""
    mirrored_votes: bool = True
    """Members vote on mirrored images too, where they learned from them: labels cost twice as many
    passes and votes, and are better."""
    calibration_folds: Ordinal = 0
    """The parts into which labelled images are split to learn what votes mean: each is labelled by
    classifiers that are fitted on the others, so that each takes as long as the fit itself. Pairs
    then have columns `expected_iou` and `expected_class_iou`. 3, or 5 for few images; 0: none is
    learned."""
    weights_dtype: Literal["fp32", "bf16"] = "fp32"
    """The type of the weights in the ensemble's folder; bf16 halves its size."""
    seed: Seed = 0
    """The seed decides the first weights, the pixels that are drawn, and the noise on labelled
    images."""


class EvaluateConfig(Section):
    """Measures the labels on `data.test`."""

    url: Url = "out/run/evaluation"
    """The folder of scores and pictures; absent: the folder `evaluation` of train.url."""
    vote: Literal["hard", "soft"] = "soft"
    """The vote whose masks the pictures show; the scores are of both. hard: majority of the
    members, ties to the smallest id; soft: largest mean probability."""
    num_pictures: Count = 12
    """Rows of the picture sheet."""
    batch_size: Count = 16
    """Images at once."""
