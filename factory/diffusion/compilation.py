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
_MAX_SHAPES = 256
"""Of a network in one process, batches with and without its maps counted each; torch has 8."""


class CannotCompile(Exception):
    """The machine lacks what compiling needs; says what, and how to do without."""


def compiled(network: Callable[..., Result]) -> Callable[..., Result]:
    """The network, compiled at its first call, which takes a minute; one shape, one compilation.

    The call raises CannotCompile where that fails, on a machine without a C++ compiler for one.
    Compiled kernels round otherwise: whoever promises equal bytes must not fall back silently.
    """
    # The compiler takes a second to import: only for whoever compiles.
    import torch._dynamo as dynamo
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(CACHE.expanduser()))
    fast = torch.compile(network, dynamic=False, fullgraph=True)

    def call(*args: Any) -> Result:
        try:
            # In each call: another thread would not see what is set here for good.
            with dynamo.config.patch(recompile_limit=_MAX_SHAPES):
                return fast(*args)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            # Who failed, then why; of a limit, its cause says which.
            told = error.__cause__ if isinstance(error, FailOnRecompileLimitHit) else error
            reason = " ".join(line.strip() for line in str(told).strip().splitlines()[:2])
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
