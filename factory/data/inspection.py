"""Checks a source before work starts: what is in it, what is odd, and everything wrong at once."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from factory.classes import IGNORE_ID
from factory.data import decoding, loading
from factory.data.decoding import FileInfo
from factory.data.intensity import OF_16_BITS, OF_FLOATS, Range
from factory.data.items import Source
from factory.data.loading import Labelled, LoadedSource
from factory.data.reading import Fit
from factory.errors import UserError, counted, shown, some

_DARK = 128
"""An image is dark below this value: the lower 14 of 16 bits come to 64, the lower 15 to 127."""
CONVERSIONS = {
    "1": "grey is replicated to RGB",
    "L": "grey is replicated to RGB",
    "LA": "grey is replicated to RGB, transparent pixels show white",
    "P": "shown in the colours of its palette, transparent ones white",
    "RGBA": "transparent pixels show white",
    "CMYK": "converted to RGB without a colour profile; check the colours",
}
"""Pillow's mode -> what is done to such images."""
FITS: Mapping[Fit, str] = {
    "crop": "only the centred square is used; set fit: pad, stretch or tile to use all",
    "pad": "black bars make them square, which masks ignore",
    "stretch": "their proportions are changed",
}
"""The way in which images became square -> what was done to oblong ones."""

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
    images: Mapping[bytes, str]
    """Hash of the pixels as they are used -> the name of the first image that has them."""
    class_names: tuple[str, ...]
    """The names of the classes; empty without masks."""


def inspect(source: Source, size: int, labelled: bool) -> Inspection:
    """Reads all of a source at size x size pixels; bad data is reported, not raised."""
    loaded = loading.load(source, size, labelled)
    shares, counts = _occurrences(loaded)
    return Inspection(
        num_images=len(loaded.names),
        sizes=_histogram(info.size for info in loaded.infos),
        modes=_histogram(info.mode for info in loaded.infos),
        formats=_histogram(info.format for info in loaded.infos),
        pixel_shares=shares,
        image_counts=counts,
        notes=tuple(_notes(source, size, loaded, counts)),
        problems=loaded.problems,
        images=_by_pixels(loaded),
        class_names=loaded.classes.names if loaded.classes else (),
    )


def between(found: Mapping[str, Inspection]) -> tuple[list[str], list[str]]:
    """Finds images that sections should not share, and classes that differ between them.

    found: the inspections of the sections that are set, by their names unlabelled, labelled and
    test. Returns notes and problems, a sentence each.
    """
    notes, problems = [], []
    labelled, test = found.get("labelled"), found.get("test")
    for name, other in found.items():
        shared = (
            [image for key, image in test.images.items() if key in other.images] if test else []
        )
        if test is None or other is test or not shared:
            continue
        what = (
            "training images: `factory evaluate` refuses them. Leave them out of one"
            if name == "labelled"
            else "among the images that the DDPM learns from, without their masks"
        )
        notes.append(
            f"{len(shared)} of the {counted(test.num_images, 'image')} of data.test are also in "
            f"data.{name}, {what} ({some(shared)})."
        )
    if labelled and test and labelled.class_names != test.class_names:
        problems.append(
            f"data.test: its classes {list(test.class_names)} are not those of data.labelled, "
            f"{list(labelled.class_names)}. Name the same classes in both."
        )
    return notes, problems


def lines(inspection: Inspection) -> list[str]:
    """The inspection as lines for a terminal; the last are at most `loading.MAX_LINES` problems."""
    found = inspection
    sizes = {f"{width}x{height}": count for (width, height), count in found.sizes.items()}
    table = [
        f"  {name:<20} {found.pixel_shares[name]:>8.2%} of pixels, in {counted(count, 'image')}"
        for name, count in found.image_counts.items()
    ]
    text = [
        f"images   {found.num_images}",
        f"sizes    {_listed(sizes)}",
        f"modes    {_listed(found.modes)}",
        f"formats  {_listed(found.formats)}",
        *(["classes", *table] if table else []),
        *(f"note: {note}" for note in found.notes),
        *(f"problem: {problem}" for problem in loading.first_lines(found.problems)),
    ]
    # Names of classes come from a file, too.
    return [shown(line) for line in text]


def check_disjoint(train: Labelled, test: Labelled) -> None:
    """Raises UserError naming each test image that has the pixels of a training image."""
    known = {image.tobytes(): name for image, name in zip(train.images, train.names, strict=True)}
    shared = [
        f"test image {name}: is the training image {known[image.tobytes()]}. Leave one of them out."
        for image, name in zip(test.images, test.names, strict=True)
        if image.tobytes() in known
    ]
    if shared:
        raise UserError(loading.first_lines(shared))


def _histogram(values: Iterable[T]) -> dict[T, int]:
    """Counts the occurrences of each value, the most frequent first."""
    return dict(Counter(values).most_common())


