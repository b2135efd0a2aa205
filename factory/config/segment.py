"""The section `segment`: a small network that learns masks from pairs."""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from factory.config.workers import WorkersConfig
from factory.values import Count, Fraction, Number, Positive, Seed, Url, Width, some

_GROUPS = 8
"""The groups of channels that the network normalises together."""


def _widths(values: tuple[int, ...]) -> tuple[int, ...]:
    if odd := [value for value in values if value % _GROUPS]:
        raise ValueError(f"must be multiples of {_GROUPS}, and {odd[0]} is none")
    return some(values)


def _function(name: str) -> str:
    if not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", name):
        raise ValueError("must name a function as module:function, such as my_networks:make")
    return name


class SegmentConfig(WorkersConfig):
    """Trains a small network on pairs with Ray Train: on those of a finished dataset, on the real
    ones of `data.labelled`, or on both; and measures it on `data.test`."""

    section: ClassVar[str] = "segment"

    url: Url = "out/run/segmenter"
    """The run: checkpoints and metrics; the result is in its folder `model`. Absent: the folder
    `segmenter` of train.url."""
    dataset_url: Url = "out/run/dataset"
    """The finished dataset to learn from; absent: generate.url."""
    pairs: Literal["auto", "synthetic", "real", "both"] = "auto"
    """The pairs to learn from: synthetic, those of dataset_url; real, those of data.labelled.
    auto: both if data.labelled is set, else synthetic."""
    real_share: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    """The share of each batch that is real, where both are learned from; one pair at least."""
    min_expected_iou: Annotated[Number, Field(gt=0, lt=1)] | None = None
    """Only synthetic pairs of whose masks at least this IoU is expected."""
    certainty_weights: bool = True
    """A synthetic pair counts by its expected IoU, where the dataset tells it; a real one as 1."""
    widths: Annotated[tuple[Width, ...], Field(max_length=8), AfterValidator(_widths)] = (
        *(32, 64, 128, 256),
    )
    """Channels of the U-Net per level, from full resolution down; each level halves it. Multiples
    of 8."""
    network: Annotated[str, AfterValidator(_function)] | None = None
    """A network of one's own instead of the U-Net, as module:function. The function is called with
    num_channels and num_classes, and returns a torch module from images (B, C, H, W) in [-1, 1] to
    logits (B, K, H, W). The module must be importable by the workers, and is run as it is."""
    num_steps: Count = 2000
    """Optimiser steps."""
    batch_size: Count = 16
    """Pairs a step, over all workers."""
    learning_rate: Positive = 1e-3
    """The learning rate of AdamW after the warm-up; it falls to 0 along a cosine."""
    warmup_steps: Count = 50
    """Steps in which the learning rate grows from 0."""
    weight_decay: Annotated[Number, Field(ge=0)] = 0.01
    """The weight decay of AdamW."""
    ema_decay: Fraction = 0.99
    """The decay of the averaged weights, which are the result."""
    horizontal_flip: bool = True
    """Learn from mirrored pairs too; classes whose names differ in the side alone change places."""
    max_zoom: Annotated[Number, Field(ge=1, le=4)] = 1.25
    """Pairs are zoomed in or out by up to this factor, and shifted by what that leaves over; 1: not
    at all."""
    max_degrees: Annotated[Number, Field(ge=0, le=180)] = 10.0
    """Pairs are turned by up to so many degrees."""
    max_light: Annotated[Number, Field(ge=0, le=1)] = 0.3
    """Brightness, contrast and saturation change by up to this share; 0: not at all."""
    onnx: bool | Literal["auto"] = "auto"
    """Writes the result as ONNX, too. auto: where the extra `onnx` is installed."""
    seed: Seed = 0
    """The seed decides the first weights, the order of the pairs, and their augmentation."""

    def learns_from(self, kind: Literal["synthetic", "real"], has_labelled: bool) -> bool:
        """True if pairs of this kind are learned from."""
        if self.pairs == "auto":
            return kind == "synthetic" or has_labelled
        return self.pairs in (kind, "both")

    @property
    def num_real_beside(self) -> int:
        """The number of real pairs of a batch that has synthetic ones, too."""
        return min(max(1, round(self.real_share * self.batch_size)), self.batch_size - 1)
