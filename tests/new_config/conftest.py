"""Fixtures that run `factory init`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factory.cli import main


@pytest.fixture
def init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command in a folder of its own, which must work; returns what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        assert main(["init", *arguments, "--out", "my.yaml"]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs the command, which must be refused and write nothing; returns what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main(["init", *arguments]) == 2
        assert sorted(tmp_path.rglob("*")) == before
        return capsys.readouterr().err

    return run
