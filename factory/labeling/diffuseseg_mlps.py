"""The ten pixel MLPs of DiffuseSeg (github.com/harish-jhr/DiffuseSeg) as one ensemble.

Their files are pickles: see `factory.diffusion.pickled`.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch

from factory.classes import Classes
from factory.diffusion.checkpoints import Model
from factory.diffusion.pickled import read_pickled
from factory.diffusion.tensors import checked_tensors
from factory.errors import Problems, UserError, counted
from factory.labeling.ensemble import Ensemble, EnsembleConfig

TIMESTEPS = (50, 150, 250)
BLOCKS = (0, 1, 2)
DESCRIPTOR_DIM = 624
NUM_MEMBERS = 10
HIDDEN = (128, 32)
FILES = tuple(f"mlp_{i}_best.pt" for i in range(1, NUM_MEMBERS + 1))
_NORM_EPS = 1e-5
"""The eps of every normalisation: torch's default."""
_COLORS = {
    "skin": (204, 204, 255),
    "l_brow": (255, 0, 0),
    "r_brow": (255, 0, 85),
    "l_eye": (255, 0, 170),
    "r_eye": (255, 0, 255),
    "eye_g": (170, 0, 255),
    "l_ear": (85, 0, 255),
    "r_ear": (0, 0, 255),
    "ear_r": (0, 85, 255),
    "nose": (0, 170, 255),
    "mouth": (0, 255, 255),
    "u_lip": (0, 255, 170),
    "l_lip": (0, 255, 85),
    "hair": (0, 255, 0),
    "hat": (170, 255, 0),
    "neck": (255, 255, 0),
    "cloth": (255, 170, 0),
    "necklace": (255, 85, 0),
    "earring": (170, 0, 85),
    "bg": (255, 255, 255),
}
CLASSES = Classes(tuple(_COLORS), tuple(_COLORS.values()))
"""Its ids. Left and right are the subject's; earrings are "ear_r", the id "earring" is unused."""


def read_ensemble(urls: Sequence[str], ddpm: Model) -> Ensemble:
    """The ensemble that equals the ten MLPs, on the features of DiffuseSeg's own network.

    It is in eval mode and frozen. Raises UserError as `load_mlps` does.
    """
    config = EnsembleConfig(
        class_names=CLASSES.names,
        palette=CLASSES.palette,
        image_size=ddpm.image_size,
        timesteps=TIMESTEPS,
        blocks=BLOCKS,
        noise_seed=0,
        descriptor_dim=DESCRIPTOR_DIM,
        num_members=NUM_MEMBERS,
        hidden=HIDDEN,
        ddpm_hash=ddpm.model_hash,
    )
    weights = load_mlps(urls)
    ensemble = Ensemble(config)
    ensemble.load_state_dict(weights)
    return ensemble.eval().requires_grad_(False)


def load_mlps(urls: Sequence[str]) -> dict[str, torch.Tensor]:
    """The state dict of an ensemble that equals the ten MLPs of `FILES`.

    The MLPs normalise before the ReLU, the ensemble after it: normalisations are folded into the
    layers before them, and the ensemble's own do nothing. Raises UserError with all that is wrong
    with any of the files, and where they are not ten.
    """
    if len(set(urls)) != NUM_MEMBERS:
        raise UserError(
            f"{counted(len(set(urls)), 'different file')} of MLPs, DiffuseSeg's ensemble has "
            f"{NUM_MEMBERS}: name mlp_1_best.pt to mlp_{NUM_MEMBERS}_best.pt. Got: "
            f"{', '.join(urls) or 'none'}."
        )
    problems, members = Problems(), []
    for url in urls:
        with problems.collected():
            members.append(_folded_mlp(url))
    problems.raise_if_any()
    weights_1, biases_1, weights_2, biases_2, weights_3, biases_3 = zip(*members, strict=True)
    return {
        "linear_1.weight": torch.cat(weights_1),
        "linear_1.bias": torch.cat(biases_1),
        "weight_2": torch.stack(weights_2).transpose(1, 2).contiguous(),
        "bias_2": torch.stack(biases_2)[:, None],
        "weight_3": torch.stack(weights_3).transpose(1, 2).contiguous(),
        "bias_3": torch.stack(biases_3)[:, None],
        **_identity_norm("norm_1", NUM_MEMBERS * HIDDEN[0]),
        **_identity_norm("norm_2", NUM_MEMBERS * HIDDEN[1]),
    }


def _folded_mlp(url: str) -> tuple[torch.Tensor, ...]:
    """Weight and bias of its three layers, the two normalisations folded into the first two."""
    widths = (DESCRIPTOR_DIM, *HIDDEN, len(CLASSES))
    expected: dict[str, torch.Size] = {}
    for layer, (fan_in, out) in zip(("fc1", "fc2", "fc_out"), pairwise(widths), strict=True):
        expected[f"{layer}.weight"] = torch.Size((out, fan_in))
        expected[f"{layer}.bias"] = torch.Size((out,))
    for norm, width in zip(("bn1", "bn2"), HIDDEN, strict=True):
        for name in ("weight", "bias", "running_mean", "running_var"):
            expected[f"{norm}.{name}"] = torch.Size((width,))
    tensors = {
        key: value
        for key, value in read_pickled(url).items()
        if not key.endswith(".num_batches_tracked")
    }
    checked = checked_tensors(tensors, expected, url, "DiffuseSeg")
    folded = [*_fold(checked, "fc1", "bn1", url), *_fold(checked, "fc2", "bn2", url)]
    return (*folded, checked["fc_out.weight"], checked["fc_out.bias"])


def _fold(
    tensors: Mapping[str, torch.Tensor], layer: str, norm: str, url: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a linear layer that does what it and the normalisation after it do."""
    weight, bias = (tensors[f"{layer}.{name}"].double() for name in ("weight", "bias"))
    gain, shift, mean, variance = (
        tensors[f"{norm}.{name}"].double()
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    if bool((variance < 0).any()):
        raise UserError(f"{url}: tensor {norm}.running_var holds negative values.")
    scale = gain / (variance + _NORM_EPS).sqrt()
    return (scale[:, None] * weight).float(), ((bias - mean) * scale + shift).float()


def _identity_norm(name: str, width: int) -> dict[str, torch.Tensor]:
    """A BatchNorm1d that in eval mode returns what it is given."""
    return {
        f"{name}.weight": torch.ones(width),
        f"{name}.bias": torch.zeros(width),
        f"{name}.running_mean": torch.zeros(width),
        f"{name}.running_var": torch.full((width,), 1.0 - _NORM_EPS),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }
