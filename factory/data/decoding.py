"""The bytes of an image file to pixels, upright and in RGB.

Every rule about which images are accepted stands here. Anything else raises `UnreadableImage` with
the reason and the remedy, as the end of a sentence that starts with the file's name.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from factory import images
from factory.errors import UnreadableImage
from factory.images import UInt8

MIN_LEVELS = 16
"""The number of grey levels that must be left of a 16-bit image that has more."""
DEPTH_AT = 24
"""The offset of the byte in a PNG that holds its bits a channel."""
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


def decode_image(data: bytes) -> Picture:
    """The image that a file holds, upright and in RGB.

    EXIF orientation is applied, grey is replicated, 16-bit grey is divided by 257, transparent
    pixels show white, CMYK is converted without a colour profile. Raises UnreadableImage, also if
    16 bits a channel hold so few and so small values that 8 bits would lose them.
    """
    image = open_file(data)
    size, mode, form = image.size, image.mode, image.format or "unknown"
    image, orientation = upright(image)
    brightest = 255
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion clips at 255
        image = _8_bit_grey(np.asarray(image))
        brightest = int(np.asarray(image).max())
    elif form == "PNG" and data[DEPTH_AT] == 16:
        brightest = _check_upper_bits(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return Picture(image.convert("RGB"), FileInfo(size, mode, form, orientation, brightest), data)


def picture_of_array(pixels: UInt8, format: str) -> Picture:
    """The image of an array (H, W, 3); format: where it is from, as reports count formats."""
    height, width, _ = pixels.shape
    return Picture(Image.fromarray(pixels), FileInfo((width, height), "RGB", format))


def open_file(data: bytes) -> Image.Image:
    """The image of a file, decoded. Raises UnreadableImage with the remedy."""
    try:
        return images.open_image(data)
    except UnreadableImage as error:
        raise UnreadableImage(f"{error}. Replace or remove this file.") from None


def upright(image: Image.Image) -> tuple[Image.Image, int]:
    """The image, turned as its EXIF orientation says, and that orientation."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, UPRIGHT)
    except (SyntaxError, ValueError, struct.error) as error:
        raise UnreadableImage(f"damaged EXIF data ({error}). Save it again without.") from None
    turn = _TURNS.get(orientation)
    return (image, UPRIGHT) if turn is None else (image.transpose(turn), orientation)


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
