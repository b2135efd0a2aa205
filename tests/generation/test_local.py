"""Claims about shards that the command's own process makes."""

import errno
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.cli import main
from factory.config import Config
from factory.errors import CannotCompile, GenerationFailed
from factory.generation import local
from factory.generation.recipe import load_models, make_plan
from factory.shards.plan import ShardSpec


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


def test_shards_that_all_fail_alike_stop_the_job_soon(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(generate={"num": 400, "workers": "here", "url": "memory://local/full"})
    plan = make_plan(config, load_models(config))
    begun: list[int] = []

    class Failing:
        def __init__(self, *arguments: object) -> None:
            self.plan = plan
            self.joined = Namespace(difference="")

        def make(self, spec: ShardSpec) -> None:
            begun.append(spec.shard)
            time.sleep(0.01)
            if spec.shard != 1:
                raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr(local, "ShardMaker", Failing)
    monkeypatch.setattr(local, "batch_maker", lambda *arguments: None)
    with pytest.raises(GenerationFailed, match=r"^4 shards failed and none .* shard 5: the disk"):
        local.make_shards(config, plan, range(100))
    # Those that were begun meanwhile are few.
    assert len(begun) < 50
    with pytest.raises(GenerationFailed, match=r"^2 of 100 shards failed:\n  shard 0: the disk is"):
        local.make_shards(config, plan, range(3))


@pytest.mark.slow
def test_one_pair_of_one_shard_is_told_in_the_singular(
    tiny_models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["--ddpm", tiny_models["ddpm_url"], "--ensemble", tiny_models["ensemble_url"]]
    made = ["--workers", "here", "--out", str(tmp_path), "--num", "1"]
    made += ["--set", "generate.num_sampling_steps=5", "--set", "generate.batch_size=1"]
    assert main(["generate", *models, *made]) == 0
    assert "complete | 1 pair, " in capsys.readouterr().out
    (tmp_path / "README.md").unlink()
    assert main(["verify", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "\n1 shard, " in told and "1 file is not as it was written" in told
    assert main(["gc", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("0 leftovers ")
