"""Reads and writes `unet/config.json` of a `UNet2DModel`, as diffusers does.

Equal tensors do not mean equal semantics, so the config decides: what it says of how the network
computes is followed, and a field that asks for something that our U-Net does not do is refused by
name.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from factory.config import UNetConfig, unet_problems
from factory.diffusion.fields import KIND, refuse_differences, validated
from factory.diffusion.folders import COPY
from factory.errors import Problems, UserError
from factory.values import MAX_IMAGE_SIZE, Count, Ordinal, Positive, Section, Width

CLASS_NAME = "UNet2DModel"


class Convention(Section):
    """How a network computes, beside its shape; names as in diffusers' `UNet2DModel`.

    The defaults are those of the google/ddpm-* models, and of all networks that begin here.
    """

    center_input_sample: bool = False
    """True if x_t is doubled and lowered by 1 before all else."""
    time_embedding_dim: Width | None = None
    """Channels of the embedded timestep; 4 times the first width if absent."""
    freq_shift: Annotated[float, Field(ge=0, le=1)] = 1
    """The frequencies of a timestep's n sines are 10000 ** (-i / (n - freq_shift))."""
    flip_sin_to_cos: bool = False
    """True if the cosines of a timestep stand before its sines."""
    mid_block_scale_factor: Positive = 1
    """The sums of shortcuts in the middle block are divided by it."""
    downsample_padding: Literal[0, 1] = 0
    """The zeros at each side before strided convolutions; 0: one at the right and the bottom."""
    act_fn: Literal["silu", "swish", "mish", "gelu", "relu"] = "silu"
    """The activation of residual blocks; swish is silu."""
    attention_head_dim: Count | None = None
    """Channels of a head of the attention; absent: one head of all channels."""
    attn_norm_num_groups: Count | None = None
    """Groups of channels that the middle block's attention normalises together. Absent: those of
    residual blocks, or with scale_shift no normalisation."""
    norm_eps: Positive = 1e-6
    """What normalisations add to a variance."""
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    """default adds the embedded timestep to the maps; scale_shift scales and shifts them by it."""
    add_attention: bool = True
    """True if the middle block has attention."""
    up_attention_levels: tuple[Ordinal, ...] | None = None
    """Levels with self-attention on the way up; absent: those of the way down."""

    @property
    def differences(self) -> dict[str, Any]:
        """The fields that are not those of google/ddpm-*."""
        return self.model_dump(exclude_defaults=True)


GOOGLE = Convention()
"""The convention of the google/ddpm-* models."""
_ABSENT: dict[str, Any] = {
    "freq_shift": 0,
    "flip_sin_to_cos": True,
    "downsample_padding": 1,
    "attention_head_dim": 8,
    "norm_eps": 1e-5,
}
"""Fields of `Convention` that mean something else to diffusers where they are absent."""
_CONVENTION_FIELDS = set(Convention.model_fields) - {"up_attention_levels"}

