"""Steps of DDPM training: images per second, waiting for data, share of the matrix rate.

The other side is DiffuseSeg's own training loop (batch decoded from PNG by its DataLoader,
fp32, Adam, the loss fetched every step) on its own network; ours trains the same network as
`factory train` trains ours: uint8 images in memory, bfloat16 where it is fast, fused AdamW, EMA.
Both take turns; medians are reported. Then our face network alone, on the images of a config or
random ones.
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import measuring
import numpy as np
import torch
import yaml
from diffuseseg import load_module
from measuring import Row
from torch.utils.flop_counter import FlopCounterMode

from factory.config import Config, load_config, required
from factory.data.cache.decoded import cached_images
from factory.diffusion.families.diffuseseg import DiffuseSegUNet, Shape
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.train_state import TrainState, new_state
from factory.diffusion.train_step import (
    batch_indices,
    fast_network,
    read_batch,
    resident_images,
    train_step,
)
from factory.images import UInt8
from factory.png import encode_png
from factory.precision import in_bf16

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
MATRIX_SIZE = {"cpu": 4096, "cuda": 16384}
"""Large enough that starting a product costs nothing beside it."""
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
DIFFUSESEG_STEPS = 3
"""Of DiffuseSeg's, each turn; the first one warms up."""


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    measuring.add_diffuseseg(arguments)
    arguments.add_argument("--config", default="configs/faces64.yaml")
    arguments.add_argument("--data", action="store_true", help="the config's images, not random")
    arguments.add_argument("--batch-size", type=int, help="absent: the config's")
    arguments.add_argument(
        "--diffuseseg-batch", type=int, default=2, help="its memory allows no more"
    )
    measuring.add_set(arguments)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    config = load_config(arguments.config, arguments.set)
    rows, notes = face_rows(config, arguments)
    rows.append(diffuseseg_row(config, arguments))
    measuring.report("Training", rows, arguments.json, notes)


