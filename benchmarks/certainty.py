"""Does the expected IoU of masks tell how right they are, by votes and by uncertainty?

    python benchmarks/certainty.py [--seeds 2 11 12] [--labelled 20] [--folds 5]

Ensembles are fitted on drawn faces, one a seed, and calibrated on them as `fit.calibration_folds`
does. Then 500 other drawings are labelled, whose masks are known. `ours` is the expected IoU by
votes; `other` is a line of least squares over the uncertainty, through the same held-out images.
Tenths are of the 500 in the order of their expected IoU.
`--set` names other images and another DDPM: `data.labelled`, `data.test`, `models.ddpm_url`.

`--cost` measures instead what counting the votes adds to labelling, in processor time: `other` does
not count them.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from unittest.mock import patch

import measuring
import numpy as np
import torch
from measuring import Row

from factory.calibration import MIN_IMAGES, Floats, fit_calibration
from factory.certainty import Certainty, Known
from factory.classes import IGNORE_ID
from factory.config import Config, load_config, required
from factory.data.loading import Labelled, read_labelled
from factory.diffusion.checkpoints import Model
from factory.labeling import labels as labels_module
from factory.labeling.commands import load_ddpm
from factory.labeling.ensemble import Ensemble, EnsembleConfig
from factory.labeling.fitting import fit_head, label_in_batches
from factory.labeling.folds import folds_of, part_of
from factory.labeling.head import Head
from factory.scores import Counts, Score, confusion_matrix
from factory.values import TOY

BATCH_SIZE = 64
COST = {"one 64 px image of 19 classes": (64, 19), "one 256 px image of 34 classes": (256, 34)}


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    arguments = measuring.parser(__doc__ or "")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[2, 11, 12])
    arguments.add_argument("--labelled", type=int, default=20, help="labelled drawings")
    arguments.add_argument("--folds", type=int, default=5)
    arguments.add_argument("--test", type=int, default=500, help="drawings to measure on")
    arguments.add_argument("--cost", action="store_true", help="measure processor time instead")
    measuring.add_set(arguments)
    return arguments


def main() -> None:
    arguments = parser().parse_args()
    assert arguments.labelled >= MIN_IMAGES, "fit.calibration_folds asks for as many"
    torch.set_num_threads(arguments.threads)
    with measuring.reporting("Certainty", arguments.json) as (rows, notes):
        if arguments.cost:
            rows += [cost(name, *shape, arguments.runs) for name, shape in COST.items()]
            return
        for seed in arguments.seeds:
            rows += rows_of(config_of(arguments, seed), arguments.folds, f"seed {seed}")
        notes.append(f"{arguments.labelled} labelled drawings unless --set names others.")
        notes.append(f"{arguments.folds} folds.")


def config_of(arguments: argparse.Namespace, seed: int) -> Config:
    """The defaults but for the widths of the toy's own ensemble."""
    drawn = {"kind": "toy", "num": arguments.labelled, "seed": seed}
    keys = [
        ("models.ddpm_url", TOY),
        ("data.labelled", drawn),
        ("data.test", {**drawn, "num": arguments.test, "seed": 3}),
        ("fit.hidden", [64, 32]),
        ("fit.seed", seed),
    ]
    return load_config(None, [*keys, *arguments.set])


class Seen:
    """Images with known masks, labelled by a head that had not seen them."""

    def __init__(self) -> None:
        self.uncertainties: list[float] = []
        self.overlaps: list[Counts] = []
        self.ious: list[Floats] = []

    def add(self, model: Model, head: Head, images: Labelled) -> None:
        """Labels more of them."""
        known, truths = images.masks != IGNORE_ID, iter(images.masks)
        for labels in label_in_batches(model, head, images.images, BATCH_SIZE, known):
            self.uncertainties += labels.image_uncertainty().tolist()
            self.overlaps += list(labels.soft_overlaps.numpy())
            for mask in labels.soft.numpy():
                confusion = confusion_matrix(next(truths), mask, len(images.classes))
                self.ious.append(Score.of(confusion).iou)

    @property
    def mean_ious(self) -> Floats:
        """That of each image."""
        means: Floats = np.nanmean(np.array(self.ious), axis=1)
        return means


