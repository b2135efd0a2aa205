"""Labelled images of which only features and counts are kept, so that any number of them may be
looked through; single ones are read again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from factory.classes import IGNORE_ID, MAX_CLASSES, Classes
from factory.data.items import Source
from factory.data.loading import first_lines
from factory.data.passes import Pair, Pass
from factory.errors import UserError
from factory.images import UInt8
from factory.likeness.feature_space import SIDE, features
from factory.likeness.similar import most_similar


@dataclass(frozen=True)
class LabelledImages:
    """All images of a source with masks; M of them, F features."""

    classes: Classes
    pixels: tuple[int, ...]
    """The pixels of each class, ignored ones aside, of images of SIDE px."""
    names: Sequence[str]
    layout: torch.Tensor
    """(M, F)."""
    reading: Pass
    """The pass that found them."""

    @classmethod
    def read(cls, source: Source, channels: int) -> "LabelledImages":
        """Reads all of a source; channels: 3 for RGB, 1 for grey.

        Raises UserError with a line per offending file.
        """
        reading, names = Pass(source, SIDE, labelled=True, channels=channels), list[str]()
        counts = np.zeros(MAX_CLASSES, np.int64)
        layout = features(_images(reading, names, counts)).layout
        _, problems = reading.outcome()
        if problems or reading.classes is None:
            raise UserError(first_lines(problems))
        pixels = counts[: len(reading.classes)].tolist()
        return cls(reading.classes, tuple(pixels), names, layout, reading)

    def most_similar(self, images: Sequence[UInt8], size: int) -> list[Pair]:
        """For each image, (H, W, C), the one that is most like it, with its mask, size pixels high
        and wide. Raises UserError where it can no longer be read."""
        if not images:
            return []
        items = {item.name: item for item in self.reading.items}
        names = [self.names[i] for i in most_similar(images, self.layout)]
        found = {name: self.reading.again(items[name], size) for name in dict.fromkeys(names)}
        return [found[name] for name in names]


def _images(reading: Pass, names: list[str], counts: npt.NDArray[np.int64]) -> Iterator[UInt8]:
    """Yields the images; adds their names to names, and the pixels of their masks to counts."""
    for pair in reading.pairs():
        assert pair.mask is not None, "masks were asked for"
        counts += np.bincount(pair.mask[pair.mask != IGNORE_ID], minlength=len(counts))
        names.append(pair.name)
        yield pair.image
