"""Tells of a run how well its averaged network does on the images that it leaves out."""

import torch

from factory.config import Config
from factory.diffusion.held_out import errors
from factory.diffusion.prediction import epsilon_fn
from factory.diffusion.schedule import Schedule
from factory.diffusion.train_state import TrainState
from factory.errors import counted
from factory.progress import tell


def tell_health(
    config: Config, state: TrainState, schedule: Schedule, held_out: torch.Tensor
) -> None:
    """A line and an entry of the history, of images (N, C, S, S) in [-1, 1]."""
    kind, unet = config.train.diffusion.prediction_type, state.ema.eval()
    found = errors(epsilon_fn(kind, schedule, unet), schedule, held_out, config.train.seed)
    unet.train()
    # Weights that are not finite are refused when they are saved.
    if found.are_finite:
        tell(
            f"train | step {state.step:,} | error on {counted(len(held_out), 'held-out image')} by "
            f"share of noise: {found} | {found.verdict(state.history)}"
        )
        state.history += ({"step": state.step, **found.entry()},)
