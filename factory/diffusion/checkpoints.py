"""Model folders in diffusers' layout: `DDPMPipeline.from_pretrained` opens ours, we open theirs.

Equal keys do not mean equal semantics, so `config.json` decides: a field that asks for something
that our U-Net does not do is refused by name. Only safetensors are read, never a pickle.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from factory import storage
from factory.config import MAX_IMAGE_SIZE, DiffusionConfig, UNetConfig, unet_problems
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.fields import KIND, refuse_differences, validated
from factory.diffusion.folders import (
    CONFIG,
    COPY,
    INDEX,
    SCHEDULER,
    WEIGHTS,
    exists,
    read,
    read_json,
    scheduler_file,
    unet_folder,
    weight_files,
)
from factory.diffusion.schedulers import read_schedule, schedule_json
from factory.errors import Problems, UserError

MAX_TENSORS_TOLD = 20
WEIGHTS_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

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
    (1, 1): ": it draws grey pictures",
    (3, 6): ": it predicts variances, too",
    (4, 4): ": a latent model's, which draws codes",
}
"""What networks of other channels do."""
_REPLACE = "Copy the file again, or name another."
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
"""That diffusers adds where the weights are averages; they say how these were made."""


@dataclass(frozen=True)
class Model:
    """A trained DDPM: the network in eval mode, frozen, float32, and what it was trained with."""

    unet: UNet
    diffusion: DiffusionConfig
    image_size: int
    model_hash: str
    """sha256 over the configs and the weights, hex."""
    clip: float | None = 1.0
    """Sampling clips each predicted x_0 to [-clip, clip]; None: not at all."""
    url: str = ""
    """Where it was loaded from."""


def save_model(
    unet: UNet,
    diffusion: DiffusionConfig,
    image_size: int,
    url: str,
    dtype: torch.dtype = torch.float32,
    card: str = "",
) -> None:
    """Writes the folder; the weights in dtype (float32, bfloat16), model_index.json last."""
    tensors = {
        key: value.detach().to("cpu", dtype).contiguous()
        for key, value in unet.state_dict().items()
    }
    files = {
        f"unet/{WEIGHTS}": save(tensors, metadata={"format": "pt"}),
        f"unet/{CONFIG}": _json(_unet_json(unet.config, image_size)),
        SCHEDULER: _json(schedule_json(diffusion)),
        "README.md": card.encode(),
        INDEX: _json(
            {
                "_class_name": "DDPMPipeline",
                "_diffusers_version": "0.36.0",
                "scheduler": ["diffusers", "DDPMScheduler"],
                "unet": ["diffusers", "UNet2DModel"],
            }
        ),
    }
    for name, data in files.items():
        storage.with_retries(partial(storage.write, storage.join(url, name), data))


def load_model(url: str) -> Model:
    """Opens a model folder. Raises UserError with all that is wrong with it."""
    url = storage.normalize(url)
    folder, problems = unet_folder(url), Problems()
    place, of_scheduler = storage.join(folder, CONFIG), scheduler_file(url)
    unet_json, scheduler_json = read_json(place), read_json(of_scheduler)
    with problems.collected():
        _check_pipeline(url)
    with problems.collected():
        _check_fields(unet_json, place)
    with problems.collected():
        diffusion, clip = read_schedule(scheduler_json, of_scheduler)
    problems.raise_if_any()
    unet_config = _unet_config(unet_json, place)
    image_size = _image_size(unet_json, unet_config, place)
    weights = [(file, read(file)) for file in weight_files(folder)]
    # The weights are hashed as read, so that the identity does not hang on what we make of them.
    configs = {"unet": unet_config.model_dump(), "diffusion": diffusion.model_dump()}
    identity = hashlib.sha256(_json({**configs, "image_size": image_size}))
    for _, data in weights:
        identity.update(data)
    unet = _unet(unet_config, weights)
    return Model(unet, diffusion, image_size, identity.hexdigest(), clip, url)


def _unet(config: UNetConfig, weights: Sequence[tuple[str, bytes]]) -> UNet:
    """weights: places and contents of files that together hold all tensors."""
    with torch.device("meta"):
        unet = UNet(config)
    tensors: dict[str, torch.Tensor] = {}
    for file, data in weights:
        held = dict(_load_tensors(data, file))
        if twice := sorted(set(held) & set(tensors)):
            raise UserError(f"{file}: holds {twice[0]}, which another file holds, too. {COPY}")
        tensors |= held
    expected = {key: value.shape for key, value in unet.state_dict().items()}
    checked = checked_tensors(tensors, expected, ", ".join(file for file, _ in weights))
    unet.load_state_dict(checked, assign=True)
    return unet.eval().requires_grad_(False)


def _check_pipeline(url: str) -> None:
    """Raises UserError where the network draws something else than images."""
    place = storage.join(url, INDEX)
    if not exists(place):
        return
    others = sorted(
        name
        for name, made_by in read_json(place).items()
        if not name.startswith("_") and name not in ("unet", "scheduler")
        if isinstance(made_by, list) and any(made_by)
    )
    if others:
        raise UserError(
            f"{place}: has {', '.join(others)} beside unet and scheduler: its network is led by "
            f"them, or draws codes that they decode, not images. {KIND}"
        )


def _check_fields(content: Mapping[str, Any], place: str) -> None:
    problems = Problems()
    name = content.get("_class_name", "UNet2DModel")
    if name != "UNet2DModel":
        problems.add(f"{place}: _class_name = {name!r} is another network than UNet2DModel. {KIND}")
    refuse_differences(content, _UNET_FIELDS, _READ_FIELDS | _EMA_FIELDS, place, problems)
    problems.raise_if_any()


def _unet_config(content: Mapping[str, Any], place: str) -> UNetConfig:
    widths, downs, ups = (
        content.get(field) for field in ("block_out_channels", "down_block_types", "up_block_types")
    )
    if not isinstance(widths, list) or not isinstance(downs, list):
        raise UserError(f"{place}: block_out_channels and down_block_types must be lists. {COPY}")
    mirrored = [str(name).replace("Down", "Up") for name in reversed(downs)]
    known = all(name in ("DownBlock2D", "AttnDownBlock2D") for name in downs)
    if not known or len(downs) != len(widths) or ups != mirrored:
        raise UserError(
            f"{place}: block types {downs} / {ups} are not implemented: "
            "they must be (Attn)DownBlock2D, one a level, mirrored by (Attn)UpBlock2D. "
            f"{KIND}"
        )
    channels = content.get("in_channels", 3), content.get("out_channels", 3)
    if channels != (3, 3):
        raise UserError(
            f"{place}: in_channels and out_channels must be 3, those of a picture, and are "
            f"{channels[0]} and {channels[1]}{_DRAWN.get(channels, '')}. {KIND}"
        )
    shape = {field: content[field] for field in _SHAPE_FIELDS if field in content}
    attention = tuple(level for level, name in enumerate(downs) if name == "AttnDownBlock2D")
    shape = {"layers_per_block": 2, **shape, "attention_levels": attention}
    unet = validated(UNetConfig, shape, place)
    problems = Problems()
    for problem in unet_problems(unet):
        problems.add(f"{place}: {problem}. {COPY}")
    problems.raise_if_any()
    return unet


def _image_size(content: Mapping[str, Any], unet: UNetConfig, place: str) -> int:
    size, divisor = content.get("sample_size"), 2 ** (len(unet.block_out_channels) - 1)
    if isinstance(size, list) and len(size) == 2 and size[0] == size[1]:
        size = size[0]
    if type(size) is not int or not 1 <= size <= MAX_IMAGE_SIZE or size % divisor:
        raise UserError(
            f"{place}: sample_size = {size!r} must be a whole number, or two equal ones, divisible "
            f"by {divisor}, and at most {MAX_IMAGE_SIZE}. {COPY}"
        )
    return size


def _load_tensors(data: bytes, place: str) -> list[tuple[str, torch.Tensor]]:
    try:
        return [(_new_name(key), value) for key, value in load(data).items()]
    except SafetensorError as error:
        raise UserError(f"{place}: damaged safetensors ({error}). Copy it again.") from None


def checked_tensors(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Size],
    place: str,
    authority: str = "the config",
) -> dict[str, torch.Tensor]:
    """All weights as float32, or a UserError naming the bad ones, at most MAX_TENSORS_TOLD.

    expected: the shapes, by key; authority: who says so, in messages.
    """
    found = [
        f"{key} is {'missing' if key in expected else 'unknown'}. {_REPLACE}"
        for key in sorted(set(expected) ^ set(tensors))
    ]
    for key in sorted(set(expected) & set(tensors)):
        if problem := _tensor_problem(tensors[key], expected[key], authority):
            found.append(f"{key} {problem}")
    if found:
        told = [f"{place}: tensor {problem}" for problem in found[:MAX_TENSORS_TOLD]]
        rest = len(found) - len(told)
        raise UserError([*told, *([f"{place}: ... and {rest} more tensors."] if rest else [])])
    return {key: value.float() for key, value in tensors.items()}


def _new_name(key: str) -> str:
    """Attention's tensors had other names in diffusers' first years."""
    for old, new in _OLD_NAMES.items():
        key = key.replace(f".{old}.", f".{new}.")
    return key


def _tensor_problem(tensor: torch.Tensor, shape: torch.Size, authority: str) -> str | None:
    if tensor.shape != shape:
        return f"has shape {tuple(tensor.shape)}, {authority} says {tuple(shape)}. {_REPLACE}"
    if not tensor.is_floating_point():
        return f"has type {tensor.dtype}, not floating point. {_REPLACE}"
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return f"is {tensor.layout} on {tensor.device}, no plain tensor of values. {_REPLACE}"
    if not bool(torch.isfinite(tensor.float()).all()):
        return "holds values that are not finite: the training diverged. Use another checkpoint."
    return None


def _unet_json(config: UNetConfig, image_size: int) -> dict[str, Any]:
    levels = range(len(config.block_out_channels))
    kinds = ["AttnDownBlock2D" if i in config.attention_levels else "DownBlock2D" for i in levels]
    return {
        "_class_name": "UNet2DModel",
        "_diffusers_version": "0.36.0",
        "sample_size": image_size,
        "in_channels": 3,
        "out_channels": 3,
        "block_out_channels": list(config.block_out_channels),
        "layers_per_block": config.layers_per_block,
        "down_block_types": kinds,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(kinds)],
        "dropout": config.dropout,
        "norm_num_groups": config.norm_num_groups,
        **{field: ours for field, (ours, _) in _UNET_FIELDS.items()},
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
