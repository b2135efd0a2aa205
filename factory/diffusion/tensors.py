"""Tensors of files from outside: read without running code, and checked before they are used."""

from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load

from factory.errors import UserError, counted

MAX_TENSORS_TOLD = 20
_REPLACE = "Copy the file again, or name another."


def read_safetensors(data: bytes, url: str) -> dict[str, torch.Tensor]:
    """The tensors of a file by name. Raises UserError where it is damaged."""
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise UserError(f"{url}: damaged safetensors ({error}). Copy it again.") from None


def checked_tensors(
    tensors: Mapping[str, torch.Tensor],
    expected: Mapping[str, torch.Size],
    url: str,
    authority: str = "the config",
) -> dict[str, torch.Tensor]:
    """All weights as float32, or a UserError naming the bad ones, at most MAX_TENSORS_TOLD.

    expected: the shapes, by key; authority: who says so, in messages.
    """
    found = [
        f"{key} is {'missing' if key in expected else 'unknown'}. {_REPLACE}"
        for key in sorted(set(expected) ^ set(tensors))
    ]
    for key in sorted(set(expected) & set(tensors)):
        if problem := _tensor_problem(tensors[key], expected[key], authority):
            found.append(f"{key} {problem}")
    if found:
        lines = [f"{url}: tensor {problem}" for problem in found[:MAX_TENSORS_TOLD]]
        rest = len(found) - len(lines)
        raise UserError(
            [*lines, *([f"{url}: ... and {counted(rest, 'more tensor')}."] if rest else [])]
        )
    return {key: value.float() for key, value in tensors.items()}


def _tensor_problem(tensor: torch.Tensor, shape: torch.Size, authority: str) -> str | None:
    if tensor.shape != shape:
        return f"has shape {tuple(tensor.shape)}, {authority} says {tuple(shape)}. {_REPLACE}"
    if not tensor.is_floating_point():
        return f"has type {tensor.dtype}, not floating point. {_REPLACE}"
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return f"is {tensor.layout} on {tensor.device}, no plain tensor of values. {_REPLACE}"
    if not bool(torch.isfinite(tensor.float()).all()):
        return "holds values that are not finite: the training diverged. Use another checkpoint."
    return None
