"""Everything of a training that persists between two steps, and its files in a checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel

from factory.config import Config
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.network import FeatureNetwork

CHECKPOINT_FILES = (
    "unet.safetensors",
    "ema.safetensors",
    "optimizer.safetensors",
    "state.json",
)


@dataclass
class TrainState:
    """All that a checkpoint holds."""

    unet: UNet
    ema: AveragedModel
    optimizer: torch.optim.Optimizer
    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    """One entry per log line: step, loss, images_per_second."""

    @property
    def ema_unet(self) -> UNet:
        """The averaged network: what is kept and sampled from."""
        unet = self.ema.module
        assert isinstance(unet, UNet)
        return unet


def new_state(
    config: Config, device: torch.device, initial: FeatureNetwork | None = None
) -> TrainState:
    """Random weights from train.seed, or those of an initial model, at step 0."""
    torch.manual_seed(config.train.seed)
    unet = UNet(config.unet)
    if initial is not None:
        unet.load_state_dict(initial.state_dict())
    unet.to(device)
    if device.type == "cuda":
        # Before anything is made beside the weights: averages, gradients and moments lie as they
        # do, or torch's fused optimiser refuses them.
        unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ema = AveragedModel(unet)
    optimizer = torch.optim.AdamW(
        unet.parameters(),
        lr=config.train.learning_rate,
        weight_decay=config.train.weight_decay,
        fused=True,
    )
    return TrainState(unet, ema, optimizer)


@torch.no_grad()
def is_finite(state: TrainState) -> bool:
    """Whether all weights, averages and moments are finite numbers; waits for the device.

    A loss that is finite does not say so: it is of the weights before the step.
    """
    moments = (
        value
        for values in state.optimizer.state.values()
        for name, value in values.items()
        if name != "step"
    )
    tensors = (*state.unet.parameters(), *state.ema_unet.parameters(), *moments)
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def save_state(state: TrainState, folder: Path) -> None:
    """Writes the checkpoint's four files; tensors as safetensors, the rest as JSON."""
    save_file(_row_major(state.unet.state_dict()), folder / "unet.safetensors")
    save_file(_row_major(state.ema_unet.state_dict()), folder / "ema.safetensors")
    moments = {
        f"{parameter}.{name}": value
        for parameter, values in state.optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }
    save_file(_row_major(moments), folder / "optimizer.safetensors")
    told = {
        "step": state.step,
        "num_averaged": int(state.ema.n_averaged),
        "history": list(state.history),
    }
    (folder / "state.json").write_text(json.dumps(told))


def _row_major(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors on the CPU in row-major order, as safetensors wants them, wherever they lay how."""
    return {key: value.cpu().contiguous() for key, value in tensors.items()}


def load_state(state: TrainState, folder: Path) -> None:
    """Fills a new state from a checkpoint, in place."""
    state.unet.load_state_dict(load_file(folder / "unet.safetensors"))
    state.ema_unet.load_state_dict(load_file(folder / "ema.safetensors"))
    parameters = list(state.unet.parameters())
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        number, name = key.split(".")
        if name != "step":
            # As the weights lie: see `new_state`.
            value = torch.empty_like(parameters[int(number)]).copy_(value)
        moments.setdefault(int(number), {})[name] = value
    groups = state.optimizer.state_dict()["param_groups"]
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    told = json.loads((folder / "state.json").read_text())
    state.ema.n_averaged.fill_(told["num_averaged"])
    state.step = told["step"]
    state.history = tuple(told["history"])
