"""How every bad input must be answered: in lines on stderr, with code 2, and nothing written."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import ray
from pydantic import BaseModel

from factory.cli import main
from factory.diffusion import checkpoints
from factory.diffusion.network import Family, FeatureNetwork
from factory.embedded import DDPM_URL
from factory.errors import UserError
from tests.bad_inputs.cases import Case

MAX_LINES = 51
MAX_LINE = 700


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a case is made in, and the working folder, so that no write goes unseen."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path


@pytest.fixture
def command(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int | str | None, str, str]]:
    """Runs a command: its exit code, what it says on stdout, and on stderr.

    Nothing is written anywhere, no Ray is started, and nobody sees a traceback. The command does
    not know of the session's Ray, which would be a cluster to it: it is a process of its own.
    """
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(checkpoints, "_network", _network)

    def run(*arguments: str) -> tuple[int | str | None, str, str]:
        before, ray_before = _content(folder), _ray_is_up()
        try:
            code: int | str | None = main(arguments)
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert _content(folder) == before, "something was written"
        assert _ray_is_up() == ray_before, "Ray was started"
        return code, out, err

    return run


@pytest.fixture
def refused(command: Callable[..., tuple[int | str | None, str, str]]) -> Callable[..., None]:
    """Asserts that a command says exactly what the case expects, and stops with code 2."""

    def run(case: Case, *arguments: str) -> None:
        code, out, err = command(*arguments)
        assert code == 2, (code, out, err)
        assert not out, "a refusal goes to stderr"
        marks = "error: ", "factory"
        lines = [line for line in err.splitlines() if not line.startswith("usage: ")]
        assert all(line.startswith(marks) for line in lines), f"not one line a problem: {err}"
        check_problems(case, lines)

    return run


@pytest.fixture
def refused_by(capsys: pytest.CaptureFixture[str], folder: Path) -> Callable[..., None]:
    """Asserts that a function which no command calls refuses exactly as the case expects."""

    def run(case: Case, call: Callable[[], object]) -> None:
        before = _content(folder)
        with pytest.raises(UserError) as refusal:
            call()
        assert capsys.readouterr() == ("", "")
        assert _content(folder) == before, "something was written"
        check_problems(case, list(refusal.value.problems))

    return run


def check_problems(case: Case, lines: list[str]) -> None:
    """Each expected problem is one line that says where, why and what to do; there are no more."""
    text = "\n".join(lines)
    assert 0 < len(lines) <= MAX_LINES and max(map(len, lines)) <= MAX_LINE, text
    assert "".join(lines).isprintable(), repr(text)
    for words in case.problems:
        found = [line for line in lines if all(word in line for word in words)]
        assert len(found) == 1, f"{words} should be in one line of:\n{text}"
    assert len(lines) == len(case.problems), f"{len(case.problems)} problems were expected:\n{text}"


_honest = checkpoints._network
_embedded: list[FeatureNetwork] = []


def _network(
    family: Family, shape: BaseModel, weights: Sequence[tuple[str, bytes]]
) -> FeatureNetwork:
    """As the package makes it; the embedded one, which is good, is made once for all commands."""
    if not weights[0][0].startswith(DDPM_URL):
        return _honest(family, shape, weights)
    if not _embedded:
        _embedded.append(_honest(family, shape, weights))
    return _embedded[0]


def _content(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Everything below the folder, links not followed: type and mode, size, time of change."""
    found = {}
    for parent, folders, names in os.walk(folder):
        for name in folders + names:
            with suppress(FileNotFoundError):
                stat = os.lstat(f"{parent}/{name}")
                time = 0 if name in folders else stat.st_mtime_ns
                found[f"{parent}/{name}"] = (stat.st_mode, stat.st_size, time)
    return found


def _ray_is_up() -> bool:
    return bool(ray.is_initialized())