def face_rows(config: Config, arguments: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """Our network on the config's batch: rate, waiting, share of the matrix rate."""
    train = config.train.model_copy(
        update={"batch_size": arguments.batch_size or config.train.batch_size}
    )
    state = new_state(config, DEVICE)
    network = fast_network(state.unet, train)
    size = config.data.side
    images = resident_images(pixels(config, arguments.data), DEVICE)
    schedule = linear_schedule(config.train.diffusion).to(DEVICE)
    waited = []

    def step() -> None:
        started = time.perf_counter()
        chosen = batch_indices(len(images), train, state.step, 0, 1)
        batch = read_batch(images, chosen, DEVICE)
        waited.append(time.perf_counter() - started)
        train_step(state, network, schedule, batch, train)
        finish()

    for _ in range(3):
        step()
    waited.clear()
    seconds = [measuring.seconds(step) for _ in range(max(arguments.runs, 5))]
    rate = train.batch_size / statistics.median(seconds)
    flops = 3 * forward_flops(state.unet, size)
    precision = "bf16" if in_bf16(train.precision, DEVICE.type) else "fp32"
    matrix_size = MATRIX_SIZE[DEVICE.type]
    peak = matrix_rate(matrix_size, DTYPES[precision])
    share = sum(waited) / sum(seconds)
    return [
        Row(f"our network, batch {train.batch_size}", rate, None, "images/s"),
        Row("waiting for data", share * 100, None, "%", "< 2 %"),
        Row(
            f"of the {precision} matrix rate",
            rate * flops / peak * 100,
            None,
            "%",
            ">= 35 % of bf16's on a GPU",
        ),
    ], [
        f"{flops / 1e9:.1f} GFLOP an image and step (three forward passes); a {precision} product "
        f"of {matrix_size}x{matrix_size} matrices reaches {peak / 1e12:.3g} TFLOP/s here. Widths "
        f"{list(config.train.unet.block_out_channels)}, {size} px."
    ]


def pixels(config: Config, data: bool) -> UInt8:
    """uint8 (N, S, S, 3): the config's images, or random ones."""
    if data:
        return cached_images(config.data, required(config, "data.unlabelled")).images
    return random_images(config.data.side, 1024).permute(0, 2, 3, 1).cpu().numpy()


def random_images(size: int, num: int) -> torch.Tensor:
    """uint8 (N, 3, S, S): what they show costs nothing."""
    generator = torch.Generator().manual_seed(0)
    shape = (num, 3, size, size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).to(DEVICE)


def finish() -> None:
    """Waits for the device, so that a step is timed whole."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def forward_flops(unet: torch.nn.Module, size: int) -> float:
    """Of one image; a product and a sum are two."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        unet(torch.zeros(1, 3, size, size, device=DEVICE), torch.zeros(1, device=DEVICE))
    return float(counter.get_total_flops())


def matrix_rate(size: int, dtype: torch.dtype) -> float:
    """FLOP/s of a product of square matrices, the best of five."""
    a = torch.randn(size, size, device=DEVICE).to(dtype)

    def product() -> None:
        a @ a
        finish()

    product()
    return 2 * size**3 / min(measuring.seconds(product) for _ in range(5))


def diffuseseg_row(config: Config, arguments: argparse.Namespace) -> Row:
    """DiffuseSeg's network, trained by our step and by its own loop."""
    batch = arguments.diffuseseg_batch
    name = f"DiffuseSeg's network, batch {batch}"
    train = config.train.model_copy(update={"batch_size": batch})
    torch.manual_seed(0)
    unet = DiffuseSegUNet(Shape()).to(DEVICE)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4, fused=True)
    state = TrainState(unet, copy.deepcopy(unet), (optimizer,))
    network = fast_network(unet, train)
    images = random_images(64, batch)
    schedule = linear_schedule(config.train.diffusion).to(DEVICE)

    def step() -> None:
        train_step(state, network, schedule, images, train)
        finish()

    step()
    if arguments.diffuseseg is None:
        measuring.absent("DiffuseSeg's training", "--diffuseseg")
        ours = [measuring.seconds(step) for _ in range(arguments.runs)]
        return Row(name, batch / statistics.median(ours), None, "images/s")
    module, ours, theirs = load_module(arguments.diffuseseg, "DDPM-train"), [], []
    for _ in range(arguments.runs):
        ours += [measuring.seconds(step) for _ in range(DIFFUSESEG_STEPS - 1)]
        theirs += diffuseseg_step_seconds(module, arguments.diffuseseg, batch)
    fast, slow = (batch / statistics.median(side) for side in (ours, theirs))
    return Row(name, fast, slow, "images/s")


def diffuseseg_step_seconds(module: ModuleType, path: Path, batch: int) -> list[float]:
    """Seconds of steps of its own `train`, between the losses that it reports."""
    with tempfile.TemporaryDirectory() as folder:
        pixels = random_images(64, batch * DIFFUSESEG_STEPS).permute(0, 2, 3, 1).cpu().numpy()
        for i, image in enumerate(pixels):
            (Path(folder) / f"{i}.png").write_bytes(encode_png(np.ascontiguousarray(image)))
        config = yaml.safe_load((path / "utils" / "config.yaml").read_text())
        config["dataset_params"]["im_path"] = folder
        config["train_params"] |= {
            "type": "new",
            "batch_size": batch,
            "num_epochs": 1,
            "ckpt_path": folder,
        }
        file = Path(folder) / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        times: list[float] = []
        module.wandb = _Log(times)  # type: ignore[attr-defined]
        module.tqdm = lambda loader: loader  # type: ignore[attr-defined]
        module.train(argparse.Namespace(config_path=str(file)))
    return [after - before for before, after in pairwise(times)]


class _Log:
    """Stands in for DiffuseSeg's reporting; notes when a batch's loss comes."""

    def __init__(self, times: list[float]) -> None:
        self.times = times

    def log(self, values: dict[str, Any]) -> None:
        if "train/batch_loss" in values:
            self.times.append(time.perf_counter())

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


if __name__ == "__main__":
    main()
