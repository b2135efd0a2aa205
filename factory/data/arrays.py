"""Images, and masks beside them, that a program has in memory already."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.data.classes.class_rules import ClassRules
from factory.data.items import Found
from factory.data.masks.mask_decoding import Mask, mask_of_array
from factory.data.pixels.decoding import Picture, picture_of_array
from factory.data.pixels.reading import DEFAULT_READING, Reading
from factory.errors import Problems
from factory.images import UInt8


@dataclass(frozen=True, eq=False)
class ArraySource:
    """A source of arrays: it is of no kind that a config can name."""

    images: UInt8
    """(N, H, W, 3) RGB or (N, H, W, 1) grey, 0..255."""
    masks: npt.NDArray[np.integer[Any]]
    """(N, H, W) values 0..65535, or (N, H, W, 3) colours 0..255."""
    rules: ClassRules
    num: int | None = None

    def find(self, labelled: bool, problems: Problems) -> Found:
        """The images by their numbers. See `factory.data.items.Source`."""
        items = [ArrayItem(self, i, labelled) for i in range(len(self.images))]
        return Found(items, rules=self.rules if labelled else None)


@dataclass(frozen=True, eq=False)
class ArrayItem:
    """An image of an array."""

    source: ArraySource
    index: int
    labelled: bool

    @property
    def name(self) -> str:
        """The image's number."""
        return f"{self.index:06d}"

    @property
    def image_url(self) -> str:
        """The image as Python spells it."""
        return f"images[{self.index}]"

    @property
    def mask_url(self) -> str | None:
        """The mask as Python spells it."""
        return f"masks[{self.index}]" if self.labelled else None

    @property
    def reading(self) -> Reading:
        """Arrays are taken as they are."""
        return DEFAULT_READING

    @property
    def tile(self) -> None:
        """Arrays are no tiles."""

    def image(self, size: int) -> Picture:
        """The image."""
        return picture_of_array(self.source.images[self.index], "array")

    def content(self) -> bytes:
        """The image's values."""
        values: bytes = self.source.images[self.index].tobytes()
        return values

    def mask(self, size: int, rules: ClassRules) -> Mask:
        """The mask."""
        return mask_of_array(self.source.masks[self.index], rules, "array")
