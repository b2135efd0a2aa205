"""Images of one's own that are labelled by tiny models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.config import Config
from factory.png import encode_png

LabelConfig = Callable[..., Config]


def put_images(folder: Path, *names: str, seed: int = 0) -> None:
    """Writes images of random pixels, each of another size, below a folder."""
    for i, name in enumerate(names):
        pixels = np.random.default_rng([seed, i]).integers(0, 256, (20 + i, 24, 3), np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode_png(pixels))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of seven images."""
    put_images(tmp_path / "photos", *(f"p{i}.png" for i in range(5)), "sub/a.png", "sub/b.png")
    return tmp_path / "photos"


@pytest.fixture
def label_config(tiny_config: Callable[..., Config], photos: Path, tmp_path: Path) -> LabelConfig:
    """A config that labels the photos in shards of three; keyword arguments are keys of label."""

    def make(**keys: Any) -> Config:
        label = {
            "url": str(tmp_path / "labels"),
            "source": {"kind": "folder", "url": str(photos)},
            "samples_per_shard": 3,
            "batch_size": 2,
            "precision": "fp32",
            "workers": "here",
            "progress_seconds": 0.5,
        }
        return tiny_config(label={**label, **keys})

    return make
