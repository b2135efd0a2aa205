"""A training worker's memory beside the number of its images, which it reads from a mapped file.

Makes pictures, trains for a few steps on few of them and on all, and watches the workers' own
memory (RssAnon), which is none of the file's: pages of it are in memory once for all processes, as
long as nothing else needs the room.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import measuring
import numpy as np
import psutil
from measuring import Row

from factory.png import encode_png

WORKER = "RayTrainWorker"
SET = {
    "train.unet.block_out_channels": "[16, 32]",
    "train.unet.attention_levels": "[]",
    "train.unet.norm_num_groups": "8",
    "train.num_steps": "40",
    "train.batch_size": "32",
    "train.log_steps": "20",
    "train.checkpoint_steps": "40",
    "train.use_gpu": "false",
    "data.unlabelled.kind": "folder",
}
"""A small network: the images are to be seen beside it."""


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--images", type=int, default=200_000)
    arguments.add_argument("--few", type=int, default=2_000, help="of the run to compare with")
    arguments.add_argument("--size", type=int, default=64, help="pixels")
    arguments.add_argument("--workers", type=int, default=1)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    with (
        measuring.reporting("Many images", arguments.json) as (rows, notes),
        tempfile.TemporaryDirectory() as folder,
    ):
        pictures = Path(folder) / "pictures"
        rows.append(Row(f"making {arguments.images:,} files", make(pictures, arguments), None, "s"))
        for num, again in (
            (arguments.few, ""),
            (arguments.images, ""),
            (arguments.images, ", again"),
        ):
            command = training(Path(folder), pictures, num, arguments)
            seconds, peaks = watched(command)
            name = f"{num:,} images{again}"
            rows.append(Row(f"{name}: the whole command", seconds, None, "s"))
            rows.append(Row(f"{name}: the worker's own memory", peaks[WORKER], None, "MiB"))
            rows.append(Row(f"{name}: the driver's own memory", peaks["driver"], None, "MiB"))
        decoded = arguments.images * arguments.size**2 * 3 / 2**20
        notes.append(
            f"Decoded, {arguments.images:,} images take {decoded:,.0f} MiB. The second run on them "
            f"finds them decoded. {arguments.workers} workers; of several the largest is reported."
        )


def make(folder: Path, arguments: argparse.Namespace) -> float:
    """Writes smooth pictures with a little noise, as photographs are; seconds taken."""
    started = time.perf_counter()
    across = np.linspace(0, 1, arguments.size)

    def write(first: int) -> None:
        random = np.random.default_rng(first)
        (folder / f"{first:07d}").mkdir(parents=True)
        for i in range(first, min(first + 1000, arguments.images)):
            colours = random.uniform(0, 240, (2, 3))
            ramp = across[:, None, None] * colours[0] + (1 - across)[None, :, None] * colours[1]
            noise = random.integers(0, 8, (arguments.size, arguments.size, 3))
            pixels = (ramp / 2 + noise).astype(np.uint8)
            (folder / f"{first:07d}" / f"{i:07d}.png").write_bytes(encode_png(pixels))

    with ThreadPoolExecutor(arguments.threads) as pool:
        list(pool.map(write, range(0, arguments.images, 1000)))
    return time.perf_counter() - started


def training(folder: Path, pictures: Path, num: int, arguments: argparse.Namespace) -> list[str]:
    """The command that trains on the first num of them, each time in a run of its own."""
    keys = {
        **SET,
        "train.url": str(folder / f"run-{time.time_ns()}"),
        "train.num_workers": str(arguments.workers),
        "data.image_size": str(arguments.size),
        "data.unlabelled.url": str(pictures),
        "data.unlabelled.num": str(num),
        "data.cache_dir": str(folder / "cache"),
    }
    overrides = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    return [sys.executable, "-m", "factory.cli", "train", *overrides]


def watched(command: list[str]) -> tuple[float, dict[str, float]]:
    """Seconds, and the largest own memory of the driver and of any worker, in MiB."""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    peaks = {"driver": 0.0, WORKER: 0.0}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1])
    driver = psutil.Process(process.pid)
    while process.poll() is None:
        peaks["driver"] = max(peaks["driver"], own_mebibytes(driver.pid))
        for child in driver.children(recursive=True):
            if is_worker(child):
                peaks[WORKER] = max(peaks[WORKER], own_mebibytes(child.pid))
        time.sleep(0.1)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.perf_counter() - started, peaks


def is_worker(process: psutil.Process) -> bool:
    """Whether it trains; Ray names its processes by what they do."""
    try:
        return WORKER in " ".join(process.cmdline())
    except psutil.Error:
        return False


def own_mebibytes(pid: int) -> float:
    """A process's memory without what it maps of files; 0 for one that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


if __name__ == "__main__":
    main()
