"""Arrays in numpy's files of one array, `.npy`, read without running any code that they name."""

import io
import math
import tokenize
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from factory import images
from factory.errors import UnreadableImage

Values = npt.NDArray[Any]
MAGIC = b"\x93NUMPY"
"""The first bytes of such a file."""
_SHAPES = "(height, width), (height, width, 1) or (height, width, 3)"


def is_npy(data: bytes) -> bool:
    """True if the bytes claim to be such a file."""
    return data.startswith(MAGIC)


def shape_of(start: bytes) -> tuple[int, ...]:
    """The shape of an array by the first bytes of its file. Raises UnreadableImage as `read`."""
    return _read_header(io.BytesIO(start))[0]


def read(data: bytes) -> Values:
    """The array (H, W) or (H, W, 3) of bool, integers or floats that a file holds.

    (H, W, 1) is read as (H, W). Raises UnreadableImage for all else, objects among it, before
    memory is taken for what a header only claims.
    """
    file = io.BytesIO(data)
    shape, by_column, dtype = _read_header(file)
    start, num = file.tell(), math.prod(shape)
    if len(data) != start + num * dtype.itemsize:
        raise UnreadableImage(f"damaged array ({len(data)} bytes do not hold shape {shape})")
    array = np.frombuffer(data, dtype, num, start)
    array = array.reshape(shape, order="F" if by_column else "C")
    return array[..., 0] if shape[2:] == (1,) else array


def _read_header(file: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is stored by columns, and type of an array that is read."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, by_column, dtype = read_header(file)
    except (ValueError, KeyError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise UnreadableImage(f"damaged array (in its header: {error})") from None
    if dtype.kind not in "buif":
        raise UnreadableImage(f"an array of {dtype}, not of bool, integers or floats")
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)) or min(shape) < 1:
        raise UnreadableImage(f"an array of shape {shape}, not {_SHAPES}")
    if shape[0] * shape[1] > images.MAX_PIXELS:
        raise UnreadableImage(f"{shape[1]}x{shape[0]} pixels, more than {images.MAX_PIXELS}")
    return shape, by_column, dtype


def to_image(array: Values) -> Image.Image:
    """The array as Pillow has it: mode 1, L, RGB, I;16, I or F, with format NPY.

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
        raise UnreadableImage(f"an array of {array.dtype}, shape {array.shape}") from None
    image.format = "NPY"
    return image
