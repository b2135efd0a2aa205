"""A GPU made of Python, for tests that may then say "cuda"."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from factory.labeling import features, labels
from tests.gpu.standin import StandIn

GUARD = Path(__file__).with_name("guard.cpp")
BUILD = Path(__file__).parents[2] / "build"


@pytest.fixture(scope="session")
def guard() -> None:
    """Tells this process's torch that there is a CUDA device; compiled once for each torch."""
    if torch.cuda.is_available():
        pytest.skip("a GPU is here, and torch has a device guard for it")
    compiler = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    if compiler is None:
        pytest.skip("there is no C++ compiler for the few lines that the GPU made of Python needs")
    known = hashlib.sha256(GUARD.read_bytes() + torch.__version__.encode()).hexdigest()[:16]
    library = BUILD / f"device-guard-{known}.so"
    BUILD.mkdir(exist_ok=True)
    if not library.exists():
        torch_folder, partial = Path(torch.__file__).parent, library.with_suffix(f".{os.getpid()}")
        subprocess.run(
            [
                *(compiler, "-std=c++20", "-O1", "-shared", "-fPIC", str(GUARD)),
                *(f"-I{torch_folder}/include", f"-L{torch_folder}/lib", "-lc10", "-ltorch_cpu"),
                *("-o", str(partial)),
            ],
            check=True,
        )
        partial.rename(library)
    torch.ops.load_library(library)


@pytest.fixture
def gpu(guard: None) -> Iterator[StandIn]:
    """The device, for one test."""
    with StandIn() as gpu:
        yield gpu
    for cache in (features.neighbours, labels._neighbours):
        cache.cache_clear()
