"""Pixels: uint8 arrays, files of images and tensors in [-1, 1].

Shapes: H height, W width, B batch.
"""

import io
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError, features

from factory.errors import SeveralFrames, UnreadableImage

if TYPE_CHECKING:
    import torch  # Reading images does without, and importing it takes seconds.

UInt8 = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

READABLE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the formats that are read: no other plug-in of it is asked."""
MAX_PIXELS = 64_000_000
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what turns the stored image upright; 1 is upright."""
SIDEWAYS = (5, 6, 7, 8)
"""The orientations in which width and height change places."""
_BACK = {**TURNS, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
_SIGNATURES = (
    *(b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"GIF8"),
    *(b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"),
)
"""The first bytes of files in READABLE_FORMATS but AVIF."""
_ORIENTATION = ExifTags.Base.Orientation
OF_DAMAGE = (
    *(OSError, SyntaxError, ValueError, UserWarning, Image.DecompressionBombError),
    *(EOFError, LookupError, ArithmeticError, TypeError, RuntimeError, struct.error),
)
"""The errors that Pillow raises of damaged files beside those that it documents."""
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
"""The end of a raw mode of Pillow's, by which it takes one byte of 16 bits -> that of the other."""
_NEW_SUBFILE_TYPE = 254
OF_FIRST_PAGE = 0b101
"""A TIFF's tag of what a page is, and its bits of a smaller copy and of a mask of another page."""
MAX_PREVIEWS = 32
"""So many pages behind the first may be copies of it."""
_OPTIONAL = {"avif": "AVIF", "jpg_2000": "JPEG 2000", "libtiff": "compressed TIFF"}
"""Pillow's name of a library that its build may lack -> the format that needs it."""


def to_signed(pixels: "torch.Tensor") -> "torch.Tensor":
    """Maps uint8 0..255 to float32 in [-1, 1], any shape."""
    return pixels.float() / 127.5 - 1.0


def to_uint8(x_0: "torch.Tensor") -> "torch.Tensor":
    """Maps floats to uint8 0..255, rounded to nearest; values outside [-1, 1] are clipped."""
    return ((x_0.float().clamp(-1.0, 1.0) + 1.0) * 127.5).round().byte()


def to_channels_last_arrays(x_0: "torch.Tensor") -> UInt8:
    """Turns (B, C, H, W) floats in [-1, 1] into a (B, H, W, C) uint8 array."""
    array: UInt8 = to_uint8(x_0).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array


def pillow_image(pixels: UInt8) -> Image.Image:
    """Pixels (H, W, 3) as an image of mode RGB, or (H, W, 1) as one of mode L."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def open_image(
    data: bytes,
    formats: tuple[str, ...] = READABLE_FORMATS,
    *,
    lower_bits: bool = False,
    first: bool = False,
) -> Image.Image:
    """Decodes an image fully, as it is stored: nothing is turned by its EXIF orientation.

    lower_bits: of colours of 16 bits a channel, of which Pillow decodes the upper 8, decodes the
    lower 8 instead; of grey with alpha it gives all four bytes of a pixel as RGBA. first: of a file
    of several frames or pages, decodes the first one, instead of raising SeveralFrames. Raises
    UnreadableImage with the reason.
    """
    if not data:
        raise UnreadableImage("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        check_header(image, first)
        orientation = image.getexif().get(_ORIENTATION) if image.format == "TIFF" else None
        if lower_bits and isinstance(image, ImageFile.ImageFile):
            image.tile = [_of_lower_bits(tile) for tile in image.tile]
        image.load()
    except UnidentifiedImageError:
        if data.startswith(_SIGNATURES) or _is_avif(data):
            other = ", or a kind of TIFF that is not read" if data[:2] in (b"II", b"MM") else ""
            raise UnreadableImage(f"damaged image (in its header{other}){_lacking()}") from None
        start = f"starts with {data[:12]!r}"
        raise UnreadableImage(
            f"not a {'/'.join(formats)} image ({start}){_lacking()}", start
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"more than {MAX_PIXELS} pixels") from None
    except OF_DAMAGE as error:
        if isinstance(error, UnreadableImage):
            raise
        lacking = _lacking() if "not available" in str(error) else ""
        raise UnreadableImage(f"damaged image ({error}){lacking}") from None
    return image if orientation not in TURNS else _as_stored(image, orientation)


def open_header(start: bytes) -> tuple[tuple[int, int], int]:
    """Width and height as an image is stored, and its EXIF orientation, by the first bytes of its
    file. Raises UnreadableImage if they do not tell.

    Orientations behind the pixels of a PNG are not seen.
    """
    try:
        with Image.open(io.BytesIO(start), formats=READABLE_FORMATS) as image:
            if image.format == "TIFF":
                orientation = image.getexif().get(_ORIENTATION, 1)
                size = image.size[::-1] if orientation in SIDEWAYS else image.size
                return size, orientation
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))
            return image.size, exif.get(_ORIENTATION, 1)
    except OF_DAMAGE as error:
        raise UnreadableImage(f"damaged image ({error})") from None


def tiff_tags(data: bytes) -> dict[int, Any]:
    """The tags of a TIFF that `open_image` opens, by their numbers."""
    with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
        return dict(image.getexif())


def check_header(image: Image.Image, first: bool = False) -> None:
    """Raises UnreadableImage for an image that must not be decoded; and SeveralFrames, unless the
    first of several is wanted."""
    if image.width * image.height > MAX_PIXELS:
        # Pillow only warns at this size; changing its warnings is not safe among threads.
        raise UnreadableImage(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS}")
    # Cameras write MPO: a JPEG followed by further pictures, often previews.
    if first or not getattr(image, "is_animated", False) or image.format == "MPO":
        return
    if image.format == "TIFF":
        if _has_only_previews(image):
            return
        raise SeveralFrames("a file of several pages: save each as a file of its own")
    # To count the frames of a GIF is to read all of it.
    number = "several" if image.format == "GIF" else str(getattr(image, "n_frames", 1))
    raise SeveralFrames(f"an animation of {number} frames")


def _has_only_previews(image: Image.Image) -> bool:
    """True of a TIFF whose pages behind the first are smaller copies of it, or say what of it is
    transparent, as photo and map programs write them. The first is at hand again afterwards."""
    kinds = []
    # To count the pages is to read all of them, and fails at one of a kind that is not read.
    with suppress(EOFError):
        for page in range(1, MAX_PREVIEWS + 1):
            with suppress(SyntaxError):
                image.seek(page)
            kinds.append(getattr(image, "tag_v2", {}).get(_NEW_SUBFILE_TYPE, 0))
    image.seek(0)
    return len(kinds) < MAX_PREVIEWS and all(kind & OF_FIRST_PAGE for kind in kinds)


def _of_lower_bits(tile: ImageFile._Tile) -> ImageFile._Tile:
    """A part of a file whose raw mode takes the other byte of each 16 bits."""
    mode, *rest = [tile.args] if isinstance(tile.args, str) else (tile.args or ())
    swapped = _OTHER_BYTE.get(mode[-3:])
    other = "RGBA" if mode == "LA;16B" else f"{mode[:-3]}{swapped}"
    return tile._replace(args=other if isinstance(tile.args, str) else (other, *rest))


def _as_stored(image: Image.Image, orientation: int) -> Image.Image:
    """A TIFF as it is stored, which Pillow turns upright while it decodes it."""
    stored = image.transpose(_BACK[orientation])
    stored.format = image.format
    stored.getexif()[_ORIENTATION] = orientation
    return stored


def _is_avif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis")


def _lacking() -> str:
    """Names the formats that this build of Pillow cannot read, as the end of a sentence."""
    lacking = [form for library, form in _OPTIONAL.items() if not features.check(library)]
    return f"; Pillow is built without {', '.join(lacking)} here" if lacking else ""
