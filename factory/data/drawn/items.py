"""Images whose masks are drawn of shapes that files describe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from PIL import Image

from factory.data.classes.class_rules import ClassRules
from factory.data.files.trees import Tree
from factory.data.masks.mask_decoding import DRAWN, Mask, mask_of_array
from factory.data.pixels import decoding
from factory.data.pixels.decoding import Picture
from factory.data.pixels.reading import Reading
from factory.errors import UnreadableImage
from factory.images import MAX_PIXELS, UInt8

Size = tuple[int, int]
"""Width and height."""


def told_size(about: Mapping[str, Any], width: str, height: str) -> Size | None:
    """The size that a file tells of its image; None if it tells none. width, height: its keys."""
    found = about.get(width), about.get(height)
    if not all(type(side) is int and side > 0 for side in found):
        return None
    return int(found[0]), int(found[1])  # type: ignore[arg-type]


def check_size(size: Size) -> None:
    """Raises UnreadableImage for a size that no image has, before memory is taken for it."""
    width, height = size
    if width * height > MAX_PIXELS:
        raise UnreadableImage(
            f"its shapes were drawn for {width}x{height} pixels, more than {MAX_PIXELS}. Mend the "
            "size."
        )


class Drawing(Protocol):
    """The shapes of an image."""

    @property
    def url(self) -> str:
        """The place where they are described, in messages."""

    def draw(self, size: Size) -> UInt8:
        """(H, W) class ids, 255 = ignore, where the shapes do not say of which size else of this.

        Raises UnreadableImage with a message that continues `url: `, OSError.
        """


@dataclass(slots=True)
class DrawnItem:
    """An image, and the mask that is drawn beside it if it was asked for."""

    name: str
    tree: Tree
    path: str
    """The name in the tree of the file that holds the image."""
    reading: Reading
    drawing: Drawing | None = None
    """None if masks were not asked for."""
    _size: Size | None = None
    """The size of the image that was read last."""

    @property
    def image_url(self) -> str:
        """The file of the image."""
        return self.tree.url_of(self.path)

    @property
    def mask_url(self) -> str | None:
        """The place of the shapes."""
        return self.drawing.url if self.drawing else None

    @property
    def tile(self) -> None:
        """None: it is a whole image."""

    def content(self) -> bytes:
        """The bytes of the image's file. Raises OSError, UnreadableImage."""
        return self.tree.read(self.path)

    def image(self, size: int) -> Picture:
        """The image."""
        picture = decoding.decode_image(self.content(), self.reading)
        stored = self.reading.exif in ("ignore", "apply_to_masks")
        self._size = picture.info.size if stored else picture.image.size
        return picture

    def mask(self, size: int, rules: ClassRules) -> Mask:
        """The mask, drawn at the size of the image; if the shapes tell another one, of the same
        proportions, scaled to it."""
        assert self.drawing is not None, "masks were asked for"
        wanted, self._size = self._size or (size, size), None
        ids = self.drawing.draw(wanted)
        height, width = ids.shape
        if (width, height) == wanted or not _are_alike((width, height), wanted):
            return mask_of_array(ids, rules, DRAWN)
        scaled = Image.fromarray(ids).resize(wanted, Image.Resampling.NEAREST)
        return replace(mask_of_array(np.asarray(scaled), rules, DRAWN), is_scaled=True)


def _are_alike(size: Size, other: Size) -> bool:
    """True if one is the other scaled, where sides may be rounded either way."""
    return abs(size[0] * other[1] - size[1] * other[0]) <= max(sum(size), sum(other))


def versions(items: Sequence[Any]) -> list[str]:
    """A text for each `DrawnItem`, another one after the file of its image has changed; empty where
    there are shapes, too, of which nothing is known but by reading them. Raises OSError."""
    mine = [item for item in items if isinstance(item, DrawnItem)]
    if any(item.drawing is not None for item in mine):
        return [""] * len(mine)
    return mine[0].tree.versions([item.path for item in mine]) if mine else []
