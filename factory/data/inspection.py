"""Checks a source before work starts: what is in it, what is odd, and everything wrong at once."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from factory import storage
from factory.classes import IGNORE_ID, Classes
from factory.data import contact_sheet, conversions, duplicates, loading
from factory.data.duplicates import Fingerprint
from factory.data.files import listing
from factory.data.items import Source
from factory.data.loading import Labelled
from factory.data.passes import Pair, Pass
from factory.errors import Problems, UserError, counted, shown, some

_BAR = 20
"""The length of a bar that stands for all pixels."""
T = TypeVar("T")


@dataclass(frozen=True)
class Inspection:
    """The findings on a source, over the files that could be read."""

    num_images: int
    sizes: Mapping[tuple[int, int], int]
    """(width, height) as stored -> number of images, the most frequent first."""
    modes: Mapping[str, int]
    """Pillow's mode -> number of images."""
    formats: Mapping[str, int]
    pixel_shares: Mapping[str, float]
    """Class name -> its share of all pixels that are not ignored, 0..1; empty without masks."""
    image_counts: Mapping[str, int]
    """Class name -> number of images in which it occurs; empty without masks."""
    notes: tuple[str, ...]
    """Sentences on what is no mistake but worth knowing."""
    problems: tuple[str, ...]
    """A line per offending file; empty if the source can be used."""
    prints: tuple[Fingerprint, ...]
    """What each image is recognised by."""
    classes: Classes | None
    """None without masks."""
    samples: tuple[Pair, ...]
    """A few images, with their masks, to look at."""
    unread: str = ""
    """Files below its url that are no images, by their endings: 3 .txt, 1 .json."""
    num_bytes: int = 0
    """Bytes of its images as they are used."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes; empty without masks."""
        return self.classes.names if self.classes else ()


def inspect(source: Source, size: int, labelled: bool, channels: int = 3) -> Inspection:
    """Reads all of a source at size x size pixels, a few images at a time; bad data is reported,
    not raised."""
    reading = Pass(source, size, labelled, channels)
    to_show = contact_sheet.shown_positions(len(reading.items))
    shown_names = {reading.items[i].name for i in to_show}
    prints: list[Fingerprint] = []
    samples: list[Pair] = []
    occurrences = _Occurrences()
    for seen in reading.seen(partial(_look, shown_names=shown_names)):
        prints.append(seen.print)
        if seen.counts is not None:
            occurrences.add(seen.counts)
        if seen.pair is not None:
            samples.append(seen.pair)
    notes, problems = reading.outcome()
    infos = [*reading.infos.values()]
    names = reading.classes.names if labelled and reading.classes else ()
    counts = occurrences.image_counts(names)
    odd = _notes(source, prints, not problems, counts)
    done = conversions.sentences(infos, reading.fit, size, reading.num_enlarged, channels)
    return Inspection(
        num_images=len(prints),
        sizes=_histogram(info.size for info in infos),
        modes=_histogram(info.mode for info in infos),
        formats=_histogram(info.format for info in infos),
        pixel_shares=occurrences.pixel_shares(names),
        image_counts=counts,
        notes=(*odd, *notes, *done, *occurrences.ignored()),
        problems=problems,
        prints=tuple(prints),
        classes=reading.classes if labelled else None,
        samples=tuple(samples),
        unread=_unread(source),
        num_bytes=len(prints) * size * size * channels,
    )


@dataclass(frozen=True)
class _Seen:
    """What is kept of a good image."""

    print: Fingerprint
    counts: npt.NDArray[np.int64] | None
    """(256,) the number of pixels of each class; None without masks."""
    pair: Pair | None
    """The image itself and its mask, if it is to be shown."""


def _look(pair: Pair, shown_names: Set[str]) -> _Seen:
    counts = None if pair.mask is None else np.bincount(pair.mask.ravel(), minlength=256)
    print = duplicates.fingerprint(pair.name, pair.image)
    return _Seen(print, counts, pair if pair.name in shown_names else None)


