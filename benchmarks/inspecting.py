"""The seconds and the memory that `factory inspect` takes of many images of mixed sizes.

Makes pictures of 64 to 256 px, half of them PNG and half JPEG, and inspects few and all of them.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import measuring
import numpy as np
from measuring import Row
from PIL import Image


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--images", type=int, default=30_000)
    arguments.add_argument("--few", type=int, default=300, help="of the run to compare with")
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    with (
        measuring.reporting("Inspecting", arguments.json) as (rows, _),
        tempfile.TemporaryDirectory() as folder,
    ):
        with ThreadPoolExecutor(arguments.threads) as pool:
            list(pool.map(lambda i: make(Path(folder), i), range(arguments.images)))
        for num in (arguments.few, arguments.images):
            seconds, memory = inspected(folder, num)
            rows.append(Row(f"{num:,} images", seconds, None, "s"))
            rows.append(Row(f"{num:,} images: memory", memory, None, "MiB"))


def make(folder: Path, i: int) -> None:
    """Writes a smooth picture with a little noise."""
    random = np.random.default_rng(i)
    size = int(random.integers(64, 257))
    coarse = Image.fromarray(random.integers(0, 256, (9, 9, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)).astype(int)
    pixels = np.clip(smooth + random.integers(-6, 7, (size, size, 1)), 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels)
    if i % 2:
        picture.save(folder / f"{i:06d}.jpg", quality=92)
    else:
        picture.save(folder / f"{i:06d}.png", compress_level=3)


def inspected(folder: str, num: int) -> tuple[float, float]:
    """Seconds, and MiB at most of any run so far, of the first so many images."""
    source = f"data.unlabelled={{kind: folder, url: {folder}, num: {num}}}"
    command = [sys.executable, "-m", "factory", "inspect", "--set=preset=64px", f"--set={source}"]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10


if __name__ == "__main__":
    main()
