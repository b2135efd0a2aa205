"""Claims about the commands that come next: they are told by each command, and they work."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from factory import storage
from factory.cli import main, parser
from factory.config import load_config
from factory.next_commands import commands_after
from tests.data.inputs import encoded, flat, put
from tests.data.recognizing.test_layouts import TREES

SMALLER = {
    "train": [
        *("--num-steps=2", "--batch-size=2", "--set=train.unet.block_out_channels=[32,32]"),
        *("--set=train.warmup_steps=1", "--set=train.use_gpu=false"),
    ],
    "fit": ["--num-members=2", "--set=fit.num_steps=3", "--set=fit.pixels_per_step=64"],
    "label": ["--workers=here"],
    "generate": [
        *("--workers=here", "--num=3", "--samples-per-shard=2"),
        "--set=generate.num_sampling_steps=4",
    ],
}
"""What is added to a command, so that it takes a second or two."""
Told = Callable[[str], list[str]]


@pytest.fixture
def told_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Told:
    """Runs a command as people give it in a shell, in a folder of its own; returns the lines of the
    commands that it says come next."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> list[str]:
        program, command, *arguments = shlex.split(line)
        assert program == "factory" and main([command, *arguments, *SMALLER.get(command, [])]) == 0
        _, found, rest = capsys.readouterr().out.partition("\nnext:\n")
        lines = [text.strip() for text in rest.splitlines() if text.startswith("  factory ")]
        assert bool(lines) == bool(found)
        return lines

    return run


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("layout", ["cityscapes", "voc", "celebamask-hq"])
def test_a_published_dataset_goes_to_pairs_and_labels_by_the_commands_that_each_one_tells(
    layout: str, told_next: Told, tmp_path: Path
) -> None:
    TREES[layout](tmp_path / "data")
    whole = told_next("factory init data --out my.yaml --preset toy")
    config, waiting, done = Path("my.yaml").read_text(), whole[:1], set()
    while waiting:
        line = waiting.pop(0)
        if line not in done:
            waiting += told_next(line)
            done.add(line)
    assert done >= set(whole), "what init says in one list is what the commands say one by one"
    assert {shlex.split(line)[1] for line in done} == {
        *("inspect", "train", "fit", "evaluate", "label", "generate", "report", "export", "verify")
    }
    assert Path("my.yaml").read_text() == config
    run = tmp_path / "out" / "my"
    assert (tmp_path / "my.inspect.png").is_file() and (run / "evaluation" / "sheet.png").is_file()
    for name in ("dataset", "labels"):
        assert (run / name / "report" / "index.html").is_file()
    assert len(list((run / "dataset-export" / "masks").iterdir())) == 3


CONFIG = """
preset: toy
data: {unlabelled: {kind: folder, url: images}}
train: {url: out/my}
"""


@pytest.mark.parametrize(
    ("command", "more", "lines"),
    [
        ("inspect", "", ["factory train --config my.yaml"]),
        ("train", "", ["factory sample --config my.yaml --ddpm out/my/model"]),
        (
            "train",
            "models: {ddpm_url: out/my/model, ensemble_url: out/my/ensemble}",
            ["factory sample --config my.yaml"],
        ),
        ("probe", "", []),
        (
            "probe",
            "models: {ensemble_url: out/my/ensemble}",
            ["factory fit --config out/my/probe/probe.yaml"],
        ),
        ("generate", "", ["report", "export", "verify"]),
        ("label", "", ["factory report out/my/labels", "factory verify out/my/labels"]),
    ],
)
def test_what_a_config_has_nothing_for_is_left_out(
    command: str,
    more: str,
    lines: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(CONFIG + more)
    found = commands_after(command, load_config("my.yaml"), ["--config", "my.yaml"])
    assert len(found) == len(lines)
    assert all(line in text for line, text in zip(lines, found, strict=True))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], True),
        (["--set", "data.unlabelled.num=1"], True),
        (["--set", "data.unlabelled.url=images"], False),
        (["--set", "models.ddpm_url=toy"], False),
    ],
)
def test_commands_that_lack_what_was_given_for_one_alone_are_not_told(
    arguments: list[str],
    told: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(CONFIG)
    for i in range(2):
        put(Path("images"), **{f"{i}_png": encoded(flat(40 * i))})
    assert main(["inspect", "--config", "my.yaml", *arguments]) == 0
    assert ("\nnext:\n" in capsys.readouterr().out) == told


def test_the_preset_that_inspect_was_given_is_told_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(CONFIG)
    put(Path("images"), a_png=encoded(flat(40)))
    assert main(["inspect", "--config", "my.yaml", "--preset", "32px"]) == 0
    assert "factory train --config my.yaml --preset 32px" in capsys.readouterr().out


def test_a_command_without_a_config_tells_only_what_its_dataset_is_for() -> None:
    config = load_config(None)
    assert commands_after("train", config, []) == []
    assert len(commands_after("generate", config, [])) == 3


@pytest.mark.parametrize(
    ("url", "dataset", "place"),
    [
        ("pairs", "pairs", "pairs-export"),
        ("out/pairs", "out/pairs", "out/pairs-export"),
        ("-pairs", "./-pairs", "./-pairs-export"),
        ("a:b", "./a:b", "./a:b-export"),
        ("~pairs/a", "./~pairs/a", "./~pairs/a-export"),
        ("s3://bucket/pairs", "s3://bucket/pairs", "s3://bucket/pairs-export"),
        ("s3://bucket", "s3://bucket", "bucket-export"),
        ("hf://datasets/owner/name/pairs", "hf://datasets/owner/name/pairs", "pairs-export"),
    ],
)
def test_each_dataset_has_a_place_of_its_own_for_an_export_wherever_it_lies(
    url: str, dataset: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = str(tmp_path / url) if storage.is_local(url) else url
    config = load_config(None, [("generate.url", wanted)])
    _, line, verify = map(shlex.split, commands_after("generate", config, []))
    assert line == ["factory", "export", dataset, "--to", "folder", "--out", place]
    assert verify == ["factory", "verify", dataset]
    assert storage.normalize(dataset) == wanted
    assert not storage.lies_in(storage.normalize(place), wanted)
    assert parser().parse_args(line[1:]).out == place
