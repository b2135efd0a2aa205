"""The protocol of heads, which classify pixels by the network's maps.

Shapes: B images, S image size, C classes, C_m channels of map m, N images to fit on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Self

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from factory.calibration import Calibration
from factory.classes import MAX_CLASSES, Classes, Color
from factory.config import FitConfig
from factory.errors import counted
from factory.labeling.features import Places
from factory.values import MAX_IMAGE_SIZE, Block, Ordinal

Maps = Sequence[torch.Tensor]
"""(B, C_m, h_m, w_m) float32 of B images, in the descriptor's order."""

UNCERTAIN_SHARE = 0.1
"""The share of an image's pixels, the most uncertain ones, whose mean is its uncertainty."""


@dataclass(frozen=True)
class Labels:
    """The labels of B images."""

    soft: torch.Tensor
    """(B, S, S) uint8 class ids: the largest mean probability."""
    hard: torch.Tensor
    """(B, S, S) uint8 class ids: the majority of the members, ties to the smallest id."""
    uncertainty: torch.Tensor
    """(B, S, S) float32: Jensen-Shannon divergence of the members, nats, 0 to ln(C)."""
    soft_overlaps: torch.Tensor
    """(B, 3, C) int64: how far `soft` is expected to overlap with the true masks; see
    `expected_overlaps`."""
    hard_overlaps: torch.Tensor
    """(B, 3, C) int64: the same of `hard`."""

    def masks(self, vote: Literal["soft", "hard"]) -> torch.Tensor:
        """(B, S, S) uint8 class ids, by the vote asked for."""
        return self.soft if vote == "soft" else self.hard

    def overlaps(self, vote: Literal["soft", "hard"]) -> torch.Tensor:
        """(B, 3, C) how far these masks are expected to overlap with the true ones."""
        return self.soft_overlaps if vote == "soft" else self.hard_overlaps

    def image_uncertainty(self) -> torch.Tensor:
        """(B,): mean over the most uncertain tenth of the pixels (the paper's image score)."""
        return image_uncertainty(self.uncertainty.flatten(1))


def image_uncertainty(pixels: torch.Tensor) -> torch.Tensor:
    """(B,): mean over the most uncertain tenth of the pixels (B, P) of each image."""
    top = max(1, round(pixels.shape[1] * UNCERTAIN_SHARE))
    return pixels.topk(top, dim=1).values.mean(dim=1)


class HeadConfig(BaseModel):
    """The meaning of a head's weights: its folder's `config.json`. A kind adds its own fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_names: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_CLASSES)]
    palette: tuple[Color, ...]
    image_size: Annotated[int, Field(ge=1, le=MAX_IMAGE_SIZE)]
    timesteps: Annotated[tuple[Ordinal, ...], Field(min_length=1)]
    blocks: Annotated[tuple[Block, ...], Field(min_length=1)]
    noise_seed: int
    """The seed of the noise that images are noised with for their features."""
    descriptor_dim: Annotated[int, Field(ge=1, le=2**20)]
    ddpm_hash: str
    """The hash of the DDPM whose features the weights belong to."""
    calibration: Calibration | None = None
    """What its votes and their uncertainty mean; None if that was not measured."""
    mirrored: bool = False
    """True if its members vote on the mirrored image, too."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if len(self.palette) != len(self.class_names):
            names, colours = len(self.class_names), len(self.palette)
            raise ValueError(f"{counted(names, 'name')}, {counted(colours, 'colour')}")
        lines = self.calibration and self.calibration.classes
        if lines and len(lines.intercepts) != len(self.class_names):
            lines_told = counted(len(lines.intercepts), "line")
            raise ValueError(f"{counted(len(self.class_names), 'name')}, {lines_told} of classes")
        return self

    @model_serializer(mode="wrap")
    def _hash_last(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The fields in the order that files have them: these three come behind a kind's own."""
        content: dict[str, Any] = serialize(self)
        last = {name: content.pop(name) for name in ("ddpm_hash", "calibration", "mirrored")}
        # Files of heads without the last two do not tell them, as there were none once.
        return {**content, **{name: each for name, each in last.items() if each}}

    @property
    def places(self) -> Places:
        """Where the features are read that the weights are for."""
        return Places(self.timesteps, self.blocks, self.noise_seed)

    @property
    def num_views(self) -> int:
        """The views of an image that members vote on: as it is, and perhaps mirrored."""
        return 2 if self.mirrored else 1

    @property
    def classes(self) -> Classes:
        """Names and colours of the classes."""
        return Classes(self.class_names, self.palette)


class Head(Protocol):
    """A classifier of pixels, in eval mode and frozen."""

    @property
    def config(self) -> HeadConfig:
        """The meaning of its weights."""

    def label(
        self,
        maps: Maps,
        image_size: int,
        mirrored: Maps | None = None,
        within: torch.Tensor | None = None,
    ) -> Labels:
        """Labels B images (S, S) from their maps, in the descriptor's order.

        mirrored: the maps of the mirrored images, which members vote on, too; None where the
        config does not ask for them. within: (B, S, S) bool, the pixels that count for overlaps;
        None if all do.
        """

    def stored_tensors(self) -> Mapping[str, torch.Tensor]:
        """The tensors that its folder holds, by name."""

    def to(self, device: torch.device) -> Self: ...


@dataclass(frozen=True)
class HeadKind:
    """Heads of one architecture: how one is fitted, and how its folder is read."""

    config: type[HeadConfig]
    own_fields: tuple[str, ...]
    """The fields that `config` adds to `HeadConfig`; each is a key of the section `fit`."""
    load: Callable[[Any, Mapping[str, torch.Tensor], str], Head]
    """(config, tensors of the file, its URL) -> the head; raises UserError naming the tensors
    that do not fit."""
    fit: Callable[[Iterable[Maps], torch.Tensor, Any, FitConfig], Head]
    """(maps of the images, a few at a time; masks (N, S, S) uint8; config; settings) -> the
    head, on the device of the maps. Raises UserError where all pixels are ignored."""
