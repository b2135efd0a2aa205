"""What people bring: images, and images beside masks, as arrays of one size.

Everything wrong in a source is found in one pass, a line per offending file. `read` returns what
is good together with the problems, for `inspection`; `read_images` and `read_labelled` refuse.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from factory import storage
from factory.classes import IGNORE_ID, MAX_CLASSES, Classes, Color, parse_classes
from factory.config import Source
from factory.data import decoding, listing, losses
from factory.data.decoding import Stored
from factory.data.listing import File
from factory.data.losses import Losses
from factory.data.toy import drawing, faces
from factory.errors import Problems, UnreadableImage, UserError, shown, some
from factory.images import UInt8

MAX_LINES = 50
NUM_THREADS = 8


@dataclass(frozen=True)
class Labelled:
    """Images with masks, N of them, S pixels high and wide."""

    images: UInt8
    """(N, S, S, 3), 0..255."""
    masks: UInt8
    """(N, S, S) class ids, 255 = ignore."""
    names: tuple[str, ...]
    """File names, sorted; of drawings toy-{seed}-{index}."""
    classes: Classes
    notes: tuple[str, ...] = ()
    """What is lost or left out, as `Content.notes`."""

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Content:
    """The good part of a source, and all that is wrong with the rest."""

    images: UInt8
    """(N, S, S, 3), 0..255."""
    masks: UInt8 | None
    """(N, S, S) class ids, 255 = ignore; None where only images were asked for."""
    names: tuple[str, ...]
    classes: Classes | None
    stored: tuple[Stored, ...]
    """How each image was stored."""
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What is no mistake but must be known wherever the source is used: sentences on files that are
    not read, pixels and regions that are lost, ids that may be meant otherwise."""

    @property
    def labelled(self) -> Labelled:
        """As images with masks, where they were asked for and there are classes."""
        assert self.masks is not None and self.classes is not None
        return Labelled(self.images, self.masks, self.names, self.classes, self.notes)


def read_images(source: Source, size: int) -> UInt8:
    """All images of a source, (N, size, size, 3), sorted by name.

    Raises UserError with a line per offending file.
    """
    content = read(source, size, labelled=False)
    if content.problems:
        raise UserError(first_lines(content.problems))
    return content.images


def read_labelled(source: Source, size: int) -> Labelled:
    """All images of a source with their masks, sorted by name.

    Raises UserError with a line per offending file.
    """
    content = read(source, size, labelled=True)
    if content.problems:
        raise UserError(first_lines(content.problems))
    return content.labelled


def read_square(url: str, size: int, problems: Problems) -> UInt8 | None:
    """One image as `read_images` has it, (size, size, 3); None for one with a problem, which is
    noted."""
    with _noting(url, problems):
        data = decoding.read_file(url)
        return decoding.square_rgb(decoding.decode_rgb(data)[0], size)
    return None


def first_lines(problems: Sequence[str]) -> list[str]:
    """As many problems as people read at once, and how many more there are."""
    rest = len(problems) - MAX_LINES
    lines = [*problems[:MAX_LINES], *([f"... and {rest} more."] if rest > 0 else [])]
    # File names need not be text that a terminal can show, and may have line ends.
    return [shown(line) for line in lines]


def read(source: Source, size: int, labelled: bool) -> Content:
    """Reads and checks a whole source: what is good in it, and every problem found."""
    if source.kind == "toy":
        return _draw(source, size, labelled)
    problems = Problems()
    classes = _read_classes(source, problems) if labelled else None
    found = listing.find_files(source, labelled, problems)
    content = _decode(found.files, size, labelled, classes, problems)
    notes = (*found.oddities, *content.notes)
    return replace(content, problems=tuple(problems.found), notes=notes)


def _draw(source: Source, size: int, labelled: bool) -> Content:
    assert source.num is not None, "Source checks it"
    images, masks = drawing.draw_many(source.seed, source.num, size)
    return Content(
        images=images,
        masks=masks if labelled else None,
        names=tuple(f"toy-{source.seed}-{i:06d}" for i in range(source.num)),
        classes=Classes.named(faces.CLASSES, faces.PALETTE) if labelled else None,
        stored=(Stored((size, size), "RGB", "drawn"),) * source.num,
        problems=(),
    )


def _read_classes(source: Source, problems: Problems) -> Classes | None:
    if source.classes_url is None:
        return None  # a source without masks; `listing` says so
    try:
        return parse_classes(storage.read_text(source.classes_url), source.classes_url)
    except UserError as error:
        problems.found.extend(error.problems)
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        problems.add(
            f"{source.classes_url}: cannot be read ({storage.describe(error)}). "
            'It must be a JSON file of class names, {"0": "background", ...}.'
        )
    return None


