"""The layers of the U-Net of `factory.diffusion.families.unet2d`.

Module names equal diffusers', and so do the operations, which the convention of a shape chooses.
Shapes: B batch, C channels, H height, W width.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from factory.diffusion.families.unet2d_config import UNetShape

Activation = Callable[[torch.Tensor], torch.Tensor]

ACTIVATIONS: dict[str, Activation] = {
    "silu": F.silu,
    "swish": F.silu,
    "mish": F.mish,
    "gelu": F.gelu,
    "relu": F.relu,
}
"""The functions that `act_fn` names."""


def timestep_embedding(t: torch.Tensor, shape: UNetShape) -> torch.Tensor:
    """(B,) timesteps -> (B, C): sines and cosines of exp(-ln(10000) i / (C/2 - freq_shift)) t,
    where C is the first width."""
    half, convention = shape.block_out_channels[0] // 2, shape.convention
    exponent = torch.arange(half, dtype=torch.float32, device=t.device)
    exponent = exponent / (half - convention.freq_shift)
    angles = t.float()[:, None] * torch.exp(-math.log(10_000) * exponent)
    parts = [angles.sin(), angles.cos()]
    return torch.cat(parts[::-1] if convention.flip_sin_to_cos else parts, dim=1)


class TimeEmbedding(nn.Module):
    """Two linear layers, (B, in) -> (B, out)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_channels, out_channels)
        self.linear_2 = nn.Linear(out_channels, out_channels)

    def forward(self, embedding: torch.Tensor) -> torch.Tensor:
        return self.linear_2(F.silu(self.linear_1(embedding)))


class ResidualBlock(nn.Module):
    """Two convolutions around a shortcut: (B, in, H, W), (B, time) -> (B, out, H, W)."""

    def __init__(
        self, shape: UNetShape, in_channels: int, out_channels: int, scale: float = 1
    ) -> None:
        """scale: the sum is divided by it."""
        super().__init__()
        groups, eps = shape.norm_num_groups, shape.convention.norm_eps
        self.activation = ACTIVATIONS[shape.convention.act_fn]
        self.scales = shape.convention.resnet_time_scale_shift == "scale_shift"
        self.scale = scale
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        projected = 2 * out_channels if self.scales else out_channels
        self.time_emb_proj = nn.Linear(shape.time_channels, projected)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=eps)
        self.dropout = nn.Dropout(shape.dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = (
            nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None
        )

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.conv1(self.activation(self.norm1(x)))
        embedded = self.time_emb_proj(self.activation(time))[:, :, None, None]
        if self.scales:
            factor, offset = embedded.chunk(2, dim=1)
            h = self.norm2(h) * (1 + factor) + offset
        else:
            h = self.norm2(h + embedded)
        h = self.conv2(self.dropout(self.activation(h)))
        h = h + (x if self.conv_shortcut is None else self.conv_shortcut(x))
        return h if self.scale == 1 else h / self.scale


class Attention(nn.Module):
    """Self-attention over the H * W positions, residual; each head has its share of channels."""

    def __init__(
        self, shape: UNetShape, channels: int, num_groups: int | None, scale: float = 1
    ) -> None:
        """num_groups: None to normalise nothing; scale: the sum is divided by it."""
        super().__init__()
        self.scale = scale
        self.head_channels = shape.convention.attention_head_dim or channels
        # Channels that make no whole head are left out, as in diffusers.
        inner = channels // self.head_channels * self.head_channels
        self.group_norm = (
            nn.GroupNorm(num_groups, channels, eps=shape.convention.norm_eps)
            if num_groups
            else None
        )
        self.to_q = nn.Linear(channels, inner)
        self.to_k = nn.Linear(channels, inner)
        self.to_v = nn.Linear(channels, inner)
        self.to_out = nn.ModuleList([nn.Linear(inner, channels)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = (x if self.group_norm is None else self.group_norm(x)).flatten(2).transpose(1, 2)
        q, k, v = (
            project(tokens).unflatten(2, (-1, self.head_channels)).transpose(1, 2)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = x + self.to_out[0](attended).transpose(1, 2).unflatten(2, x.shape[2:])
        return h if self.scale == 1 else h / self.scale


class Downsample(nn.Module):
    """A strided convolution, (B, C, H, W) -> (B, C, H/2, W/2)."""

    def __init__(self, shape: UNetShape, channels: int) -> None:
        super().__init__()
        self.padding = shape.convention.downsample_padding
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=self.padding)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x if self.padding else F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest neighbours and a convolution, (B, C, H, W) -> (B, C, 2H, 2W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
