"""Claims about the tutorial: its commands work one after the other, and say what it shows.

They are run on the tiles in examples/nuclei64, a small part of its images, with what SMALLER adds.
"""

import contextlib
import io
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import cli
from tests.documents import ROOT, blocks, commands

TUTORIAL = ROOT / "docs" / "tutorial.md"
SMALLER = {
    "train": ["--num-steps=2", "--batch-size=4"],
    "fit": ["--num-members=2", "--set=fit.num_steps=3", "--set=fit.pixels_per_step=64"],
    "label": ["--workers=here"],
    "generate": [
        *("--workers=here", "--num=6", "--samples-per-shard=3", "--set=generate.batch_size=3"),
        "--set=generate.num_sampling_steps=4",
    ],
}
"""What is added to a command, so that it takes seconds."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def said(
    tmp_path_factory: pytest.TempPathFactory, ray_session: str
) -> Iterator[tuple[Path, list[str]]]:
    """The folder in which all blocks were run, and all lines that the commands printed."""
    folder, lines = tmp_path_factory.mktemp("tutorial"), []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        shutil.copytree(ROOT / "examples" / "nuclei64", folder / "examples" / "nuclei64")
        for words in (words for block in blocks(TUTORIAL, "") for words in commands(block)):
            lines += _printed(words)
        yield folder, [line.replace(f"{folder}/", "") for line in lines]


def _printed(words: list[str]) -> list[str]:
    """Runs a command, or looks at it where it installs; returns the lines that it prints."""
    match words:
        case ["factory", command, *arguments]:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                assert cli.main([command, *arguments, *SMALLER.get(command, [])]) == 0, words
            return printed.getvalue().splitlines()
        case ["pip", "install", "-e", "."]:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert project["scripts"] == {"factory": "factory.cli:main"}
        case ["python3.11", "-m", "venv", ".venv"] | [".", ".venv/bin/activate"]:
            pass
        case _:
            raise AssertionError(f"no test runs {words}; say in _printed how")
    return []


def _shape(line: str) -> str:
    """A line without its numbers, bars and names of runs, which differ with the images and the
    machine."""
    line = re.sub(r"run [0-9a-f]{12}", "run", line)
    return re.sub(r"[#\s]*(\d[\d,.:]*)[smh]?( ?\d+[sm])?", " 0", line).strip()


def test_the_commands_say_what_the_tutorial_shows(said: tuple[Path, list[str]]) -> None:
    shown = [line for block in blocks(TUTORIAL, "text") for line in block.splitlines() if line]
    assert len(shown) > 20
    shapes = {_shape(line) for line in said[1]}
    assert not [line for line in shown if _shape(line) not in shapes]


def test_what_is_said_to_be_made_is_there(said: tuple[Path, list[str]]) -> None:
    named = set(re.findall(r"`(out/[^`]*|nuclei\.[^`]*)`", TUTORIAL.read_text()))
    assert len(named) >= 4
    assert not {name for name in named if not (said[0] / name).exists()}


def test_its_lines_of_python_run(
    said: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(said[0])
    for code in blocks(TUTORIAL, "python"):
        exec(compile(code, "tutorial.md", "exec"), {})
