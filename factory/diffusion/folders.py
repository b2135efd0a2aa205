"""Finds the files of a model folder in diffusers' layout, and advises where one is missing.

    model_index.json  unet/{config.json, diffusion_pytorch_model.safetensors}
    scheduler/scheduler_config.json

or all of them without the two sub-folders. Only safetensors are read, never a pickle.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from factory import storage
from factory.errors import UserError
from factory.storage import hub

T = TypeVar("T")

CONFIG = "config.json"
INDEX = "model_index.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
WEIGHTS_INDEX = f"{WEIGHTS}.index.json"
SCHEDULER = "scheduler/scheduler_config.json"
COPY = "Copy the model folder again."
_SHARDS = re.compile(rf"{re.escape(WEIGHTS)}\.index(\.(fp16|bf16))?\.json")
_SHARD = re.compile(r".+-\d{5}-of-\d{5}(\.\w+)?\.safetensors")
_VARIANT = re.compile(r"diffusion_pytorch_model\.(fp16|bf16)\.safetensors")
_PICKLED = re.compile(r"diffusion_pytorch_model(\.(?P<variant>\w+))?(-\d{5}-of-\d{5})?\.bin")
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_OWN_PICKLE = (
    "A pickle tells neither the network's shape nor its noise schedule: make a folder of a "
    "UNet2DModel with its weights by diffusers' DDPMPipeline(unet, scheduler)"
    ".save_pretrained(FOLDER). Networks of other kinds (guided-diffusion, latent, text-to-image) "
    "are not read."
)
_FOLDER = "Name a folder in diffusers' layout, such as `factory train` writes."


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
    """The URL of the noise schedule's config. Raises UserError where there is none."""
    nested, beside = storage.join(url, SCHEDULER), storage.join(url, storage.name_of(SCHEDULER))
    if exists(nested) or exists(beside):
        return nested if exists(nested) else beside
    above = storage.parent(url)
    if not above or not exists(storage.join(above, SCHEDULER)):
        other = storage.join(url, "scheduler", CONFIG)
        remedy = (
            f"If {other} is it, rename it to that"
            if exists(other)
            else "Copy it from the model that the weights belong to, which do not tell it"
        )
        raise UserError(f"{nested}: is missing, and with it the noise schedule. {remedy}.")
    if unet_folder(url) != url:
        raise UserError(
            f"{url}: has no noise schedule, as a checkpoint of diffusers' own training has none. "
            f"Copy {storage.join(above, 'scheduler')} into it, or name {above}, whose weights may "
            "be others."
        )
    raise UserError(f"{url}: is a part of a model folder. Name all of it: {above}.")


def weight_files(folder: str) -> list[str]:
    """The URLs of the network's weights: one file, or several whose tensors add up.

    Half-precision variants are taken where there is nothing else. Raises UserError.
    """
    if exists(storage.join(folder, WEIGHTS)):
        return [storage.join(folder, WEIGHTS)]
    names = {storage.name_of(path) for path in _asked(storage.list_files, folder)}
    if WEIGHTS_INDEX in names:
        return _listed_in(folder, WEIGHTS_INDEX)
    variants = sorted(n for n in names if _VARIANT.fullmatch(n) or _SHARDS.fullmatch(n))
    if len(variants) == 1:
        (name,) = variants
        return _listed_in(folder, name) if name.endswith(".json") else [storage.join(folder, name)]
    raise UserError(f"{folder}: no {WEIGHTS}. {_weights_remedy(folder, names)}")


def _listed_in(folder: str, name: str) -> list[str]:
    """The files that hold the tensors of an index."""
    index = storage.join(folder, name)
    weight_map = read_json(index).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    # A name with a slash would lead out of the folder.
    if not names or any(not isinstance(n, str) or "/" in n or "\\" in n for n in names):
        raise UserError(f"{index}: its weight_map names no files of its folder. {COPY}")
    return [storage.join(folder, name) for name in sorted(set(names))]


