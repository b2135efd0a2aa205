"""Everything of a training that persists between two steps, and its files in a checkpoint."""

import copy
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Generic

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from typing_extensions import TypeVar

from factory.config import Config, TrainConfig
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.families.unet2d_config import GOOGLE
from factory.diffusion.muon import Muon
from factory.diffusion.network import FeatureNetwork
from factory.diffusion.run_end import End
from factory.precision import in_bf16

CHECKPOINT_FILES = (
    "unet.safetensors",
    "ema.safetensors",
    "optimizer.safetensors",
    "state.json",
)


N = TypeVar("N", bound=nn.Module, default=UNet)


@dataclass
class TrainState(Generic[N]):
    """Everything that a checkpoint holds."""

    unet: N
    ema: N
    """The averaged network: what is kept and sampled from."""
    optimizers: tuple[torch.optim.Optimizer, ...]
    """Each has some of the network's weights; together they have all."""
    step: int = 0
    history: tuple[dict[str, float], ...] = ()
    """One entry per log line: step, loss, images_per_second; and for each measurement one: step,
    and what was measured."""
    end: End = field(default_factory=End)
    """The end of the run that it is of."""
    begun: int = 0
    """The step that it was loaded at, from which on this process has stepped."""


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
    end = End.of(config.train.model_dump(include={"num_steps", "decay"}))
    return TrainState(unet, copy.deepcopy(unet), _optimizers(unet, config.train), end=end)


def _optimizers(unet: UNet, train: TrainConfig) -> tuple[torch.optim.Optimizer, ...]:
    """AdamW of all weights; or Muon of the matrices, and AdamW of the rest: of biases, of scales,
    and of the kernels next to the images, whose rows are no directions among features."""
    adamw = partial(
        torch.optim.AdamW, lr=train.learning_rate, weight_decay=train.weight_decay, fused=True
    )
    if train.optimizer == "adamw":
        return (adamw(unet.parameters()),)
    ends = {id(unet.conv_in.weight), id(unet.conv_out.weight)}
    matrices = [w for w in unet.parameters() if w.dim() > 1 and id(w) not in ends]
    chosen = {id(weight) for weight in matrices}
    bf16 = in_bf16(train.precision, unet.conv_in.weight.device.type)
    muon = Muon(matrices, train.learning_rate, train.weight_decay, bf16=bf16)
    return muon, adamw([w for w in unet.parameters() if id(w) not in chosen])


def update(
    state: TrainState[Any], loss: torch.Tensor, rate: float, max_grad_norm: float, decay: float
) -> None:
    """One step of all optimisers at a learning rate, down the gradient of the loss, whose norm is
    bounded; the average follows."""
    state.unet.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(state.unet.parameters(), max_grad_norm)
    for optimizer in state.optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    _average(state, decay)
    state.step += 1


@torch.no_grad()
def _average(state: TrainState[Any], decay: float) -> None:
    """Moves the average to the weights: by 1 - min(decay, (1 + n) / (10 + n)) after n steps.

    So it forgets its random start; at n = 0 it becomes the weights. The steps are counted in
    Python: torch's `AveragedModel` counts them on the device, which choosing a decay waits for.
    Buffers, as those of batch normalisation, are averages themselves, and copied.
    """
    n = state.step
    weight = 1.0 - min(decay, (1.0 + n) / (10.0 + n)) if n else 1.0
    averages, weights = state.ema.parameters(), state.unet.parameters()
    torch._foreach_lerp_(list(averages), list(weights), weight)
    for kept, buffer in zip(state.ema.buffers(), state.unet.buffers(), strict=True):
        kept.copy_(buffer)


@torch.no_grad()
def is_finite(state: TrainState[Any]) -> bool:
    """True if all weights, averages and moments are finite numbers; waits for the device.

    A finite loss does not imply it: it is that of the weights before the step.
    """
    moments = (value for key, value in _moments(state).items() if not key.endswith(".step"))
    tensors = (*state.unet.parameters(), *state.ema.parameters(), *moments)
    return bool(torch.stack([tensor.isfinite().all() for tensor in tensors]).all())


def save_state(state: TrainState[Any], folder: Path) -> None:
    """Writes the four files of a checkpoint: tensors as safetensors, the rest as JSON."""
    save_file(_row_major(state.unet.state_dict()), folder / "unet.safetensors")
    save_file(_row_major(state.ema.state_dict()), folder / "ema.safetensors")
    save_file(_row_major(_moments(state)), folder / "optimizer.safetensors")
    content = {
        "step": state.step,
        # The same number for readers of version 0.2.0.
        "num_averaged": state.step,
        "history": list(state.history),
        "end": asdict(state.end),
    }
    (folder / "state.json").write_text(json.dumps(content))


def _moments(state: TrainState[Any]) -> dict[str, torch.Tensor]:
    """What the optimisers keep of each weight, by its number in the network and a name of theirs:
    the names by which the files of older versions have AdamW's."""
    return {
        f"{number}.{name}": value
        for number, weight in enumerate(state.unet.parameters())
        for optimizer in state.optimizers
        for name, value in optimizer.state.get(weight, {}).items()
    }


def _row_major(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors on the CPU in row-major order, as safetensors needs them."""
    return {key: value.cpu().contiguous() for key, value in tensors.items()}


def load_state(state: TrainState[Any], folder: Path) -> None:
    """Fills a new state from a checkpoint, in place; its end stays that of the config."""
    state.unet.load_state_dict(load_file(folder / "unet.safetensors"))
    state.ema.load_state_dict(load_file(folder / "ema.safetensors"))
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in load_file(folder / "optimizer.safetensors").items():
        number, name = key.split(".")
        moments.setdefault(int(number), {})[name] = value
    owners = {
        id(weight): optimizer
        for optimizer in state.optimizers
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    for number, weight in enumerate(state.unet.parameters()):
        # In the memory format of the weights: see `new_state`.
        owners[id(weight)].state[weight] = {
            name: value.to(weight.device)
            if name == "step"
            else torch.empty_like(weight).copy_(value)
            for name, value in moments.get(number, {}).items()
        }
    content = json.loads((folder / "state.json").read_text())
    state.step = state.begun = content["step"]
    state.history = tuple(content["history"])
