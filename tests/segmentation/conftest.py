from collections.abc import Callable
from pathlib import Path

import pytest

from factory.config import Config, config_tree, parse_config
from factory.generation.command import generate
from tests.kept import lay_down


@pytest.fixture
def pairs_url(tiny_config: Callable[..., Config], tmp_path: Path) -> str:
    """A finished dataset of 30 tiny pairs of drawn faces."""
    url = str(tmp_path / "pairs")
    config = tiny_config(generate={"workers": "here", "url": url})
    tree = config_tree(config)

    def make(place: str) -> None:
        generate(parse_config({**tree, "generate": {**tree["generate"], "url": place}}))

    lay_down(url, ("pairs of segmentation",), make)
    return url


@pytest.fixture
def segment_config(
    tiny_config: Callable[..., Config], pairs_url: str, tmp_path: Path
) -> Callable[..., Config]:
    """A config of a few steps on the tiny pairs and six drawings; keywords are keys of segment."""

    def make(**keys: object) -> Config:
        data = {
            "image_size": 16,
            "labelled": {"kind": "toy", "num": 6, "seed": 2},
            "test": {"kind": "toy", "num": 5, "seed": 3},
        }
        segment = {
            "url": str(tmp_path / "run"),
            "dataset_url": pairs_url,
            **{"num_steps": 6, "batch_size": 4, "widths": [8, 16], "checkpoint_steps": 2},
            **{"log_steps": 2, "warmup_steps": 2, "precision": "fp32", "onnx": False},
        }
        return parse_config({"data": data, "segment": {**segment, **keys}})

    return make
