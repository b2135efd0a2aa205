"""Claims about shards that the command's own process makes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factory.cli import main
from factory.errors import CannotCompile
from factory.generation import local


def test_a_machine_that_cannot_compile_is_told_on_one_line_with_what_to_do(
    tiny_models: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def batch_maker(*arguments: object) -> Callable[..., object]:
        raise CannotCompile("the network cannot be compiled here (no g++)")

    monkeypatch.setattr(local, "batch_maker", batch_maker)
    models = ["--ddpm", tiny_models["ddpm_url"], "--ensemble", tiny_models["ensemble_url"]]
    code = main(["generate", *models, "--workers", "here", "--out", str(tmp_path), "--num", "2"])
    assert code == 3
    assert capsys.readouterr().err.startswith(
        "error: the network cannot be compiled here (no g++). "
        "Turn it off: --set generate.compile=false.\n"
    )


@pytest.mark.slow
def test_one_pair_of_one_shard_is_told_in_the_singular(
    tiny_models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["--ddpm", tiny_models["ddpm_url"], "--ensemble", tiny_models["ensemble_url"]]
    made = ["--workers", "here", "--out", str(tmp_path), "--num", "1"]
    assert main(["generate", *models, *made]) == 0
    assert "complete | 1 pair, " in capsys.readouterr().out
    (tmp_path / "README.md").unlink()
    assert main(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "\n1 shard, " in told and "1 file is not as it was written" in told
    assert main(["gc", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("0 leftovers ")