# field: (what our U-Net does, what diffusers assumes where the field is absent)
_UNET_FIELDS: dict[str, tuple[Any, Any]] = {
    "time_embedding_type": ("positional", "positional"),
    "mid_block_type": ("UNetMidBlock2D", "UNetMidBlock2D"),
    "downsample_type": ("conv", "conv"),
    "upsample_type": ("conv", "conv"),
    "class_embed_type": (None, None),
    "num_class_embeds": (None, None),
}
_MEANING = {
    "time_embedding_type": "such a network is told variances, not timesteps",
    "class_embed_type": "it is a class-conditional network, which draws what a label says",
    "num_class_embeds": "it is a class-conditional network, which draws what a label says",
}
"""What fields of other values make of a network, for messages."""
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
    """The shape of a network, how many channels its images have, and its convention."""

    channels: Annotated[int, Field(exclude=True)] = 3
    """3 for RGB, 1 for grey. No part of what is hashed, as the weights' own shapes are."""
    convention: Annotated[Convention, Field(exclude=True)] = GOOGLE
    """Hashed where it is not that of google/ddpm-*."""

    @model_serializer(mode="wrap")
    def _with_differences(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        differences = self.convention.differences
        return {**fields(self), **({"convention": differences} if differences else {})}

    @property
    def config(self) -> UNetConfig:
        """The shape alone."""
        return UNetConfig(**{field: getattr(self, field) for field in UNetConfig.model_fields})

    @property
    def time_channels(self) -> int:
        """Channels of the embedded timestep."""
        return self.convention.time_embedding_dim or 4 * self.block_out_channels[0]

    @property
    def up_attention_levels(self) -> tuple[int, ...]:
        """Levels with self-attention on the way up."""
        own = self.convention.up_attention_levels
        return self.attention_levels if own is None else own


def read_config(content: Mapping[str, Any], url: str) -> tuple[UNetShape, int]:
    """The network's shape, and the image size in pixels.

    Raises UserError naming all that asks for something that our network does not do.
    """
    problems = Problems()
    known = _READ_FIELDS | _CONVENTION_FIELDS | _EMA_FIELDS
    refuse_differences(content, _UNET_FIELDS, known, url, problems, _MEANING)
    with problems.collected():
        convention = _convention(content, url)
    problems.raise_if_any()
    shape = _shape(content, convention, url)
    return shape, _image_size(content, shape, url)


def _convention(content: Mapping[str, Any], url: str) -> Convention:
    """The convention of a config, but for its levels. Raises UserError."""
    given = {field: content[field] for field in _CONVENTION_FIELDS if field in content}
    # To diffusers, too, a switch that is null is off.
    off = {
        field: False
        for field, value in given.items()
        if value is None and isinstance(getattr(GOOGLE, field), bool)
    }
    return validated(Convention, {**_ABSENT, **given, **off}, url, KIND)


def _shape(content: Mapping[str, Any], convention: Convention, url: str) -> UNetShape:
    widths, downs, ups = (
        content.get(field) for field in ("block_out_channels", "down_block_types", "up_block_types")
    )
    if not isinstance(widths, list) or not isinstance(downs, list):
        raise UserError(f"{url}: block_out_channels and down_block_types must be lists. {COPY}")
    down_levels = _attention_levels(downs, "Down")
    up_levels = _attention_levels(ups[::-1] if isinstance(ups, list) else ups, "Up")
    if down_levels is None or up_levels is None or not len(downs) == len(widths) == len(ups):
        raise UserError(
            f"{url}: block types {downs} / {ups} are not implemented: they must be "
            f"(Attn)DownBlock2D and (Attn)UpBlock2D, one a level. {KIND}"
        )
    channels = content.get("in_channels", 3), content.get("out_channels", 3)
    if channels not in ((1, 1), (3, 3)):
        raise UserError(
            f"{url}: in_channels and out_channels must both be 3, or 1 for grey images, and are "
            f"{channels[0]} and {channels[1]}{_DRAWN.get(channels, '')}. {KIND}"
        )
    shape = {field: content[field] for field in _SHAPE_FIELDS if field in content}
    shape = {"layers_per_block": 2, **shape, "attention_levels": down_levels}
    unet = validated(UNetShape, {**shape, "channels": channels[0]}, url)
    if up_levels != down_levels:
        convention = convention.model_copy(update={"up_attention_levels": up_levels})
    problems = Problems()
    for problem in (*unet_problems(unet), *_attention_problems(unet, convention)):
        problems.add(f"{url}: {problem}. {COPY}")
    problems.raise_if_any()
    return unet.model_copy(update={"convention": convention})


def _attention_levels(kinds: Any, way: str) -> tuple[int, ...] | None:
    """The levels of blocks with attention, of a list from full resolution down; None if it is no
    list of blocks that are implemented. way: Down or Up."""
    attending, plain = f"Attn{way}Block2D", f"{way}Block2D"
    if not isinstance(kinds, list) or any(kind not in (attending, plain) for kind in kinds):
        return None
    return tuple(level for level, kind in enumerate(kinds) if kind == attending)


def _attention_problems(unet: UNetShape, convention: Convention) -> list[str]:
    """Returns the reasons why no attention of a network can be of this convention."""
    found = []
    widths, levels = unet.block_out_channels, set(unet.attention_levels)
    attending = {widths[level] for level in levels.union(convention.up_attention_levels or ())}
    if convention.add_attention:
        attending.add(widths[-1])
    if (head := convention.attention_head_dim) and attending and head > min(attending):
        found.append(
            f"attention_head_dim = {head} is more than the {min(attending)} channels of a level "
            "with attention"
        )
    if (groups := convention.attn_norm_num_groups) and widths[-1] % groups:
        found.append(
            f"block_out_channels: {widths[-1]} must be divisible by attn_norm_num_groups = {groups}"
        )
    return found


def _image_size(content: Mapping[str, Any], unet: UNetConfig, url: str) -> int:
    size, divisor = content.get("sample_size"), 2 ** (len(unet.block_out_channels) - 1)
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if type(size) is not int or not 1 <= size <= MAX_IMAGE_SIZE or size % divisor:
        remedy = (
            "Write there the height and width in pixels of the images that it was trained on."
            if size is None
            else COPY
        )
        raise UserError(
            f"{url}: sample_size = {size!r} must be a whole number, or two equal ones, divisible "
            f"by {divisor}, and at most {MAX_IMAGE_SIZE}. {remedy}"
        )
    return size


def tensor_name(key: str) -> str:
    """The present name of a tensor: attention's had other ones in diffusers' first years."""
    for old, new in _OLD_NAMES.items():
        key = key.replace(f".{old}.", f".{new}.")
    return key


def config_json(shape: UNetShape, image_size: int) -> dict[str, Any]:
    """The content of the `unet/config.json` of a network."""
    convention = {**GOOGLE.model_dump(), **shape.convention.differences}
    del convention["up_attention_levels"]
    return {
        "_class_name": CLASS_NAME,
        "_diffusers_version": "0.36.0",
        "sample_size": image_size,
        "in_channels": shape.channels,
        "out_channels": shape.channels,
        "block_out_channels": list(shape.block_out_channels),
        "layers_per_block": shape.layers_per_block,
        "down_block_types": _kinds(shape, shape.attention_levels, "Down"),
        "up_block_types": _kinds(shape, shape.up_attention_levels, "Up")[::-1],
        "dropout": shape.dropout,
        "norm_num_groups": shape.norm_num_groups,
        **convention,
        **{field: ours for field, (ours, _) in _UNET_FIELDS.items()},
    }


def _kinds(shape: UNetConfig, attention_levels: Sequence[int], way: str) -> list[str]:
    """The blocks of a way, from full resolution down."""
    levels = range(len(shape.block_out_channels))
    return [f"{'Attn' if i in attention_levels else ''}{way}Block2D" for i in levels]
