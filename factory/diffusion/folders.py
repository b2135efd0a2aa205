"""Where the files of a model folder in diffusers' layout lie, and what to do where they do not.

    model_index.json  unet/{config.json, diffusion_pytorch_model.safetensors}
    scheduler/scheduler_config.json

or all of them without the two sub-folders. Only safetensors are read, never a pickle.
"""

import json
import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from factory import storage
from factory.errors import UserError

T = TypeVar("T")

CONFIG = "config.json"
INDEX = "model_index.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"
COPY = "Copy the model folder again."
_SHARDS = f"{WEIGHTS}.index.json"
_VARIANT = re.compile(r"diffusion_pytorch_model\.(fp16|bf16)\.safetensors")
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_FOLDER = "Name a folder in diffusers' layout, such as `factory train` writes."
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def unet_folder(url: str) -> str:
    """The folder of the network's config and weights. Raises UserError where there is none."""
    for folder in (storage.join(url, "unet"), url):
        if exists(storage.join(folder, CONFIG)) and not _is_ensemble(folder):
            return folder
    raise UserError(
        f"{url}: no model folder: neither unet/{CONFIG} nor {CONFIG} of a DDPM is there. "
        f"{_remedy(url)}"
    )


def scheduler_file(url: str) -> str:
    """The place of the noise schedule's config, whether or not it is there."""
    nested, beside = storage.join(url, SCHEDULER), storage.join(url, storage.name_of(SCHEDULER))
    if exists(nested) or exists(beside):
        return nested if exists(nested) else beside
    above = url.rpartition("/")[0]
    if exists(storage.join(above, SCHEDULER)):
        raise UserError(f"{url}: is a part of a model folder. Name all of it: {above}.")
    return beside


def weight_files(folder: str) -> list[str]:
    """The places of the network's weights: one file, or several whose tensors add up.

    Half-precision variants are taken where there is nothing else. Raises UserError.
    """
    if exists(storage.join(folder, WEIGHTS)):
        return [storage.join(folder, WEIGHTS)]
    names = {storage.name_of(place) for place in _asked(storage.list_files, folder)}
    if _SHARDS in names:
        return [storage.join(folder, name) for name in _shard_names(storage.join(folder, _SHARDS))]
    variants = sorted(name for name in names if _VARIANT.fullmatch(name))
    if len(variants) == 1:
        return [storage.join(folder, variants[0])]
    raise UserError(f"{folder}: no {WEIGHTS}. {_weights_remedy(folder, names)}")


def _shard_names(index: str) -> list[str]:
    told = read_json(index).get("weight_map")
    names = list(told.values()) if isinstance(told, dict) else []
    # A name with a slash would lead out of the folder.
    if not names or any(not isinstance(n, str) or "/" in n or "\\" in n for n in names):
        raise UserError(f"{index}: its weight_map names no files of its folder. {COPY}")
    return sorted(set(names))


def _weights_remedy(folder: str, names: set[str]) -> str:
    if any(name.endswith(_PICKLES) for name in names):
        return f"Only safetensors are read, never a pickle. {_conversion(folder)}"
    others = sorted(name for name in names if name.endswith(".safetensors"))
    if others:
        return f"Name or rename the one to read: {', '.join(others[:5])} are there."
    return (
        "Only safetensors are read, and none is there. Copy the model folder again, or save the "
        "model anew with diffusers' save_pretrained(..., safe_serialization=True)."
    )


def _conversion(folder: str) -> str:
    """How diffusers makes safetensors of the pickle there."""
    if storage.is_local(folder):
        return (
            f"Convert it with diffusers: UNet2DModel.from_pretrained({folder!r})"
            f".save_pretrained({folder!r}, safe_serialization=True)"
        )
    protocol, _, rest = folder.partition("://")
    name = "/".join(rest.split("/")[:2]) if protocol == "hf" else "FOLDER"
    copy = "" if protocol == "hf" else "Copy the model to a FOLDER of this machine. "
    return (
        f"{copy}Convert it with diffusers: DDPMPipeline.from_pretrained({name!r})"
        ".save_pretrained('OTHER', safe_serialization=True), and name OTHER."
    )


def _remedy(url: str) -> str:
    """What to do about a place that holds no model."""
    if _asked(storage.is_file, url):
        return _file_remedy(url)
    if exists(storage.join(url, "ensemble.safetensors")):
        return "It holds an ensemble: name that as models.ensemble_url, and its DDPM here."
    if below := _models_below(url):
        return f"Name {' or '.join(below[:3])}."
    if exists(storage.join(url, "unet_ema", CONFIG)):
        return "It has only unet_ema/: copy that to unet/, beside the model's scheduler/."
    if exists(storage.join(url, "run.json")):
        return (
            "It is a training run that has no model yet: run its `factory train` again to finish "
            "it, then name its model/."
        )
    if exists(storage.join(url, "state.json")):
        return "It is a checkpoint of a training run: name the run's model/."
    hub_name = os.path.relpath(url) if storage.is_local(url) else ""
    if _HUB_NAME.fullmatch(hub_name) and not os.path.exists(url):
        return f"{_FOLDER} For a model of the Hugging Face Hub write hf://{hub_name}."
    return _FOLDER


def _file_remedy(url: str) -> str:
    folder = url.rpartition("/")[0]
    if storage.name_of(folder) == "unet":
        folder = folder.rpartition("/")[0]
    if url.endswith((".safetensors", ".json")):
        if exists(storage.join(folder, SCHEDULER)) or exists(storage.join(folder, CONFIG)):
            return f"It is a file of a model folder. Name a folder: {folder}."
        return (
            "It is a file, which does not tell the network's shape or its noise schedule. Name a "
            f"folder that has {CONFIG} and scheduler_config.json beside it."
        )
    if url.endswith(_PICKLES):
        return (
            "It is a pickle, which is never opened, and tells neither the network's shape nor its "
            "noise schedule. Make a folder of a UNet2DModel with these weights by diffusers' "
            "DDPMPipeline(unet, scheduler).save_pretrained(FOLDER). Networks of other kinds "
            "(guided-diffusion, latent, text-to-image) are not read."
        )
    return f"It is a file. {_FOLDER}"


def _models_below(url: str) -> list[str]:
    """Model folders that are at most two levels deeper."""
    endings = (f"/{INDEX}", f"/unet/{CONFIG}")
    found = _asked(partial(storage.list_files, depth=3), url)
    places = {place.removesuffix(end) for place in found for end in endings if place.endswith(end)}
    return sorted(places - {url})


def _is_ensemble(folder: str) -> bool:
    return exists(storage.join(folder, "ensemble.safetensors"))


def exists(url: str) -> bool:
    """Whether a file or folder is there. Raises UserError where that cannot be known."""
    return _asked(storage.exists, url)


def read(url: str) -> bytes:
    """A file of a model folder. Raises UserError where it is missing or cannot be read."""
    try:
        return _asked(storage.read_bytes, url)
    except FileNotFoundError:
        raise UserError(f"{url}: is missing; the model folder is incomplete. {COPY}") from None


def _asked(question: Callable[[str], T], url: str) -> T:
    """What the storage answers. Raises FileNotFoundError, and UserError where it cannot answer."""
    try:
        return storage.patiently(partial(question, url))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage.refusal(url, error, "read", f"Check the place. {COPY}") from None


def read_json(url: str) -> dict[str, Any]:
    """A JSON object. Raises UserError where it is missing or none."""
    try:
        content = json.loads(read(url))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{url}: not JSON ({error}). {COPY}") from None
    if not isinstance(content, dict):
        raise UserError(f"{url}: expected a JSON object. {COPY}")
    return content