class _Occurrences:
    """Counts pixels and images of each class."""

    def __init__(self) -> None:
        self.pixels = np.zeros(256, np.int64)
        self.images = np.zeros(256, np.int64)

    def add(self, counts: npt.NDArray[np.int64]) -> None:
        """Adds the pixels of each class of a mask, (256,)."""
        self.pixels += counts
        self.images += counts > 0

    def pixel_shares(self, names: Sequence[str]) -> dict[str, float]:
        """The share of each class of all pixels that are of one."""
        total = max(int(self.pixels[: len(names)].sum()), 1)
        return {name: float(self.pixels[i] / total) for i, name in enumerate(names)}

    def image_counts(self, names: Sequence[str]) -> dict[str, int]:
        """The number of images in which each class occurs."""
        return {name: int(self.images[i]) for i, name in enumerate(names)}

    def ignored(self) -> list[str]:
        """A sentence on pixels that are ignored, if there are any."""
        share = self.pixels[IGNORE_ID] / max(1, self.pixels.sum())
        return [f"{share:.2%} of the pixels are ignored (id {IGNORE_ID})."] if share else []


def between(found: Mapping[str, Inspection]) -> tuple[list[str], list[str]]:
    """Finds images that sections should not share, and classes that differ between them.

    found: the inspections of the sections that are set, by their names unlabelled, labelled and
    test. Returns notes and problems, a sentence each.
    """
    notes: list[str] = []
    problems: list[str] = []
    labelled, test = found.get("labelled"), found.get("test")
    for name, other in found.items():
        if test is None or other is test:
            continue
        notes += _shared(test, other, name)
    if labelled and test and labelled.class_names != test.class_names:
        problems.append(
            f"data.test: its classes {list(test.class_names)} are not those of data.labelled, "
            f"{list(labelled.class_names)}. Name the same classes in both."
        )
    return notes, problems


def _shared(test: Inspection, other: Inspection, name: str) -> Iterator[str]:
    """Sentences on images of the test section that another one has, too, or nearly."""
    of_test = f"{counted(test.num_images, 'image')} of data.test"
    if shared := duplicates.equal(test.prints, other.prints):
        what = "among the images that the DDPM learns from, without their masks"
        if name == "labelled":
            remedy = "Leave them out of one"
            if len(shared) == test.num_images:
                remedy = "Name another place in data.test, or list the images of each in names_url"
            what = f"training images: `factory evaluate` refuses them. {remedy}"
        yield f"{len(shared)} of the {of_test} are also in data.{name}, {what} ({some(shared)})."
    known = set(shared)
    rest = [one for one in test.prints if one.name not in known]
    if alike := duplicates.nearly_equal(rest, other.prints):
        yield (
            f"{len(alike)} of the {of_test} are nearly the same as images of data.{name}, mirrored "
            f"or saved again ({_pairs(alike)}). Leave them out of one."
        )


def lines(inspection: Inspection) -> list[str]:
    """The inspection as lines for a terminal; the last are at most `loading.MAX_LINES` problems."""
    found = inspection
    sizes = {f"{width}x{height}": count for (width, height), count in found.sizes.items()}
    table = [
        f"  {name:<20} {_bar(share)} {share:>8.2%} of pixels, in "
        f"{counted(found.image_counts[name], 'image')}"
        for name, share in found.pixel_shares.items()
    ]
    memory = f"{found.num_bytes / 2**20:,.1f} MiB of pixels as they are used"
    text = [
        f"images   {found.num_images:,}",
        f"sizes    {_listed(sizes)}",
        f"modes    {_listed(found.modes)}",
        f"formats  {_listed(found.formats)}",
        *([f"memory   {memory}"] if found.num_images else []),
        *([f"not read {found.unread}"] if found.unread else []),
        *(["classes", *table] if table else []),
        *(f"note: {note}" for note in found.notes),
        *(f"problem: {problem}" for problem in loading.first_lines(found.problems)),
    ]
    # Names of classes come from a file, too.
    return [shown(line) for line in text]


def title(source: Source) -> str:
    """The kind of a source and its place, in a line."""
    words = [f"kind {getattr(source, 'kind', 'unknown')}"]
    if layout := getattr(source, "layout", None):
        words.append(f"layout {layout}")
    if split := getattr(source, "split", None):
        words.append(f"split {split}")
    if url := getattr(source, "url", None):
        words.append(url)
    return ", ".join(words)


