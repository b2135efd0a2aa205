"""The kinds of heads, and the folders that hold one: `config.json` and `ensemble.safetensors`."""

import hashlib
import json

import torch
from pydantic import ValidationError
from pydantic_core import from_json
from safetensors.torch import save

from factory import storage
from factory.calibration import Calibration
from factory.diffusion.checkpoints import Model
from factory.diffusion.folders import INDEX, exists
from factory.diffusion.folders import WEIGHTS as DDPM_WEIGHTS
from factory.diffusion.network import blocks_in_words, descriptor_dim
from factory.diffusion.tensors import read_safetensors
from factory.errors import UserError, counted, nearest
from factory.labeling import ensemble_fitting
from factory.labeling.head import Head, HeadConfig, HeadKind
from factory.storage import hub
from factory.values import block_word

HEADS: dict[str, HeadKind] = {
    "ensemble": ensemble_fitting.KIND,
}
"""The kinds by their names in `fit.head`; a `config.json` without `kind` is of an ensemble."""
WEIGHTS = "ensemble.safetensors"


def check_kind(name: str) -> None:
    """Raises UserError where `fit.head` names no kind of heads."""
    if name not in HEADS:
        raise UserError(f"fit.head: {name!r} is no kind of head. {nearest(name, HEADS)}")


def save_head(head: Head, url: str, dtype: torch.dtype = torch.float32) -> None:
    """Writes the folder: weights, in dtype, then config.json. Raises OSError."""
    for name, data in _files(head, dtype).items():
        storage.write(storage.join(url, name), data)


def with_calibration(head: Head, calibration: Calibration) -> Head:
    """The same head, whose config tells what its votes and their uncertainty mean."""
    config = head.config.model_copy(update={"calibration": calibration})
    kind = next(kind for kind in HEADS.values() if kind.config is type(config))
    return kind.load(config, head.stored_tensors(), WEIGHTS)


def head_hash(head: Head) -> str:
    """The hash that `load_head` returns for it where it was saved in float32."""
    files = _files(head, torch.float32)
    return hashlib.sha256(files["config.json"] + files[WEIGHTS]).hexdigest()


def _files(head: Head, dtype: torch.dtype) -> dict[str, bytes]:
    """The content of its folder by name, the weights first."""
    tensors = {
        key: value.detach().to("cpu", dtype if value.is_floating_point() else None).contiguous()
        for key, value in head.stored_tensors().items()
    }
    config = json.dumps(head.config.model_dump(mode="json"), indent=2) + "\n"
    return {WEIGHTS: save(tensors), "config.json": config.encode()}


def load_head(url: str, ddpm_hash: str) -> tuple[Head, str]:
    """The head, in eval mode and frozen, and the sha256 of its folder's content, hex.

    Raises UserError where it is not there, damaged, or fitted on another DDPM.
    """
    url = storage.normalize(url)
    try:
        config_data, weights = (
            storage.read_bytes(storage.join(url, name)) for name in ("config.json", WEIGHTS)
        )
    except FileNotFoundError:
        raise UserError(
            f"{url}: no ensemble: config.json and {WEIGHTS} are not both there. {_remedy(url)}"
        ) from None
    except OSError as error:
        remedy = "Name a folder that `factory fit` wrote."
        raise storage.to_user_error(url, error, "read", remedy) from None
    for name, data in (("config.json", config_data), (WEIGHTS, weights)):
        if problem := hub.pointer_problem(data):
            raise UserError(f"{storage.join(url, name)}: {problem}")
    kind, config = _parse(config_data, url)
    if config.ddpm_hash != ddpm_hash:
        raise UserError(
            f"{url}: was fitted on another DDPM ({config.ddpm_hash[:12]}) than the one given "
            f"({ddpm_hash[:12]}). Fit anew with `factory fit`, or name its own DDPM."
        )
    weights_url = storage.join(url, WEIGHTS)
    head = kind.load(config, read_safetensors(weights, weights_url), weights_url)
    return head, hashlib.sha256(config_data + weights).hexdigest()


def _remedy(url: str) -> str:
    """Advice for a URL that holds no ensemble."""
    if storage.is_file(url):
        return "It is a file: name the folder that holds both."
    if any(exists(storage.join(url, name)) for name in (INDEX, "unet", DDPM_WEIGHTS)):
        return "It holds a DDPM: name that as models.ddpm_url, and the ensemble here."
    return "Name a folder that `factory fit` wrote."


def _parse(data: bytes, url: str) -> tuple[HeadKind, HeadConfig]:
    """The kind of head that a `config.json` is of, and what it says. Raises UserError."""
    try:
        content = from_json(data)
    except ValueError as error:
        raise _not_an_ensemble(url, f"invalid JSON: {error}") from None
    name = content.get("kind") if isinstance(content, dict) else None
    kind = HEADS[name if isinstance(name, str) and name in HEADS else "ensemble"]
    try:
        return kind, kind.config.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        problems = counted(error.error_count(), "problem")
        told = f"{problems}, first: {where}: {first['msg']}"
        raise _not_an_ensemble(url, told) from None


def _not_an_ensemble(url: str, problem: str) -> UserError:
    return UserError(
        f"{url}/config.json: not an ensemble's ({problem}). Name a folder that `factory fit` wrote."
    )


def check_fits(config: HeadConfig, model: Model, url: str, remedy: str = "Fit anew") -> None:
    """Raises UserError where a head of this config cannot read the model's features."""
    timesteps, num_timesteps = config.timesteps, model.diffusion.num_timesteps
    wrong = []
    if config.image_size != model.image_size:
        wrong.append(f"image_size = {config.image_size}, the DDPM's is {model.image_size}")
    if max(timesteps) >= num_timesteps:
        wrong.append(f"timesteps = {list(timesteps)}, the DDPM has 0..{num_timesteps - 1}")
    if set(config.blocks) - set(model.unet.block_channels):
        blocks = list(map(block_word, config.blocks))
        wrong.append(f"blocks = {blocks}, the DDPM has {blocks_in_words(model.unet)}")
    elif config.descriptor_dim != (dim := descriptor_dim(model.unet, timesteps, config.blocks)):
        wrong.append(f"descriptor_dim = {config.descriptor_dim}, these blocks give {dim}")
    if wrong:
        raise UserError([f"{url}: {problem}. {remedy}." for problem in wrong])


def check_replaceable(url: str) -> None:
    """Raises UserError where `save_head` would replace the config of something else."""
    remedy = "Choose another --out."
    try:
        config = storage.read_bytes(storage.join(url, "config.json"))
        _parse(config, url)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage.to_user_error(f"{url}/config.json", error, "read", remedy) from None
    except UserError:
        raise UserError(f"{url}: holds a config.json that is not an ensemble's. {remedy}") from None
