"""The network compiled, where that pays: on a GPU, whose kernels torch then fuses."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from factory.progress import tell

Result = TypeVar("Result")

CACHE = Path("~/.cache/factory/inductor")
"""What was compiled once is found there again by later processes of the machine."""


class CannotCompile(Exception):
    """The machine lacks what compiling needs; says what, and how to do without."""


def compiled(network: Callable[..., Result]) -> Callable[..., Result]:
    """The network, compiled at its first call, which takes a minute; one shape, one compilation.

    The call raises CannotCompile where that fails, on a machine without a C++ compiler for one.
    Compiled kernels round otherwise: whoever promises equal bytes must not fall back silently.
    """
    # The compiler takes a second to import: only for whoever compiles.
    from torch._dynamo.exc import TorchDynamoException

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE.expanduser()))
    fast = torch.compile(network, dynamic=False, fullgraph=True)

    def call(*args: Any) -> Result:
        try:
            return fast(*args)
        except TorchDynamoException as error:
            # Who failed, then why.
            reason = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
            raise CannotCompile(
                f"the network cannot be compiled here ({reason}). Turn it off: "
                "--set generate.compile=false."
            ) from error

    return call


def compiled_or_not(network: Callable[..., Result]) -> Callable[..., Result]:
    """The network, compiled; where that fails it says so once, and goes on uncompiled."""
    fast, slow = compiled(network), network
    chosen = [fast]

    def call(*args: Any) -> Result:
        try:
            return chosen[0](*args)
        except CannotCompile as error:
            tell(f"train | slower, as {str(error).partition('. Turn')[0]}")
            chosen[0] = slow
            return slow(*args)

    return call
