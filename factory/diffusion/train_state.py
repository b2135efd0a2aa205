"""Everything of a training that persists between two steps, and its files in a checkpoint."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from factory.config import Config
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.families.unet2d_config import GOOGLE
from factory.diffusion.network import FeatureNetwork

CHECKPOINT_FILES = (
    "unet.safetensors",
    "ema.safetensors",
    "optimizer.safetensors",
    "state.json",
)


@dataclass
class TrainState:
    """Everything that a checkpoint holds."""

    unet: UNet
    ema: UNet
    """The averaged network: what is kept and sampled from."""
    optimizer: torch.optim.Optimizer
    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    """One entry per log line: step, loss, images_per_second; and one per checkpoint: step, and the
    errors on images that are left out."""


def new_state(
    config: Config, device: torch.device, initial: FeatureNetwork | None = None
) -> TrainState:
    """Random weights from train.seed, or those of an initial model, at step 0.

    A network that goes on from another one computes as that one does.
    """
    torch.manual_seed(config.train.seed)
    convention = initial.shape.convention if isinstance(initial, UNet) else GOOGLE
    unet = UNet(config.train.unet, config.data.num_channels, convention)
    if initial is not None:
        unet.load_state_dict(initial.state_dict())
    unet.to(device)
    if device.type == "cuda":
        # Before averages, gradients and moments are made: they take the memory format of the
        # weights, or torch's fused optimiser refuses them.
        unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        unet.parameters(),
        lr=config.train.learning_rate,
        weight_decay=config.train.weight_decay,
        fused=True,
    )
    return TrainState(unet, copy.deepcopy(unet), optimizer)


@torch.no_grad()
def is_finite(state: TrainState) -> bool:
    """True if all weights, averages and moments are finite numbers; waits for the device.

    A finite loss does not imply it: it is that of the weights before the step.
    """
    moments = (
        value
        for values in state.optimizer.state.values()
        for name, value in values.items()
        if name != "step"
    )
    tensors = (*state.unet.parameters(), *state.ema.parameters(), *moments)
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def save_state(state: TrainState, folder: Path) -> None:
    """Writes the four files of a checkpoint: tensors as safetensors, the rest as JSON."""
    save_file(_row_major(state.unet.state_dict()), folder / "unet.safetensors")
    save_file(_row_major(state.ema.state_dict()), folder / "ema.safetensors")
    moments = {
        f"{parameter}.{name}": value
        for parameter, values in state.optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    save_file(_row_major(moments), folder / "optimizer.safetensors")
    content = {
        "step": state.step,
        # The same number for readers of version 0.2.0.
        "num_averaged": state.step,
        "history": list(state.history),
    }
    (folder / "state.json").write_text(json.dumps(content))


def _row_major(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors on the CPU in row-major order, as safetensors needs them."""
    return {key: value.cpu().contiguous() for key, value in tensors.items()}


def load_state(state: TrainState, folder: Path) -> None:
    """Fills a new state from a checkpoint, in place."""
    state.unet.load_state_dict(load_file(folder / "unet.safetensors"))
    state.ema.load_state_dict(load_file(folder / "ema.safetensors"))
    parameters = list(state.unet.parameters())
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        number, name = key.split(".")
        if name != "step":
            # In the memory format of the weights: see `new_state`.
            value = torch.empty_like(parameters[int(number)]).copy_(value)
        moments.setdefault(int(number), {})[name] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    content = json.loads((folder / "state.json").read_text())
    state.step = content["step"]
    state.history = tuple(content["history"])
