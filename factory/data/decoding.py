"""One file's bytes to pixels: an image to RGB, a mask to class ids.

Every rule about what is accepted stands here. What is not raises `images.UnreadableImage` with
the reason and the remedy, as the end of a sentence that starts with the file's name.
"""

import struct
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from factory import images
from factory.classes import IGNORE_ID
from factory.images import UInt8, UnreadableImage

MAX_BYTES = 8 * images.MAX_PIXELS
"""Of a file: as many as the pixels take that we accept, stored plainly in 16-bit RGBA."""
MASK_REMEDY = "Save masks as 8-bit grey (L) or palette PNG, value = class id."
_NUM_IDS_SHOWN = 8
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
class Stored:
    """A file as it is stored: width and height in pixels, Pillow's mode and format."""

    size: tuple[int, int]
    mode: str
    format: str
    turned: bool = False
    """Whether its EXIF orientation says that it is not stored upright."""


def decode_rgb(data: bytes) -> tuple[Image.Image, Stored]:
    """An upright RGB image, and how it was stored.

    EXIF orientation is applied, grey is replicated, 16-bit grey is divided by 257, transparent
    pixels show white, CMYK is converted without a colour profile. Raises UnreadableImage.
    """
    image = _open(data)
    size, mode, form = image.size, image.mode, image.format or "unknown"
    image, turned = _upright(image)
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion clips at 255
        grey = np.asarray(image, np.float32).clip(0, 65535) / 257
        image = Image.fromarray(np.rint(grey).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return image.convert("RGB"), Stored(size, mode, form, turned)


def decode_ids(data: bytes, num_classes: int) -> Image.Image:
    """An upright mask of mode L, value = class id, 255 = ignore.

    Reads PNG of mode L, P (the indices, not the colours) and 1 (0 and 1). Raises UnreadableImage
    for all else, and for ids that are neither below num_classes nor 255.
    """
    image = _open(data)
    if image.format != "PNG":
        raise UnreadableImage(f"a mask must be PNG, this is {image.format}. {MASK_REMEDY}")
    if image.mode not in ("1", "L", "P"):
        raise UnreadableImage(f"a mask of mode {image.mode} has no class ids. {MASK_REMEDY}")
    if image.mode == "L" and data[24] != 8:  # IHDR's bit depth; Pillow spreads 0..3 over 0..255
        raise UnreadableImage(f"a mask of {data[24]}-bit grey. {MASK_REMEDY}")
    ids = np.asarray(_upright(image)[0]).astype(np.uint8)
    _check_ids(ids, num_classes)
    return Image.fromarray(ids)


def match_size(mask: Image.Image, image: Image.Image) -> Image.Image:
    """The mask at the image's size: the same, or a whole factor smaller in both directions.

    Raises UnreadableImage for other sizes.
    """
    factor = image.width // mask.width
    if image.size != (mask.width * factor, mask.height * factor):
        raise UnreadableImage(
            f"the mask has {mask.width}x{mask.height} pixels, its image {image.width}x"
            f"{image.height}: they must be equal, or the image 2, 3, ... times as large in both "
            "directions. Save the mask at its image's size, without smoothing."
        )
    return mask.resize(image.size, Image.Resampling.NEAREST)


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


def _upright(image: Image.Image) -> tuple[Image.Image, bool]:
    """Turned as the EXIF orientation says, and whether that was needed."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, struct.error) as error:
        raise UnreadableImage(f"damaged EXIF data ({error}). Save it again without.") from None
    turn = _TURNS.get(orientation)
    return (image, False) if turn is None else (image.transpose(turn), True)


def _check_ids(ids: UInt8, num_classes: int) -> None:
    present = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)).tolist()
    unknown = [i for i in present if i >= num_classes and i != IGNORE_ID]
    if not unknown:
        return
    shown = ", ".join(map(str, unknown[:_NUM_IDS_SHOWN]))
    if len(unknown) > _NUM_IDS_SHOWN:
        shown += f" and {len(unknown) - _NUM_IDS_SHOWN} more (were the edges smoothed?)"
    raise UnreadableImage(
        f"ids {shown} are not classes: classes are 0..{num_classes - 1}, {IGNORE_ID} is ignored. "
        "Renumber the mask, or name these classes in classes_url."
    )
