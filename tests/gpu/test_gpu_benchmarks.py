"""Claims about benchmarks/ where there is a GPU, on one made of Python."""

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from tests.gpu.standin import StandIn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_features_are_compared_on_one_device(
    gpu: StandIn, tiny_models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    features, measuring = map(importlib.import_module, ("features", "measuring"))
    monkeypatch.setattr(features, "NUM_PASSES", 2)
    monkeypatch.setattr(measuring, "machine", lambda: "a GPU made of Python")
    options = ["--ddpm", tiny_models["ddpm_url"], "--ensemble", tiny_models["ensemble_url"]]
    settings = [
        "train.diffusion.num_timesteps=100",
        "fit.timesteps=[10,40]",
        "generate.compile=false",
    ]
    settings += [
        "generate.sampler=unipc",
        "generate.num_sampling_steps=3",
        "generate.precision=fp32",
    ]
    options += [part for knob in settings for part in ("--set", knob)]
    file = tmp_path / "rows.json"
    monkeypatch.setattr(
        sys,
        "argv",
        ["features.py", "--images", "2", "--threads", "1", "--json", str(file), *options],
    )
    features.main()
    torch.set_num_threads(1)
    assert gpu.peak_bytes > 0
    assert 0 <= json.loads(file.read_text())[0]["ours"] <= 100
