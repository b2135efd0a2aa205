"""Fitting the ensemble: seconds, held-out mean IoU, and memory at the paper's size.

    python benchmarks/fitting.py [--diffuseseg PATH] [--ddpm FOLDER --config FILE] [--full]

The other side is DiffuseSeg's own `train_mlp_ensemble`: ten MLPs one after the other, ten
epochs each, batches of 64 from four fifths of the pixels, a validation after each epoch. Both sides
learn from the same images, whose maps are made before any clock starts; ours learns from the
mirrored images, too, and its time holds all that this takes but the network's passes. Without
--full a part of the other's loop is timed and scaled to the whole; with --full all of it runs, the
better part of an hour, and its masks are compared with ours. CPU time is reported too, since other
work on the machine makes wall time longer.

Memory is the peak of a process of its own, which passes an image of 256 px through a network of the
paper's widths, fits to it and to random maps of the other images, and prints its peak. Linux only.
"""

import argparse
import contextlib
import importlib.util
import io
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median
from typing import cast

import diffuseseg
import measuring
import numpy as np
import torch
from measuring import Row

from factory import embedded
from factory.classes import IGNORE_ID, Classes
from factory.config import Config, DiffusionConfig, load_config, parse_config, required
from factory.data.loading import Labelled, read_labelled
from factory.diffusion.checkpoints import Model, load_model
from factory.diffusion.families.unet2d import UNet
from factory.images import UInt8
from factory.labeling.ensemble import Ensemble, EnsembleConfig
from factory.labeling.ensemble_fitting import fit_ensemble
from factory.labeling.features import pixel_descriptors
from factory.labeling.fitting import map_passes, new_head_config, with_mirrored
from factory.labeling.head import Maps
from factory.scores import Score, confusion_matrix

DIFFUSESEG_LOOP = {"num_mlps": 10, "epochs_per_mlp": 10, "batch_size": 64, "learning_rate": 1e-4}
DIFFUSESEG_PART = {**DIFFUSESEG_LOOP, "num_mlps": 1, "epochs_per_mlp": 1}
PART_PIXELS = 2**16

WIDE_UNET = {
    "block_out_channels": [256, 256, 512, 512, 1024, 1024],
    "layers_per_block": 2,
    "attention_levels": [3, 4, 5],
    "norm_num_groups": 32,
}
WIDE_BLOCKS = (5, 6, 7, 8, 12)
"""The paper's: 1024 channels at 32 px, twice 512 there, 512 at 64 px and 256 at 128 px."""
NUM_WIDE_IMAGES, WIDE_SIZE, NUM_WIDE_CLASSES, NUM_WIDE_STEPS = 50, 256, 34, 20


@dataclass(frozen=True)
class Task:
    """What both sides learn from and are tested on."""

    config: Config
    learned: EnsembleConfig
    masks: torch.Tensor
    """(N, S, S) uint8 of the images and the mirrored ones, in random order."""
    passes: list[Maps]
    """Of the same images."""
    mirrored: torch.Tensor
    """(N,) bool: which images the other side does not learn from."""
    test: Labelled
    test_passes: list[Maps]


