"""Claims about factory.generation.hardware: what made the numbers is named as people know it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL
import pyarrow
import pytest
import torch

from factory.generation import hardware
from factory.generation.hardware import made_with
from tests.older import OLDER, needs_older


def test_processor_threads_and_versions_are_told() -> None:
    found = made_with("cpu", 3)
    assert found["cpu"] and found["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert found["threads"] == "3" and "gpu" not in found
    assert (found["torch"], found["numpy"]) == (torch.__version__, np.__version__)
    assert (found["pillow"], found["pyarrow"]) == (PIL.__version__, pyarrow.__version__)
    assert found.keys() >= {"deflate", "zlib", "cpu_instructions"}


@pytest.mark.slow
@needs_older
def test_a_processor_without_its_wider_instructions_is_another_one(monkeypatch) -> None:
    code = (
        "import json; from factory.generation.hardware import made_with; "
        "print(json.dumps(made_with('cpu', 1)))"
    )
    for name, value in OLDER.items():
        monkeypatch.setenv(name, value)
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    older = json.loads(process.stdout)
    assert older["cpu_capability"] == "DEFAULT" and older["ONEDNN_MAX_CPU_ISA"] == "SSE41"
    assert older["cpu"] == made_with("cpu", 1)["cpu"]


def test_a_gpu_is_told_with_cuda_cudnn_and_driver(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA L4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    file = tmp_path / "version"
    file.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build\n"
        "GCC version:  gcc version 12.3.0\n"
    )
    monkeypatch.setattr(hardware, "_DRIVER", file)
    found = made_with("cuda", 1)
    assert {name: found[name] for name in ("gpu", "gpu_capability", "cuda", "cudnn", "driver")} == {
        "gpu": "NVIDIA L4",
        "gpu_capability": "8.9",
        "cuda": "12.8",
        "cudnn": "91002",
        "driver": "570.133.20",
    }


def test_a_machine_without_the_gpu_of_the_plan_says_so(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert made_with("cuda", 1)["gpu"] == "none"


@pytest.mark.parametrize("content", [None, "no number here"])
def test_a_driver_that_cannot_be_read_is_unknown(monkeypatch, tmp_path: Path, content) -> None:
    file = tmp_path / "version"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(hardware, "_DRIVER", file)
    assert hardware._driver() == "unknown"
