"""What people bring: images, and images beside masks, as arrays of one size.

Everything wrong in a source is found in one pass, a line per offending file. `read` returns what
is good together with the problems, for `inspection`; `read_images` and `read_labelled` refuse.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from factory import storage
from factory.classes import IGNORE_ID, MAX_CLASSES, Classes, parse_classes
from factory.config import Source
from factory.data import decoding, listing, toy
from factory.data.decoding import Stored
from factory.data.listing import File
from factory.errors import Problems, UserError, shown
from factory.images import UInt8, UnreadableImage

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

    @property
    def labelled(self) -> Labelled:
        """As images with masks, where they were asked for and there are classes."""
        assert self.masks is not None and self.classes is not None
        return Labelled(self.images, self.masks, self.names, self.classes)


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
    files = listing.find_files(source, labelled, problems)
    content = _decode(files, size, labelled, classes, problems)
    if content.masks is not None:
        _check_binary(source, content.masks, problems)
    return replace(content, problems=tuple(problems.found))


def _draw(source: Source, size: int, labelled: bool) -> Content:
    assert source.num is not None, "Source checks it"
    images, masks = toy.draw_many(source.seed, source.num, size)
    return Content(
        images=images,
        masks=masks if labelled else None,
        names=tuple(f"toy-{source.seed}-{i:06d}" for i in range(source.num)),
        classes=Classes.named(toy.CLASSES, toy.PALETTE) if labelled else None,
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
            f"{source.classes_url}: cannot be read ({storage.reason(error)}). "
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

    def decode(i: int) -> tuple[Stored | None, list[str]]:
        image = stored = None
        found = Problems()
        with _noting(files[i].url, found):
            image, stored = decoding.decode_rgb(_read(files[i].url))
            images[i] = decoding.square_rgb(image, size)
        if mask_url := files[i].mask_url:
            with _noting(mask_url, found):
                mask = decoding.decode_ids(_read(mask_url), num_classes)
                if image:
                    masks[i] = decoding.square_ids(decoding.match_size(mask, image), size)
        return stored, found.found

    with ThreadPoolExecutor(NUM_THREADS) as pool:
        results = list(pool.map(decode, range(len(files))))
    problems.found.extend(line for _, found in results for line in found)
    good = [i for i, (_, found) in enumerate(results) if not found]
    return Content(
        images=images if len(good) == len(files) else images[good],
        masks=(masks if len(good) == len(files) else masks[good]) if labelled else None,
        names=tuple(files[i].name for i in good),
        classes=classes,
        stored=tuple(stored for stored, found in results if stored and not found),
        problems=(),
    )


def _read(url: str) -> bytes:
    """Raises UnreadableImage for what has no end: a pipe, a device, a vast file."""
    if storage.is_local(url):
        found = os.stat(url)
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableImage("is no regular file. Remove it.")
        if found.st_size > decoding.MAX_BYTES:
            raise UnreadableImage(f"has more than {decoding.MAX_BYTES} bytes. Remove it.")
    return storage.read_bytes(url)


@contextmanager
def _noting(url: str, problems: Problems) -> Iterator[None]:
    """Turns what a file's bytes can do wrong into a problem."""
    try:
        yield
    except UnreadableImage as error:
        problems.add(f"{url}: {error}")
    except OSError as error:
        problems.add(f"{url}: cannot be read ({storage.reason(error)}). Restore or remove it.")


def _check_binary(source: Source, masks: UInt8, problems: Problems) -> None:
    """Refuses masks of 0 and 255 alone: foreground written as white, which would be ignored."""
    ignored = masks == IGNORE_ID
    if ignored.any() and not masks[~ignored].any():
        problems.add(
            f"{source.url}: the masks hold only 0 and 255, and 255 means ignore: nothing but class "
            "0 would be learned. Write 1 instead of 255."
        )
