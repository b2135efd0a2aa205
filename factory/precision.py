"""The precision that a network runs in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def in_bf16(precision: str, device: str) -> bool:
    """True if products of matrices are computed in bfloat16 on a "cpu" or "cuda" device.

    precision: bf16, fp32, or auto: bfloat16 where the processor is made for it. Another one takes
    many times longer. Where no GPU is in sight, as at the head of a cluster, one is taken to be.
    """
    if precision != "auto":
        return precision == "bf16"
    if device == "cuda":
        return not torch.cuda.is_available() or gpu_is_made_for_bf16()
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def gpu_is_made_for_bf16() -> bool:
    """True if this process's GPU computes in bfloat16 itself, without emulating it."""
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def autocast(bf16: bool, device: str) -> torch.autocast:
    """A context for passes of a network on a "cpu" or "cuda" device, in bfloat16 or in float32.

    From then on float32 is float32: left to itself, torch has a GPU's convolutions round what they
    multiply to TF32, which keeps 10 bits of 23.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    return torch.autocast(device, torch.bfloat16, enabled=bf16)


@contextmanager
def products_in_tf32(allowed: bool) -> Iterator[None]:
    """A context in which a GPU may round the factors of float32 matrix products to TF32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
