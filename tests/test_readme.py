"""Claims about the README: every block of code in it is run, in its order and in one folder.

What would take long is run on less: fewer images, steps, passes and pairs. What installs, needs a
cluster, or is a whole run of its own, is only looked at; `_run` says which is which.
"""

import json
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

from factory import cli
from factory.config.loading import load_config
from factory.diffusion.checkpoints import save_model
from factory.diffusion.families.unet2d import UNet
from tests.documents import ROOT, blocks, commands, save_pairs

README = ROOT / "README.md"
SMALLER = {
    "inspect": [],
    "train": ["--dry-run"],
    "probe": ["--set=probe.timesteps=[50]", "--num-passes=1", "--set=probe.pixels_per_image=50"],
    "fit": ["--num-members=2", "--set=fit.num_steps=3", "--set=fit.pixels_per_step=64"],
    "evaluate": ["--set=evaluate.num_pictures=1"],
    "curve": ["--set=curve.nums=[1, 3]", "--set=fit.num_members=2", "--set=fit.num_steps=3"],
    "segment": ["--dry-run"],
    "prove": ["--dry-run", "--workers=here"],
    "label": ["--workers=here", "--set=label.precision=fp32"],
    "suggest": ["--num=2"],
    "adopt": ["--set=fit.num_members=2", "--set=fit.num_steps=3"],
    "generate": [
        *("--workers=here", "--samples-per-shard=2", "--set=generate.batch_size=2"),
        *("--set=generate.num_sampling_steps=4", "--set=generate.precision=fp32"),
    ],
}
"""What is added to a command, so that it takes seconds. Of trainings, the checks are run."""
FEWER = {
    "1000": "3",
    "10k": "5",
    "export.zip": "out/faces64/ddpm/suggestions/cvat/annotations.zip",
}
SMALLER_PYTHON = {
    "fit(ddpm, labelled)": "fit(ddpm, labelled, num_members=2, num_steps=5)",
    "sample(segmenter, 8)": "sample(segmenter, 1, batch_size=1, num_sampling_steps=4)",
    "generate(segmenter, 1000,": "generate(segmenter, 1, batch_size=1, num_sampling_steps=4, out=",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the blocks run: with drawn faces in place of the faces and the labelled images."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    save_pairs(tmp_path / "labelled", 3, 32)
    shutil.copytree(tmp_path / "labelled" / "images", tmp_path / "my" / "photos")
    faces = tmp_path / "data" / "faces64"
    save_pairs(faces / "labeled", 6, 64)
    save_pairs(faces / "unlabeled", 3, 64, seed=3)
    (faces / "unlabeled" / "classes.json").unlink()
    for name in sorted((faces / "unlabeled" / "masks").iterdir()):
        name.unlink()
    (faces / "labeled" / "classes.json").rename(faces / "classes.json")
    splits = {"train_100": ["0.png", "1.png", "2.png"], "test": ["3.png", "4.png", "5.png"]}
    (faces / "splits.json").write_text(json.dumps(splits))
    config = load_config("configs/faces64.yaml")
    assert config.models.ddpm_url is not None
    torch.manual_seed(0)
    save_model(UNet(config.train.unet), config.train.diffusion, 64, config.models.ddpm_url)
    return tmp_path


def _run(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Runs a command of the README, or looks at it where running it is not for a test."""
    match words:
        case ["make", target, *_]:
            subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)
        case ["pip", "install", "-e", "."]:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert project["scripts"] == {"factory": "factory.cli:main"}
        case ["factory", command, *arguments]:
            fewer = [FEWER.get(word, word) for word in arguments]
            assert cli.main([command, *fewer, *SMALLER.get(command, [])]) == 0, words
        case ["ray", "job", "submit", "--working-dir", ".", "--", "python", script, *arguments]:
            assert (ROOT / script).is_file()
            assert cli.main(["generate", *arguments, "--print-config"]) == 0
        case _:
            raise AssertionError(f"no test runs {words}; say in _run how")
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_every_command_of_the_readme_does_what_it_says(
    folder: Path, s3_bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fsspec.filesystem("s3").mkdir("bucket")
    shells = [list(commands(block)) for block in blocks(README, "")]
    assert sum(map(len, shells)) > 10
    for words in (words for shell in shells for words in shell):
        _run(words, capsys)
    assert (folder / "out" / "pairs" / "report" / "index.html").is_file()
    assert (folder / "out" / "pairs" / "_SUCCESS").is_file()


@pytest.fixture
def without_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps what `datasets` writes in the test's folder."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True, raising=False)


def _smaller(code: str) -> str:
    for shown, smaller in SMALLER_PYTHON.items():
        assert code.count(shown) <= 1
        code = code.replace(shown, smaller)
    return code


@pytest.mark.slow
@pytest.mark.usefixtures("without_download")
def test_the_lines_of_python_in_the_readme_run_in_this_order(folder: Path) -> None:
    assert cli.main(["generate", "--num=10", "--out=out/pairs", *SMALLER["generate"]]) == 0
    found: dict[str, Any] = {}
    python = blocks(README, "python")
    assert len(python) == 2
    for code in python:
        exec(compile(_smaller(code), "README.md", "exec"), found)
    assert found["masks"].shape == (3, 32, 32)
    assert found["picture"].size[1] > found["picture"].size[0]
    assert len(list(found["pairs"])) == 1
    assert len(found["rows"]) == 10 and found["rows"][0]["mask"].size == (32, 32)
    assert 0 < len(list(found["samples"])) < 10


def test_no_block_of_the_readme_is_of_a_language_that_no_test_runs() -> None:
    fences = [line.strip() for line in README.read_text().splitlines() if "```" in line]
    assert set(fences) == {"```", "```python", "```yaml"}


def test_the_table_of_recipes_names_every_config() -> None:
    rows = [line for line in README.read_text().splitlines() if line.startswith("| `")]
    named = {row.split("`")[1] for row in rows}
    assert {path.name for path in (ROOT / "configs").iterdir()} <= named
