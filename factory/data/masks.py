"""The bytes of a mask file to class ids, upright, and in register with their image.

Every rule about which masks are accepted stands here. Anything else raises `UnreadableImage` with
the reason and the remedy, as the end of a sentence that starts with the file's name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from factory.classes import IGNORE_ID, Color
from factory.data.decoding import DEPTH_AT, FileInfo, Picture, open_file, upright
from factory.errors import UnreadableImage
from factory.images import UInt8

MASK_REMEDY = "Save masks as 8-bit grey (L) or palette PNG, value = class id."
_NUM_IDS_SHOWN = 8
_MIN_GREY = 100
"""Ids from this one on look like grey levels."""
_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class Mask:
    """A mask as it is used, whole, and what its file says of it."""

    ids: Image.Image
    """Upright, of mode L, value = class id, 255 = ignore."""
    present: tuple[int, ...]
    """The ids that occur."""
    colors: Mapping[int, Color]
    """The colours of these ids in the palette of the file; empty without a palette."""
    info: FileInfo
    data: bytes = b""
    """The bytes of its file, empty if it has none of its own."""


def decode_mask(data: bytes, num_classes: int) -> Mask:
    """The mask that a file holds, upright.

    Reads PNG of mode L, P (the indices, not the colours) and 1 (0 and 1). Raises UnreadableImage
    for all else, for ids that are neither below num_classes nor 255, and for palettes that number
    colours rather than classes.
    """
    image = open_file(data)
    if image.format != "PNG":
        lossy = image.format == "JPEG"
        raise UnreadableImage(
            f"a mask must be PNG, this is {image.format}. {MASK_REMEDY}"
            + (" JPEG blurs ids: of two classes, write 1 where it is above 127." if lossy else "")
        )
    if image.mode not in ("1", "L", "P"):
        raise UnreadableImage(f"a mask of mode {image.mode} has no class ids. {MASK_REMEDY}")
    if image.mode == "L" and data[DEPTH_AT] != 8:  # Pillow spreads 0..3 over 0..255
        raise UnreadableImage(f"a mask of {data[DEPTH_AT]}-bit grey. {MASK_REMEDY}")
    palette = image.getpalette() if image.mode == "P" else None
    turned, orientation = upright(image)
    ids = np.asarray(turned).astype(np.uint8)
    present = _present(ids)
    _check_ids(present, num_classes, palette is not None)
    colors = _colors(palette or [])
    used = {i: colors[i] for i in present if i in colors}
    _check_palette(colors.get(0), used)
    info = FileInfo(image.size, image.mode, image.format, orientation)
    return Mask(Image.fromarray(ids), present, used, info, data)


def mask_of_array(ids: UInt8, num_classes: int, format: str) -> Mask:
    """The mask of an array (H, W). Raises UnreadableImage for ids that are no classes."""
    present = _present(ids)
    _check_ids(present, num_classes, palette=False)
    height, width = ids.shape
    return Mask(Image.fromarray(ids), present, {}, FileInfo((width, height), "L", format))


def match_size(mask: Mask, picture: Picture) -> Image.Image:
    """The ids at the upright image's size: masks may be a whole factor smaller than their images.

    Raises UnreadableImage for other sizes, and if the two are turned upright differently though
    they fit as they are stored: nothing tells whether they are meant to lie alike as stored.
    """
    image = picture.image
    alike = mask.info.orientation == picture.info.orientation
    turned = (
        f"the EXIF orientation of its image is {picture.info.orientation}, its own "
        f"{mask.info.orientation} (1 is upright)"
    )
    if not alike and _fits(mask.info.size, picture.info.size):
        raise UnreadableImage(
            f"{turned}, and as they are stored they fit, too. Save both without EXIF orientation, "
            "so that they lie alike."
        )
    if not _fits(mask.ids.size, image.size):
        raise UnreadableImage(
            f"the mask has {mask.ids.width}x{mask.ids.height} pixels, its image {image.width}x"
            f"{image.height}: they must be equal, or the image 2, 3, ... times as large in both "
            "directions. "
            + ("" if alike else f"Both are turned upright: {turned}. ")
            + "Save the mask at its image's size, without smoothing."
        )
    return mask.ids.resize(image.size, Image.Resampling.NEAREST)


def _fits(small: tuple[int, int], large: tuple[int, int]) -> bool:
    """True if the small size is the large one, or a whole factor smaller in both directions."""
    factor = large[0] // small[0]
    return large == (small[0] * factor, small[1] * factor)


def _present(ids: UInt8) -> tuple[int, ...]:
    return tuple(np.flatnonzero(np.bincount(ids.ravel(), minlength=256)).tolist())


def _check_ids(present: tuple[int, ...], num_classes: int, palette: bool) -> None:
    """Raises UnreadableImage for ids that are neither below num_classes nor 255."""
    unknown = [i for i in present if i >= num_classes and i != IGNORE_ID]
    if not unknown:
        return
    shown = ", ".join(map(str, unknown[:_NUM_IDS_SHOWN]))
    if len(unknown) > _NUM_IDS_SHOWN:
        shown += f" and {len(unknown) - _NUM_IDS_SHOWN} more (were the edges smoothed?)"
    hint = ""
    if palette:
        hint = (
            " They are indices of its palette, whose colours are not read: do its indices number "
            "colours instead of classes?"
        )
    elif 2 <= len(present) <= num_classes and unknown[-1] >= _MIN_GREY:
        levels = ", ".join(map(str, present))
        ids = ", ".join(map(str, range(len(present))))
        hint = f" If the values {levels} stand for classes, write {ids}."
    raise UnreadableImage(
        f"ids {shown} are not classes: classes are 0..{num_classes - 1}, {IGNORE_ID} is ignored."
        f"{hint} Renumber the mask, or name these classes in classes_url."
    )


def _colors(palette: Sequence[int]) -> dict[int, Color]:
    """The RGB colour of each index of a palette."""
    triples = zip(palette[::3], palette[1::3], palette[2::3], strict=False)
    return dict(enumerate(triples))


def _check_palette(first: Color | None, used: Mapping[int, Color]) -> None:
    """Raises UnreadableImage if black is a class other than 0: then indices number colours."""
    black = [i for i, color in used.items() if color == _BLACK and i != IGNORE_ID]
    if black and first != _BLACK:
        raise UnreadableImage(
            f"its palette has {first} at index 0 and black at index {black[0]}, so it seems to "
            "number colours, not classes; what is read is the index. Renumber the mask by class "
            f"ids. {MASK_REMEDY}"
        )
