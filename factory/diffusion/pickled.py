"""Tensors of pickled files (`.pth`, `.pt`), read so that no code of theirs is run."""

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping

import torch

from factory import storage
from factory.errors import UserError

_DAMAGED = (
    *(RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError),
    *(zipfile.BadZipFile, struct.error),
)
"""The errors that zipfile and torch.load raise on a truncated or altered zip file."""


def read_pickled(url: str) -> dict[str, torch.Tensor]:
    """The tensors of a pickled state dict by name.

    Raises UserError where the file is missing or damaged, or holds anything else.
    """
    try:
        data = storage.read_bytes(url)
    except FileNotFoundError:
        raise UserError(f"{url}: is missing. Download the weights again.") from None
    except OSError as error:
        raise storage.to_user_error(url, error, "read", "Download the weights again.") from None
    return _tensors(data, url)


def _tensors(data: bytes, url: str) -> dict[str, torch.Tensor]:
    if not data.startswith(b"PK"):
        raise UserError(
            f"{url}: is no file of torch.save's. Name one of the weights that `factory import` "
            "reads."
        )
    try:
        compressed = _is_compressed(data)
        content = (
            None
            if compressed
            else torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        )
    except pickle.UnpicklingError:
        raise UserError(
            f"{url}: is not loaded: it holds more than tensors, such as code, or is damaged. "
            "Copy it again, or save the model's state_dict() alone."
        ) from None
    except _DAMAGED as error:
        first_line = str(error).partition("\n")[0]
        raise UserError(f"{url}: damaged ({first_line}). Copy it again.") from None
    if compressed:
        raise UserError(
            f"{url}: is compressed, which files of torch.save's are not, and may inflate to any "
            "size. Save the model's state_dict() with torch.save."
        )
    if not isinstance(content, Mapping) or not all(
        isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in content.items()
    ):
        raise UserError(f"{url}: is no state dict. Save the model's state_dict() alone.")
    return dict(content)


def _is_compressed(data: bytes) -> bool:
    """True if the members of a zip file take more bytes than the file."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        members = file.infolist()
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    return packed or sum(member.file_size for member in members) > len(data)