def _decode(
    files: Sequence[File],
    size: int,
    labelled: bool,
    classes: Classes | None,
    problems: Problems,
) -> Content:
    """Reads and decodes all files; those with a problem are left out."""
    images = np.zeros((len(files), size, size, 3), np.uint8)
    masks = np.zeros((len(files) if labelled else 0, size, size), np.uint8)
    num_classes = len(classes) if classes else MAX_CLASSES

    def decode(i: int) -> _Decoded:
        data = image = stored = mask = lost = None
        found = Problems()
        with _noting(files[i].url, found):
            data = decoding.read_file(files[i].url)
            image, stored = decoding.decode_rgb(data)
            images[i] = decoding.square_rgb(image, size)
        if mask_url := files[i].mask_url:
            with _noting(mask_url, found):
                mask_data = decoding.read_file(mask_url)
                mask = decoding.decode_mask(mask_data, num_classes)
                if mask_data == data:
                    raise UnreadableImage(
                        "is the same file as its image. Name the folder of the masks in `masks:`."
                    )
                if image and stored:
                    ids = decoding.match_size(mask, image, stored)
                    masks[i] = decoding.square_ids(ids, size)
                    lost = losses.measure(np.asarray(ids), size)
        facts = (mask.present, mask.colors) if mask else ((), {})
        return _Decoded(files[i], stored, *facts, lost, tuple(found.found))

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        results = list(pool.map(decode, range(len(files))))
    problems.found.extend(line for result in results for line in result.problems)
    good = [i for i, result in enumerate(results) if not result.problems]
    notes = _judge_masks([results[i] for i in good], classes, size, problems) if labelled else []
    return Content(
        images=images if len(good) == len(files) else images[good],
        masks=(masks if len(good) == len(files) else masks[good]) if labelled else None,
        names=tuple(files[i].name for i in good),
        classes=classes,
        stored=tuple(stored for i in good if (stored := results[i].stored)),
        problems=(),
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Decoded:
    """What one image and its mask are, beside their pixels."""

    file: File
    stored: Stored | None
    present: tuple[int, ...]
    colors: Mapping[int, Color]
    lost: Losses | None
    problems: tuple[str, ...]


@contextmanager
def _noting(url: str, problems: Problems) -> Iterator[None]:
    """Turns what a file's bytes can do wrong into a problem."""
    try:
        yield
    except UnreadableImage as error:
        problems.add(f"{url}: {error}")
    except OSError as error:
        problems.add(f"{url}: cannot be read ({storage.describe(error)}). Restore or remove it.")


def _judge_masks(
    decoded: Sequence[_Decoded], classes: Classes | None, size: int, problems: Problems
) -> list[str]:
    """What only all masks together show: problems are added, notes returned."""
    notes = _check_white(decoded, problems)
    _check_palettes(decoded, problems)
    if classes:
        notes += [
            f"class {name} (id {i}) is learned like any other. Where nothing is to be learned, "
            f"write {IGNORE_ID}."
            for i, name in enumerate(classes.names)
            if re.sub("[^a-z]", "", name.lower()) in _NO_CLASSES
        ]
        notes += _palettes_told(decoded, classes)
        notes += losses.told(losses.total(d.lost for d in decoded if d.lost), classes.names, size)
    return notes


_NO_CLASSES = {"ignore", "ignored", "void", "unlabelled", "unlabeled", "dontcare", "nolabel"}


def _check_white(decoded: Sequence[_Decoded], problems: Problems) -> list[str]:
    """Refuses masks of 0 and 255 alone: foreground written as white, which would be ignored.

    Where at least as many masks have 255 beside a class other than 0, it is meant as ignored: that
    is noted.
    """
    white = [d.file for d in decoded if IGNORE_ID in d.present and {*d.present} <= {0, IGNORE_ID}]
    if not white:
        return []
    told = (
        f"{len(white):,} of {len(decoded):,} masks hold only 0 and 255, and 255 means ignore "
        f"({some([storage.name_of(file.mask_url or '') for file in white])})"
    )
    ignoring = [IGNORE_ID in d.present and bool({*d.present} - {0, IGNORE_ID}) for d in decoded]
    if sum(ignoring) >= len(white):
        return [f"{told}: nothing but class 0 is learned from them."]
    folder = (white[0].mask_url or "").rpartition("/")[0]
    problems.add(
        f"{folder}: {told}: nothing but class 0 would be learned from them. Write 1 instead of "
        "255, or list the images to use in names_url."
    )
    return []


def _palettes_told(decoded: Sequence[_Decoded], classes: Classes) -> list[str]:
    """What the palettes' colours are read as: only people know whether it is right."""
    colors = {i: color for d in decoded for i, color in d.colors.items() if i < len(classes)}
    if not colors:
        return []
    shown = ", ".join(f"{classes.names[i]} {color}" for i, color in sorted(colors.items()))
    return [
        f"{sum(bool(d.colors) for d in decoded):,} masks have palettes, whose indices are read, "
        f"not their colours: {shown}."
    ]


def _check_palettes(decoded: Sequence[_Decoded], problems: Problems) -> None:
    """Refuses masks whose palettes number the same colours differently from file to file."""
    color_of: dict[int, tuple[Color, str]] = {}
    index_of: dict[Color, tuple[int, str]] = {}
    for d in decoded:
        url = d.file.mask_url or ""
        repeated = len(set(d.colors.values())) < len(d.colors)
        for i, color in d.colors.items():
            known, first = color_of.setdefault(i, (color, url))
            if known != color:
                problem = f"index {i} is the colour {color} here and {known} in {first}"
                break
            other, first = index_of.setdefault(color, (i, url))
            if other != i and not repeated:
                problem = f"the colour {color} is index {i} here and {other} in {first}"
                break
        else:
            continue
        problems.add(
            f"{url}: the palettes of these masks differ: {problem}, so the indices number colours, "
            f"not classes. Renumber the masks by class ids. {decoding.MASK_REMEDY}"
        )
