"""K pixel classifiers as one network, their vote and their disagreement.

Each member is Linear-ReLU-BatchNorm-Linear-ReLU-BatchNorm-Linear (Baranchuk et al. 2022,
section 4). On whole images the first layer is applied to the maps at their native resolution and
its output is upsampled: both are linear, and bilinear weights sum to one, so that equals
classifying upsampled descriptors, at a fraction of the work.

Shapes: N pixels, D descriptor, K members, H1, H2 hidden, C classes, B images, S image size.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
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
UNCERTAIN_SHARE = 0.1


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
        return self._after_projection(self.linear_1(descriptors))

    def logits_of_maps(self, maps: Sequence[torch.Tensor], image_size: int) -> torch.Tensor:
        """Maps (B, C_m, h_m, w_m) in the descriptor's order -> logits (K, B * S * S, C)."""
        projected = sum(self._projections(maps, image_size))
        assert isinstance(projected, torch.Tensor)
        rows = projected.permute(0, 2, 3, 1).flatten(0, 2) + self.linear_1.bias
        return self._after_projection(rows)

    def _projections(self, maps: Sequence[torch.Tensor], image_size: int) -> Iterable[torch.Tensor]:
        """The first layer on the maps of each resolution, upsampled: (B, K * H1, S, S) each."""
        weights = self.linear_1.weight.split([m.shape[1] for m in maps], dim=1)
        for resolution in sorted({m.shape[-1] for m in maps}):
            chosen = [i for i, m in enumerate(maps) if m.shape[-1] == resolution]
            kernel = torch.cat([weights[i] for i in chosen], dim=1)[:, :, None, None]
            native = F.conv2d(torch.cat([maps[i] for i in chosen], dim=1), kernel)
            if resolution == image_size:
                yield native
            else:
                yield F.interpolate(native, image_size, mode="bilinear", align_corners=False)

    def _after_projection(self, rows: torch.Tensor) -> torch.Tensor:
        """(N, K * H1), before the first ReLU -> logits (K, N, C)."""
        members = self.config.num_members
        h = _by_member(self.norm_1(F.relu(rows)), members)
        h = torch.baddbmm(self.bias_2, h, self.weight_2)
        h = F.relu(h).transpose(0, 1).flatten(1)
        h = _by_member(self.norm_2(h), members)
        return torch.baddbmm(self.bias_3, h, self.weight_3)

    def fold_standardisation(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Makes a network fitted on (x - mean) / deviation take x itself; mean, deviation (D,)."""
        with torch.no_grad():
            self.linear_1.weight /= deviation
            self.linear_1.bias -= self.linear_1.weight @ mean


def _by_member(rows: torch.Tensor, members: int) -> torch.Tensor:
    """(N, K * H) -> (K, N, H)."""
    return rows.unflatten(1, (members, -1)).transpose(0, 1)


@dataclass(frozen=True)
class Labels:
    """What the ensemble says of B images."""

    masks: torch.Tensor
    """(B, S, S) uint8 class ids."""
    uncertainty: torch.Tensor
    """(B, S, S) float32: Jensen-Shannon divergence of the members, nats, 0 to ln(C)."""

    def image_uncertainty(self) -> torch.Tensor:
        """(B,): mean over the most uncertain tenth of the pixels (the paper's image score)."""
        pixels = self.uncertainty.flatten(1)
        top = max(1, round(pixels.shape[1] * UNCERTAIN_SHARE))
        return pixels.topk(top, dim=1).values.mean(dim=1)


def label_maps(
    ensemble: Ensemble, maps: Sequence[torch.Tensor], image_size: int, vote: str
) -> Labels:
    """Labels B images from their maps, one image at a time: memory stays that of one image."""
    masks, uncertainty = [], []
    for i in range(len(maps[0])):
        logits = ensemble.logits_of_maps([m[i : i + 1] for m in maps], image_size)
        masks.append(hard_vote(logits) if vote == "hard" else soft_vote(logits))
        uncertainty.append(jensen_shannon(logits))
    shape = (-1, image_size, image_size)
    return Labels(torch.cat(masks).view(shape).to(torch.uint8), torch.cat(uncertainty).view(shape))


def hard_vote(logits: torch.Tensor) -> torch.Tensor:
    """(K, N, C) -> (N,) the class most members choose; ties go to the smallest id."""
    num_classes = logits.shape[-1]
    votes = F.one_hot(logits.argmax(dim=-1), num_classes).sum(dim=0)
    # Distinct scores, so that the largest is unique and ties fall to the smaller id.
    return (votes * num_classes - torch.arange(num_classes, device=logits.device)).argmax(dim=-1)


def soft_vote(logits: torch.Tensor) -> torch.Tensor:
    """(K, N, C) -> (N,) the class of the largest mean probability."""
    return logits.softmax(dim=-1).mean(dim=0).argmax(dim=-1)


def jensen_shannon(logits: torch.Tensor) -> torch.Tensor:
    """(K, N, C) -> (N,): H(mean of the members) - mean of H(member), nats; 0 where all agree."""
    log_p = logits.log_softmax(dim=-1)
    p = log_p.exp()
    mean = p.mean(dim=0)
    entropy_of_mean = -(mean * mean.clamp_min(1e-30).log()).sum(dim=-1)
    mean_entropy = -(p * log_p).sum(dim=-1).mean(dim=0)
    return (entropy_of_mean - mean_entropy).clamp_min(0.0)


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
