"""A finished dataset beside the images that its models learned from.

How far apart they are in a fixed feature space, which images nearly repeat a training image, how
colours differ, and which share of the pixels each class has in both.

Shapes: H height, W width, N images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from factory.config import Config
from factory.data.items import Source
from factory.data.loading import first_lines
from factory.data.passes import Pass, read_square
from factory.errors import Problems, UserError
from factory.generation.row_images import RowImages
from factory.images import UInt8
from factory.likeness.colours import Colours, colours_of
from factory.likeness.feature_space import SIDE, Features, features
from factory.likeness.frechet import frechet_distance
from factory.likeness.labelled_images import LabelledImages
from factory.likeness.nearest import (
    NEARLY_SAME,
    Nearest,
    nearest,
    own_distances,
    usual_distance,
)
from factory.progress import tracked
from factory.shards.manifest import Manifest
from factory.shards.plan import Plan, StoredRow
from factory.shards.reading import read_rows
from factory.shards.receipts import closest_of

NUM_COMPARED = 1000
"""The images of a dataset that are compared; their distances need no more."""
_NUM_SHARDS = 8
_NUM_CLOSEST = 8
_FEWEST = 8
"""Fewer images tell nothing of their distribution."""


@dataclass(frozen=True)
class Closest:
    """An image of the dataset, and the training image that is nearest to it."""

    key: str
    name: str
    """That of the training image."""
    distance: float
    """1 is what is usual between training images."""
    image: UInt8
    """(H, W, C)."""
    training_image: UInt8
    """(H, W, C), of the same size."""


@dataclass(frozen=True)
class Likeness:
    """How a dataset's images compare to those that the DDPM learned from."""

    num_compared: int
    num_training: int
    distance: float
    """The Frechet distance per feature, see `frechet_distance`."""
    usual_distance: float
    """The same between two parts of the training images, each of as many."""
    colours: Colours
    training_colours: Colours
    num_nearly_same: int
    closest: tuple[Closest, ...]
    """Those that are nearest to a training image, the nearest one first."""


@dataclass(frozen=True)
class Comparison:
    """What a config's sections allow to compare."""

    likeness: Likeness | None
    """None without `data.unlabelled`."""
    labelled: LabelledImages | None
    """The images of `data.labelled`; None without it."""


def compare(url: str, manifest: Manifest, config: Config) -> Comparison:
    """Compares a finished dataset with the images of a config.

    Raises UserError if the config names no images, if they cannot be read or are too few, or if
    its classes are not the dataset's.
    """
    data = config.data
    if data.unlabelled is None and data.labelled is None:
        raise UserError(
            "data.unlabelled and data.labelled: neither is set, so there is nothing to compare the "
            "dataset with. Set one of them, or write the report without --config."
        )
    labelled = None if data.labelled is None else _labelled(data.labelled, manifest.plan)
    likeness = None if data.unlabelled is None else _likeness(url, manifest, data.unlabelled)
    return Comparison(likeness, labelled)


