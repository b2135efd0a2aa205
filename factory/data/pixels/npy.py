"""Arrays in numpy's files, `.npy` and `.npz` of one array.

No code that such a file names is run.
"""

import io
import math
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory import images
from factory.errors import UnreadableImage, some

Values = npt.NDArray[Any]
MAGIC = b"\x93NUMPY"
"""The first bytes of such a file."""
_ZIP = b"PK\x03\x04"
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAX_BYTES = 8 * images.MAX_PIXELS
"""Arrays in archives may have as many bytes as files of images."""
_SHAPES = "(height, width), (height, width, 1), (height, width, 3) or (3, height, width)"


def is_npy(data: bytes) -> bool:
    """True if the bytes claim to be such a file."""
    return data.startswith(MAGIC)


def is_npz(data: bytes) -> bool:
    """True if the bytes claim to be an archive of such files, as `numpy.savez` writes it."""
    return data.startswith(_ZIP)


def shape_of(start: bytes) -> tuple[int, ...]:
    """The shape (height, width), or with channels behind them, of an array by the first bytes of
    its file. Raises UnreadableImage as `read`."""
    return _read_header(io.BytesIO(start)).shape


def read(data: bytes) -> Values:
    """The array (H, W), (H, W, 3) or, of uint8, (H, W, 4) of bool, integers or floats of a file.

    Channels may also come first, where it is clear that they do, and axes of one element before
    all others are left out. Raises UnreadableImage for all else, objects among it, before memory is
    taken for what a header only claims.
    """
    file = io.BytesIO(data)
    header = _read_header(file)
    start, num = file.tell(), math.prod(header.stored)
    if len(data) != start + num * header.dtype.itemsize:
        raise UnreadableImage(
            f"damaged array ({len(data)} bytes do not hold shape {header.stored})"
        )
    array = np.frombuffer(data, header.dtype, num, start)
    array = array.reshape(header.stored, order="F" if header.by_column else "C")
    return with_channels_last(array)


def only_array(data: bytes) -> bytes:
    """The file of the only array of an archive. Raises UnreadableImage."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            if len(names) != 1 or not names[0].endswith(".npy"):
                raise UnreadableImage(
                    f"an archive of {some(names)}, not of one array. Save each array as a .npy of "
                    "its own",
                    some(names),
                )
            info = archive.getinfo(names[0])
            if info.file_size > _MAX_BYTES or info.compress_type not in _METHODS:
                raise UnreadableImage(f"an archive of {names[0]}, which is too large")
            with archive.open(info) as member:
                # Not more than it claims, which was looked at.
                return member.read(info.file_size + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UnreadableImage(f"damaged archive of arrays ({error})") from None


def with_channels_last(array: Values) -> Values:
    """An array in the order (height, width) or (height, width, channels), of several channels.

    Raises UnreadableImage for a shape that is not `read`.
    """
    array = array.reshape(array.shape[_num_extra(array.shape) :])
    if _are_channels_first(array.shape):
        array = np.moveaxis(array, 0, -1)
    _check_shape(array.shape, array.dtype)
    return array[..., 0] if array.shape[2:] == (1,) else array


@dataclass(frozen=True)
class _Header:
    """What stands before the values of an array."""

    stored: tuple[int, ...]
    """Its shape as it is stored."""
    by_column: bool
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape with the channels last."""
        shape = self.stored[_num_extra(self.stored) :]
        return (*shape[1:], shape[0]) if _are_channels_first(shape) else shape


def _read_header(file: io.BytesIO) -> _Header:
    """The header of an array that is read."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        header = _Header(*read_header(file))
    except (ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise UnreadableImage(f"damaged array (in its header: {error})") from None
    if header.dtype.kind not in "buif":
        raise UnreadableImage(f"an array of {header.dtype}, not of bool, integers or floats")
    _check_shape(header.shape, header.dtype)
    return header


def _num_extra(shape: tuple[int, ...]) -> int:
    """The number of axes of one element before (height, width, channels)."""
    extra = max(len(shape) - 3, 0)
    return extra if shape[:extra] == (1,) * extra else 0


def _are_channels_first(shape: tuple[int, ...]) -> bool:
    """True of a shape (channels, height, width), which is none of (height, width, channels)."""
    return len(shape) == 3 and shape[0] in (1, 3) and shape[2] not in (1, 3)


def _check_shape(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raises UnreadableImage for a shape, with the channels last, that no image has."""
    known = ((), (1,), (3,), (4,))
    if len(shape) not in (2, 3) or shape[2:] not in known or min(shape) < 1:
        stack = ": save each image of a stack as a file of its own" if len(shape) > 2 else ""
        raise UnreadableImage(f"an array of shape {shape}, not {_SHAPES}{stack}", f"shape {shape}")
    if shape[2:] == (4,) and dtype != np.uint8:
        raise UnreadableImage(
            f"an array of shape {shape} of {dtype}, whose last channel may be anything. Save "
            "three of them"
        )
    if shape[0] * shape[1] > images.MAX_PIXELS:
        raise UnreadableImage(f"{shape[1]}x{shape[0]} pixels, more than {images.MAX_PIXELS}")


def to_image(array: Values) -> Image.Image:
    """The array as Pillow has it: mode 1, L, RGB, RGBA, I;16, I or F, with format NPY.

    Raises UnreadableImage if no mode holds its values.
    """
    if array.dtype not in (np.bool_, np.uint8, np.uint16):
        wide = array.astype(np.float32 if array.dtype.kind == "f" else np.int32)
        if not np.array_equal(wide, array, equal_nan=array.dtype.kind == "f"):
            raise UnreadableImage(f"an array of {array.dtype} whose values need all its bits")
        array = wide
    try:
        image = Image.fromarray(array)
    except (TypeError, ValueError):
        size = f"{'x'.join(map(str, array.shape[1::-1]))} pixels and {array.shape[-1]} channels"
        raise UnreadableImage(
            f"an array of {array.dtype} of {size}, which are neither ids nor colours. Of scores of "
            "classes save the number of the highest, `scores.argmax(axis)` along the axis of the "
            "classes",
            size,
        ) from None
    image.format = "NPY"
    return image
