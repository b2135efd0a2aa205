"""TIFFs that Pillow does not open, or not with all their bits, as arrays: by tifffile."""

import io
import logging
from itertools import islice
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from factory import images
from factory.data.files.trees import MAX_BYTES
from factory.data.pixels.npy import Values, with_channels_last
from factory.errors import SeveralFrames, UnreadableImage

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BITS_PER_SAMPLE, _PLANAR_CONFIGURATION, _ORIENTATION = 258, 284, 274
_COMPRESSION, _PREDICTOR, _DEPTH = 259, 317, 32997
_SEPARATE_PLANES = 2
_NO_COMPRESSION, _PACKBITS = 1, 32773
_LOSSLESS = (_NO_COMPRESSION, 5, 8, 32946, _PACKBITS, 34925, 50000)
"""Compressions that are read: none, LZW, deflate in two numbers, PackBits, LZMA and Zstandard."""
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
"""Photometric interpretations."""
_REMEDY = "Save it as .npy of shape (height, width) or (height, width, 3)"
# What it logs of damaged files would stand on the terminal beside our message.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def is_for_pillow(data: bytes) -> bool:
    """True unless a file is a TIFF that `read` reads better, or refuses: one that Pillow does not
    open, with 16 bits a channel and each channel apart, of which Pillow would mix up the bytes, of
    PackBits with a predictor, which it passes over, or of several slices, of which it reads one."""
    if not data.startswith(_MAGIC):
        return True
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            tags = getattr(image, "tag_v2", {})
            deep = set(np.ravel(tags.get(_BITS_PER_SAMPLE, 0))) == {16}
            apart = tags.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES
            predicted = tags.get(_PREDICTOR, 1) != 1 and tags.get(_COMPRESSION) == _PACKBITS
            return not (deep and apart) and not predicted and tags.get(_DEPTH, 1) == 1
    except UnidentifiedImageError:
        return False
    except images.OF_DAMAGE:
        return True  # which says what is wrong


def read(data: bytes, first: bool = False) -> tuple[Values, int]:
    """The array (H, W) or (H, W, 3) of a TIFF, as it is stored, and its orientation, 1..8.

    first: of several pages, reads the first one. Raises SeveralFrames without it; UnreadableImage,
    also if tifffile is not installed, or imagecodecs for what it reads by that.
    """
    try:
        import tifffile
    except ImportError:
        raise _needs_extra("a kind of TIFF") from None
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            if not first and not _has_only_previews(file):
                raise SeveralFrames("a file of several pages: save each as a file of its own")
            page = file.pages[0]
            _check(page)
            _check_size(page, len(data))
            orientation = page.tags.get(_ORIENTATION)
            # Files are read by threads already.
            array = np.moveaxis(page.asarray(maxworkers=1), *_moved(page.axes))
            return with_channels_last(array), int(orientation.value) if orientation else 1
    except UnreadableImage:
        raise
    except (tifffile.TiffFileError, *images.OF_DAMAGE) as error:
        raise UnreadableImage(f"damaged image ({error})") from None


def _has_only_previews(file: Any) -> bool:
    """True if the pages behind the first, if there are any, are smaller copies of it or say what of
    it is transparent."""
    more = list(islice(file.pages, 1, images.MAX_PREVIEWS + 1))
    return len(more) < images.MAX_PREVIEWS and all(
        page.subfiletype & images.OF_FIRST_PAGE for page in more
    )


def _moved(axes: str) -> tuple[int, int]:
    """The axis of the channels, and where it is to be."""
    return (axes.index("S"), -1) if "S" in axes else (0, 0)


def _check(page: Any) -> None:
    """Raises UnreadableImage for kinds that are not read."""
    kind, channels = page.dtype, page.samplesperpixel
    if page.imagedepth != 1:
        raise UnreadableImage(
            f"a volume of {page.imagedepth} slices: save each as a file of its own"
        )
    if kind is None or kind.kind not in "uif":
        raise UnreadableImage(f"a TIFF of {kind} values. {_REMEDY}")
    if page.bitspersample < 8:
        raise UnreadableImage(
            f"a TIFF of {channels} x {page.bitspersample} bits. Save it with 8 bits a channel"
        )
    if channels not in (1, 3):
        raise UnreadableImage(f"a TIFF of {channels} channels of {kind}. {_REMEDY}")
    if page.photometric == _WHITE_IS_ZERO:
        raise UnreadableImage(f"grey of {kind} in which 0 is white. {_REMEDY}, with 0 as black")
    if page.photometric not in (_BLACK_IS_ZERO, _RGB):
        raise UnreadableImage(f"a TIFF of {kind} in colours other than RGB. {_REMEDY}")
    if page.compression not in _LOSSLESS:
        raise UnreadableImage(
            f"a TIFF of {channels} x {kind} in a compression that is not read. Save it with "
            "deflate or LZW, without compression, or as .npy"
        )
    if page.compression != _NO_COMPRESSION or page.predictor != 1 or page.bitspersample % 8:
        _check_codecs(f"a TIFF of {channels} x {kind} that is compressed or packed")


def _check_codecs(what: str) -> None:
    # Without it tifffile has decoders of its own for some, which do not stop at the size of a tile.
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        raise _needs_extra(what) from None


def _needs_extra(what: str) -> UnreadableImage:
    return UnreadableImage(
        f"{what}, which needs the extra `tiff`: pip install -e '.[tiff]'. Or save it as .npy of "
        "shape (height, width) or (height, width, 3)"
    )


def _check_size(page: Any, num_bytes: int) -> None:
    """Raises UnreadableImage for a file that is cut off, and for more pixels than are read, before
    memory is taken for them. num_bytes: of the file."""
    pixels = max(page.imagewidth * page.imagelength, page.tilewidth * page.tilelength)
    if pixels > images.MAX_PIXELS:
        raise UnreadableImage(
            f"{page.imagewidth}x{page.imagelength} pixels, more than {images.MAX_PIXELS}"
        )
    unpacked = pixels * page.samplesperpixel * page.dtype.itemsize
    if unpacked > MAX_BYTES:
        raise UnreadableImage(f"{unpacked} bytes of pixels, more than {MAX_BYTES}")
    ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    stored = page.imagewidth * page.imagelength * page.samplesperpixel * page.bitspersample // 8
    is_plain = page.compression == _NO_COMPRESSION
    if max(ends, default=0) > num_bytes or (is_plain and stored > num_bytes):
        raise UnreadableImage("damaged image (it is cut off)")
