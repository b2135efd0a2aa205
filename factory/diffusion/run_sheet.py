"""The sheet of samples that a run draws now and then, and how far it is from the training images.

Shapes: N images of the sheet, M training images, S image size, C channels.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from factory import storage
from factory.config import Config
from factory.diffusion.noise import normal_noise, sample_seed, step_noise
from factory.diffusion.prediction import epsilon_fn
from factory.diffusion.samplers import ddim
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.timesteps import uniform_timesteps
from factory.diffusion.train_state import TrainState
from factory.images import UInt8, to_channels_last_arrays
from factory.likeness.colours import colours_of
from factory.likeness.feature_space import Features, features
from factory.likeness.frechet import frechet_distance
from factory.pictures import tile
from factory.png import encode_png
from factory.progress import tell

_ROWS = 6
_NUM_STEPS = 20
_MAX_COMPARED = 1000
"""The training images that samples are compared with; more say nothing else."""


@dataclass(frozen=True)
class Reference:
    """The training images that samples are compared with."""

    pixels: UInt8
    """(M, S, S, C), all of them."""

    @cached_property
    def features(self) -> Features:
        """Those of some of the images, evenly from all; reckoned once."""
        num = min(_MAX_COMPARED, len(self.pixels))
        chosen = np.linspace(0, len(self.pixels) - 1, num).astype(np.int64)
        return features(self.pixels[i] for i in chosen)


def draw_sheet(
    config: Config, state: TrainState, reference: Reference, device: torch.device
) -> None:
    """Writes a sheet of the averaged network's samples, always from the same noise, and tells how
    far they are from training images in the fixed feature space."""
    pictures = _samples(config, state, device)
    rows = [pictures[i : i + _ROWS] for i in range(0, len(pictures), _ROWS)]
    sheet_url = storage.join(config.train.url, "samples", f"step-{state.step:07d}.png")
    try:
        storage.write(sheet_url, encode_png(tile(rows, scale=2)))
    except OSError as error:
        # Nobody needs it to go on; the next checkpoint may find room again.
        tell(f"train | {sheet_url}: not written ({storage.describe(error)})")
    _tell_distance(state, pictures, reference)


def _samples(config: Config, state: TrainState, device: torch.device) -> UInt8:
    """Samples (N, S, S, C) of the averaged network."""
    schedule = linear_schedule(config.train.diffusion)
    shape = (config.data.num_channels, config.data.side, config.data.side)
    seeds = [sample_seed(config.train.seed, index) for index in range(_ROWS**2)]
    noise = step_noise(seeds, shape, device)
    steps = uniform_timesteps(schedule, min(_NUM_STEPS, schedule.num_timesteps))
    unet = state.ema.eval()
    with torch.inference_mode():
        x_t = normal_noise(seeds, shape, stream=0).to(device)
        network = epsilon_fn(config.train.diffusion.prediction_type, schedule, unet)
        pictures = to_channels_last_arrays(ddim(network, schedule, x_t, steps, 1.0, noise))
    unet.train()
    return pictures


def _tell_distance(state: TrainState, pictures: UInt8, reference: Reference) -> None:
    """A line and an entry of the history: the Frechet distance of the samples, and of as many
    training images, to the others; nothing where these are too few."""
    num = len(pictures)
    if len(reference.pixels) < 2 * num:
        return
    real, drawn = reference.features, features(pictures)
    apart = torch.zeros(len(real), dtype=torch.bool)
    apart[:: len(real) // num][:num] = True
    others = real.statistics[~apart]
    distance, usual = (
        frechet_distance(some, others) for some in (drawn.statistics, real.statistics[apart])
    )
    colours = ""
    if pictures.shape[-1] == len("RGB"):
        colours = (
            f" | red, green and blue less grey, of 255: {colours_of(drawn)}; training images "
            f"{colours_of(real)}"
        )
    tell(
        f"train | step {state.step:,} | Frechet distance of {num} samples to training images "
        f"{distance:.3f}, of as many of these {usual:.3f}{colours}"
    )
    entry = {"frechet_distance": distance, "frechet_distance_of_training_images": usual}
    state.history += ({"step": state.step, **entry},)
