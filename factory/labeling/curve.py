"""How well ensembles label that are fitted on few, on more, and on all labelled images.

For each seed images are drawn one after the other, so that the images of a smaller number are among
those of a larger one. The maps of all images are read once; each fit learns from some of them.

Shapes: N images, S image size, C classes, B draws of the test images.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from factory.config import Config
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.errors import Problems, counted
from factory.labeling.fitting import (
    images_of_pass,
    new_head_config,
    training_order,
    with_mirrored,
)
from factory.labeling.folds import part_of, with_labels
from factory.labeling.head import Head
from factory.labeling.heads import HEADS
from factory.labeling.kept_maps import KeptMaps
from factory.labeling.linear_probe import Counts, Floats, iou_of
from factory.precision import in_bf16
from factory.progress import tell
from factory.scores import confusion_matrix

_LEAST_TEST, _TEST_SHARE = 5, 0.25
"""The labelled images that are left to measure on without data.test: at least so many, and at least
this share of them."""
DECIMALS = 5
"""Those of the IoUs that are kept."""
_NUM_DRAWS = 50
"""The draws of the test images by which it is measured what others would change."""


@dataclass(frozen=True)
class Material:
    """What a curve is measured with."""

    model: Model
    labelled: Labelled
    """The images that ensembles are fitted on."""
    test: Labelled
    test_key: str
    """The key of the config that the test images are of."""
    nums: tuple[int, ...]
    """The numbers of labelled images to fit on, ascending."""
    labelled_hash: str
    """The digest of all images of data.labelled."""


@dataclass(frozen=True)
class Fit:
    """How well an ensemble does on the test images."""

    iou: Floats
    """(C,); nan of classes that they lack."""
    drawn: Floats
    """(B, C) the same over as many of the test images, drawn with replacement."""


Fits = Mapping[tuple[int, int], Fit]
"""By the number of labelled images, and the seed by which they were drawn."""


def material_of(
    model: Model, labelled: Labelled, test: Labelled | None, config: Config
) -> Material:
    """Chooses what to fit and to measure on. Raises UserError for all that stands in the way."""
    problems = Problems()
    with problems.collected():
        new_head_config(model, labelled.classes, config)
    if test is not None and test.classes.names != labelled.classes.names:
        problems.add(
            f"data.test: its classes {list(test.classes.names)} are not those of data.labelled, "
            f"{list(labelled.classes.names)}. Name images with the same ones."
        )
    usable = part_of(labelled, with_labels(labelled))
    if test is None:
        nums = _nums_beside_test(len(usable), config)
    else:
        nums = [num for num in config.curve.nums if num < len(usable)] + [len(usable)]
    if len(nums) < 2:
        problems.add(_too_few(len(usable), test is None, config))
    problems.raise_if_any()
    digest, key = labelled.digest(), "data.test"
    if test is None:
        order = np.random.default_rng(config.curve.seed).permutation(len(usable))
        learned = np.isin(np.arange(len(usable)), order[: nums[-1]])
        usable, test, key = part_of(usable, learned), part_of(usable, ~learned), "data.labelled"
    return Material(model, usable, test, key, tuple(nums), digest)


def _nums_beside_test(num: int, config: Config) -> list[int]:
    """The numbers that leave enough of so many labelled images to measure on."""
    left = max(_LEAST_TEST, math.ceil(num * _TEST_SHARE))
    return [each for each in config.curve.nums if each <= num - left]


def _too_few(num: int, lacks_test: bool, config: Config) -> str:
    images = f"data.labelled has {counted(num, 'image')} with pixels that are not ignored"
    if lacks_test:
        left = max(_LEAST_TEST, math.ceil(num * _TEST_SHARE))
        images += f", of which {left} are left to measure on, as data.test is not set"
        num -= left
    if num < 2:
        remedy = "Label more" + (", or set data.test" if lacks_test else "")
    else:
        remedy = f"Set curve.nums=[{max(1, num // 2)}, {num}]" + (
            ", or set data.test to labelled images that are none of these" if lacks_test else ""
        )
    return (
        f"curve.nums: {list(config.curve.nums)} has too few numbers that allow a curve, which "
        f"needs two: {images}. {remedy}."
    )


def fingerprint(material: Material, config: Config, device: torch.device) -> str:
    """The sha256 over all that decides a score beside the number of images and the seed, hex."""
    settings = config.fit.model_dump(mode="json", exclude={"weights_dtype", "calibration_folds"})
    content = {
        "version": 1,
        "ddpm": material.model.model_hash,
        "fit": settings,
        "bf16": in_bf16(config.fit.precision, device.type),
        "seed": config.curve.seed,
        "labelled": material.labelled.digest(),
        "test": material.test.digest(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def measured(
    material: Material, config: Config, known: Fits
) -> Iterator[tuple[tuple[int, int], Fit]]:
    """Fits and measures what is not known, a seed after the other, and yields each as it comes.

    Raises UserError where all pixels of the drawn images are ignored.
    """
    keys = [(num, seed) for seed in range(config.curve.num_seeds) for num in material.nums]
    missing = [key for key in keys if key not in known]
    if not missing:
        return
    fitter = _Fitter(material, config)
    for number, (num, seed) in enumerate(missing, start=1 + len(keys) - len(missing)):
        started = time.monotonic()
        fit = fitter.fit(num, seed)
        seconds = time.monotonic() - started
        tell(
            f"curve | fit {number} of {len(keys)} | {counted(num, 'labelled image')} | mean IoU "
            f"{np.nanmean(fit.iou):.3f} | {seconds:.1f}s"
        )
        yield (num, seed), fit


def drawn_numbers(num_images: int, num: int, curve_seed: int, seed: int) -> npt.NDArray[np.int64]:
    """The images that are drawn for a seed, ascending; those of fewer are among those of more."""
    order = np.random.default_rng([curve_seed, seed]).permutation(num_images)
    return np.sort(order[:num])


class _Fitter:
    """Fits on some of the labelled images, and measures on the test images."""

    def __init__(self, material: Material, config: Config) -> None:
        self.material, self.config = material, config
        fit, test = config.fit, material.test
        self._head_config = new_head_config(material.model, material.labelled.classes, config)
        self._images, self._masks = material.labelled.images, material.labelled.masks
        if fit.horizontal_flip:
            self._images, self._masks = with_mirrored(material.labelled)
        room, places = self.config.curve.features_gib * 2**30, self._head_config.places
        self._learned = KeptMaps(material.model, places, self._images, fit, room)
        seen = test.images
        if self._head_config.mirrored:
            seen = np.concatenate([seen, seen[:, :, ::-1]])
        room -= self._learned.num_bytes
        self._seen = KeptMaps(material.model, places, seen, None, room)
        # How often each test image is drawn, (B, N).
        rng = np.random.default_rng(self.config.curve.seed)
        drawn = rng.integers(len(test), size=(_NUM_DRAWS, len(test)))
        self._weights = np.stack([np.bincount(row, minlength=len(test)) for row in drawn]) * 1.0

    def fit(self, num: int, seed: int) -> Fit:
        """The scores of an ensemble that is fitted on so many images, drawn for the seed."""
        counts = self._counts(self._head(num, seed))
        of_images = np.stack([counts.hits, counts.truth, counts.predicted])
        drawn = np.einsum("bn,knc->kbc", self._weights, of_images)
        # As they are kept, so that a command that went on gives the very same curve.
        return Fit(counts.iou().round(DECIMALS), iou_of(*drawn).round(DECIMALS))

    def _head(self, num: int, seed: int) -> Head:
        num_images = len(self.material.labelled)
        settings = self.config.fit.model_copy(update={"seed": self.config.fit.seed + seed})
        chosen = drawn_numbers(num_images, num, self.config.curve.seed, seed)
        if settings.horizontal_flip:
            chosen = np.concatenate([chosen, chosen + num_images])
        chosen = chosen[training_order(len(chosen), settings)]
        masks = torch.from_numpy(self._masks[chosen])
        passes = self._learned.passes(chosen)
        return HEADS[settings.head].fit(passes, masks, self._head_config, settings)

    def _counts(self, head: Head) -> Counts:
        """The pixels of each test image and class on which its mask and the soft vote agree."""
        test, size = self.material.test, head.config.image_size
        found, step = [], images_of_pass(self.material.model)
        for start in range(0, len(test), step):
            numbers = np.arange(start, min(start + step, len(test)))
            (maps,) = self._seen.passes(numbers)
            mirrored = None
            if head.config.mirrored:
                (mirrored,) = self._seen.passes(numbers + len(test))
            with torch.inference_mode():
                votes = head.label(maps, size, mirrored).soft.cpu().numpy()
            for truth, vote in zip(test.masks[numbers], votes, strict=True):
                confusion = confusion_matrix(truth, vote, len(test.classes))
                found.append([np.diag(confusion), confusion.sum(1), confusion.sum(0)])
        return Counts(*np.array(found, np.float64).swapaxes(0, 1))
