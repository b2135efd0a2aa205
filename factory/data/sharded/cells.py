"""Cells of tables that hold pictures: encoded ones, their paths, or arrays as nested lists."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from factory.errors import UnreadableImage

_MAX_NESTING = 3
"""Lists of numbers are as deep as an array of (height, width, channels)."""


def holds_pictures(kind: pa.DataType) -> bool:
    """True for the type of encoded pictures: their bytes, or a structure of bytes and a path, of
    which one may be missing."""
    if pa.types.is_struct(kind):
        types = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
        stored, path = types.get("bytes", pa.null()), types.get("path", pa.null())
        return is_binary(stored) or (pa.types.is_null(stored) and is_text(path))
    return is_binary(kind)


def holds_arrays(kind: pa.DataType) -> bool:
    """True for the type of arrays: lists of lists of numbers, perhaps of a channel more."""
    depth, inner = 0, _storage(kind)
    while _is_list(inner):
        depth, inner = depth + 1, inner.value_type
    number = pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_boolean(inner)
    return 2 <= depth <= _MAX_NESTING and bool(number)


def is_binary(kind: pa.DataType) -> bool:
    """True for the types of bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def is_text(kind: pa.DataType) -> bool:
    """True for the types of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def picture(cell: pa.Scalar) -> tuple[bytes, str | None]:
    """The bytes that a cell holds, and the path that it names in place of them; of an array, those
    of a file of numpy's. Bytes are empty, and the path is None, where there is none of it.

    Raises UnreadableImage for lists that are no array.
    """
    if holds_arrays(cell.type):
        return _npy(cell), None
    content: Any = cell.as_py()
    data, path = content, None
    if isinstance(content, dict):
        data, path = content.get("bytes"), content.get("path")
    if isinstance(data, str):
        data, path = None, data
    return data or b"", path or None


def empty(cells: pa.Array) -> npt.NDArray[np.bool_]:
    """True for each cell that holds neither bytes nor a path nor an array."""
    cells = _stored(cells)
    if pa.types.is_struct(cells.type):
        found = np.ones(len(cells), bool)
        names = [cells.type.field(i).name for i in range(cells.type.num_fields)]
        for name in {"bytes", "path"} & set(names):
            # What lies below an empty structure is hidden by it here, not in `field`.
            found &= empty(pc.struct_field(cells, name))
        return found
    if pa.types.is_null(cells.type):
        return np.ones(len(cells), bool)
    sized = pc.list_value_length(cells) if _is_list(cells.type) else pc.binary_length(cells)
    lengths = np.asarray(sized.fill_null(0).to_numpy(zero_copy_only=False))
    return np.asarray(lengths == 0)


def _npy(cell: pa.Scalar) -> bytes:
    """A file of numpy's of the array that a cell holds; empty of an empty one."""
    plain = cell.value if isinstance(cell, pa.ExtensionScalar) else cell
    if plain is None or not plain.is_valid or not len(plain):
        return b""
    values = pa.array([plain], plain.type)
    shape = []
    while _is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or not lengths[0]:
            raise UnreadableImage(
                "holds lists of several lengths, which are no array (height, width). Save it as "
                "an Image feature."
            )
        shape.append(lengths[0])
        values = values.flatten()
    if values.null_count:
        raise UnreadableImage("holds an array in which numbers are missing. Save it again.")
    file = io.BytesIO()
    np.save(file, values.to_numpy(zero_copy_only=False).reshape(shape))
    return file.getvalue()


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _stored(cells: pa.Array) -> pa.Array:
    return cells.storage if isinstance(cells, pa.ExtensionArray) else cells


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
