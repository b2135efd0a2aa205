"""What a step of training costs with each preset: parameters, and seconds of one CPU core.

Seconds are those that the process computes (user and system time, one thread), so that other work
on the machine does not count, and the median of some steps of the preset's own batch on random
images. `factory.config.presets` has the figures.
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
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [row for name in arguments.presets for row in preset_rows(name, arguments.runs)]
    measuring.report("Presets", rows, arguments.json, [])


def preset_rows(name: str, num_runs: int) -> list[Row]:
    """The size of a preset's network, and what a step of it costs."""
    config = parse_config({"preset": name})
    state = new_state(config, CPU)
    schedule = linear_schedule(config.train.diffusion)
    images = random_images(config.data.side, config.train.batch_size).to(CPU)
    num_parameters = sum(parameter.numel() for parameter in state.unet.parameters())
    seconds = []
    for _ in range(1 + num_runs):
        started = time.process_time()
        train_step(state, state.unet, schedule, images, config.train)
        seconds.append(time.process_time() - started)
    cost = statistics.median(seconds[1:])
    return [
        Row(f"{name}: parameters", num_parameters, None, ""),
        Row(f"{name}: a step of {config.train.batch_size} images", cost, None, "core-seconds"),
        Row(f"{name}: all steps", cost * config.train.num_steps / 3600, None, "core-hours"),
    ]


if __name__ == "__main__":
    main()
