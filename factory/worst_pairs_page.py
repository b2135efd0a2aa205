"""What the page of a dataset shows of the pairs in which its classes are least certain."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from factory.classes import Classes, css_color
from factory.config import Config
from factory.data.passes import Pair
from factory.disagreement import load_voters
from factory.errors import DamagedShard, UserError, counted
from factory.generation.row_images import RowImages
from factory.images import UInt8
from factory.labeling.mistakes import OF_LABELLED
from factory.likeness.labelled_images import LabelledImages
from factory.page_parts import MAX_STORED_PIXELS, decoded, picture
from factory.pictures import colorize, heat, marked, overlay
from factory.shards.manifest import Manifest
from factory.shards.plan import Plan
from factory.shards.random_access import ShardIndex
from factory.shards.schema import Sample
from factory.worst_pairs import (
    FEWEST_PIXELS,
    LEAST_SHARE,
    Candidate,
    ClassPairs,
    WorstPairs,
    worst_pairs,
)

_COLUMNS = ("image", "mask over it", "the class alone")
_DISAGREEMENT = "disagreement"


@dataclass(frozen=True)
class Pane:
    """A picture of a row."""

    what: str
    """What it shows."""
    picture: str
    """A PNG in base64."""
    width: int
    height: int
    name: str = ""
    """The name of a labelled image."""


@dataclass(frozen=True)
class ClassLine:
    """A class in words."""

    name: str
    color: str
    """In CSS."""
    mean: str
    """The mean IoU that is expected of it, or the mean uncertainty of its pairs."""
    num: int
    """The pairs that have it."""


@dataclass(frozen=True)
class WorstRow:
    """A class, and the pair in which it is least certain."""

    of_class: ClassLine
    key: str
    certainty: str
    """The IoU that is expected of the class there, or the pair's uncertainty."""
    panes: Sequence[Pane | None]
    """One a column; None where there is nothing to show."""


@dataclass(frozen=True)
class WorstSection:
    """The least certain pair of each class."""

    note: str
    measure: str
    """What the numbers of classes and pairs are."""
    columns: Sequence[str]
    """The names of the columns of pictures."""
    rows: Sequence[WorstRow]
    others: Sequence[ClassLine]
    """The classes that occur and have no row."""


def worst_section(
    url: str, manifest: Manifest, config: Config | None, labelled: LabelledImages | None
) -> WorstSection | None:
    """None where no pixel is of a class.

    config: names the models that tell where members disagree. labelled: the images with which the
    pairs are compared. Raises UserError where the dataset is damaged, or a labelled image can no
    longer be read; OSError.
    """
    found = worst_pairs(url, manifest)
    if not found.classes:
        return None
    plan, shown = manifest.plan, found.shown()
    pairs = _Shown.read(url, plan, shown)
    columns = pairs.own_columns(plan.classes)
    maps = _maps(pairs, config, plan)
    if isinstance(maps, list):
        columns[_DISAGREEMENT] = maps
    if labelled is not None:
        columns |= _columns_of_similar(pairs.similar(labelled), plan.classes)
    rows = [
        WorstRow(
            _line(of_class, plan.classes, found.by_class),
            sample.key,
            _number(candidate.certainty, found.by_class),
            panes,
        )
        for (of_class, candidate), sample, panes in zip(
            shown, pairs.samples, zip(*columns.values(), strict=True), strict=True
        )
    ]
    of_rows = {of_class.class_id for of_class, _ in shown}
    others = [each for each in found.classes if each.class_id not in of_rows]
    return WorstSection(
        " ".join(_notes(found, plan, pairs, maps, labelled)),
        "expected IoU" if found.by_class else "uncertainty in nats",
        list(columns),
        rows,
        [_line(each, plan.classes, found.by_class) for each in others],
    )


Column = list[Pane | None]
"""The pictures of a column, one a row; None where there is nothing to show."""


@dataclass(frozen=True)
class _Shown:
    """The pairs of the rows, with their pictures."""

    samples: list[Sample]
    class_ids: list[int]
    """The class for which each is shown."""
    lacking: dict[str, str]
    """The keys of those whose images lie elsewhere and cannot be read -> the reason."""

    @classmethod
    def read(cls, url: str, plan: Plan, shown: Sequence[tuple[ClassPairs, Candidate]]) -> "_Shown":
        """Reads no other pairs. Raises UserError, OSError."""
        index = ShardIndex(url, images=RowImages(url) if plan.format == "png" else None)
        samples, lacking = [], dict[str, str]()
        for _, candidate in shown:
            row = index.stored(candidate.number)
            try:
                samples.append(decoded(row, lacking))
            except DamagedShard as error:
                raise UserError(
                    f"{url}: {error}. Run `factory verify --level decode` on the dataset."
                ) from None
        return cls(samples, [of_class.class_id for of_class, _ in shown], lacking)

    @property
    def images(self) -> list[UInt8 | None]:
        """(H, W, C) each; None of those that cannot be read."""
        return [None if each.key in self.lacking else each.image for each in self.samples]

    def own_columns(self, classes: Classes) -> dict[str, Column]:
        """Image, mask and class of each."""
        columns: dict[str, Column] = {name: [] for name in _COLUMNS}
        for sample, image, class_id in zip(self.samples, self.images, self.class_ids, strict=True):
            mask, alone = (
                colorize(sample.mask, classes),
                marked(sample.image, sample.mask == class_id),
            )
            if image is not None:
                mask = overlay(image, sample.mask, classes)
            for name, pixels in zip(_COLUMNS, (image, mask, alone), strict=True):
                columns[name].append(None if pixels is None else _pane(name, pixels))
        return columns

    def similar(self, labelled: LabelledImages) -> list[Pair | None]:
        """The labelled image that is most like each. Raises UserError."""
        there = [image for image in self.images if image is not None]
        if not there:
            return [None] * len(self.samples)
        size = min(MAX_STORED_PIXELS, max(side for image in there for side in image.shape[:2]))
        found = iter(labelled.most_similar(there, size))
        return [None if image is None else next(found) for image in self.images]


