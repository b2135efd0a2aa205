"""Model folders in diffusers' layout: `DDPMPipeline.from_pretrained` opens ours, we open theirs.

    model_index.json  unet/{config.json, diffusion_pytorch_model.safetensors}
    scheduler/scheduler_config.json  README.md

Equal keys do not mean equal semantics, so `config.json` decides: a field that asks for something
that our U-Net does not do is refused by name. Only safetensors are read, never a pickle.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from factory import storage
from factory.config import MAX_IMAGE_SIZE, Diffusion, unet_problems
from factory.config import UNet as UNetConfig
from factory.diffusion.unet import UNet
from factory.errors import Problems, UserError

WEIGHTS = "diffusion_pytorch_model.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"
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
_SCHEDULER_FIELDS: dict[str, tuple[Any, Any]] = {
    "beta_schedule": ("linear", "linear"),
    "prediction_type": ("epsilon", "epsilon"),
    "trained_betas": (None, None),
    "rescale_betas_zero_snr": (False, False),
}
_COPY = "Copy the model folder again."
_REPLACE = "Copy the file again, or name another."
_OTHER = "Use a model of the google/ddpm-* kind, or train one."
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


@dataclass(frozen=True)
class Model:
    """A trained DDPM: the network in eval mode, frozen, float32, and what it was trained with."""

    unet: UNet
    diffusion: Diffusion
    image_size: int
    model_hash: str
    """sha256 over the configs and the weights, hex."""


def save_model(
    unet: UNet,
    diffusion: Diffusion,
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
        "unet/config.json": _json(_unet_json(unet.config, image_size)),
        SCHEDULER: _json(_scheduler_json(diffusion)),
        "README.md": card.encode(),
        "model_index.json": _json(
            {
                "_class_name": "DDPMPipeline",
                "_diffusers_version": "0.36.0",
                "scheduler": ["diffusers", "DDPMScheduler"],
                "unet": ["diffusers", "UNet2DModel"],
            }
        ),
    }
    for name, data in files.items():
        storage.patiently(partial(storage.write, storage.join(url, name), data))


def load_model(url: str) -> Model:
    """Opens a model folder. Raises UserError with all that is wrong with it."""
    url = storage.normalize(url)
    folder = _unet_folder(url)
    unet_json = _read_json(storage.join(folder, "config.json"))
    scheduler_json = _read_json(_scheduler_file(url))
    problems = Problems()
    _refuse_differences(unet_json, _UNET_FIELDS, _READ_FIELDS, f"{folder}/config.json", problems)
    _refuse_differences(scheduler_json, _SCHEDULER_FIELDS, None, _scheduler_file(url), problems)
    problems.raise_if_any()
    unet_config = _unet_config(unet_json, f"{folder}/config.json")
    image_size = _image_size(unet_json, unet_config, f"{folder}/config.json")
    diffusion = _diffusion_config(scheduler_json, _scheduler_file(url))
    data = _read(storage.join(folder, WEIGHTS))
    with torch.device("meta"):
        unet = UNet(unet_config, unet_json.get("in_channels", 3))
    place = storage.join(folder, WEIGHTS)
    expected = {key: value.shape for key, value in unet.state_dict().items()}
    unet.load_state_dict(checked_tensors(_load_tensors(data, place), expected, place), assign=True)
    # The weights are hashed as read, so that the identity does not hang on what we make of them.
    configs = {"unet": unet_config.model_dump(), "diffusion": diffusion.model_dump()}
    identity = _json({**configs, "image_size": image_size}) + data
    return Model(
        unet.eval().requires_grad_(False),
        diffusion,
        image_size,
        hashlib.sha256(identity).hexdigest(),
    )


def _unet_folder(url: str) -> str:
    for folder in (storage.join(url, "unet"), url):
        if _exists(storage.join(folder, "config.json")):
            break
    else:
        raise UserError(
            f"{url}: no model folder: neither unet/config.json nor config.json is there. "
            "Name a folder in diffusers' layout, such as `factory train` writes."
        )
    if not _exists(storage.join(folder, WEIGHTS)):
        raise UserError(
            f"{folder}: no {WEIGHTS}. Only safetensors are read: save the model anew with "
            "diffusers' save_pretrained(..., safe_serialization=True)."
        )
    return folder


def _scheduler_file(url: str) -> str:
    nested = storage.join(url, SCHEDULER)
    return nested if _exists(nested) else storage.join(url, "scheduler_config.json")


def _read(url: str) -> bytes:
    try:
        return storage.patiently(partial(storage.read_bytes, url))
    except FileNotFoundError:
        raise UserError(f"{url}: is missing; the model folder is incomplete. {_COPY}") from None
    except OSError as error:
        raise storage.refusal(url, error, "read", f"Check the place. {_COPY}") from None


def _exists(url: str) -> bool:
    try:
        return storage.patiently(partial(storage.exists, url))
    except OSError as error:
        raise storage.refusal(url, error, "read", f"Check the place. {_COPY}") from None


def _read_json(url: str) -> dict[str, Any]:
    try:
        content = json.loads(_read(url))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{url}: not JSON ({error}). {_COPY}") from None
    if not isinstance(content, dict):
        raise UserError(f"{url}: expected a JSON object. {_COPY}")
    return content


def _refuse_differences(
    content: Mapping[str, Any],
    fields: Mapping[str, tuple[Any, Any]],
    also_read: set[str] | None,
    place: str,
    problems: Problems,
) -> None:
    """also_read: further known fields; None where unknown ones do not matter."""
    for field, (ours, absent) in fields.items():
        given = content.get(field, absent)
        if given != ours:
            problems.add(
                f"{place}: {field} = {given!r} is another convention than ours ({ours!r}). {_OTHER}"
            )
    for field in content:
        known = field.startswith("_") or field in fields or also_read is None or field in also_read
        if not known and content[field] is not None:
            problems.add(f"{place}: {field} = {content[field]!r} is not implemented. {_OTHER}")


def _unet_config(content: Mapping[str, Any], place: str) -> UNetConfig:
    widths, downs, ups = (
        content.get(field) for field in ("block_out_channels", "down_block_types", "up_block_types")
    )
    if not isinstance(widths, list) or not isinstance(downs, list):
        raise UserError(f"{place}: block_out_channels and down_block_types must be lists. {_COPY}")
    mirrored = [str(name).replace("Down", "Up") for name in reversed(downs)]
    known = all(name in ("DownBlock2D", "AttnDownBlock2D") for name in downs)
    if not known or len(downs) != len(widths) or ups != mirrored:
        raise UserError(
            f"{place}: block types {downs} / {ups} are not implemented: "
            "they must be (Attn)DownBlock2D, one a level, mirrored by (Attn)UpBlock2D. "
            f"{_OTHER}"
        )
    if content.get("in_channels", 3) != 3 or content.get("out_channels", 3) != 3:
        raise UserError(f"{place}: in_channels and out_channels must be 3. {_OTHER}")
    shape = {field: content[field] for field in _SHAPE_FIELDS if field in content}
    attention = tuple(level for level, name in enumerate(downs) if name == "AttnDownBlock2D")
    shape = {"layers_per_block": 2, **shape, "attention_levels": attention}
    unet = _validated(UNetConfig, shape, place)
    problems = Problems()
    for problem in unet_problems(unet):
        problems.add(f"{place}: {problem}. {_COPY}")
    problems.raise_if_any()
    return unet


def _image_size(content: Mapping[str, Any], unet: UNetConfig, place: str) -> int:
    size, divisor = content.get("sample_size"), 2 ** (len(unet.block_out_channels) - 1)
    if type(size) is not int or not 1 <= size <= MAX_IMAGE_SIZE or size % divisor:
        raise UserError(
            f"{place}: sample_size = {size!r} must be a whole number divisible by {divisor}, and "
            f"at most {MAX_IMAGE_SIZE}. {_COPY}"
        )
    return size


def _diffusion_config(content: Mapping[str, Any], place: str) -> Diffusion:
    fields = {
        "num_timesteps": content.get("num_train_timesteps", content.get("timesteps", 1000)),
        "beta_start": content.get("beta_start", 1e-4),
        "beta_end": content.get("beta_end", 0.02),
    }
    diffusion = _validated(Diffusion, fields, place)
    if max(diffusion.beta_start, diffusion.beta_end) >= 1:
        raise UserError(f"{place}: beta_start and beta_end must be below 1. {_COPY}")
    return diffusion


_Section = TypeVar("_Section", bound=BaseModel)


def _validated(section: type[_Section], fields: Mapping[str, Any], place: str) -> _Section:
    try:
        return section.model_validate(fields)
    except ValidationError as error:
        raise UserError(
            [
                f"{place}: {problem['loc'][0]} = {problem['input']!r}: "
                f"{problem['msg'].removeprefix('Value error, ')}. {_COPY}"
                for problem in error.errors()
            ]
        ) from None


def _load_tensors(data: bytes, place: str) -> dict[str, torch.Tensor]:
    try:
        return {_new_name(key): value for key, value in load(data).items()}
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


def _scheduler_json(diffusion: Diffusion) -> dict[str, Any]:
    return {
        "_class_name": "DDPMScheduler",
        "_diffusers_version": "0.36.0",
        "num_train_timesteps": diffusion.num_timesteps,
        "beta_start": diffusion.beta_start,
        "beta_end": diffusion.beta_end,
        "variance_type": "fixed_small",
        "clip_sample": True,
        **{field: ours for field, (ours, _) in _SCHEDULER_FIELDS.items()},
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