def evenly(num: int, count: int) -> list[int]:
    """Returns count different numbers of 0..num-1, each the middle of an equal part."""
    return [(2 * i + 1) * num // (2 * count) for i in range(count)]


def _labelled(source: Source, plan: Plan) -> LabelledImages:
    labelled = LabelledImages.read(source, plan.channels)
    names = plan.classes.names
    if labelled.classes.names != names:
        raise UserError(
            f"data.labelled: its classes are {', '.join(labelled.classes.names)}; those of the "
            f"dataset are {', '.join(names)}. Name the config that the dataset was made with."
        )
    return labelled


def _likeness(url: str, manifest: Manifest, source: Source) -> Likeness:
    rows = _rows(url, manifest)
    side = _side(rows[0].decoded().image)
    reading = Pass(source, side, labelled=False)
    names: list[str] = []
    training = features(_training_images(reading, names))
    _, problems = reading.outcome()
    if problems:
        raise UserError(first_lines(problems))
    if min(len(rows), len(training)) < _FEWEST:
        raise UserError(
            f"data.unlabelled: {len(training)} images beside {len(rows)} of the dataset are too "
            f"few to compare; it takes {_FEWEST} of both. Write the report without --config."
        )
    unit = usual_distance(own_distances(training.layout))
    some, found = _nearest(rows, training, unit)
    told = closest_rows(url, manifest)
    closest = (told, _nearest(told, training, unit)[1]) if told else (rows, found)
    distance, usual = _distances(some, training)
    return Likeness(
        num_compared=len(rows),
        num_training=len(training),
        distance=distance,
        usual_distance=usual,
        colours=colours_of(some),
        training_colours=colours_of(training),
        num_nearly_same=int((found.distances < NEARLY_SAME).sum()),
        closest=_closest(*closest, reading, names, side),
    )


def closest_rows(url: str, manifest: Manifest) -> list[StoredRow]:
    """The rows that are nearest to a training image, the nearest one first, as receipts tell them;
    none of a dataset whose samples do not tell it. Raises as `read_rows` does."""
    closest, found = closest_of(manifest.receipts), dict[str, StoredRow]()
    keys = {each.key for each in closest}
    for receipt in manifest.receipts:
        if keys & {each.key for each in receipt.closest or ()}:
            rows = read_rows(url, manifest.plan, receipt)
            found |= {row.fields["key"]: row for row in rows if row.fields["key"] in keys}
    return [found[each.key] for each in closest]


def _nearest(
    rows: Sequence[StoredRow], training: Features, unit: float
) -> tuple[Features, Nearest]:
    """The features of rows, and the training images that are nearest to them; unit: the distance
    that is called 1."""
    views = features(_with_mirrored(rows))
    some, mirrored = views[0::2], views[1::2]
    return some, nearest(some.layout, mirrored.layout, training.layout, unit)


def _rows(url: str, manifest: Manifest) -> list[StoredRow]:
    """Rows of a few shards that lie evenly over the dataset."""
    plan = manifest.plan
    images = RowImages(url) if plan.format == "png" else None
    num_shards = min(plan.num_shards, _NUM_SHARDS)
    rows: list[StoredRow] = []
    for shard in evenly(plan.num_shards, num_shards):
        found = list(read_rows(url, plan, manifest.receipts[shard], images))
        rows += [found[i] for i in evenly(len(found), min(len(found), NUM_COMPARED // num_shards))]
    return rows


def _with_mirrored(rows: Sequence[StoredRow]) -> Iterator[UInt8]:
    """Yields each image, and its mirror image behind it; each is decoded once."""
    for row in rows:
        image = row.decoded().image
        yield image
        yield np.flip(image, axis=1)


def _side(image: UInt8) -> int:
    """The side at which training images are read: as those of the dataset were learned from, as
    another way of scaling would count as another sharpness."""
    height, width, _ = image.shape
    return height if height == width else SIDE


def _training_images(reading: Pass, names: list[str]) -> Iterator[UInt8]:
    """Yields the images; their names are added to names."""
    for pair in tracked(reading.pairs(), "report", len(reading.items), "images"):
        names.append(pair.name)
        yield pair.image


def _distances(some: Features, training: Features) -> tuple[float, float]:
    """The distance of a dataset's images to training images, and of others of these to them."""
    num = min(len(some), len(training) // 2)
    halves = [training.statistics[start::2] for start in (0, 1)]
    few, others, reference = (
        rows[torch.tensor(evenly(len(rows), num))] for rows in (some.statistics, *halves)
    )
    return frechet_distance(few, reference), frechet_distance(others, reference)


def _closest(
    rows: Sequence[StoredRow],
    found: Nearest,
    reading: Pass,
    names: Sequence[str],
    side: int,
) -> tuple[Closest, ...]:
    by_name = {item.name: item for item in reading.items}
    closest = []
    for i in found.distances.argsort()[:_NUM_CLOSEST].tolist():
        name, sample = names[int(found.indices[i])], rows[i].decoded()
        image = read_square(by_name[name], side, sample.image.shape[2], Problems())
        assert image is not None, "it was read before"
        closest.append(Closest(sample.key, name, float(found.distances[i]), sample.image, image))
    return tuple(closest)
