"""The command line on an older processor than this machine's, which rounds otherwise."""

import os
import subprocess
import sys

import pytest
import torch

OLDER = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
"""Variables by which torch and oneDNN take this machine for such a processor."""
HAS_OLDER = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
needs_older = pytest.mark.skipif(
    not HAS_OLDER, reason="this CPU has no wider instructions that could be left out"
)


def factory(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process with these variables."""
    return subprocess.run(
        [sys.executable, "-m", "factory", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
    )
