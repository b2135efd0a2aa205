"""What it costs that pairs tell how near they are to a training image, and that they are chosen.

`other` is a shard without either. Features of training images are random numbers here, as many as
are asked for: what a product of matrices costs does not depend on what is in them.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
from measuring import Row
from safetensors.torch import save_file

from factory.config import Config, load_config
from factory.embedded import DDPM_URL, ENSEMBLE_URL
from factory.generation.recipe import load_models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.likeness.training_images import FILE


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--ddpm", default=DDPM_URL, help="a model folder of this machine")
    arguments.add_argument("--ensemble", default=ENSEMBLE_URL, help="its ensemble")
    arguments.add_argument("--pairs", type=int, default=200, help="pairs of a shard")
    arguments.add_argument("--training-images", type=int, default=100_000)
    measuring.add_set(arguments)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    with (
        tempfile.TemporaryDirectory() as folder,
        measuring.reporting("Choosing", arguments.json) as (rows, notes),
    ):
        ddpm = Path(folder) / "ddpm"
        shutil.copytree(arguments.ddpm, ddpm)
        plain = _maker(arguments, ddpm)
        _put_features(ddpm / FILE, arguments.training_images)
        telling = _maker(arguments, ddpm)
        distances = [each.nearest_training_distance for each in telling()]
        bound = float(np.quantile(np.array(distances, float), 0.02))
        others = {
            "the nearest training image": telling,
            "2 % of the pairs replaced": _maker(arguments, ddpm, min_training_distance=bound),
            "half of twice as many kept": _maker(arguments, ddpm, select={"keep": 0.5}),
        }
        for name, maker in others.items():
            ours, other = measuring.alternating(maker, plain, arguments.runs)
            assert other is not None
            scale = 1000 / arguments.pairs
            rows.append(Row(name, ours * scale, other * scale, "ms a pair"))
        size = (ddpm / FILE).stat().st_size / 1e6
        notes.append(f"{arguments.training_images:,} training images: a file of {size:.0f} MB.")


def _put_features(file: Path, num: int) -> None:
    """Writes what a DDPM's folder keeps of so many training images, random ones."""
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "layout": torch.randn(num, 256, generator=generator).half(),
        "numbers": torch.arange(num),
        "own": torch.full((2000,), 20.0),
        "total": torch.tensor([num]),
    }
    save_file(tensors, file)


def _maker(arguments: argparse.Namespace, ddpm: Path, **generate: Any) -> Any:
    """Makes the pairs of a shard; each call makes the same ones."""
    config = _config(arguments, ddpm, generate)
    models = load_models(config)
    plan = make_plan(config, models)
    synthesizer = Synthesizer(models, plan)
    return lambda: list(synthesizer.samples(plan.shard(0)))


def _config(arguments: argparse.Namespace, ddpm: Path, generate: dict[str, Any]) -> Config:
    own = {"num": arguments.pairs, "samples_per_shard": arguments.pairs, **generate}
    return load_config(
        None,
        [
            ("models.ddpm_url", str(ddpm)),
            ("models.ensemble_url", arguments.ensemble),
            *((f"generate.{key}", value) for key, value in own.items()),
            *arguments.set,
        ],
    )


if __name__ == "__main__":
    main()
