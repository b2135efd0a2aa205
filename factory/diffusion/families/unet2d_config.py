"""Reads and writes `unet/config.json` of a `UNet2DModel`, as diffusers does.

Equal tensors do not mean equal semantics, so the config decides: a field that asks for something
that our U-Net does not do is refused by name.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from factory.config import UNetConfig, unet_problems
from factory.diffusion.fields import KIND, refuse_differences, validated
from factory.diffusion.folders import COPY
from factory.errors import Problems, UserError
from factory.values import MAX_IMAGE_SIZE

CLASS_NAME = "UNet2DModel"

# field: (what our U-Net does, what diffusers assumes where the field is absent)
_UNET_FIELDS: dict[str, tuple[Any, Any]] = {
    "center_input_sample": (False, False),
    "time_embedding_type": ("positional", "positional"),
    "time_embedding_dim": (None, None),
    "freq_shift": (1, 0),
    "flip_sin_to_cos": (False, True),
    "mid_block_type": ("UNetMidBlock2D", "UNetMidBlock2D"),
    "mid_block_scale_factor": (1, 1),
    "downsample_padding": (0, 1),
    "downsample_type": ("conv", "conv"),
    "upsample_type": ("conv", "conv"),
    "act_fn": ("silu", "silu"),
    "attention_head_dim": (None, 8),
    "attn_norm_num_groups": (None, None),
    "norm_eps": (1e-6, 1e-5),
    "resnet_time_scale_shift": ("default", "default"),
    "add_attention": (True, True),
    "class_embed_type": (None, None),
    "num_class_embeds": (None, None),
}
_DRAWN = {
    (3, 6): ": it predicts variances, too",
    (4, 4): ": a latent model's, which draws codes",
}
"""The purposes of networks with other channels, for messages."""
_OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_SHAPE_FIELDS = {"block_out_channels", "layers_per_block", "dropout", "norm_num_groups"}
_READ_FIELDS = _SHAPE_FIELDS | {
    "sample_size",
    "in_channels",
    "out_channels",
    "down_block_types",
    "up_block_types",
    "num_train_timesteps",
}
_EMA_FIELDS = {
    "decay",
    "min_decay",
    "optimization_step",
    "update_after_step",
    "use_ema_warmup",
    "inv_gamma",
    "power",
}
"""Fields that diffusers adds to averaged weights: they say how the averages were made."""


class UNetShape(UNetConfig):
    """The shape of a network, and how many channels its images have."""

    channels: Annotated[int, Field(exclude=True)] = 3
    """3 for RGB, 1 for grey. No part of what is hashed, as the weights' own shapes are."""


def read_config(content: Mapping[str, Any], url: str) -> tuple[UNetShape, int]:
    """The network's shape, and the image size in pixels.

    Raises UserError naming all that asks for another convention than ours.
    """
    problems = Problems()
    refuse_differences(content, _UNET_FIELDS, _READ_FIELDS | _EMA_FIELDS, url, problems)
    problems.raise_if_any()
    shape = _shape(content, url)
    return shape, _image_size(content, shape, url)


def _shape(content: Mapping[str, Any], url: str) -> UNetShape:
    widths, downs, ups = (
        content.get(field) for field in ("block_out_channels", "down_block_types", "up_block_types")
    )
    if not isinstance(widths, list) or not isinstance(downs, list):
        raise UserError(f"{url}: block_out_channels and down_block_types must be lists. {COPY}")
    mirrored = [str(name).replace("Down", "Up") for name in reversed(downs)]
    known = all(name in ("DownBlock2D", "AttnDownBlock2D") for name in downs)
    if not known or len(downs) != len(widths) or ups != mirrored:
        raise UserError(
            f"{url}: block types {downs} / {ups} are not implemented: "
            "they must be (Attn)DownBlock2D, one a level, mirrored by (Attn)UpBlock2D. "
            f"{KIND}"
        )
    channels = content.get("in_channels", 3), content.get("out_channels", 3)
    if channels not in ((1, 1), (3, 3)):
        raise UserError(
            f"{url}: in_channels and out_channels must both be 3, or 1 for grey images, and are "
            f"{channels[0]} and {channels[1]}{_DRAWN.get(channels, '')}. {KIND}"
        )
    shape = {field: content[field] for field in _SHAPE_FIELDS if field in content}
    attention = tuple(level for level, name in enumerate(downs) if name == "AttnDownBlock2D")
    shape = {"layers_per_block": 2, **shape, "attention_levels": attention}
    unet = validated(UNetShape, {**shape, "channels": channels[0]}, url)
    problems = Problems()
    for problem in unet_problems(unet):
        problems.add(f"{url}: {problem}. {COPY}")
    problems.raise_if_any()
    return unet


def _image_size(content: Mapping[str, Any], unet: UNetConfig, url: str) -> int:
    size, divisor = content.get("sample_size"), 2 ** (len(unet.block_out_channels) - 1)
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if type(size) is not int or not 1 <= size <= MAX_IMAGE_SIZE or size % divisor:
        raise UserError(
            f"{url}: sample_size = {size!r} must be a whole number, or two equal ones, divisible "
            f"by {divisor}, and at most {MAX_IMAGE_SIZE}. {COPY}"
        )
    return size


def tensor_name(key: str) -> str:
    """The present name of a tensor: attention's had other ones in diffusers' first years."""
    for old, new in _OLD_NAMES.items():
        key = key.replace(f".{old}.", f".{new}.")
    return key


def config_json(shape: UNetConfig, channels: int, image_size: int) -> dict[str, Any]:
    levels = range(len(shape.block_out_channels))
    kinds = ["AttnDownBlock2D" if i in shape.attention_levels else "DownBlock2D" for i in levels]
    return {
        "_class_name": CLASS_NAME,
        "_diffusers_version": "0.36.0",
        "sample_size": image_size,
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": list(shape.block_out_channels),
        "layers_per_block": shape.layers_per_block,
        "down_block_types": kinds,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(kinds)],
        "dropout": shape.dropout,
        "norm_num_groups": shape.norm_num_groups,
        **{field: ours for field, (ours, _) in _UNET_FIELDS.items()},
    }
