from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest

from factory import faults
from factory.shards.schema import Sample
from tests.exporting import made


class Killed(BaseException):
    """Ends an export where it stands, as a signal would."""


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    url = str(tmp_path / "dataset")
    made.write(url)
    return url


@pytest.fixture
def memory(tmp_path: Path) -> str:
    """A URL of this process's memory, which is empty."""
    fsspec.filesystem("memory").store.clear()
    return f"memory://{tmp_path.name}"


@pytest.fixture
def samples() -> list[Sample]:
    return [made.draw(i) for i in range(10)]


@pytest.fixture
def load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`datasets.load_dataset`, which keeps what it makes in a folder of the test."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    import datasets

    # It would tell its makers what is loaded.
    monkeypatch.setattr(datasets.config, "HF_UPDATE_DOWNLOAD_COUNTS", False)
    return partial(datasets.load_dataset, cache_dir=str(tmp_path / "cache"))


@pytest.fixture
def killed_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], bool]:
    """Calls something that is killed when it comes to its n-th point of `factory.faults`, before or
    after a write; returns False if it ended before."""

    def run(point: int, call: Callable[[], object]) -> bool:
        seen = 0

        def hit(name: str) -> None:
            nonlocal seen
            seen += 1
            # All threads of a process are killed at once.
            if seen >= point:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(faults, "hit", hit)
            try:
                call()
            except Killed:
                return True
        return False

    return run
