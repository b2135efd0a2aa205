"""Masks of which each file is a part: a class, or one object, drawn over each other.

A pixel that is not black in the file of a part is of its class. Files of several values are read
only where the class says above which its pixels are: the values may be classes, too. Classes are
drawn in their order, so that a later one covers earlier ones; what is ignored is drawn before all
of them. Shapes: H height, W width.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory.classes import IGNORE_ID
from factory.data.classes.class_rules import ClassRules
from factory.data.masks import mask_values
from factory.data.masks.mask_decoding import Mask
from factory.data.masks.parts import Part
from factory.data.pixels.decoding import FileInfo, open_file, orientation_of
from factory.errors import UnreadableImage

_MAX_SHOWN = 4
_HALF = 127
"""Pixels of files whose compression blurs them are of a part above this value."""


def draw(parts: Sequence[Part], read: Callable[[str], bytes], rules: ClassRules) -> Mask:
    """The mask of an image of which these are the parts, of which at least one has a class.

    read: the bytes of a path. Raises OSError, and UnreadableImage with the file that it is about.
    """
    background = rules.class_of_rest
    ids: npt.NDArray[np.uint8] | None = None
    info: FileInfo | None = None
    for part, class_id in in_order(parts, rules):
        above = 0.0 if class_id == IGNORE_ID else rules.rules[class_id].above
        try:
            area, found = decode_part(read(part.path), above)
        except UnreadableImage as error:
            raise error.within(f"{_named(part)} {error}", _named(part)) from None
        if ids is None or info is None:
            ids, info = np.full(area.shape, background, np.uint8), found
        if found.size != info.size or found.orientation != info.orientation:
            raise UnreadableImage(
                f"{_named(part)} has {found.size[0]}x{found.size[1]} pixels and the EXIF "
                f"orientation {found.orientation}, others {info.size[0]}x{info.size[1]} and "
                f"{info.orientation}. Save all parts of an image alike.",
                _named(part),
            )
        ids[area] = class_id
    assert ids is not None and info is not None, "an image has at least one part"
    return Mask(Image.fromarray(ids), values={}, uncovered={}, colors={}, info=info)


def _named(part: Part) -> str:
    """A part as messages name it."""
    return f"part {part.name} ({part.path})"


def in_order(parts: Sequence[Part], rules: ClassRules) -> list[tuple[Part, int]]:
    """The parts that have a class or are ignored, with their ids, in the order of drawing."""
    known = [(part, rules.class_of_part(part.name)) for part in parts]
    meant = [(part, class_id) for part, class_id in known if class_id is not None]
    return sorted(meant, key=lambda pair: -1 if pair[1] == IGNORE_ID else pair[1])


def decode_part(data: bytes, above: float | None) -> tuple[npt.NDArray[np.bool_], FileInfo]:
    """(H, W) the pixels of the file of a part, as it is stored.

    above: the value above which they are; None where all that is not black is one value, or one
    colour. Raises UnreadableImage, for files of several values without it, too.
    """
    image = open_file(data)
    info = FileInfo(image.size, image.mode, image.format or "unknown", orientation_of(image))
    if mask_values.is_lossy(image, data):
        return mask_values.blurred_values(image) > (above or _HALF), info
    if image.mode in ("1", "L", "F") or image.mode.startswith("I"):
        values = np.asarray(image)
    else:
        # Of a palette, the colours: whether black is its first or its last index says nothing.
        values = mask_values.packed_colors(image, mask_values.num_bits(image, data))
    if above is None:
        area = values > 0
        _check_one_value(image, values[area])
        return area, info
    if above and image.mode not in ("1", "L", "F") and not image.mode.startswith("I"):
        values = np.asarray(image.convert("L"))
    return values > above, info


def _check_one_value(image: Image.Image, values: npt.NDArray[Any]) -> None:
    """Raises UnreadableImage for the file of a part that has several values beside black."""
    if values.size == 0 or (values == values[0]).all():
        return
    several = np.unique(values)
    are_colors = image.mode not in ("1", "L", "F") and not image.mode.startswith("I")
    shown = ", ".join(f"#{v:06x}" if are_colors else f"{v:g}" for v in several[:_MAX_SHOWN])
    more = f" and {len(several) - _MAX_SHOWN} more" if len(several) > _MAX_SHOWN else ""
    raise UnreadableImage(
        f"has several {'colours' if are_colors else 'values'} beside black ({shown}{more}), and "
        "the file of a part is of one class. If they are classes, say in `masks:` which files are "
        "the masks, without {part}; if they are objects of one class, give it `above: 0` beside "
        "its `parts`; if they are soft edges, `above: 127`."
    )
