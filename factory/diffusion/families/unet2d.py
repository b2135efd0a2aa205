"""The U-Net of Ho et al. (2020), returning its decoder's features.

Module names equal diffusers' `UNet2DModel`, so weights travel both ways. Networks that begin here
compute as google/ddpm-* do: sine-then-cosine time embedding with frequencies over half - 1, padding
at the right and bottom before strided convolutions, single-head attention, GroupNorm eps 1e-6.
Those of others compute as their `Convention` says.

Shapes: B batch, C channels, H height, W width. Decoder blocks are numbered from the lowest
resolution: block k = level * (layers_per_block + 1) + layer, and its map is that layer's output,
after attention, and after upsampling where it is the level's last. The middle block's map is what
the decoder begins with.
"""

from collections.abc import Collection, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from factory.config import UNetConfig
from factory.diffusion.families import unet2d_config
from factory.diffusion.families.unet2d_config import GOOGLE, Convention, UNetShape
from factory.diffusion.families.unet2d_layers import (
    Attention,
    Downsample,
    ResidualBlock,
    TimeEmbedding,
    Upsample,
    timestep_embedding,
)
from factory.diffusion.network import Family
from factory.values import MIDDLE_BLOCK


class DownBlock(nn.Module):
    """One level on the way down; yields every map that the way up will concatenate."""

    def __init__(self, shape: UNetShape, level: int) -> None:
        super().__init__()
        widths, groups = shape.block_out_channels, shape.norm_num_groups
        out = widths[level]
        inputs = [widths[max(level - 1, 0)]] + [out] * (shape.layers_per_block - 1)
        attention, last = level in shape.attention_levels, level == len(widths) - 1
        self.resnets = nn.ModuleList(ResidualBlock(shape, width, out) for width in inputs)
        self.attentions = nn.ModuleList(Attention(shape, out, groups) for _ in inputs if attention)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(shape, out)])

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

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        channels, convention = shape.block_out_channels[-1], shape.convention
        scale, groups = convention.mid_block_scale_factor, convention.attn_norm_num_groups
        if groups is None and convention.resnet_time_scale_shift == "default":
            groups = shape.norm_num_groups
        self.resnets = nn.ModuleList(
            ResidualBlock(shape, channels, channels, scale) for _ in range(2)
        )
        self.attentions = nn.ModuleList(
            [Attention(shape, channels, groups, scale)] if convention.add_attention else []
        )

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        x = self.resnets[0](x, time)
        for attention in self.attentions:
            x = attention(x)
        return self.resnets[1](x, time)


class UpBlock(nn.Module):
    """One level on the way up; yields the output of each layer: the decoder's features."""

    def __init__(self, shape: UNetShape, level: int) -> None:
        super().__init__()
        widths, groups = shape.block_out_channels, shape.norm_num_groups
        out, skips = widths[level], skip_channels(shape, level)
        inputs = [widths[min(level + 1, len(widths) - 1)]] + [out] * (len(skips) - 1)
        attention = level in shape.up_attention_levels
        self.resnets = nn.ModuleList(
            ResidualBlock(shape, width + skip, out)
            for width, skip in zip(inputs, skips, strict=True)
        )
        self.attentions = nn.ModuleList(Attention(shape, out, groups) for _ in skips if attention)
        self.upsamplers = nn.ModuleList([] if level == 0 else [Upsample(out)])

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
    """Predicts epsilon or v from (x_t, t); its decoder's maps are the descriptors' source."""

    def __init__(
        self, config: UNetConfig, channels: int = 3, convention: Convention = GOOGLE
    ) -> None:
        """channels: those of the images, 3 for RGB, 1 for grey."""
        super().__init__()
        self.config = config
        self.channels = channels
        self.shape = shape = UNetShape(
            **config.model_dump(), channels=channels, convention=convention
        )
        widths = config.block_out_channels
        self.conv_in = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.time_embedding = TimeEmbedding(widths[0], shape.time_channels)
        levels = range(len(widths))
        self.down_blocks = nn.ModuleList(DownBlock(shape, level) for level in levels)
        self.mid_block = MidBlock(shape)
        self.up_blocks = nn.ModuleList(UpBlock(shape, level) for level in reversed(levels))
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, widths[0], convention.norm_eps)
        self.conv_out = nn.Conv2d(widths[0], channels, 3, padding=1)

    @property
    def block_channels(self) -> dict[int, int]:
        """{block: the channels of its map}, the middle block first."""
        widths, layers = self.config.block_out_channels, self.config.layers_per_block + 1
        channels = [widths[-1], *(width for width in reversed(widths) for _ in range(layers))]
        return dict(enumerate(channels, MIDDLE_BLOCK))

    @property
    def block_downscaling(self) -> dict[int, int]:
        """{block: the factor by which its map is smaller than the image}."""
        num_levels, layers = len(self.config.block_out_channels), self.config.layers_per_block + 1
        scales = [2 ** (num_levels - 1)]
        for level in reversed(range(num_levels)):
            scales += [2**level] * (layers - 1) + [2 ** max(level - 1, 0)]
        return dict(enumerate(scales, MIDDLE_BLOCK))

    @property
    def default_blocks(self) -> tuple[int, ...]:
        """Every decoder block but the first, too coarse, and the last, close to the noise."""
        return tuple(range(1, max(self.block_channels))) or (0,)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) noisy images, (B,) timesteps -> epsilon or v (B, C, H, W)."""
        return self.outputs_and_features(x_t, t, ())[0]

    def features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> dict[int, torch.Tensor]:
        """{block: its map (B, C_k, H_k, W_k)}; nothing after the last block is computed."""
        maps = {}
        for block, x in enumerate(self._decode(x_t, t), MIDDLE_BLOCK):
            if block in blocks:
                maps[block] = x
            if block == max(blocks):
                break
        return maps

    def outputs_and_features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Both from one pass."""
        maps = {}
        last = x_t
        for block, last in enumerate(self._decode(x_t, t), MIDDLE_BLOCK):
            if block in blocks:
                maps[block] = last
        return self.conv_out(F.silu(self.conv_norm_out(last))), maps

    def _decode(self, x_t: torch.Tensor, t: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yields the maps of the middle block and of the decoder blocks, in their order."""
        time = self.time_embedding(timestep_embedding(t, self.shape))
        x = 2 * x_t - 1 if self.shape.convention.center_input_sample else x_t
        skips = [self.conv_in(x)]
        for down_block in self.down_blocks:
            skips.extend(down_block(skips[-1], time))
        last = self.mid_block(skips[-1], time)
        yield last
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
        return unet2d_config.config_json(self.shape, image_size)


def skip_channels(config: UNetConfig, level: int) -> list[int]:
    """Channels of the maps that the decoder's layers at this level concatenate, in its order."""
    widths = config.block_out_channels
    first = widths[max(level - 1, 0)]
    return [widths[level]] * config.layers_per_block + [first]


def _network(shape: UNetShape) -> UNet:
    return UNet(shape.config, shape.channels, shape.convention)


FAMILY = Family(unet2d_config.read_config, _network, unet2d_config.tensor_name)
