# mypy: disable-error-code="override"
"""The U-Net of DiffuseSeg (github.com/harish-jhr/DiffuseSeg).

It has attention at every level and one map a decoder block; its middle block is all of `mids`. Its
modules have the names of the published `.pth`; what it computes equals DiffuseSeg's own code up to
rounding.

Shapes: B batch, C channels, H height, W width, N = H * W tokens.
"""

import statistics
from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from pydantic import BaseModel, Field, ValidationError
from torch import nn

from factory.config import DiffusionConfig
from factory.diffusion.fields import refuse_differences, validated
from factory.diffusion.folders import COPY
from factory.diffusion.network import Family, Published
from factory.errors import Problems, UserError
from factory.values import MAX_IMAGE_SIZE, MIDDLE_BLOCK, Width

CLASS_NAME = "DiffuseSegUNet"
NUM_HEADS = 4
NUM_GROUPS = 8
HEAD_DIM_STEP = 16
"""Heads are filled up with zeros to a multiple of this: narrower products are slower."""

_Widths = Annotated[tuple[Width, ...], Field(min_length=2, max_length=8)]
_Depth = Annotated[int, Field(ge=1, le=16)]


class Shape(BaseModel, frozen=True, extra="forbid"):
    """Widths and depths of the U-Net; the defaults are those of the published file."""

    down_channels: _Widths = (64, 128, 256, 512)
    mid_channels: _Widths = (512, 512, 256)
    last_channels: Width = 16
    time_channels: Width = 256
    num_down_layers: _Depth = 2
    num_mid_layers: _Depth = 2
    num_up_layers: _Depth = 2

    def fits_together(self) -> bool:
        """True if groups divide every width, and the levels' widths follow each other."""
        widths = (*self.down_channels, *self.mid_channels, self.last_channels, self.time_channels)
        return (
            all(width % NUM_GROUPS == 0 for width in widths)
            and self.mid_channels[0] == self.down_channels[-1]
            and self.mid_channels[-1] == self.down_channels[-2]
        )


class Attention(nn.Module):
    """Self-attention; parameters as in `nn.MultiheadAttention`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * channels, channels))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * channels))
        self.out_proj = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B, N, C) -> (B, N, C)."""
        qkv = F.linear(tokens, self.in_proj_weight, self.in_proj_bias)
        attended = _attend(qkv.unflatten(2, (3, NUM_HEADS, -1)))
        projected: torch.Tensor = self.out_proj(attended.flatten(2))
        return projected


def _attend(qkv: torch.Tensor) -> torch.Tensor:
    """(B, N, 3, heads, D) -> (B, N, heads, D)."""
    head_dim = qkv.shape[-1]
    if qkv.device.type == "cpu":
        # There the fused kernel is fastest in float32, whatever the precision around it.
        qkv = qkv.float()
    if missing := -head_dim % HEAD_DIM_STEP:
        qkv = F.pad(qkv, (0, missing))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    with torch.autocast(qkv.device.type, enabled=False):
        attended = F.scaled_dot_product_attention(q, k, v, scale=head_dim**-0.5)
    return attended.transpose(1, 2)[..., :head_dim]


class Block(nn.Module):
    """Residual blocks, each but the mid's last with attention behind it."""

    def __init__(
        self, channels: tuple[int, int], time: int, num_resnets: int, num_attentions: int
    ) -> None:
        super().__init__()
        in_channels, out = channels
        inputs = [in_channels] + [out] * (num_resnets - 1)
        self.resnet_conv_first = nn.ModuleList(_norm_conv(width, out) for width in inputs)
        self.t_emb_layers = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(time, out)) for _ in inputs
        )
        self.resnet_conv_second = nn.ModuleList(_norm_conv(out, out) for _ in inputs)
        self.residual_input_conv = nn.ModuleList(nn.Conv2d(width, out, 1) for width in inputs)
        self.attention_norms = nn.ModuleList(
            nn.GroupNorm(NUM_GROUPS, out) for _ in range(num_attentions)
        )
        self.attentions = nn.ModuleList(Attention(out) for _ in range(num_attentions))

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W), (B, time) -> (B, out, H, W)."""
        for i in range(len(self.resnet_conv_first)):
            h = self.resnet_conv_first[i](x) + self.t_emb_layers[i](time)[:, :, None, None]
            x = self.resnet_conv_second[i](h) + self.residual_input_conv[i](x)
            if i < len(self.attentions):
                tokens = self.attention_norms[i](x).flatten(2).transpose(1, 2)
                x = x + self.attentions[i](tokens).transpose(1, 2).unflatten(2, x.shape[2:])
        return x


def _norm_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    norm = nn.GroupNorm(NUM_GROUPS, in_channels)
    return nn.Sequential(norm, nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1))


class DownBlock(Block):
    """Ends at half the resolution."""

    def __init__(self, channels: tuple[int, int], time: int, num_layers: int) -> None:
        super().__init__(channels, time, num_layers, num_layers)
        self.down_sample_conv = nn.Conv2d(channels[1], channels[1], 4, stride=2, padding=1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W), (B, time) -> (B, out, H/2, W/2)."""
        return self.down_sample_conv(super().forward(x, time))