class Clock:
    """Work that keeps the wall and the CPU seconds of each of its calls."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def __call__(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)

    def medians(self) -> tuple[float, float]:
        """Wall and CPU seconds; the first of several calls warms up and is not counted."""
        return median(self.wall[1:] or self.wall), median(self.cpu[1:] or self.cpu)


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser("How long it takes to fit the ensemble, and in what memory.")
    arguments.set_defaults(runs=3)
    measuring.add_diffuseseg(arguments)
    arguments.add_argument("--ddpm", metavar="FOLDER", help="default: the embedded toy model")
    arguments.add_argument("--config", metavar="FILE", help="its data; default: drawn faces")
    arguments.add_argument("--num-test", type=int, default=100, help="images to test on")
    arguments.add_argument("--full", action="store_true", help="run the other's whole loop")
    return arguments


def main() -> None:
    arguments = parser()
    options = arguments.parse_args()
    if options.diffuseseg is None:
        measuring.absent("DiffuseSeg's loop", "--diffuseseg")
    elif importlib.util.find_spec("sklearn") is None:
        arguments.error("--diffuseseg needs scikit-learn. Run `pip install -e '.[bench]'`.")
    torch.set_num_threads(options.threads)
    notes: list[str] = []
    task = prepared(options, notes)
    rows = compared(task, options, notes)
    rows.append(
        Row("peak memory, 50 images of 256 px", wide_memory(options), None, "GB", "<= 8 GB")
    )
    notes.append(
        "Memory: the paper's code holds all descriptors of all pixels; its README speaks of about "
        "210 GB for 50 images, which is a published figure and was not measured here."
    )
    measuring.report("Fitting the ensemble", rows, options.json, notes)


def prepared(options: argparse.Namespace, notes: list[str]) -> Task:
    """Reads the images and makes their maps."""
    config = load_config(options.config)
    model = load_model(options.ddpm or embedded.DDPM_URL)
    size = model.image_size
    sources = (required(config, key) for key in ("data.labelled", "data.test"))
    training, test = (read_labelled(source, size) for source in sources)
    test = spread(test, options.num_test)
    learned = cast(EnsembleConfig, new_head_config(model, training.classes, config))
    images, masks = training.images, training.masks
    if config.fit.horizontal_flip:
        images, masks = with_mirrored(training)
    order = np.random.default_rng(config.fit.seed).permutation(len(images))
    images, masks = images[order], masks[order]
    mirrored = torch.from_numpy(order >= len(training))
    passes: list[Maps] = []
    seconds = measuring.seconds(
        lambda: passes.extend(map_passes(model, learned.places, images, config.fit))
    )
    notes.append(
        f"{len(training)} images of {size} px, {len(training.classes)} classes, descriptors "
        f"{learned.descriptor_dim} wide, {len(test)} test images. The passes of the {len(images)} "
        f"images that ours learns from took {seconds:.1f} s and are in no row."
    )
    if size != 64:
        notes.append("The goal of 30x is for 100 images of 64 px: see --ddpm and --config.")
    test_passes = list(map_passes(model, learned.places, test.images))
    return Task(config, learned, torch.from_numpy(masks), passes, mirrored, test, test_passes)


def spread(labelled: Labelled, num: int) -> Labelled:
    """At most num of the images, evenly spread."""
    chosen = np.linspace(0, len(labelled) - 1, min(num, len(labelled))).round().astype(int)
    names = tuple(labelled.names[i] for i in chosen)
    return Labelled(labelled.images[chosen], labelled.masks[chosen], names, labelled.classes)


def compared(task: Task, options: argparse.Namespace, notes: list[str]) -> list[Row]:
    """Seconds and mean IoU of both; of ours alone without --diffuseseg."""
    fitted: list[Ensemble] = []
    ours = Clock(lambda: fitted.append(fit_ours(task)))
    with tempfile.TemporaryDirectory() as folder:
        other = diffuseseg_fit(task, options, Path(folder))
        work = None if other is None else Clock(other)
        if work is not None and options.full:
            work()
        measuring.alternating(ours, None if options.full else work, options.runs)
        times = [] if work is None or other is None else [t / other.share for t in work.medians()]
        theirs = diffuseseg_score(task, other) if other is not None and options.full else None
    if other is not None and not options.full:
        notes.append(
            f"The other's seconds: one epoch of one MLP on {len(other.labels):,} pixels, times "
            f"{1 / other.share:.0f} for ten epochs of ten MLPs on all. --full runs the whole loop."
        )
    their_iou = None if theirs is None else theirs.mean_iou
    soft, hard = (our_score(task, fitted[-1], vote).mean_iou for vote in ("soft", "hard"))
    wall, cpu = ours.medians()
    return [
        Row("fitting", wall, times[0] if times else None, "s", ">= 30x"),
        Row("fitting, CPU time", cpu, times[1] if times else None, "s"),
        Row("held-out, majority of ten", hard, their_iou, "mean IoU", ">= 1x"),
        Row("held-out, soft vote", soft, None, "mean IoU"),
    ]


def fit_ours(task: Task) -> Ensemble:
    """All of `factory fit` but the network's passes."""
    return fit_ensemble(task.passes, task.masks, task.learned, task.config.fit)


def our_score(task: Task, ensemble: Ensemble, vote: str) -> Score:
    """Of the test images."""
    size = task.learned.image_size
    with torch.inference_mode():
        labels = [ensemble.label(maps, size) for maps in task.test_passes]
    masks = torch.cat([some.soft if vote == "soft" else some.hard for some in labels])
    return Score.of(confusion_matrix(task.test.masks, masks.numpy(), len(task.test.classes)))


class DiffuseSegFit:
    """DiffuseSeg's loop, or one epoch of one MLP on some of the pixels."""

    def __init__(self, path: Path, folder: Path, task: Task, part: bool) -> None:
        self.module = diffuseseg.load_module(path, "train_MLPs")
        settings = self.module.__dict__
        settings["OUTPUT_DIR"] = str(folder)
        settings["NUM_CLASSES"] = max(settings["NUM_CLASSES"], len(task.test.classes))
        # No progress bars.
        settings["tqdm"] = lambda batches, desc: batches
        self.loop = DIFFUSESEG_PART if part else DIFFUSESEG_LOOP
        features, labels = diffuseseg_pixels(task)
        num_pixels = len(labels)
        if part:
            torch.manual_seed(0)
            rows = torch.randperm(num_pixels)[:PART_PIXELS]
            # Its split is stratified, which a class of one pixel cannot be.
            rows = rows[labels[rows].bincount()[labels[rows]] > 1]
            features, labels = features[rows], labels[rows]
        self.features, self.labels = features, labels
        self.share = (len(labels) / num_pixels) / (100 if part else 1)
        """Of the whole loop."""

    def __call__(self) -> None:
        torch.manual_seed(0)
        output = io.StringIO() if self.loop is DIFFUSESEG_PART else sys.stderr
        with contextlib.redirect_stdout(output):
            self.module.train_mlp_ensemble(self.features, self.labels, {}, self.loop)


