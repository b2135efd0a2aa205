"""Masks as annotation tools have them: a layer of pixels for each label, one over the other.

Tools know neither class ids nor 255. So every class has a label, and ignored pixels have one of
their own; a class 0 that is called background needs no layer: it is what no layer covers. Where
there is no such class, what no layer covers is ignored. Either way a mask that becomes layers, and
layers that become a mask, are the same pixels.

Shapes: H height, W width.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID, Classes, Color

Pixels = npt.NDArray[np.bool_]
_IGNORED_COLOR: Color = (255, 255, 255)


@dataclass(frozen=True)
class Layer:
    """The pixels of a label."""

    label: str
    pixels: Pixels
    """(H, W)."""


@dataclass(frozen=True)
class Labels:
    """The labels of a set of classes, as a tool is told them."""

    classes: Classes

    @cached_property
    def ignored(self) -> str:
        """The label of ignored pixels: a name that no class has."""
        name = "ignored"
        while name in self.classes.names:
            name += "_"
        return name

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each label in a mask."""
        return {name: i for i, name in enumerate(self.classes.names)} | {self.ignored: IGNORE_ID}

    @property
    def colors(self) -> dict[str, Color]:
        """The colour of each label."""
        colors = dict(zip(self.classes.names, self.classes.palette, strict=True))
        return colors | {self.ignored: _IGNORED_COLOR}

    @property
    def uncovered(self) -> int:
        """The id of pixels that no layer covers."""
        return 0 if self.classes.has_background else IGNORE_ID

    def layers(self, mask: npt.NDArray[np.uint8]) -> Iterator[Layer]:
        """Yields the layers of a mask (H, W), which do not overlap, and none of which is empty."""
        for label, class_id in self.ids.items():
            pixels = mask == class_id
            if pixels.any() and not (class_id == 0 and self.classes.has_background):
                yield Layer(label, pixels)

    def mask(self, layers: Iterable[Layer], size: Sequence[int]) -> "Joined":
        """The mask of layers of these labels, the later ones over the earlier ones.

        size: width and height.
        """
        width, height = size
        mask = np.full((height, width), self.uncovered, np.uint8)
        covered = np.zeros((height, width), np.bool_)
        num_hidden = 0
        for layer in layers:
            class_id = self.ids[layer.label]
            num_hidden += int((layer.pixels & covered & (mask != class_id)).sum())
            mask[layer.pixels] = class_id
            covered |= layer.pixels
        return Joined(mask, num_hidden)


@dataclass(frozen=True, eq=False)
class Joined:
    """A mask that was made of layers."""

    mask: npt.NDArray[np.uint8]
    """(H, W) class ids, 255 = ignore."""
    num_hidden: int
    """The number of pixels on which a layer lies over one of another label."""