def write_sheet(found: Mapping[str, Inspection], config: str) -> str | None:
    """Writes a few images of each section beside a config; returns a line that says where, or
    why not, None if there is nothing to show."""
    sections = {f"data.{name}": (each.samples, each.classes) for name, each in found.items()}
    sheet = contact_sheet.contact_sheet(sections)
    if sheet is None:
        return None
    url = storage.normalize(f"{config.rpartition('.')[0] or config}.inspect.png")
    try:
        storage.write(url, sheet)
    except OSError as error:
        return f"note: {url}: the sheet of images cannot be written ({storage.describe(error)})."
    return f"images, masks and overlays: {url}"


def check_disjoint(train: Labelled, test: Labelled) -> None:
    """Raises UserError naming the test images that have the pixels of a training image, unless they
    are of one colour, as empty tiles are."""
    known = {image.tobytes(): name for image, name in zip(train.images, train.names, strict=True)}
    shared = [
        (name, known[image.tobytes()])
        for image, name in zip(test.images, test.names, strict=True)
        if image.tobytes() in known and not duplicates.is_blank(image)
    ]
    if shared:
        names = [name if name == other else f"{name} as {other}" for name, other in shared]
        raise UserError(_learned_from(len(shared), len(test), names))


def _learned_from(num: int, num_test: int, names: Sequence[str]) -> str:
    """The problem of test images that are training images, too."""
    if num == num_test:
        return (
            f"data.test: all of its {counted(num_test, 'image')} are images of data.labelled, too "
            f"({some(names)}): what is measured on images that were learned from says nothing. "
            "Name another place, or list the images to use of each in names_url."
        )
    return (
        f"data.test: {num:,} of its {counted(num_test, 'image')} are images of data.labelled, too "
        f"({some(names)}). Leave them out of one."
    )


def _histogram(values: Iterable[T]) -> dict[T, int]:
    """Counts the occurrences of each value, the most frequent first."""
    return dict(Counter(values).most_common())


def _listed(histogram: Mapping[str, int], num: int = 5) -> str:
    """The first num values with their counts, and how many values more there are."""
    parts = [f"{name}: {count}" for name, count in histogram.items()]
    return ", ".join(parts[:num]) + (f", and {len(parts) - num} more" if len(parts) > num else "")


def _notes(
    source: Source, prints: Sequence[Fingerprint], is_whole: bool, counts: Mapping[str, int]
) -> Iterator[str]:
    """Sentences on images and classes that are missing, and on images that occur twice."""
    num = len(prints)
    if source.num is not None and num < source.num and is_whole:
        yield f"{counted(num, 'image')}, fewer than num: {source.num}."
    if num and (absent := [name for name, count in counts.items() if not count]):
        what, verb = ("class", "occurs") if len(absent) == 1 else ("classes", "occur")
        yield f"{what} {some(absent)} never {verb}."
    if repeats := duplicates.num_repeated(prints):
        yield f"{counted(repeats, 'image')} with the same pixels as another one."
    if blank := [one.name for one in prints if one.is_blank]:
        are = counted(len(blank), "image is", "images are")
        yield f"{are} of one colour, and not compared with others ({some(blank, 3)})."
    if alike := duplicates.nearly_equal(prints):
        are = counted(len(alike), "image is", "images are")
        yield f"{are} nearly the same as another one, mirrored or saved again ({_pairs(alike)})."
    if num > duplicates.MAX_COMPARED:
        yield (
            f"of more than {duplicates.MAX_COMPARED:,} images, only those of equal pixels are "
            "found to occur twice."
        )


def _pairs(alike: Sequence[tuple[str, str]]) -> str:
    return some([f"{name} and {other}" for name, other in alike], 3)


def _bar(share: float) -> str:
    """A share as a bar of text."""
    return f"{'#' * math.ceil(share * _BAR):<{_BAR}}"


def _unread(source: Source) -> str:
    """Files below a source's url that are neither images nor its lists, by their endings; empty
    without any, and for sources that are no folders of images."""
    url = getattr(source, "url", None)
    if url is None or getattr(source, "kind", "") not in ("folder", "pairs"):
        return ""
    tree = listing.open_tree(url, Problems())
    try:
        names = tree.names() if tree else []
    except (OSError, UserError):
        return ""  # which listing the source has told
    lists = {getattr(source, key, None) for key in ("classes_url", "names_url")}
    others = (name for name in names if not name.lower().endswith(listing.IMAGE_SUFFIXES))
    return listing.by_ending(name for name in others if storage.join(url, name) not in lists)
