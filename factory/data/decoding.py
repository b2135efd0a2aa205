"""One file's bytes to pixels: an image to RGB, a mask to class ids.

Every rule about what is accepted stands here. Anything else raises `UnreadableImage` with the
reason and the remedy, as the end of a sentence that starts with the file's name.
"""

import os
import stat
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from factory import images, storage
from factory.classes import IGNORE_ID, Color
from factory.errors import UnreadableImage
from factory.images import UInt8

MAX_BYTES = 8 * images.MAX_PIXELS
"""Files may be as large as the pixels that we accept, stored plainly in 16-bit RGBA."""
MIN_LEVELS = 16
"""The number of grey levels that must be left of a 16-bit image that has more."""
MASK_REMEDY = "Save masks as 8-bit grey (L) or palette PNG, value = class id."
_NUM_IDS_SHOWN = 8
_MIN_GREY = 100
"""Ids from this one on look like grey levels."""
_DEPTH_AT = 24
"""The offset of the byte in a PNG that holds its bits a channel."""
_BLACK = (0, 0, 0)
UPRIGHT = 1
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class FileInfo:
    """A file as it is stored: width and height in pixels, Pillow's mode and format."""

    size: tuple[int, int]
    mode: str
    format: str
    orientation: int = UPRIGHT
    """The orientation in its EXIF data, 1..8."""
    brightest: int = 255
    """The largest value of an image of 16 bits a channel, 0..255 as it is used."""


@dataclass(frozen=True)
class Picture:
    """An image as it is used, whole, and what its file says of it."""

    image: Image.Image
    """Upright, of mode RGB."""
    info: FileInfo
    data: bytes = b""
    """The bytes of its file, empty if it has none of its own."""


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


def read_file(url: str) -> bytes:
    """A file's bytes.

    Raises OSError, and UnreadableImage for files without an end: pipes, devices, vast files.
    """
    if storage.is_local(url):
        found = os.stat(url)
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableImage("is no regular file. Remove it.")
        if found.st_size > MAX_BYTES:
            raise UnreadableImage(f"has more than {MAX_BYTES} bytes. Remove it.")
    return storage.read_bytes(url)