class UpBlock(Block):
    """Begins at twice the resolution, beside the map that its down block began with."""

    def __init__(self, channels: tuple[int, int], time: int, num_layers: int) -> None:
        skip, out = channels
        super().__init__((2 * skip, out), time, num_layers, num_layers)
        self.up_sample_conv = nn.ConvTranspose2d(skip, skip, 4, stride=2, padding=1)

    def forward(self, x: torch.Tensor, skip: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        """(B, skip, H/2, W/2), (B, skip, H, W), (B, time) -> (B, out, H, W)."""
        return super().forward(torch.cat([self.up_sample_conv(x), skip], dim=1), time)


class DiffuseSegUNet(nn.Module):
    """Predicts epsilon from (x_t, t); the maps of its decoder blocks, the lowest resolution first,
    are the descriptors' source. Used as `factory.diffusion.families.unet2d.UNet` is.
    """

    channels = 3
    """Its images are RGB."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        time, down, last = shape.time_channels, shape.down_channels, shape.last_channels
        self.t_proj = nn.Sequential(nn.Linear(time, time), nn.SiLU(), nn.Linear(time, time))
        self.conv_in = nn.Conv2d(3, down[0], 3, padding=1)
        self.downs = nn.ModuleList(
            DownBlock(channels, time, shape.num_down_layers) for channels in pairwise(down)
        )
        self.mids = nn.ModuleList(
            Block(channels, time, shape.num_mid_layers + 1, shape.num_mid_layers)
            for channels in pairwise(shape.mid_channels)
        )
        ups = zip(down[-2::-1], (*down[-3::-1], last), strict=True)
        self.ups = nn.ModuleList(UpBlock(channels, time, shape.num_up_layers) for channels in ups)
        self.norm_out = nn.GroupNorm(NUM_GROUPS, last)
        self.conv_out = nn.Conv2d(last, 3, 3, padding=1)

    @property
    def block_channels(self) -> dict[int, int]:
        """{block: the channels of its map}, the middle block first."""
        shape = self.shape
        channels = (shape.mid_channels[-1], *shape.down_channels[-3::-1], shape.last_channels)
        return dict(enumerate(channels, MIDDLE_BLOCK))

    @property
    def block_downscaling(self) -> dict[int, int]:
        """{block: the factor by which its map is smaller than the image}."""
        scales = (2**level for level in reversed(range(len(self.ups) + 1)))
        return dict(enumerate(scales, MIDDLE_BLOCK))

    @property
    def default_blocks(self) -> tuple[int, ...]:
        """Every decoder block, as DiffuseSeg's own classifiers read them."""
        return tuple(range(len(self.ups)))

    def forward(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) noisy images, (B,) integer timesteps -> predicted epsilon (B, 3, H, W)."""
        return self.outputs_and_features(x_t, t, ())[0]

    def features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> dict[int, torch.Tensor]:
        """{block: its map (B, C_k, H_k, W_k)}."""
        maps = self._decode(x_t, t)
        return {block: maps[block] for block in blocks}

    def outputs_and_features(
        self, x_t: torch.Tensor, t: torch.Tensor, blocks: Collection[int]
    ) -> tuple[torch.Tensor, dict[int, torch.Tensor]]:
        """Both from one pass."""
        maps = self._decode(x_t, t)
        epsilon = self.conv_out(F.silu(self.norm_out(maps[len(self.ups) - 1])))
        return epsilon, {block: maps[block] for block in blocks}

    def _decode(self, x_t: torch.Tensor, t: torch.Tensor) -> dict[int, torch.Tensor]:
        """{block: its map} of the middle block and of every decoder block."""
        time = self.t_proj(_timestep_embedding(t, self.shape.time_channels))
        x = self.conv_in(x_t.contiguous(memory_format=torch.channels_last))
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x, time)
        for mid in self.mids:
            x = mid(x, time)
        maps = {MIDDLE_BLOCK: x}
        for block, up in enumerate(self.ups):
            maps[block] = x = up(x, skips.pop(), time)
        return maps

    def pass_bytes(self, image_size: int, bf16: bool) -> int:
        """An estimate of the memory that a pass of one image takes at its peak, uncompiled.

        Around its attention a block of the way down holds about nine numbers a channel and place,
        and in bfloat16 one more in float32, beside the maps that wait for the way up.
        """
        item, waiting, peak = 2 if bf16 else 4, 0, 0
        held = 9 * item + (4 if bf16 else 0)
        for level, (skip, width) in enumerate(pairwise(self.shape.down_channels)):
            pixels = (image_size >> level) ** 2
            waiting += skip * pixels * item
            peak = max(peak, waiting + held * width * pixels)
        return peak

    def config_json(self, image_size: int) -> dict[str, Any]:
        """The content of `unet/config.json`."""
        shape = self.shape.model_dump(mode="json")
        return {"_class_name": CLASS_NAME, "sample_size": image_size, **shape}


def _timestep_embedding(t: torch.Tensor, dim: int) -> torch.Tensor:
    """(B,) timesteps -> (B, dim): sine, then cosine, of t / 10000^(2 i / dim)."""
    half = dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t[:, None] / 10_000**exponent
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def published_shape(tensors: Mapping[str, torch.Tensor], url: str) -> Shape:
    """The shape that the tensors of a published file tell.

    Each width is the one that most vectors of a block agree on, so that a bad tensor stands out.
    Raises UserError where they are no such network's.
    """

    def count(prefix: str) -> int:
        names = (key.removeprefix(prefix) for key in tensors if key.startswith(prefix))
        return len({name.partition(".")[0] for name in names})

    def width(*prefixes: str) -> int:
        found = [len(v) for k, v in tensors.items() if v.ndim == 1 and k.startswith(prefixes)]
        return statistics.mode(found) if found else 0

    stem = width("conv_in.", "downs.0.resnet_conv_first.0.0.")
    down = (stem, *(width(f"downs.{i}.") for i in range(count("downs."))))
    mid = (down[-1], *(width(f"mids.{i}.") for i in range(count("mids."))))
    found = {
        "down_channels": down,
        "mid_channels": mid,
        "last_channels": width(f"ups.{count('ups.') - 1}.", "norm_out."),
        "time_channels": width("t_proj."),
        "num_down_layers": count("downs.0.resnet_conv_first."),
        "num_mid_layers": count("mids.0.attentions."),
        "num_up_layers": count("ups.0.resnet_conv_first."),
    }
    try:
        shape = Shape.model_validate(found)
    except ValidationError:
        shape = None
    if shape is None or not shape.fits_together():
        raise UserError(
            f"{url}: is no U-Net of DiffuseSeg's: its tensors tell {found}. Name a .pth file "
            "such as DDPM_Celeb_151.pth."
        )
    return shape


def read_config(content: Mapping[str, Any], url: str) -> tuple[Shape, int]:
    """The network's shape, and the image size in pixels.

    Raises UserError where no network has this shape.
    """
    fields, problems = Shape.model_fields, Problems()
    refuse_differences(content, {}, {*fields, "sample_size"}, url, problems)
    problems.raise_if_any()
    shape = validated(Shape, {key: content[key] for key in fields if key in content}, url)
    if not shape.fits_together():
        raise UserError(
            f"{url}: no network has these widths: {NUM_GROUPS} must divide each, mid_channels "
            f"begin with the last of down_channels and end with the last but one. {COPY}"
        )
    size, divisor = content.get("sample_size"), 2 ** (len(shape.down_channels) - 1)
    if type(size) is not int or not 1 <= size <= MAX_IMAGE_SIZE or size % divisor:
        raise UserError(
            f"{url}: sample_size = {size!r} must be a whole number divisible by {divisor}, and "
            f"at most {MAX_IMAGE_SIZE}. {COPY}"
        )
    return shape, size


FAMILY = Family(
    read_config,
    DiffuseSegUNet,
    published=Published(
        authors="DiffuseSeg",
        example="DDPM_Celeb_151.pth",
        prefix="downs.",
        shape=published_shape,
        diffusion=DiffusionConfig(num_timesteps=1000, beta_start=1e-4, beta_end=0.02),
        image_size=64,
    ),
)