def _maps(pairs: _Shown, config: Config | None, plan: Plan) -> Column | str:
    """Where members disagree, or why that is not shown, empty where no image is. Raises OSError."""
    if config is None:
        return "With --config FILE, the page shows where the members of the ensemble disagree, too."
    try:
        voters = load_voters(config, plan)
    except UserError as error:
        return f"Where the members of the ensemble disagree is not shown: {error.problems[0]}"
    maps = [None if image is None else voters.disagreement(image) for image in pairs.images]
    if all(each is None for each in maps):
        if all(image is None for image in pairs.images):
            return ""
        return (
            "Where the members of the ensemble disagree is not shown: that is told of images of "
            f"{counted(voters.ddpm.image_size, 'pixel')} alone, the models' size."
        )
    top = float(np.log(2))
    return [None if each is None else _pane(_DISAGREEMENT, heat(each, top)) for each in maps]


def _columns_of_similar(pairs: Sequence[Pair | None], classes: Classes) -> dict[str, Column]:
    columns: dict[str, Column] = {name: [] for name in OF_LABELLED}
    for pair in pairs:
        panes: tuple[Pane | None, Pane | None] = None, None
        if pair is not None and pair.mask is not None:
            mask = colorize(pair.mask, classes)
            panes = _pane(OF_LABELLED[0], pair.image, pair.name), _pane(OF_LABELLED[1], mask)
        for name, pane in zip(OF_LABELLED, panes, strict=True):
            columns[name].append(pane)
    return columns


def _pane(what: str, pixels: UInt8, name: str = "") -> Pane:
    colored = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    return Pane(what, *picture([colored]), name)


def _line(pairs: ClassPairs, classes: Classes, by_class: bool) -> ClassLine:
    i = pairs.class_id
    color = css_color(classes.palette[i])
    return ClassLine(classes.names[i], color, _number(pairs.certainty, by_class), pairs.num)


def _number(certainty: float, by_class: bool) -> str:
    """The IoU of a class, or the uncertainty of a pair, in nats; see `Candidate`."""
    return f"{certainty:.2f}" if by_class else f"{-certainty:.4f}"


def _notes(
    found: WorstPairs,
    plan: Plan,
    pairs: _Shown,
    maps: Column | str,
    labelled: LabelledImages | None,
) -> Iterator[str]:
    """Sentences on what the rows show."""
    enough = f"{FEWEST_PIXELS} pixels and {100 * LEAST_SHARE:g} % of the mask"
    if found.by_class:
        yield (
            "A row a class, that of which the least IoU is expected first: the pair in which least "
            f"is expected of it, among those in which it has {enough}."
        )
    else:
        yield (
            "A row a class, that of the most uncertain pairs first: the most uncertain pair in "
            f"which it has {enough}, and that no row above shows. Uncertainty is that of a whole "
            "pair: what is expected of each class is known where the ensemble was fitted with "
            "fit.calibration_folds."
        )
    keys = Counter(sample.key for sample in pairs.samples)
    if max(keys.values(), default=1) > 1:
        told = (f"{key} ({counted(num, 'class', 'classes')})" for key, num in keys.most_common())
        yield f"The rows show {counted(len(keys), 'pair')}: {', '.join(told)}."
    if found.num_pairs < plan.num:
        yield (
            f"Of {counted(found.num_pairs, 'pair')} in {found.num_shards:,} of "
            f"{counted(plan.num_shards, 'shard')}, which lie evenly."
        )
    if labelled is not None:
        yield (
            "On the right the labelled image that is most like it, with its own mask: if that "
            "shows something else, an image like this one is worth labelling next."
        )
    if isinstance(maps, str) and maps:
        yield maps
    if pairs.lacking:
        reason = next(iter(pairs.lacking.values()))
        lacking = counted(len(pairs.lacking), "image")
        yield f"Of {lacking} that cannot be read any more only the mask is shown: {reason}"
