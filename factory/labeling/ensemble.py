"""K pixel classifiers as one network.

Each member is Linear-ReLU-BatchNorm-Linear-ReLU-BatchNorm-Linear (Baranchuk et al. 2022,
section 4).

Shapes: N pixels, D descriptor, K members, H1, H2 hidden, C classes.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors.torch import save
from torch import nn

from factory import storage
from factory.classes import MAX_CLASSES, Classes, Color
from factory.config import MAX_IMAGE_SIZE, Ordinal, Width
from factory.diffusion.checkpoints import Model
from factory.diffusion.folders import INDEX, exists
from factory.diffusion.folders import WEIGHTS as DDPM_WEIGHTS
from factory.diffusion.network import descriptor_dim
from factory.diffusion.tensors import checked_tensors, read_safetensors
from factory.errors import UserError
from factory.storage import hub

WEIGHTS = "ensemble.safetensors"
_COUNTS = "norm_1.num_batches_tracked", "norm_2.num_batches_tracked"
"""Buffers that only training uses; they are not stored."""


class EnsembleConfig(BaseModel):
    """What an ensemble's weights mean; its folder's `config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_names: Annotated[tuple[str, ...], Field(min_length=1, max_length=MAX_CLASSES)]
    palette: tuple[Color, ...]
    image_size: Annotated[int, Field(ge=1, le=MAX_IMAGE_SIZE)]
    timesteps: Annotated[tuple[Ordinal, ...], Field(min_length=1)]
    blocks: Annotated[tuple[Ordinal, ...], Field(min_length=1)]
    noise_seed: int
    """Of the noise that images are noised with for their features."""
    descriptor_dim: Annotated[int, Field(ge=1, le=2**20)]
    num_members: Annotated[int, Field(ge=1, le=1000)]
    hidden: tuple[Width, Width]
    ddpm_hash: str
    """The DDPM whose features the weights belong to."""

    @model_validator(mode="after")
    def _named(self) -> "EnsembleConfig":
        if len(self.palette) != len(self.class_names):
            raise ValueError(f"{len(self.class_names)} names, {len(self.palette)} colours")
        return self

    @property
    def classes(self) -> Classes:
        return Classes(self.class_names, self.palette)


class Ensemble(nn.Module):
    """K MLPs over pixel descriptors."""

    def __init__(self, config: EnsembleConfig) -> None:
        super().__init__()
        self.config = config
        members, (hidden_1, hidden_2) = config.num_members, config.hidden
        num_classes = len(config.class_names)
        self.linear_1 = nn.Linear(config.descriptor_dim, members * hidden_1)
        self.norm_1 = nn.BatchNorm1d(members * hidden_1)
        self.weight_2 = nn.Parameter(torch.empty(members, hidden_1, hidden_2))
        self.bias_2 = nn.Parameter(torch.zeros(members, 1, hidden_2))
        self.norm_2 = nn.BatchNorm1d(members * hidden_2)
        self.weight_3 = nn.Parameter(torch.empty(members, hidden_2, num_classes))
        self.bias_3 = nn.Parameter(torch.zeros(members, 1, num_classes))
        if self.bias_2.is_meta:
            # Without memory there is nothing to draw; torch would import its compiler for it.
            return
        nn.init.kaiming_normal_(self.linear_1.weight, nonlinearity="relu")
        nn.init.zeros_(self.linear_1.bias)
        nn.init.normal_(self.weight_2, std=(2 / hidden_1) ** 0.5)
        nn.init.normal_(self.weight_3, std=(1 / hidden_2) ** 0.5)

    def forward(self, descriptors: torch.Tensor) -> torch.Tensor:
        """(N, D) -> logits (K, N, C)."""
        members = self.config.num_members
        h = _by_member(self.norm_1(F.relu(self.linear_1(descriptors))), members)
        h = torch.baddbmm(self.bias_2, h, self.weight_2)
        h = F.relu(h).transpose(0, 1).flatten(1)
        h = _by_member(self.norm_2(h), members)
        return torch.baddbmm(self.bias_3, h, self.weight_3)

    def folded(self) -> "FoldedEnsemble":
        """The network in eval mode, its normalisations folded into the layers that follow them."""
        members = self.config.num_members
        layers = []
        for norm, weight, bias in (
            (self.norm_1, self.weight_2, self.bias_2),
            (self.norm_2, self.weight_3, self.bias_3),
        ):
            scale, shift = (part.view(members, -1) for part in _scale_and_shift(norm))
            layers += [scale[:, :, None] * weight, bias + shift[:, None] @ weight]
        return FoldedEnsemble(self.linear_1.weight, self.linear_1.bias, *layers)

    def fold_standardisation(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Makes a network fitted on (x - mean) / deviation take x itself; mean, deviation (D,)."""
        with torch.no_grad():
            self.linear_1.weight /= deviation
            self.linear_1.bias -= self.linear_1.weight @ mean


def _by_member(rows: torch.Tensor, members: int) -> torch.Tensor:
    """(N, K * H) -> (K, N, H)."""
    return rows.unflatten(1, (members, -1)).transpose(0, 1)


@dataclass(frozen=True)
class FoldedEnsemble:
    """The network in eval mode as three linear layers a member: the normalisations are in them."""

    weight_1: torch.Tensor
    """(K * H1, D)."""
    bias_1: torch.Tensor
    """(K * H1,)."""
    weight_2: torch.Tensor
    """(K, H1, H2)."""
    bias_2: torch.Tensor
    """(K, 1, H2)."""
    weight_3: torch.Tensor
    """(K, H2, C)."""
    bias_3: torch.Tensor
    """(K, 1, C)."""

    @property
    def num_members(self) -> int:
        """K."""
        return len(self.weight_2)

    @property
    def hidden_1(self) -> int:
        """H1."""
        return self.weight_2.shape[1]

    @property
    def num_classes(self) -> int:
        """C."""
        return self.weight_3.shape[2]

    def __getitem__(self, members: slice) -> "FoldedEnsemble":
        """Some of the members."""
        first = slice(members.start * self.hidden_1, members.stop * self.hidden_1)
        rest = (self.weight_2, self.bias_2, self.weight_3, self.bias_3)
        return FoldedEnsemble(
            self.weight_1[first], self.bias_1[first], *(layer[members] for layer in rest)
        )

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """(N, K * H1), what the first layer gives, is overwritten -> logits (K, N, C)."""
        h = _by_member(hidden.relu_(), self.num_members)
        h = torch.baddbmm(self.bias_2, h, self.weight_2).relu_()
        return torch.baddbmm(self.bias_3, h, self.weight_3)


def _scale_and_shift(norm: nn.BatchNorm1d) -> tuple[torch.Tensor, torch.Tensor]:
    """What a normalisation in eval mode multiplies by, then adds."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return scale, norm.bias - norm.running_mean * scale


def save_ensemble(ensemble: Ensemble, url: str, dtype: torch.dtype = torch.float32) -> None:
    """Writes the folder: weights, in dtype, then config.json. Raises OSError."""
    for name, data in _files(ensemble, dtype).items():
        storage.write(storage.join(url, name), data)


def ensemble_hash(ensemble: Ensemble) -> str:
    """The hash that `load_ensemble` returns for it where it was saved in float32."""
    files = _files(ensemble, torch.float32)
    return hashlib.sha256(files["config.json"] + files[WEIGHTS]).hexdigest()


def _files(ensemble: Ensemble, dtype: torch.dtype) -> dict[str, bytes]:
    """The content of its folder by name, the weights first."""
    tensors = {
        key: value.detach().to("cpu", dtype if value.is_floating_point() else None).contiguous()
        for key, value in ensemble.state_dict().items()
        if key not in _COUNTS
    }
    config = json.dumps(ensemble.config.model_dump(mode="json"), indent=2) + "\n"
    return {WEIGHTS: save(tensors), "config.json": config.encode()}


def load_ensemble(url: str, ddpm_hash: str) -> tuple[Ensemble, str]:
    """The ensemble, in eval mode, and the sha256 of its folder's content, hex.

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
    config = _parse(config_data, url)
    if config.ddpm_hash != ddpm_hash:
        raise UserError(
            f"{url}: was fitted on another DDPM ({config.ddpm_hash[:12]}) than the one given "
            f"({ddpm_hash[:12]}). Fit anew with `factory fit`, or name its own DDPM."
        )
    ensemble = _with_weights(config, weights, storage.join(url, WEIGHTS))
    content_hash = hashlib.sha256(config_data + weights).hexdigest()
    return ensemble.eval().requires_grad_(False), content_hash


def _remedy(url: str) -> str:
    """What to do about a place that holds no ensemble."""
    if storage.is_file(url):
        return "It is a file: name the folder that holds both."
    if any(exists(storage.join(url, name)) for name in (INDEX, "unet", DDPM_WEIGHTS)):
        return "It holds a DDPM: name that as models.ddpm_url, and the ensemble here."
    return "Name a folder that `factory fit` wrote."


def _parse(data: bytes, url: str) -> EnsembleConfig:
    try:
        return EnsembleConfig.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "all of it"
        raise UserError(
            f"{url}/config.json: not an ensemble's ({error.error_count()} problems, first: "
            f"{where}: {first['msg']}). Name a folder that `factory fit` wrote."
        ) from None


def _with_weights(config: EnsembleConfig, data: bytes, place: str) -> Ensemble:
    tensors = read_safetensors(data, place)
    with torch.device("meta"):  # takes no memory before the shapes are known to be right
        ensemble = Ensemble(config)
    state = ensemble.state_dict()
    expected = {key: value.shape for key, value in state.items() if key not in _COUNTS}
    checked = checked_tensors(tensors, expected, place, "config.json")
    negative = [key for key in checked if key.endswith("_var") and bool((checked[key] < 0).any())]
    if negative:
        raise UserError(
            [f"{place}: tensor {key} holds negative values. Fit anew." for key in negative]
        )
    counts = {key: torch.tensor(0) for key in _COUNTS}
    ensemble.load_state_dict({**checked, **counts}, assign=True)
    return ensemble


def check_fits(config: EnsembleConfig, model: Model, place: str, remedy: str = "Fit anew") -> None:
    """Raises UserError where an ensemble of this config cannot read the model's features."""
    timesteps, num_timesteps = config.timesteps, model.diffusion.num_timesteps
    num_blocks = len(model.unet.block_channels)
    wrong = []
    if config.image_size != model.image_size:
        wrong.append(f"image_size = {config.image_size}, the DDPM's is {model.image_size}")
    if max(timesteps) >= num_timesteps:
        wrong.append(f"timesteps = {list(timesteps)}, the DDPM has 0..{num_timesteps - 1}")
    if max(config.blocks) >= num_blocks:
        wrong.append(f"blocks = {list(config.blocks)}, the DDPM has 0..{num_blocks - 1}")
    elif config.descriptor_dim != (dim := descriptor_dim(model.unet, timesteps, config.blocks)):
        wrong.append(f"descriptor_dim = {config.descriptor_dim}, these blocks give {dim}")
    if wrong:
        raise UserError([f"{place}: {problem}. {remedy}." for problem in wrong])


def check_replaceable(url: str) -> None:
    """Raises UserError where `save_ensemble` would replace the config of something else."""
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
