"""Claims about benchmarks/: what it prints and writes, and that the commands of the docs exist."""

import importlib
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from factory.config import load_config, parse_override

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
SHARED = {"measuring", "diffuseseg", "third_order", "annotated_images"}
SCRIPTS = sorted(file.stem for file in BENCHMARKS.glob("*.py") if file.stem not in SHARED)
DOCS = [*sorted((ROOT / "docs").rglob("*.md")), BENCHMARKS / "gpu.md"]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture
def measuring() -> ModuleType:
    return importlib.import_module("measuring")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What stands for both projects that ours is compared with."""
    for folder in ("utils", "src"):
        (tmp_path / "checkout" / folder).mkdir(parents=True)
    return tmp_path / "checkout"


def code_of(text: str) -> Iterator[str]:
    """Lines of a page's code blocks, and its code within lines of text."""
    for i, part in enumerate(text.split("```")):
        if i % 2:
            yield from part.splitlines()
        else:
            yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", part))


def commands() -> Iterator[tuple[str, str]]:
    """(script, its options) that a page names."""
    for page in DOCS:
        for code in code_of(page.read_text()):
            if found := re.search(r"python benchmarks/(\w+)\.py(.*)", code):
                yield found[1], found[2].strip()


COMMANDS = sorted(set(commands()))


def accept(script: str, options: list[str]) -> None:
    """Has the script's own parser read the options; it exits where it knows one of them not."""
    importlib.import_module(script).parser().parse_args(options)


@pytest.mark.parametrize(("script", "options"), COMMANDS, ids=[" ".join(c) for c in COMMANDS])
def test_a_command_of_the_docs_is_one_that_its_script_takes(
    script: str, options: str, checkout: Path
) -> None:
    values = {"PATH": str(checkout), "N": "1"}
    words = [values.get(word, word) for word in shlex.split(options)]
    accept(script, words)
    for flag, value in pairwise(words):
        if flag == "--set":
            load_config(None, [parse_override(value)])
        if flag == "--config":
            assert (ROOT / value).is_file()


def test_the_docs_commands_are_found() -> None:
    assert {"pairs", "solver", "fitting", "throughput", "same_bytes"} <= {c[0] for c in COMMANDS}
    assert ("training", "--batch-size 256") in COMMANDS


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_tells_its_options(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        accept(script, ["--help"])
    assert ended.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_make_bench_runs_all_and_names_those_that_failed(checkout: Path, tmp_path: Path) -> None:
    calls, python = tmp_path / "calls", tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> {calls}\ncase $1 in *fitting.py) exit 1; esac\n')
    python.chmod(0o755)
    (tmp_path / "venv" / ".bench").touch()
    variables: dict[str, Path | str] = {
        "DIFFUSESEG": checkout,
        "DDPM_SEGMENTATION": checkout,
        "VENV": tmp_path / "venv",
    }
    variables |= {"DDPM": "models/ddpm", "ENSEMBLE": "models/ensemble", "CONFIG": "one.yaml"}
    done = subprocess.run(
        ["make", "bench", *(f"{name}={value}" for name, value in variables.items())],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "failed: fitting\n" in done.stderr
    (named,) = re.findall(r"^BENCHMARKS := (.*)", (ROOT / "Makefile").read_text(), re.M)
    called = [shlex.split(line) for line in calls.read_text().splitlines()]
    assert [Path(script).stem for script, *_ in called] == named.split()
    for script, *options in called:
        assert (ROOT / script).is_file()
        accept(Path(script).stem, options)
    fitting = next(options for script, *options in called if script.endswith("fitting.py"))
    assert {"--diffuseseg", "--ddpm", "--config"} <= set(fitting)


def test_the_json_is_a_list_of_rows_with_six_keys(measuring: ModuleType, tmp_path: Path) -> None:
    rows = [
        measuring.Row("rate", 6.0, 2.0, "pairs/s", ">= 3x"),
        measuring.Row("time", 6.0, 2.0, "s"),
        measuring.Row("alone", 6.0, None, "GB", "<= 8 GB"),
    ]
    measuring.report("Title", rows, tmp_path / "new" / "rows.json")
    written = json.loads((tmp_path / "new" / "rows.json").read_text())
    assert all(set(row) == {"name", "ours", "other", "unit", "ratio", "goal"} for row in written)
    assert [row["ratio"] for row in written] == [3.0, 2 / 6, None]
    assert [row["goal"] for row in written] == [">= 3x", None, "<= 8 GB"]


def test_what_is_measured_before_a_failure_is_reported(
    measuring: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "rows.json"
    with pytest.raises(MemoryError), measuring.reporting("Title", file) as (rows, notes):
        rows.append(measuring.Row("the first size", 1.5, None, "pairs/s"))
        notes.append("A note.")
        raise MemoryError
    assert [row["name"] for row in json.loads(file.read_text())] == ["the first size"]
    assert "| the first size | 1.5 pairs/s |" in capsys.readouterr().out


def test_without_the_other_side_it_says_that_ours_runs_alone(
    measuring: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    measuring.absent("the paper's path", "--ddpm-segmentation")
    output = capsys.readouterr().err
    assert "--ddpm-segmentation is not given" in output and "ours alone is measured" in output


def test_a_place_that_is_no_checkout_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        accept("pairs", ["--diffuseseg", str(tmp_path)])
    assert ended.value.code == 2
    assert f"{tmp_path} has no folder utils" in capsys.readouterr().err


def test_an_override_that_is_no_key_and_value_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        accept("training", ["--set", "batch"])
    assert ended.value.code == 2
    assert "section.key=value" in capsys.readouterr().err


def test_bytes_are_compared_of_processes_that_compile_each_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same_bytes, caches = importlib.import_module("same_bytes"), []

    class Process:
        def __init__(self, command: list[str], env: dict[str, str]) -> None:
            caches.append(env["TORCHINDUCTOR_CACHE_DIR"])
            for shard in command[command.index("--make") + 1 :]:
                receipts[int(shard)] = SimpleNamespace(sha256=shard)

        def wait(self) -> int:
            return 0

    receipts: dict[int, SimpleNamespace] = {}
    monkeypatch.setattr(same_bytes.subprocess, "Popen", Process)
    monkeypatch.setattr(same_bytes, "read_receipts", lambda url: receipts)
    for parts in ([range(3)], [range(0, 3, 2), range(1, 3, 2)]):
        assert same_bytes.hashes(parts) == {0: "0", 1: "1", 2: "2"}
    assert len(set(caches)) == 3
