"""A cache, a folder of photographs, and what is decoded from now on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factory.config import DataConfig
from factory.data import passes
from factory.data.kinds.folder import FolderSource
from factory.data.toy import drawing


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    return DataConfig(image_size=16, cache_dir=str(tmp_path / "cache"))


@pytest.fixture
def photos(tmp_path: Path) -> FolderSource:
    """A folder of 150 images of several sizes and modes."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    random = np.random.default_rng(0)
    for i in range(150):
        shape = (20 + i % 7, 18 + i % 5, 3)[: 2 if i % 3 == 0 else 3]
        image = random.integers(0, 256, shape, np.uint8)
        Image.fromarray(image).save(folder / ("below" if i % 2 else ".") / f"{i:03d}.png")
    return FolderSource(url=str(folder))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is decoded or drawn from now on."""
    seen: list[Any] = []
    read, draw = passes.read_square, drawing.draw
    monkeypatch.setattr(passes, "read_square", lambda *a: (seen.append(a[0]), read(*a))[1])
    monkeypatch.setattr(drawing, "draw", lambda *a: (seen.append(a[1]), draw(*a))[1])
    return seen
