"""K pixel classifiers as one network.

Each member is Linear-ReLU-BatchNorm-Linear-ReLU-BatchNorm-Linear (Baranchuk et al. 2022,
section 4).

Shapes: N pixels, D descriptor, K members, H1, H2 hidden, C classes.
"""

import hashlib
import json
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from factory import storage
from factory.classes import Classes
from factory.errors import Problems, UserError

WEIGHTS = "ensemble.safetensors"


class EnsembleConfig(BaseModel):
    """What an ensemble's weights mean; its folder's `config.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    image_size: int
    timesteps: tuple[int, ...]
    blocks: tuple[int, ...]
    noise_seed: int
    """Of the noise that images are noised with for their features."""
    descriptor_dim: int
    num_members: int
    hidden: tuple[int, int]
    ddpm_hash: str
    """The DDPM whose features the weights belong to."""

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
    """Writes the folder: weights, in dtype, then config.json."""
    tensors = {
        key: value.detach().to("cpu", dtype if value.is_floating_point() else None).contiguous()
        for key, value in ensemble.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    storage.write(storage.join(url, WEIGHTS), save(tensors))
    config = json.dumps(ensemble.config.model_dump(mode="json"), indent=2) + "\n"
    storage.write(storage.join(url, "config.json"), config.encode())


def load_ensemble(url: str, ddpm_hash: str) -> tuple[Ensemble, str]:
    """The ensemble, in eval mode, and the sha256 of its folder's content, hex.

    Raises UserError where it is not there, damaged, or fitted on another DDPM.
    """
    url = storage.normalize(url)
    try:
        config_data = storage.read_bytes(storage.join(url, "config.json"))
        weights = storage.read_bytes(storage.join(url, WEIGHTS))
    except FileNotFoundError:
        raise UserError(
            f"{url}: no ensemble: config.json and {WEIGHTS} are not both there. "
            "Name a folder that `factory fit` wrote."
        ) from None
    try:
        config = EnsembleConfig.model_validate_json(config_data)
    except ValidationError as error:
        raise UserError(
            f"{url}/config.json: not an ensemble's ({error.error_count()} problems, first: "
            f"{error.errors()[0]['msg']}). Name a folder that `factory fit` wrote."
        ) from None
    if config.ddpm_hash != ddpm_hash:
        raise UserError(
            f"{url}: was fitted on another DDPM ({config.ddpm_hash[:12]}) than the one given "
            f"({ddpm_hash[:12]}). Fit anew with `factory fit`, or name its own DDPM."
        )
    ensemble = Ensemble(config)
    _load_weights(ensemble, weights, storage.join(url, WEIGHTS))
    content_hash = hashlib.sha256(config_data + weights).hexdigest()
    return ensemble.eval().requires_grad_(False), content_hash


def _load_weights(ensemble: Ensemble, data: bytes, place: str) -> None:
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise UserError(f"{place}: damaged safetensors ({error}). Copy it again.") from None
    expected = {
        key: value.shape
        for key, value in ensemble.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    problems = Problems()
    for key in sorted({*expected, *tensors}):
        given = tensors.get(key)
        if given is None or key not in expected or given.shape != expected[key]:
            problems.add(f"{place}: tensor {key} does not fit config.json.")
        elif not bool(torch.isfinite(given).all()):
            problems.add(f"{place}: tensor {key} holds values that are not finite. Fit anew.")
    problems.raise_if_any()
    ensemble.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=False)
