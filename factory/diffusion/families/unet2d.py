"""The U-Net of Ho et al. (2020), returning its decoder's features.

Module names equal diffusers' `UNet2DModel`, so weights travel both ways; semantics are the
google/ddpm-* convention: sine-then-cosine time embedding with frequencies over half - 1, padding
at the right and bottom before strided convolutions, single-head attention, GroupNorm eps 1e-6.

Shapes: B batch, C channels, H height, W width. Decoder blocks are numbered from the lowest
resolution: block k = level * (layers_per_block + 1) + layer, and its map is that layer's output,
after attention, and after upsampling where it is the level's last.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from factory.config import UNetConfig
from factory.diffusion.families import unet2d_config
from factory.diffusion.families.unet2d_config import UNetShape
from factory.diffusion.network import Family

NORM_EPS = 1e-6


def timestep_embedding(t: torch.Tensor, dim: int) -> torch.Tensor:
    """(B,) timesteps -> (B, dim): sine, then cosine, of exp(-ln(10000) i / (dim/2 - 1)) t."""
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / (half - 1)
    angles = t.float()[:, None] * torch.exp(-math.log(10_000) * exponent)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


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

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int, time: int) -> None:
        super().__init__()
        groups = config.norm_num_groups
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=NORM_EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(time, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = (
            nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None
        )

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time_emb_proj(F.silu(time))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Attention(nn.Module):
    """Single-head self-attention over the H * W positions, residual."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(config.norm_num_groups, channels, eps=NORM_EPS)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)
        q, k, v = (project(tokens)[:, None] for project in (self.to_q, self.to_k, self.to_v))
        attended = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return x + self.to_out[0](attended).transpose(1, 2).unflatten(2, x.shape[2:])


class Downsample(nn.Module):
    """A strided convolution, (B, C, H, W) -> (B, C, H/2, W/2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Nearest neighbours and a convolution, (B, C, H, W) -> (B, C, 2H, 2W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class DownBlock(nn.Module):
    """One level on the way down; yields every map that the way up will concatenate."""

    def __init__(
        self,
        config: UNetConfig,
        channels: tuple[int, int],
        time: int,
        attention: bool,
        last: bool,
    ) -> None:
        super().__init__()
        in_channels, out = channels
        widths = [in_channels] + [out] * (config.layers_per_block - 1)
        self.resnets = nn.ModuleList(ResidualBlock(config, width, out, time) for width in widths)
        self.attentions = nn.ModuleList(Attention(config, out) for _ in widths if attention)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(out)])

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> Iterator[torch.Tensor]:
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, time)
            if self.attentions:
                x = self.attentions[i](x)
            yield x
        for downsample in self.downsamplers:
            x = downsample(x)
            yield x


class MidBlock(nn.Module):
    """Residual, attention, residual at the lowest resolution."""

    def __init__(self, config: UNetConfig, channels: int, time: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResidualBlock(config, channels, channels, time) for _ in range(2)
        )
        self.attentions = nn.ModuleList([Attention(config, channels)])

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x, time)), time)


class UpBlock(nn.Module):
    """One level on the way up; yields the output of each layer: the decoder's features."""

    def __init__(
        self,
        config: UNetConfig,
        in_channels: int,
        out_channels: int,
        skips: Sequence[int],
        time: int,
        attention: bool,
        last: bool,
    ) -> None:
        super().__init__()
        inputs = [in_channels] + [out_channels] * (len(skips) - 1)
        self.resnets = nn.ModuleList(
            ResidualBlock(config, width + skip, out_channels, time)
            for width, skip in zip(inputs, skips, strict=True)
        )
        self.attentions = nn.ModuleList(Attention(config, out_channels) for _ in skips if attention)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(out_channels)])

    def forward(
        self, x: torch.Tensor, skips: list[torch.Tensor], time: torch.Tensor
    ) -> Iterator[torch.Tensor]:
        for i, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], dim=1), time)
            if self.attentions:
                x = self.attentions[i](x)
            if i == len(self.resnets) - 1:
                for upsample in self.upsamplers:
                    x = upsample(x)
            yield x


