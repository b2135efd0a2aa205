"""What a step of training costs with each preset, and its score by labels: parameters, and seconds
of one CPU core.

Seconds are those that the process computes (user and system time, one thread), so that other work
on the machine does not count, and the median of some steps of the preset's own batch on random
images. `--images 2` times steps of so few, whose seconds are then scaled to the batch: of 256 px a
whole batch needs more memory than most machines without a GPU have. `factory.config.presets` has
the figures. A score is that of drawn faces, `--labelled` of them.
"""

import argparse
import statistics
import time

import measuring
import torch
from measuring import Row
from training import random_images

from factory.config import Config, parse_config
from factory.config.presets import PRESETS
from factory.diffusion.run_labels import LabelProbe, read_probed
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.train_state import TrainState, new_state
from factory.diffusion.train_step import train_step

CPU = torch.device("cpu")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    arguments.add_argument("--images", type=int, help="images of a timed step; absent: the batch")
    arguments.add_argument("--labelled", type=int, default=20, help="labelled images of a score")
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [
        row
        for name in arguments.presets
        for row in preset_rows(name, arguments.runs, arguments.images, arguments.labelled)
    ]
    measuring.report("Presets", rows, arguments.json, [])


def preset_rows(
    name: str, num_runs: int, num_images: int | None = None, num_labelled: int = 20
) -> list[Row]:
    """The size of a preset's network, and what a step of it costs, by steps of so many images."""
    labelled = {"kind": "toy", "num": num_labelled, "seed": 2}
    config = parse_config({"preset": name, "data": {"labelled": labelled}})
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
        Row(
            f"{name}: a score of {num_labelled} labelled images",
            score_seconds(config, state, num_runs),
            None,
            "core-seconds",
        ),
    ]


def score_seconds(config: Config, state: TrainState, num_runs: int) -> float:
    """The median of what a score by labels takes, without writing the best step's model."""
    labelled = read_probed(config)
    assert labelled is not None, "drawn faces have labels"
    probe = LabelProbe(config, labelled, None)
    seconds = []
    for _ in range(1 + num_runs):
        started = time.process_time()
        probe.score(state)
        seconds.append(time.process_time() - started)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
