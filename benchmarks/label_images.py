"""`factory label`: images a second from files to shards; against DiffuseSeg's own inference.

Its Segmentation_Inference.py opens one image after the other, makes features by three passes of its
network, asks ten MLPs for each pixel and counts their votes. Here its functions do the same on the
same weights, which ours gets through the importers; its figures and its files are left out.
"""

import shutil
import tempfile
from argparse import ArgumentParser
from itertools import count
from pathlib import Path

import measuring
import numpy as np
import torch
from diffuseseg import EndToEnd
from measuring import Row, absent, alternating, report, seconds
from pairs import diffuseseg_models
from PIL import Image

from factory.config import load_config
from factory.data.toy.drawing import draw
from factory.generation.command import label
from factory.generation.recipe import Models, load_models
from factory.generation.source_images import find_files, sha256_of
from factory.png import encode_png


def parser() -> ArgumentParser:
    """The command line's."""
    known = measuring.parser((__doc__ or "").partition("\n")[0])
    measuring.add_diffuseseg(known)
    measuring.add_set(known)
    known.add_argument("--images", type=int, default=64, help="labelled in a run of ours")
    known.add_argument("--others", type=int, default=4, help="labelled in a run of DiffuseSeg's")
    return known


def main() -> None:
    arguments = parser().parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.diffuseseg is None:
        absent("DiffuseSeg's own code", "--diffuseseg")
    models, other = diffuseseg_models(arguments.diffuseseg)
    with tempfile.TemporaryDirectory() as folder:
        work, keys = Path(folder), [("label.cpus_per_actor", arguments.threads), *arguments.set]
        large = put_images(work / "large", 64, arguments.images)
        small = put_images(work / "small", 32, arguments.images * 4)
        theirs = Inference(other, sorted(large.iterdir())[: arguments.others]) if other else None
        ours = Labelling(work, large, models, keys)
        times = alternating(ours, theirs, arguments.runs)
        toy = Labelling(work, small, load_models(load_config(None)), keys)
        rows = [
            Row(
                "images/s, DiffuseSeg's network and MLPs, 64 px",
                arguments.images / times[0],
                arguments.others / times[1] if times[1] else None,
                "images/s",
                ">= 50x",
            ),
            Row(
                "images/s, the toy models, 32 px",
                arguments.images * 4 / alternating(toy, None, arguments.runs)[0],
                None,
                "images/s",
            ),
            Row("hashing of large files", hashing(work), None, "MB/s"),
        ]
    note = (
        f"{arguments.threads} threads, {arguments.images} images a shard. Ours from files to "
        "shards that are checked and published; theirs from files to the ids of each pixel."
    )
    report("Labels for images that are there", rows, arguments.json, [note])


def put_images(folder: Path, size: int, num: int) -> Path:
    """Writes drawn faces as PNG files."""
    folder.mkdir()
    for i in range(num):
        (folder / f"{i:05d}.png").write_bytes(encode_png(draw(0, i, size)[0]))
    return folder


class Labelling:
    """`factory label --workers here` with models that are loaded, each time into a new folder."""

    def __init__(
        self, work: Path, images: Path, models: Models, keys: list[tuple[str, object]]
    ) -> None:
        source = {"kind": "folder", "url": str(images)}
        self.work, self.models = work, models
        self.keys = [("label.source", source), ("label.workers", "here"), *keys]
        self.runs = count()

    def __call__(self) -> None:
        out = self.work / f"out{next(self.runs)}"
        label(load_config(None, [*self.keys, ("label.url", str(out))]), self.models)
        shutil.rmtree(out)


class Inference:
    """DiffuseSeg's own inference on files, one after the other."""

    def __init__(self, other: EndToEnd, files: list[Path]) -> None:
        self.other, self.files = other, files

    def __call__(self) -> None:
        for file in self.files:
            self.other.label(Image.open(file).convert("RGB"))


def hashing(work: Path) -> float:
    """MB/s with which the bytes of files become part of a plan, by one thread."""
    folder = work / "bytes"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    for i in range(4):
        (folder / f"{i}.png").write_bytes(encode_png(noise))
    keys = [("label.source", {"kind": "folder", "url": str(folder)})]
    _, files = find_files(load_config(None, keys))
    took = seconds(lambda: [sha256_of(file.whole.content()) for file in files])
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6 / took


if __name__ == "__main__":
    main()
