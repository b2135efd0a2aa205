"""All of a source as arrays of one size: images, and images beside masks.

Everything wrong in a source is found in one pass, a line per offending file. `load` returns what is
good together with the problems, for `inspection`; `read_images` and `read_labelled` refuse.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from factory.alike import each_kind_once
from factory.classes import Classes
from factory.data.items import Source
from factory.data.passes import Pass
from factory.errors import UserError, counted, shown
from factory.images import UInt8

MAX_LINES = 50


@dataclass(frozen=True)
class Labelled:
    """Images with masks, N of them, S pixels high and wide."""

    images: UInt8
    """(N, S, S, C), 0..255; C is 3 for RGB, 1 for grey."""
    masks: UInt8
    """(N, S, S) class ids, 255 = ignore."""
    names: tuple[str, ...]
    """File names, sorted; toy-{seed}-{index} of drawings."""
    classes: Classes
    notes: tuple[str, ...] = ()
    """Sentences on what is lost or left out, as in `LoadedSource.notes`."""

    def __len__(self) -> int:
        return len(self.names)

    def copied(self) -> "Labelled":
        """The same with arrays that may be written to; torch warns of Ray's own, which may not."""
        return replace(self, images=self.images.copy(), masks=self.masks.copy())

    def digest(self) -> str:
        """The sha256 over images, masks and class names, hex."""
        digest = hashlib.sha256(repr((self.images.shape, self.classes.names)).encode())
        digest.update(self.images.tobytes())
        digest.update(self.masks.tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        images, classes = counted(len(self), "image"), len(self.classes)
        return f"Labelled({images} of {self.images.shape[1]} px, {classes} classes)"


@dataclass(frozen=True)
class LoadedSource:
    """The good part of a source, and all that is wrong with the rest."""

    images: UInt8
    """(N, S, S, C), 0..255; C is 3 for RGB, 1 for grey."""
    masks: UInt8 | None
    """(N, S, S) class ids, 255 = ignore; None if only images were asked for."""
    names: tuple[str, ...]
    classes: Classes | None
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """Sentences on what is no mistake but must be known wherever the source is used: files that are
    not read, pixels and regions that are lost, ids that may be meant otherwise."""

    @property
    def labelled(self) -> Labelled:
        """The images with masks, which were asked for and have classes.

        Raises UserError with a line per problem of the source.
        """
        if self.problems:
            raise UserError(first_lines(self.problems))
        assert self.masks is not None and self.classes is not None
        return Labelled(self.images, self.masks, self.names, self.classes, self.notes)


def read_images(source: Source, size: int, channels: int = 3) -> UInt8:
    """All images of a source, (N, size, size, channels), sorted by name.

    Raises UserError with a line per offending file.
    """
    loaded = load(source, size, False, channels)
    if loaded.problems:
        raise UserError(first_lines(loaded.problems))
    return loaded.images


def read_labelled(source: Source, size: int, channels: int = 3) -> Labelled:
    """All images of a source with their masks, sorted by name.

    Raises UserError with a line per offending file.
    """
    return load(source, size, True, channels).labelled


def first_lines(problems: Sequence[str]) -> list[str]:
    """Returns as many problems as people read at once, those of one kind as one, and how many more
    there are."""
    kinds = each_kind_once(problems)
    rest = len(kinds) - MAX_LINES
    lines = [*kinds[:MAX_LINES], *([f"... and {rest} more."] if rest > 0 else [])]
    # File names need not be text that a terminal can show, and may have line ends.
    return [shown(line) for line in lines]


def load(source: Source, size: int, labelled: bool, channels: int = 3) -> LoadedSource:
    """Reads and checks a whole source: what is good in it, and every problem found."""
    reading = Pass(source, size, labelled, channels)
    num = len(reading.items)
    images = np.zeros((num, size, size, channels), np.uint8)
    masks = np.zeros((num if labelled else 0, size, size), np.uint8)
    names: list[str] = []
    for pair in reading.pairs():
        images[len(names)] = pair.image
        if pair.mask is not None:
            masks[len(names)] = pair.mask
        names.append(pair.name)
    notes, problems = reading.outcome()
    return LoadedSource(
        images=images[: len(names)],
        masks=masks[: len(names)] if labelled else None,
        names=tuple(names),
        classes=reading.classes,
        problems=problems,
        notes=notes,
    )