def diffuseseg_fit(task: Task, options: argparse.Namespace, folder: Path) -> DiffuseSegFit | None:
    """The other side; None where no checkout of it is named."""
    if options.diffuseseg is None:
        return None
    return DiffuseSegFit(options.diffuseseg, folder, task, part=not options.full)


def diffuseseg_pixels(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Descriptors (n, D) float16 and labels (n,) of all pixels that are not ignored."""
    maps = [torch.cat(some)[~task.mirrored] for some in zip(*task.passes, strict=True)]
    labels = task.masks[~task.mirrored].flatten().long()
    features = all_descriptors(maps, task.learned)
    kept = labels != IGNORE_ID
    return (features, labels) if bool(kept.all()) else (features[kept], labels[kept])


def all_descriptors(maps: Maps, learned: EnsembleConfig) -> torch.Tensor:
    """(B * S * S, D) float16: every pixel's, as its feature extractor keeps them."""
    num_pixels = learned.image_size**2
    features = torch.empty((len(maps[0]) * num_pixels, learned.descriptor_dim)).half()
    for i, out in enumerate(features.split(num_pixels)):
        image = [m[i : i + 1] for m in maps]
        out.copy_(pixel_descriptors(image, torch.arange(num_pixels), learned.image_size))
    return features


def diffuseseg_score(task: Task, other: DiffuseSegFit) -> Score:
    """Of the test images, by majority of the best epochs; ties go to the class named first."""
    num_classes = len(task.test.classes)
    mlps = []
    for file in sorted(Path(other.module.OUTPUT_DIR).glob("mlp_*_best.pt")):
        mlp = other.module.PixelMLP(task.learned.descriptor_dim, other.module.NUM_CLASSES)
        mlp.load_state_dict(torch.load(file))
        mlps.append(mlp.eval())
    masks = []
    for maps in task.test_passes:
        features = all_descriptors(maps, task.learned)
        with torch.inference_mode():
            votes = np.stack([mlp(features).argmax(dim=1).numpy() for mlp in mlps], axis=1)
        masks.append([Counter(pixel).most_common(1)[0][0] for pixel in votes.tolist()])
    predictions = np.concatenate(masks).reshape(task.test.masks.shape)
    return Score.of(
        confusion_matrix(task.test.masks, predictions, max(num_classes, predictions.max() + 1))
    )


def wide_memory(options: argparse.Namespace) -> float:
    """GB that `fit_wide` takes at most, in a process of its own."""
    command = f"import fitting; fitting.fit_wide({options.threads})"
    found = subprocess.run(
        [sys.executable, "-c", command],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(found.stdout.splitlines()[-1])


def fit_wide(num_threads: int) -> None:
    """Fits to 50 images of 256 px and the mirrored ones; prints the process's peak in GB."""
    torch.set_num_threads(num_threads)
    config = parse_config(
        {
            "train": {"unet": WIDE_UNET},
            "fit": {"blocks": WIDE_BLOCKS},
            "data": {"image_size": WIDE_SIZE},
        }
    )
    unet = UNet(config.train.unet).eval().requires_grad_(False)
    classes = Classes.named([f"class {i}" for i in range(NUM_WIDE_CLASSES)])
    model = Model(unet, DiffusionConfig(), WIDE_SIZE, "")
    learned = cast(EnsembleConfig, new_head_config(model, classes, config))
    random = np.random.default_rng(0)
    image: UInt8 = random.integers(0, 256, (1, WIDE_SIZE, WIDE_SIZE, 3), dtype=np.uint8)
    num_images = 2 * NUM_WIDE_IMAGES
    masks = random.integers(0, NUM_WIDE_CLASSES, (num_images, WIDE_SIZE, WIDE_SIZE), np.uint8)
    settings = config.fit.model_copy(update={"num_steps": NUM_WIDE_STEPS})
    passes = chain(
        map_passes(model, learned.places, image, settings), random_maps(config, num_images - 1)
    )
    fit_ensemble(passes, torch.from_numpy(masks), learned, settings)
    # Not getrusage's figure, which begins with that of the process that started this one.
    status = Path("/proc/self/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(kib * 1024 / 1e9)


def random_maps(config: Config, num_images: int) -> Iterator[Maps]:
    """Of so many images, one at a time."""
    with torch.device("meta"):
        unet = UNet(config.train.unet)
    channels, scales = unet.block_channels, unet.block_downscaling
    for _ in range(num_images):
        yield [
            torch.randn(1, channels[block], WIDE_SIZE // scales[block], WIDE_SIZE // scales[block])
            for _ in config.fit.timesteps
            for block in WIDE_BLOCKS
        ]


if __name__ == "__main__":
    main()