class UNet(nn.Module):
    """Predicts epsilon from (x_t, t); its decoder's maps are the descriptors' source."""

    def __init__(self, config: UNetConfig, channels: int = 3) -> None:
        """channels: those of the images, 3 for RGB, 1 for grey."""
        super().__init__()
        self.config = config
        self.channels = channels
        widths = config.block_out_channels
        time = 4 * widths[0]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], time)
        self.down_blocks = nn.ModuleList(
            DownBlock(
                config,
                (widths[max(level - 1, 0)], widths[level]),
                time,
                level in config.attention_levels,
                level == last,
            )
            for level in range(len(widths))
        )
        self.mid_block = MidBlock(config, widths[-1], time)
        self.up_blocks = nn.ModuleList(
            UpBlock(
                config,
                widths[min(level + 1, last)],
                widths[level],
                skip_channels(config, level),
                time,
                level in config.attention_levels,
                level == 0,
            )
            for level in reversed(range(len(widths)))
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[0], eps=NORM_EPS)
        self.conv_out = nn.Conv2d(widths[0], channels, 3, padding=1)

    @property
    def block_channels(self) -> list[int]:
        """The channels of every decoder block's map."""
        layers = self.config.layers_per_block + 1
        return [width for width in reversed(self.config.block_out_channels) for _ in range(layers)]

    @property
    def block_downscaling(self) -> list[int]:
        """The factor by which every decoder block's map is smaller than the image."""
        num_levels, layers = len(self.config.block_out_channels), self.config.layers_per_block + 1
        scales = []
        for level in reversed(range(num_levels)):
            scales += [2**level] * (layers - 1) + [2 ** max(level - 1, 0)]
        return scales

    @property
    def default_blocks(self) -> tuple[int, ...]:
        """Every decoder block but the first, too coarse, and the last, close to the noise."""
        return tuple(range(1, len(self.block_channels) - 1)) or (0,)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) noisy images, (B,) timesteps -> predicted epsilon (B, C, H, W)."""
        return self.epsilon_and_features(x_t, t, ())[0]

    def features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> dict[int, torch.Tensor]:
        """{block: its map (B, C_k, H_k, W_k)}; nothing after the last block is computed."""
        maps = {}
        for block, x in enumerate(self._decode(x_t, t)):
            if block in blocks:
                maps[block] = x
            if block == max(blocks):
                break
        return maps

    def epsilon_and_features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Both from one pass."""
        maps = {}
        last = x_t
        for block, last in enumerate(self._decode(x_t, t)):
            if block in blocks:
                maps[block] = last
        return self.conv_out(F.silu(self.conv_norm_out(last))), maps

    def _decode(self, x_t: torch.Tensor, t: torch.Tensor) -> Iterator[torch.Tensor]:
        time = self.time_embedding(timestep_embedding(t, self.config.block_out_channels[0]))
        skips = [self.conv_in(x_t)]
        for down_block in self.down_blocks:
            skips.extend(down_block(skips[-1], time))
        last = self.mid_block(skips[-1], time)
        for up_block in self.up_blocks:
            for last in up_block(last, skips, time):  # noqa: B020 - each level goes on from it
                yield last

    def pass_bytes(self, image_size: int, bf16: bool) -> int:
        """An estimate of the memory that a pass of one image takes at its peak, uncompiled.

        Each residual block on the way up holds the maps that are still to be joined, the one that
        comes from below, both joined, and these again as a normalisation takes them, row-major and
        in float32, and as it gives them.
        """
        config = self.config
        item, last = 2 if bf16 else 4, len(config.block_out_channels) - 1
        normalised = 4 + 4 + (4 if bf16 else 0)
        pixels = [(image_size >> level) ** 2 for level in range(last + 1)]
        waiting = 0
        peak = 0
        for level in range(last + 1):
            below = config.block_out_channels[min(level + 1, last)]
            for i, skip in enumerate(reversed(skip_channels(config, level))):
                waiting += skip * pixels[level] * item
                # On the way up the first to be joined is the last that was kept.
                first = i == config.layers_per_block
                width = below if first else config.block_out_channels[level]
                joined = (width + skip) * pixels[level]
                held = waiting + width * pixels[level] * item
                peak = max(peak, held + joined * (item + normalised))
        return peak

    def config_json(self, image_size: int) -> dict[str, Any]:
        """The content of `unet/config.json`."""
        return unet2d_config.config_json(self.config, self.channels, image_size)


def skip_channels(config: UNetConfig, level: int) -> list[int]:
    """Channels of the maps that the decoder's layers at this level concatenate, in its order."""
    widths = config.block_out_channels
    first = widths[max(level - 1, 0)]
    return [widths[level]] * config.layers_per_block + [first]


def _network(shape: UNetShape) -> UNet:
    return UNet(UNetConfig(**shape.model_dump()), shape.channels)


FAMILY = Family(unet2d_config.read_config, _network, unet2d_config.tensor_name)
