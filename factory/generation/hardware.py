"""The processor or GPU that a process computes with, and the versions of its libraries.

The same plan gives the same bytes on the same of these; on others, kernels may round otherwise.
"""

import os
import platform
import re
import subprocess
import sys
import zlib
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from factory import __version__

_LIBRARIES = ("numpy", "pillow", "deflate", "pyarrow")
_DISPATCHED = (
    "avx2",
    "avx_vnni",
    "avx512_f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx10_1",
    "avx10_2",
    "amx_tile",
    "amx_fp16",
    "sve",
    "sve2",
    "bf16",
    "i8mm",
)
"""Instructions by which torch and oneDNN choose between kernels."""
_LIMITS = (
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "NPY_DISABLE_CPU_FEATURES",
)
"""Variables that keep libraries from using instructions that the processor has."""
_DRIVER = Path("/proc/driver/nvidia/version")


def made_with(device: str, threads: int) -> dict[str, str]:
    """Returns what this process makes numbers with on a "cpu" or "cuda" device, by short names.

    threads: the number of torch's threads on the CPU, which decides how work is cut, and so how
    sums are rounded.
    """
    gpu = _gpu() if device == "cuda" else {}
    return {**processor(), "threads": str(threads), **gpu, **libraries()}


def processor() -> dict[str, str]:
    """Returns the CPU, and which of its instructions torch and oneDNN use."""
    return {
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_instructions": _instructions(),
        **{name: os.environ[name] for name in _LIMITS if name in os.environ},
    }


def libraries() -> dict[str, str]:
    """Returns the versions of libraries that have a part in the bytes of a shard."""
    versions = {name: version(name) for name in _LIBRARIES}
    return {
        "synthetic-data-factory": __version__,
        "torch": str(torch.__version__),
        **versions,
        "zlib": zlib.ZLIB_RUNTIME_VERSION,
    }


def _instructions() -> str:
    available = torch.cpu.get_capabilities()
    return " ".join(name for name in _DISPATCHED if available.get(name)) or "none of note"


@cache
def _cpu_name() -> str:
    """Returns the processor's name as its maker spells it."""
    if sys.platform == "linux":
        with suppress(OSError):
            found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M)
            if found:
                return " ".join(found[1].split())
    if sys.platform == "darwin":
        with suppress(OSError, subprocess.CalledProcessError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            return subprocess.run(
                command, capture_output=True, text=True, check=True
            ).stdout.strip()
    return platform.processor() or platform.machine()


def _gpu() -> dict[str, str]:
    """Describes the GPU that this process uses first, if there is one."""
    if not torch.cuda.is_available():
        return {"gpu": "none"}
    major, minor = torch.cuda.get_device_capability()
    facts = {
        "gpu": torch.cuda.get_device_name(),
        "gpu_capability": f"{major}.{minor}",
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),
        "driver": _driver(),
    }
    with suppress(PackageNotFoundError):
        facts["triton"] = version("triton")
    return facts


def _driver() -> str:
    """Returns the version of NVIDIA's kernel module."""
    with suppress(OSError):
        if found := re.search(r"\d+\.\d+(\.\d+)?", _DRIVER.read_text()):
            return found[0]
    return "unknown"
