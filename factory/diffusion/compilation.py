"""The network compiled, where that pays: on a GPU, whose kernels torch then fuses."""

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, TypeVar

import torch
from torch import nn

from factory.errors import CannotCompile
from factory.progress import tell

Result = TypeVar("Result")

CACHE = Path("~/.cache/factory/inductor")
"""The folder in which later processes of the machine find what was compiled once."""
_CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
_MAX_SHAPES = 256
"""The number of shapes that one process may compile a network for; torch's own limit is 8."""


def compiled(network: Callable[..., Result], **options: Any) -> Callable[..., Result]:
    """The network, compiled at its first call, which takes a minute; one shape, one compilation.

    options: of torch's inductor. The call raises CannotCompile where that fails, on a machine
    without a C++ compiler for one. Compiled kernels round otherwise: whoever promises equal bytes
    must not fall back silently.
    """
    # The compiler takes a second to import: only for whoever compiles.
    import torch._dynamo as dynamo
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    cache_folder()
    fast = torch.compile(network, dynamic=False, fullgraph=True, options=options)

    def call(*args: Any) -> Result:
        try:
            # In each call: another thread would not see what is set here for good.
            with dynamo.config.patch(recompile_limit=_MAX_SHAPES):
                return fast(*args)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            # The cause of an exceeded limit says which one it was.
            cause = error.__cause__ if isinstance(error, FailOnRecompileLimitHit) else error
            raise CannotCompile(_reason(cause)) from cause

    return call


def compiled_alike(network: Callable[..., Result]) -> Callable[..., Result]:
    """The network `compiled` to the same kernels wherever the same GPU and versions are.

    Left to itself, torch times some kernels in every process anew and takes the fastest, which
    round otherwise. By as many threads as torch's own work has here.
    """
    return compiled(network, deterministic=True, compile_threads=torch.get_num_threads())


@contextmanager
def one_first() -> Iterator[None]:
    """Lets one process of a machine compile first: the others find its work in the cache."""
    with (cache_folder() / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


def cache_folder() -> Path:
    """The folder of compiled kernels; a temporary one if the home folder cannot be written to."""
    if _CACHE_VARIABLE not in os.environ:
        try:
            folder = CACHE.expanduser()
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except (RuntimeError, OSError):
            folder = Path(tempfile.mkdtemp(prefix="factory-inductor-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ[_CACHE_VARIABLE] = str(folder)
    folder = Path(os.environ[_CACHE_VARIABLE])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


class CompiledOrNot(nn.Module):
    """A network that trains compiled; where that fails it says so once, and goes on uncompiled.

    The first call tries the way back, too: torch compiles it only when it is walked. So whatever
    distributes the network may be put around it.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._chosen: Callable[..., torch.Tensor] | None = None

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        if self._chosen is None:
            self._chosen = self._fast(*args)
        return self._chosen(*args)

    def _fast(self, *args: torch.Tensor) -> Callable[..., torch.Tensor]:
        devices = [args[0].device] if args[0].is_cuda else []
        try:
            fast = compiled(self.network)
            # A step's random numbers are its own, whether it is a process's first or not.
            with torch.random.fork_rng(devices):
                # Not backward(), which would add to the gradients.
                torch.autograd.grad(fast(*args).sum(), list(self.network.parameters()))
        except torch.OutOfMemoryError:
            raise
        except CannotCompile as error:
            tell(f"train | slower, as {error.reason}")
            return self.network
        except (RuntimeError, OSError, SubprocessError) as error:
            tell(f"train | slower, as {_reason(error)}")
            return self.network
        return fast


def _reason(error: BaseException | None) -> str:
    """The first two lines of an error, which say what failed, and why."""
    lines = " ".join(line.strip() for line in str(error).strip().splitlines()[:2])
    return f"the network cannot be compiled here ({lines})"
