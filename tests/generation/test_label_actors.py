"""Claims about pools of actors that label images."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from factory import cli
from factory.config import dump_config
from factory.generation.command import label
from factory.shards.verification import verify
from tests.generation.conftest import LabelConfig
from tests.generation.test_command import wait_until
from tests.generation.test_label_scores import put_masks, source_of
from tests.ray_processes import POOL_ACTOR


def shard_bytes(folder: Path) -> dict[str, bytes]:
    """The shards of a dataset by their names; a killed actor may leave a hidden file, half
    written, which no reader takes."""
    shards = sorted((folder / "data").glob("[!.]*"))
    return {path.name: path.read_bytes() for path in shards}


@pytest.mark.ray
def test_one_actor_two_actors_and_a_process_alone_make_the_same_bytes_and_scores(
    ray_session: str, label_config: LabelConfig, photos: Path, tmp_path: Path
) -> None:
    names = [str(path.relative_to(photos)) for path in sorted(photos.rglob("*.png"))]
    put_masks(tmp_path / "masks", *names)
    source = source_of(tmp_path, images="photos")
    made, scores = [], set()
    pools: dict[str, dict[str, object]] = {
        "here": {"workers": "here"},
        "one": {"workers": "ray", "min_actors": 1, "max_actors": 1},
        "two": {"workers": "ray", "min_actors": 2, "max_actors": 2},
    }
    for name, keys in pools.items():
        out = {"url": str(tmp_path / name), "source": source}
        label(label_config(samples_per_shard=1, **out, **keys))
        made.append(shard_bytes(tmp_path / name))
        scores.add((tmp_path / name / "scores.json").read_bytes())
    assert len(scores) == 1
    assert made[0] == made[1] == made[2] and len(made[0]) == 7


@pytest.mark.ray
def test_a_killed_actor_costs_nothing_but_time(
    ray_session: str,
    label_config: LabelConfig,
    tmp_path: Path,
    ray_processes: Callable[[str], list[psutil.Process]],
) -> None:
    label(label_config(url=str(tmp_path / "here"), samples_per_shard=1))
    config = label_config(workers="ray", max_actors=2, samples_per_shard=1)
    killed = []

    def kill_one() -> None:
        receipts = Path(config.label.url) / "_factory" / "shards"
        wait_until(lambda: receipts.is_dir() and any(receipts.iterdir()))
        for worker in ray_processes(POOL_ACTOR)[:1]:
            killed.append(worker.pid)
            os.kill(worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    label(config)
    killer.join()
    assert shard_bytes(tmp_path / "labels") == shard_bytes(tmp_path / "here")
    assert verify(config.label.url, "decode").findings == []


@pytest.mark.ray
def test_an_actor_that_finds_other_images_ends_the_job_with_their_names(
    ray_session: str,
    label_config: LabelConfig,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from factory.generation import command

    start = command.make_shards

    def losing(*arguments: object, **named: object) -> None:
        (photos / "p0.png").unlink()
        start(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(command, "make_shards", losing)
    (tmp_path / "config.yaml").write_text(dump_config(label_config(workers="ray")))
    assert cli.main(["label", "--config", str(tmp_path / "config.yaml")]) == 3
    assert f"{photos}/p0.png: is gone" in capsys.readouterr().err
