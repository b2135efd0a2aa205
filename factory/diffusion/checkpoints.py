"""Model folders in diffusers' layout: `DDPMPipeline.from_pretrained` opens ours, we open theirs.

`_class_name` in `unet/config.json` names the family of the network. Only safetensors are read,
never a pickle.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel
from safetensors.torch import save

from factory import storage
from factory.config import DiffusionConfig
from factory.diffusion.families.table import FAMILIES
from factory.diffusion.fields import KIND
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
from factory.diffusion.network import Family, FeatureNetwork
from factory.diffusion.schedulers import read_schedule, schedule_json
from factory.diffusion.tensors import checked_tensors, read_safetensors
from factory.errors import Problems, UserError

WEIGHTS_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_DIFFUSERS_OWN = "UNet2DModel"
"""The class that files without `_class_name` are of, and the one that diffusers opens."""
_LED = "UNet2DConditionModel"
"""diffusers' class of the networks with cross-attention."""


@dataclass(frozen=True)
class Model:
    """A trained DDPM: the network in eval mode, frozen, float32, and what it was trained with."""

    unet: FeatureNetwork
    diffusion: DiffusionConfig
    image_size: int
    model_hash: str
    """The sha256 over the configs and the weights, hex."""
    clip: float | None = 1.0
    """Sampling clips each predicted x_0 to [-clip, clip]; None: not at all."""
    url: str = ""
    """The URL that it was loaded from; empty if it was not loaded."""

    @property
    def channels(self) -> int:
        """The channels of its images: 3 for RGB, 1 for grey."""
        return self.unet.channels

    def __repr__(self) -> str:
        return f"Model(url={self.url!r}, {self.image_size} px, hash={self.model_hash[:12]})"


def save_model(
    unet: FeatureNetwork,
    diffusion: DiffusionConfig,
    image_size: int,
    url: str,
    dtype: torch.dtype = torch.float32,
    card: str = "",
) -> None:
    """Writes the folder; the weights in dtype (float32, bfloat16), model_index.json last."""
    write_files(url, model_files(unet, diffusion, image_size, dtype, card))


def write_files(url: str, files: Mapping[str, bytes]) -> None:
    """Writes the files of a folder, in their order. Raises OSError."""
    for name, data in files.items():
        storage.write(storage.join(url, name), data)


def model_files(
    unet: FeatureNetwork,
    diffusion: DiffusionConfig,
    image_size: int,
    dtype: torch.dtype,
    card: str,
) -> dict[str, bytes]:
    """The files of a model folder by name, in the order in which they are written: the weights, in
    dtype, first, and model_index.json, which says that all are there, last."""
    config = unet.config_json(image_size)
    name = config["_class_name"]
    tensors = {
        key: value.detach().to("cpu", dtype).contiguous()
        for key, value in unet.state_dict().items()
    }
    return {
        f"unet/{WEIGHTS}": save(tensors, metadata={"format": "pt"}),
        f"unet/{CONFIG}": _json(config),
        SCHEDULER: _json(schedule_json(diffusion)),
        "README.md": card.encode(),
        INDEX: _json(
            {
                "_class_name": "DDPMPipeline",
                "_diffusers_version": "0.36.0",
                "scheduler": ["diffusers", "DDPMScheduler"],
                "unet": [_library(name), name],
            }
        ),
    }


def _library(class_name: str) -> str:
    """The package whose class it is, as `model_index.json` names it."""
    return "diffusers" if class_name == _DIFFUSERS_OWN else "factory"


def load_model(url: str) -> Model:
    """Opens a model folder. Raises UserError with all that is wrong with it."""
    url = storage.normalize(url)
    folder, problems = unet_folder(url), Problems()
    config_url, scheduler_url = storage.join(folder, CONFIG), scheduler_file(url)
    config, scheduler_json = read_json(config_url), read_json(scheduler_url)
    with problems.collected():
        _check_pipeline(url)
    with problems.collected():
        family = _family(config, config_url)
        shape, image_size = family.read_config(config, config_url)
    with problems.collected():
        diffusion, clip = read_schedule(scheduler_json, scheduler_url)
    problems.raise_if_any()
    weights = [(file, read(file)) for file in weight_files(folder)]
    # The weights are hashed as they are read, so that the identity depends on nothing that is made
    # of them here.
    configs = {"unet": shape.model_dump(), "diffusion": diffusion.identity()}
    identity = hashlib.sha256(_json({**configs, "image_size": image_size}))
    for _, data in weights:
        identity.update(data)
    unet = _network(family, shape, weights)
    return Model(unet, diffusion, image_size, identity.hexdigest(), clip, url)


def _family(config: Mapping[str, Any], url: str) -> Family:
    name = config.get("_class_name", _DIFFUSERS_OWN)
    if not isinstance(name, str) or name not in FAMILIES:
        led = ", which text or other embeddings lead" if name == _LED else ""
        raise UserError(
            f"{url}: _class_name = {name!r} is another network than {' or '.join(FAMILIES)}{led}. "
            f"{KIND}"
        )
    return FAMILIES[name]


def _network(
    family: Family, shape: BaseModel, weights: Sequence[tuple[str, bytes]]
) -> FeatureNetwork:
    """weights: URLs and contents of files that together hold all tensors."""
    tensors: dict[str, torch.Tensor] = {}
    for file, data in weights:
        held = {
            family.tensor_name(key): value for key, value in read_safetensors(data, file).items()
        }
        if twice := sorted(set(held) & set(tensors)):
            raise UserError(f"{file}: holds {twice[0]}, which another file holds, too. {COPY}")
        tensors |= held
    return frozen_network(family, shape, tensors, ", ".join(file for file, _ in weights))


def frozen_network(
    family: Family,
    shape: BaseModel,
    tensors: Mapping[str, torch.Tensor],
    url: str,
    authority: str = "the config",
) -> FeatureNetwork:
    """The network of these weights, in eval mode, frozen, float32.

    Raises UserError naming the tensors that do not fit; url and authority: as `checked_tensors`.
    """
    with torch.device("meta"):  # takes no memory before the shapes are known to be right
        network = family.network(shape)
    expected = {key: value.shape for key, value in network.state_dict().items()}
    network.load_state_dict(checked_tensors(tensors, expected, url, authority), assign=True)
    return network.eval().requires_grad_(False)


def _check_pipeline(url: str) -> None:
    """Raises UserError where the network draws something else than images."""
    index_url = storage.join(url, INDEX)
    if not exists(index_url):
        return
    others = sorted(
        name
        for name, made_by in read_json(index_url).items()
        if not name.startswith("_") and name not in ("unet", "scheduler")
        if isinstance(made_by, list) and any(made_by)
    )
    if others:
        raise UserError(
            f"{index_url}: has {', '.join(others)} beside unet and scheduler: its network is led "
            f"by them, or draws codes that they decode, not images. {KIND}"
        )


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
