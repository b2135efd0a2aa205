"""TIFFs that Pillow does not open, or not with all their bits, as arrays: by tifffile."""

import io
import struct
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from factory import images
from factory.data.npy import Values, with_channels_last
from factory.errors import UnreadableImage

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _ORIENTATION = 258, 284, 274
_SEPARATE_PLANES = 2
_NO_COMPRESSION = 1
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
"""Photometric interpretations."""
_OF_DAMAGE = (ValueError, LookupError, ArithmeticError, TypeError, RuntimeError, struct.error)
_REMEDY = "Save it as .npy of shape (height, width) or (height, width, 3)"


def is_for_pillow(data: bytes) -> bool:
    """True unless a file is a TIFF that `read` reads better: one that Pillow does not open, or with
    16 bits a channel and each channel apart, of which Pillow would mix up the bytes."""
    if not data.startswith(_MAGIC):
        return True
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            tags = getattr(image, "tag_v2", {})
            deep = set(np.ravel(tags.get(_BITS_PER_SAMPLE, 0))) == {16}
            return not deep or tags.get(_PLANAR_CONFIGURATION) != _SEPARATE_PLANES
    except UnidentifiedImageError:
        return False
    except (OSError, SyntaxError, UserWarning, *_OF_DAMAGE):
        return True  # which says what is wrong


def read(data: bytes) -> tuple[Values, int]:
    """The array (H, W) or (H, W, 3) of a TIFF, as it is stored, and its orientation, 1..8.

    Raises UnreadableImage, also if tifffile is not installed.
    """
    try:
        import tifffile
    except ImportError:
        raise UnreadableImage(
            "a kind of TIFF that needs the extra `tiff`: pip install -e '.[tiff]'. Or save it as "
            ".npy of shape (height, width) or (height, width, 3)"
        ) from None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            _check(page, len(file.pages), len(data))
            orientation = page.tags.get(_ORIENTATION)
            array = with_channels_last(np.moveaxis(page.asarray(), *_moved(page.axes)))
            return array, int(orientation.value) if orientation else 1
    except UnreadableImage:
        raise
    except (tifffile.TiffFileError, OSError, *_OF_DAMAGE) as error:
        raise UnreadableImage(f"damaged image ({error})") from None


def _moved(axes: str) -> tuple[int, int]:
    """The axis of the channels, and where it is to be."""
    return (axes.index("S"), -1) if "S" in axes else (0, 0)


def _check(page: Any, num_pages: int, num_bytes: int) -> None:
    """Raises UnreadableImage for what is not read, before memory is taken for it."""
    kind, channels = page.dtype, page.samplesperpixel
    pixels = page.imagewidth * page.imagelength
    if num_pages > 1:
        raise UnreadableImage("a file of several pages: save each as a file of its own")
    if kind is None or kind.kind not in "uif" or page.imagedepth != 1:
        raise UnreadableImage(f"a TIFF of {kind} values. {_REMEDY}")
    if pixels > images.MAX_PIXELS:
        raise UnreadableImage(
            f"{page.imagewidth}x{page.imagelength} pixels, more than {images.MAX_PIXELS}"
        )
    if channels not in (1, 3):
        raise UnreadableImage(f"a TIFF of {channels} channels of {kind}. {_REMEDY}")
    if page.photometric == _WHITE_IS_ZERO:
        raise UnreadableImage(f"grey of {kind} in which 0 is white. {_REMEDY}, with 0 as black")
    if page.photometric not in (_BLACK_IS_ZERO, _RGB):
        raise UnreadableImage(f"a TIFF of {kind} in colours other than RGB. {_REMEDY}")
    if page.compression != _NO_COMPRESSION:
        raise UnreadableImage(
            f"a TIFF of {channels} x {kind} that is compressed. Save it without compression, or "
            f"as .npy"
        )
    if pixels * channels * kind.itemsize > num_bytes:
        raise UnreadableImage("damaged image (it is cut off)")