def rows_of(config: Config, num_folds: int, name: str) -> list[Row]:
    """The measures of an ensemble on images that it and its calibration have not seen."""
    model = load_ddpm(config)
    labelled, test = (
        read_labelled(required(config, key), model.image_size, model.channels)
        for key in ("data.labelled", "data.test")
    )
    held_out, seen = Seen(), Seen()
    folds = folds_of(labelled, num_folds, config.fit.seed).numpy()
    for fold in range(num_folds):
        head = fit_head(model, part_of(labelled, folds != fold), config)
        held_out.add(model, head, part_of(labelled, folds == fold))
    seen.add(model, fit_head(model, labelled, config), test)
    no_pixels = np.array([0.1]), np.array([True])
    calibration = fit_calibration(held_out.overlaps, held_out.ious, *no_pixels)
    votes = [calibration.expected(0.0, each) for each in seen.overlaps]
    line = np.polyfit(held_out.uncertainties, held_out.mean_ious, 1)
    uncertain = np.polyval(line, seen.uncertainties).clip(0, 1)
    ours = measures(seen, np.array([each.iou for each in votes]))
    other = measures(seen, uncertain)
    rows = [
        Row(f"{name}: {what}", ours[what], other[what], unit)
        for what, unit in zip(ours, ("", "", "", "IoU"), strict=True)
    ]
    known = [
        Known(0.0, 0.0, each.iou, true.tolist(), each.class_ious)
        for each, true in zip(votes, seen.ious, strict=True)
    ]
    parts = Certainty(known).of_classes().values()
    apart = [abs(part.expected - part.measured) for part in parts]
    rows.append(Row(f"{name}: a class, off on average", float(np.mean(apart)), None, ""))
    rows.append(Row(f"{name}: a class, off at most", max(apart), None, ""))
    return rows


def measures(seen: Seen, expected: Floats) -> dict[str, float]:
    """How an expected IoU compares with the true one."""
    known = [
        Known(0.0, iou, value)
        for iou, value in zip(seen.mean_ious.tolist(), expected.tolist(), strict=True)
    ]
    certainty = Certainty(known)
    apart = [abs(part.expected - part.measured) for part in certainty.reliability()]
    everything, *_ = kept = certainty.coverage()
    without = next(each for each in kept if each.share == 0.8)
    return {
        "root mean squared error": float(np.sqrt(np.mean((expected - seen.mean_ious) ** 2))),
        "a tenth, off on average": float(np.mean(apart)),
        "a tenth, off at most": max(apart),
        "gain without the least certain fifth": without.iou - everything.iou,
    }


def cost(name: str, size: int, num_classes: int, runs: int) -> Row:
    """The processor time of labelling from given maps, at the default widths of an ensemble."""
    shapes = ((256, size // 8), (256, size // 4), (128, size // 2), (64, size))
    settings = EnsembleConfig(
        class_names=tuple(f"class {i}" for i in range(num_classes)),
        palette=((0, 0, 0),) * num_classes,
        image_size=size,
        timesteps=(5,),
        blocks=(0, 1, 2, 3),
        noise_seed=0,
        descriptor_dim=sum(channels for channels, _ in shapes),
        num_members=10,
        hidden=(128, 32),
        ddpm_hash="0" * 64,
    )
    torch.manual_seed(0)
    ensemble = Ensemble(settings).eval().requires_grad_(False)
    maps = [torch.randn(1, channels, side, side) for channels, side in shapes]

    def label() -> None:
        with torch.inference_mode():
            ensemble.label(maps, size, maps)

    def without() -> None:
        empty = torch.zeros(1, 3, num_classes, dtype=torch.int64)
        with patch.object(labels_module, "expected_overlaps", lambda *_: [empty, empty]):
            label()

    label()
    pairs = [(processor_seconds(label), processor_seconds(without)) for _ in range(runs)]
    ours, other = (statistics.median(each) for each in zip(*pairs, strict=True))
    return Row(name, ours, other, "s")


def processor_seconds(work: Callable[[], object]) -> float:
    """The processor time of one call, on all threads."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