def _weights_remedy(folder: str, names: set[str]) -> str:
    others = sorted(name for name in names if name.endswith(".safetensors"))
    if indices := sorted(name for name in names if _SHARDS.fullmatch(name)):
        return f"Rename the one to read to {WEIGHTS_INDEX}: {', '.join(indices)} are there."
    if any(_SHARD.fullmatch(name) for name in others):
        return f"It is in several files, whose index is missing: copy {WEIGHTS_INDEX} there, too."
    if others:
        return f"Rename the one to read to that: {', '.join(others[:5])} are there."
    pickled = [match for name in sorted(names) if (match := _PICKLED.fullmatch(name))]
    if pickled:
        conversion = _conversion(folder, pickled[0]["variant"])
        return f"Only safetensors are read, never a pickle. {conversion}"
    if any(name.endswith(_PICKLES) for name in names):
        return f"Only safetensors are read, never a pickle. {_OWN_PICKLE}"
    return (
        "Only safetensors are read, and none is there. Copy the model folder again, or save the "
        "model anew with diffusers' save_pretrained(..., safe_serialization=True)."
    )


def _conversion(folder: str, variant: str | None) -> str:
    """The call of diffusers that converts the pickle to safetensors."""
    arguments = f", variant={variant!r}" if variant else ""
    if storage.is_local(folder):
        return (
            "Convert it with diffusers: "
            f"UNet2DModel.from_pretrained({folder!r}, use_safetensors=False{arguments})"
            f".save_pretrained({folder!r}, safe_serialization=True)"
        )
    protocol, _, rest = folder.partition("://")
    name, _, revision = "/".join(rest.split("/")[:2]).partition("@")
    if protocol != "hf":
        name, revision = "FOLDER", ""
    arguments += f", revision={revision!r}" if revision else ""
    copy = "" if protocol == "hf" else "Copy the model to a FOLDER of this machine. "
    return (
        f"{copy}Convert it with diffusers: "
        f"DDPMPipeline.from_pretrained({name!r}, use_safetensors=False{arguments})"
        ".save_pretrained('OTHER', safe_serialization=True), and name OTHER."
    )


def _remedy(url: str) -> str:
    """Advice for a URL that holds no model."""
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
    above = storage.parent(url)
    if above and exists(storage.join(above, "unet", CONFIG)):
        return f"It is a part of a model folder. Name all of it: {above}."
    if hub_url := hub.url_of_name(url):
        return f"{_FOLDER} For a model of the Hugging Face Hub write {hub_url}."
    return _FOLDER


def _file_remedy(url: str) -> str:
    folder = url.rpartition("/")[0]
    if storage.name_of(folder) in ("unet", "scheduler"):
        folder = folder.rpartition("/")[0]
    if url.endswith((".safetensors", ".json")):
        if exists(storage.join(folder, SCHEDULER)) or exists(storage.join(folder, CONFIG)):
            return f"It is a file of a model folder. Name a folder: {folder}."
        return (
            "It is a file, which does not tell the network's shape or its noise schedule. Name a "
            f"folder that has {CONFIG} and scheduler_config.json beside it."
        )
    if url.endswith(_PICKLES):
        return f"It is a pickle, which is never opened. {_OWN_PICKLE}"
    return f"It is a file. {_FOLDER}"


def _models_below(url: str) -> list[str]:
    """Model folders that are at most two levels deeper."""
    endings = (f"/{INDEX}", f"/unet/{CONFIG}")
    found = _asked(partial(storage.list_files, depth=3), url)
    folders = {path.removesuffix(end) for path in found for end in endings if path.endswith(end)}
    return sorted(folders - {url})


def _is_ensemble(folder: str) -> bool:
    return exists(storage.join(folder, "ensemble.safetensors"))


def exists(url: str) -> bool:
    """True if a file or folder exists. Raises UserError if the storage cannot answer."""
    return _asked(storage.exists, url)


def read(url: str) -> bytes:
    """A file of a model folder. Raises UserError where it is missing or cannot be read."""
    try:
        data = _asked(storage.read_bytes, url)
    except FileNotFoundError:
        raise UserError(f"{url}: is missing; the model folder is incomplete. {COPY}") from None
    if problem := hub.pointer_problem(data):
        raise UserError(f"{url}: {problem}")
    return data


def _asked(question: Callable[[str], T], url: str) -> T:
    """The answer of the storage. Raises FileNotFoundError, and UserError if it cannot answer."""
    try:
        return question(url)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage.to_user_error(url, error, "read", f"Check the place. {COPY}") from None


def read_json(url: str) -> dict[str, Any]:
    """A JSON object. Raises UserError where it is missing or none."""
    try:
        content = json.loads(read(url))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{url}: not JSON ({error}). {COPY}") from None
    if not isinstance(content, dict):
        raise UserError(f"{url}: expected a JSON object. {COPY}")
    return content
