"""The command line on an older processor than this machine's, which rounds otherwise.

`python older.py ARGUMENTS` is the `factory` command, without Ray. OLDER are the variables that make
torch and oneDNN take this machine for such a processor.
"""

import os
import subprocess
import sys

import pytest
import torch

OLDER = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
HAS_OLDER = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
needs_older = pytest.mark.skipif(
    not HAS_OLDER, reason="this CPU has no wider instructions that could be left out"
)


def factory(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process with these variables."""
    return subprocess.run(
        [sys.executable, "-m", "tests.older", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
    )


def main() -> int:
    from factory import cli
    from tests import in_process

    torch.set_num_threads(1)
    in_process.without_ray()
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