def _listed(histogram: Mapping[str, int], num: int = 5) -> str:
    """The first num values with their counts, and how many values more there are."""
    parts = [f"{name}: {count}" for name, count in histogram.items()]
    return ", ".join(parts[:num]) + (f", and {len(parts) - num} more" if len(parts) > num else "")


def _by_pixels(loaded: LoadedSource) -> dict[bytes, str]:
    """Hash of the pixels -> the name of the first image that has them."""
    found: dict[bytes, str] = {}
    for image, name in zip(loaded.images, loaded.names, strict=True):
        found.setdefault(hashlib.blake2b(image.tobytes(), digest_size=16).digest(), name)
    return found


def _occurrences(loaded: LoadedSource) -> tuple[dict[str, float], dict[str, int]]:
    """The share of all pixels, and the number of images, of each class name."""
    if loaded.masks is None or loaded.classes is None:
        return {}, {}
    names = loaded.classes.names
    pixels = np.zeros((len(loaded.masks), 256), np.int64)
    for row, mask in zip(pixels, loaded.masks, strict=True):
        row[:] = np.bincount(mask.ravel(), minlength=256)
    total = max(int(pixels[:, : len(names)].sum()), 1)
    shares = {name: float(pixels[:, i].sum() / total) for i, name in enumerate(names)}
    return shares, {name: int((pixels[:, i] > 0).sum()) for i, name in enumerate(names)}


def _notes(
    source: Source, size: int, loaded: LoadedSource, image_counts: Mapping[str, int]
) -> Iterator[str]:
    """Sentences on what is no mistake but worth knowing."""
    num = len(loaded.names)
    if source.num is not None and num < source.num and not loaded.problems:
        yield f"{counted(num, 'image')}, fewer than num: {source.num}."
    for name, count in image_counts.items():
        if num and not count:
            yield f"class {name} never occurs."
    repeats = num - len(_by_pixels(loaded))
    if repeats:
        yield f"{counted(repeats, 'image')} with the same pixels as another one."
    yield from loaded.notes
    yield from _conversions(size, loaded)
    if loaded.masks is not None and num:
        ignored = float((loaded.masks == IGNORE_ID).mean())
        if ignored:
            yield f"{ignored:.2%} of the pixels are ignored (id {IGNORE_ID})."


def _conversions(size: int, loaded: LoadedSource) -> Iterator[str]:
    """Sentences on what was done to images that are not stored as they are used."""
    modes = Counter(info.mode for info in loaded.infos)
    for mode, what in CONVERSIONS.items():
        if modes[mode]:
            yield f"{counted(modes[mode], 'image')} of mode {mode}: {what}."
    yield from _windows(loaded.infos)
    dark = [info.brightest for info in loaded.infos if info.brightest < _DARK]
    if dark:
        yield (
            f"{counted(len(dark), 'dark image')} of more than 8 bits: no value comes to more than "
            f"{max(dark)} of 255 as it is used. Set intensity: [low, high] to the values that "
            "matter."
        )
    turned = sum(info.orientation != decoding.UPRIGHT for info in loaded.infos)
    if turned:
        yield f"{counted(turned, 'image')} turned upright, as EXIF data say; see exif for masks."
    if loaded.num_enlarged:
        yield f"{counted(loaded.num_enlarged, 'image')} smaller than {size} pixels: enlarged."
    oblong = sum(width != height for width, height in (info.size for info in loaded.infos))
    if oblong and loaded.fit in FITS:
        yield f"{counted(oblong, 'oblong image')}: {FITS[loaded.fit]}."


def _windows(infos: Sequence[FileInfo]) -> Iterator[str]:
    """Sentences on the stored values of images that 8 bits do not hold, and what became of them."""
    by_mode: dict[str, list[FileInfo]] = defaultdict(list)
    for info in infos:
        if info.stored and info.window:
            by_mode[info.mode].append(info)
    for mode, alike in by_mode.items():
        stored = [info.stored for info in alike if info.stored]
        windows = {info.window for info in alike if info.window}
        low, high = min(lows for lows, _ in stored), max(highs for _, highs in stored)
        hold = counted(len(alike), f"image of mode {mode} holds", f"images of mode {mode} hold")
        yield (f"{hold} values of {low:g}..{high:g}: {_what_was_done(windows)}.")


def _what_was_done(windows: Set[Range]) -> str:
    if windows == {OF_16_BITS}:
        return "divided by 257; set intensity if they are too dark"
    if windows == {OF_FLOATS}:
        return "multiplied by 255"
    if len(windows) == 1:
        ((low, high),) = windows
        return f"{low:g}..{high:g} are mapped to 0..255, as intensity says"
    lows, highs = (
        [f"{bound:g}" for bound in sorted(bounds)] for bounds in zip(*windows, strict=True)
    )
    return (
        f"each from a black of {lows[0]} to {lows[-1]} to a white of {highs[0]} to {highs[-1]}, as "
        "intensity says"
    )