def decode_image(data: bytes) -> Picture:
    """The image that a file holds, upright and in RGB.

    EXIF orientation is applied, grey is replicated, 16-bit grey is divided by 257, transparent
    pixels show white, CMYK is converted without a colour profile. Raises UnreadableImage, also if
    16 bits a channel hold so few and so small values that 8 bits would lose them.
    """
    image = _open(data)
    size, mode, form = image.size, image.mode, image.format or "unknown"
    image, orientation = _upright(image)
    brightest = 255
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion clips at 255
        image = _8_bit_grey(np.asarray(image))
        brightest = int(np.asarray(image).max())
    elif form == "PNG" and data[_DEPTH_AT] == 16:
        brightest = _check_upper_bits(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return Picture(image.convert("RGB"), FileInfo(size, mode, form, orientation, brightest), data)


def decode_mask(data: bytes, num_classes: int) -> Mask:
    """The mask that a file holds, upright.

    Reads PNG of mode L, P (the indices, not the colours) and 1 (0 and 1). Raises UnreadableImage
    for all else, for ids that are neither below num_classes nor 255, and for palettes that number
    colours rather than classes.
    """
    image = _open(data)
    if image.format != "PNG":
        lossy = image.format == "JPEG"
        raise UnreadableImage(
            f"a mask must be PNG, this is {image.format}. {MASK_REMEDY}"
            + (" JPEG blurs ids: of two classes, write 1 where it is above 127." if lossy else "")
        )
    if image.mode not in ("1", "L", "P"):
        raise UnreadableImage(f"a mask of mode {image.mode} has no class ids. {MASK_REMEDY}")
    if image.mode == "L" and data[_DEPTH_AT] != 8:  # Pillow spreads 0..3 over 0..255
        raise UnreadableImage(f"a mask of {data[_DEPTH_AT]}-bit grey. {MASK_REMEDY}")
    palette = image.getpalette() if image.mode == "P" else None
    upright, orientation = _upright(image)
    ids = np.asarray(upright).astype(np.uint8)
    present = _present(ids)
    _check_ids(present, num_classes, palette is not None)
    colors = _colors(palette or [])
    used = {i: colors[i] for i in present if i in colors}
    _check_palette(colors.get(0), used)
    info = FileInfo(image.size, image.mode, image.format, orientation)
    return Mask(Image.fromarray(ids), present, used, info, data)


def picture_of_array(pixels: UInt8, format: str) -> Picture:
    """The image of an array (H, W, 3); format: where it is from, as reports count formats."""
    height, width, _ = pixels.shape
    return Picture(Image.fromarray(pixels), FileInfo((width, height), "RGB", format))


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


def square_rgb(image: Image.Image, size: int) -> UInt8:
    """(size, size, 3): the centred square of an RGB image, smoothly scaled."""
    return np.asarray(images.crop_and_resize(image, size, Image.Resampling.BICUBIC))


def square_ids(mask: Image.Image, size: int) -> UInt8:
    """(size, size): the centred square of a mask, scaled by picking nearest pixels."""
    return np.asarray(images.crop_and_resize(mask, size, Image.Resampling.NEAREST))


def _open(data: bytes) -> Image.Image:
    try:
        return images.open_image(data)
    except UnreadableImage as error:
        raise UnreadableImage(f"{error}. Replace or remove this file.") from None


def _upright(image: Image.Image) -> tuple[Image.Image, int]:
    """The image, turned as its EXIF orientation says, and that orientation."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except (SyntaxError, ValueError, struct.error) as error:
        raise UnreadableImage(f"damaged EXIF data ({error}). Save it again without.") from None
    turn = _TURNS.get(orientation)
    return (image, UPRIGHT) if turn is None else (image.transpose(turn), orientation)


def _fits(small: tuple[int, int], large: tuple[int, int]) -> bool:
    """True if the small size is the large one, or a whole factor smaller in both directions."""
    factor = large[0] // small[0]
    return large == (small[0] * factor, small[1] * factor)


def _8_bit_grey(values: npt.NDArray[Any]) -> Image.Image:
    """16-bit grey divided by 257. Raises UnreadableImage if too few levels would be left."""
    values = values.clip(0, 65535)
    used = np.flatnonzero(np.bincount(values.ravel(), minlength=65536))
    num_left = len(np.unique(_divided(used)))
    if num_left < len(used) and (num_left < MIN_LEVELS or used[-1] < 2**12):
        raise UnreadableImage(
            f"16-bit grey that uses {used[0]}..{used[-1]} of 0..65535: of its {len(used)} grey "
            f"levels {num_left} would be left. Spread the values that matter over 0..65535, or "
            "save them as 8-bit grey."
        )
    return Image.fromarray(_divided(values))


def _divided(values: npt.NDArray[Any]) -> UInt8:
    rounded: UInt8 = np.rint(values.astype(np.float32) / 257).astype(np.uint8)
    return rounded


def _check_upper_bits(image: Image.Image) -> int:
    """The largest of the upper 8 bits, which are all that Pillow reads of 16-bit colours.

    Raises UnreadableImage if there is hardly anything in them.
    """
    colors = image.convert("RGB") if image.mode != "LA" else image.getchannel("L")
    extrema = np.ravel(colors.getextrema())
    if extrema.max() < MIN_LEVELS:
        raise UnreadableImage(
            f"16-bit colours that all lie below {(int(extrema.max()) + 1) * 256} of 65535: of "
            f"their levels at most {int(extrema.max()) + 1} would be left. Spread the values that "
            "matter over 0..65535, or save them as 8-bit colours."
        )
    return int(extrema.max())


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
