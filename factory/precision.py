"""In what precision a network runs."""

import torch


def in_bf16(precision: str, device: str) -> bool:
    """Whether products of matrices are computed in bfloat16 on a "cpu" or "cuda" device.

    precision: bf16, fp32, or auto: bfloat16 where it is fast. A CPU without instructions for it
    takes many times longer.
    """
    if precision == "auto":
        return device == "cuda" or bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
    return precision == "bf16"
