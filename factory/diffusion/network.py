"""The protocol of networks, whichever family they are of.

Shapes: B batch, C channels, H height, W width, C_k, H_k, W_k those of block k.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from pydantic import BaseModel
from torch import nn

from factory.config import DiffusionConfig
from factory.values import MIDDLE_BLOCK, block_word

EpsilonFn = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(x_t (B, C, H, W), t (B,)) -> epsilon (B, C, H, W)."""

FeaturesFn = Callable[[torch.Tensor, torch.Tensor, Sequence[int]], dict[int, torch.Tensor]]
"""(x_t (B, C, H, W), t (B,), blocks) -> {block: its map (B, C_k, H_k, W_k)}."""

NetworkFn = Callable[
    [torch.Tensor, torch.Tensor, Sequence[int]], tuple[torch.Tensor, dict[int, torch.Tensor]]
]
"""The same arguments -> (what the network predicts (B, C, H, W), maps)."""


class FeatureNetwork(Protocol):
    """A network that predicts the noise, or v, and whose decoder's maps describe the pixels.

    Its decoder blocks are numbered from 0 on in the order in which they are computed. If it has a
    middle block before them, that is MIDDLE_BLOCK. Everything else of it is an `nn.Module`'s.
    """

    @property
    def channels(self) -> int:
        """The channels C of its images: 3 for RGB, 1 for grey."""

    @property
    def block_channels(self) -> Mapping[int, int]:
        """{block: the channels C_k of its map}, of all blocks in ascending order."""

    @property
    def block_downscaling(self) -> Mapping[int, int]:
        """{block: the factor by which its map is smaller than the image}, of the same blocks."""

    @property
    def default_blocks(self) -> tuple[int, ...]:
        """The blocks that a pixel's descriptor is read from if the config names none."""

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) noisy images, (B,) timesteps -> (B, C, H, W) what it predicts: epsilon or v,
        as it was trained for (`factory.diffusion.prediction`)."""

    def features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> dict[int, torch.Tensor]:
        """{block: its map (B, C_k, H_k, W_k)}."""

    def outputs_and_features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Both from one pass."""

    def pass_bytes(self, image_size: int, bf16: bool) -> int:
        """An estimate of the memory that a pass of one image takes at its peak, uncompiled."""

    def config_json(self, image_size: int) -> dict[str, Any]:
        """The content of `unet/config.json`, of which `_class_name` names the family."""

    def parameters(self) -> Iterator[nn.Parameter]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any], *, assign: bool) -> Any: ...
    def to(self, *args: Any, **kwargs: Any) -> Self: ...
    def eval(self) -> Self: ...
    def requires_grad_(self, requires_grad: bool) -> Self: ...


@dataclass(frozen=True)
class Published:
    """Checkpoints of a family as its authors published them: tensors without a config."""

    authors: str
    example: str
    """The name of such a file."""
    prefix: str
    """A prefix of tensor names that occurs in these checkpoints and in no other family's."""
    shape: Callable[[Mapping[str, torch.Tensor], str], BaseModel]
    """(tensors, URL of the file) -> the shape of their network; raises UserError."""
    diffusion: DiffusionConfig
    image_size: int


@dataclass(frozen=True)
class Family:
    """Networks of one architecture, and how a model folder describes them."""

    read_config: Callable[[Mapping[str, Any], str], tuple[BaseModel, int]]
    """(content of `unet/config.json`, its URL) -> the network's shape, and the image size in
    pixels. Raises UserError naming all that asks for something else than the family does."""
    network: Callable[[Any], FeatureNetwork]
    """Shape -> a network with random weights."""
    tensor_name: Callable[[str], str] = str
    """The name that the network has for a tensor of a file."""
    published: Published | None = None


def blocks_in_words(network: FeatureNetwork) -> str:
    """The blocks that a network has."""
    of_decoder = f"0..{max(network.block_channels)}"
    if MIDDLE_BLOCK not in network.block_channels:
        return of_decoder
    return f"{block_word(MIDDLE_BLOCK)}, {of_decoder}"


def descriptor_dim(network: FeatureNetwork, timesteps: Sequence[int], blocks: Sequence[int]) -> int:
    """The number of channels of a pixel's descriptor."""
    return len(timesteps) * sum(network.block_channels[block] for block in blocks)
