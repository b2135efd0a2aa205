"""What a step of training costs with each preset: parameters, and seconds of one CPU core.

Seconds are those that the process computes (user and system time, one thread), so that other work
on the machine does not count, and the median of some steps of the preset's own batch on random
images. `--images 2` times steps of so few, whose seconds are then scaled to the batch: of 256 px a
whole batch needs more memory than most machines without a GPU have. `factory.config.presets` has
the figures.
"""

import argparse
import statistics
import time

import measuring
import torch
from measuring import Row
from training import random_images

from factory.config import parse_config
from factory.config.presets import PRESETS
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.train_state import new_state
from factory.diffusion.train_step import train_step

CPU = torch.device("cpu")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    arguments.add_argument("--images", type=int, help="images of a timed step; absent: the batch")
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [
        row
        for name in arguments.presets
        for row in preset_rows(name, arguments.runs, arguments.images)
    ]
    measuring.report("Presets", rows, arguments.json, [])


def preset_rows(name: str, num_runs: int, num_images: int | None = None) -> list[Row]:
    """The size of a preset's network, and what a step of it costs, by steps of so many images."""
    config = parse_config({"preset": name})
    state = new_state(config, CPU)
    schedule = linear_schedule(config.train.diffusion)
    batch_size = config.train.batch_size
    num_images = num_images or batch_size
    images = random_images(config.data.side, num_images).to(CPU)
    num_parameters = sum(parameter.numel() for parameter in state.unet.parameters())
    seconds = []
    for _ in range(1 + num_runs):
        started = time.process_time()
        train_step(state, state.unet, schedule, images, config.train)
        seconds.append(time.process_time() - started)
    cost = statistics.median(seconds[1:]) * batch_size / num_images
    return [
        Row(f"{name}: parameters", num_parameters, None, ""),
        Row(f"{name}: a step of {batch_size} images", cost, None, "core-seconds"),
        Row(f"{name}: training, images of a core second", batch_size / cost, None, "/s"),
        Row(f"{name}: all steps", cost * config.train.num_steps / 3600, None, "core-hours"),
    ]


if __name__ == "__main__":
    main()
