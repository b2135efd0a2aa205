import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import torch
from botocore.exceptions import NoCredentialsError
from ray.cluster_utils import Cluster

from factory import cli, cluster, storage
from factory.config import Config, GenerateConfig, dump_config
from factory.errors import GenerationFailed, UserError
from factory.generation import ray_actors
from factory.generation.command import check, generate
from factory.generation.repair import repair
from factory.ray_internals import session
from factory.shards.reading import read_manifest, read_receipts
from factory.shards.verification import verify
from tests.failing_storage import fail_calls
from tests.older import OLDER, needs_older
from tests.ray_processes import POOL_ACTOR, session_folder

REPOSITORY = Path(__file__).parents[2]


def data_hashes(config: Config) -> dict[str, str]:
    """sha256 of every shard by its name. What was half written when its process was killed has a
    name that begins with a dot, which no reader opens."""
    folder = Path(config.generate.url) / "data"
    return {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob("[!.]*"))
    }


def wait_until(condition: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def watching(look: Callable[[], object]) -> Iterator[None]:
    """Calls look again and again while the body runs."""
    stop = threading.Event()

    def look_on() -> None:
        while not stop.wait(0.05):
            look()

    watcher = threading.Thread(target=look_on)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, dict[str, str]]:
    """Hashes of the dataset that one actor makes, kept for the tests that disturb it."""
    return {}


def with_actors(num_actors: int, **more: object) -> dict[str, object]:
    # Enough network passes that a shard takes a moment, in which something can be killed.
    passes = {"num_sampling_steps": 60}
    return {"min_actors": num_actors, "max_actors": num_actors, **passes, **more}


@pytest.fixture
def expected(ray_session, tiny_config, undisturbed) -> dict[str, str]:
    if "hashes" not in undisturbed:
        config = tiny_config(generate=with_actors(1))
        generate(config)
        undisturbed["hashes"] = data_hashes(config)
        # Out of the way of the test's own dataset.
        Path(config.generate.url).rename(Path(config.generate.url).with_name("undisturbed"))
    return undisturbed["hashes"]


def nodes_at_work() -> list[int]:
    """For each actor that makes shards below this process, the process of its node."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if POOL_ACTOR in " ".join(process.cmdline()):
                found.append(process.ppid())
    return found


@pytest.mark.ray
def test_the_pool_reaches_max_actors_and_makes_the_same_bytes_as_one(
    expected, tiny_config, capsys
) -> None:
    # As many actors as when nothing is set: one to two.
    config = tiny_config(generate={"num_sampling_steps": with_actors(1)["num_sampling_steps"]})
    seen: list[int] = []
    with watching(lambda: seen.append(len(nodes_at_work()))):
        manifest = generate(config)
    assert max(seen) == 2
    assert data_hashes(config) == expected
    assert len(expected) == 8
    assert manifest.rows == 30
    assert read_manifest(config.generate.url).root == manifest.root
    assert "complete | 30 pairs" in capsys.readouterr().out


HERE = """
import sys
from factory.config import load_config
from factory.generation.command import generate
generate(load_config(sys.argv[1]))
print("ray" in sys.modules)
"""


@pytest.mark.ray
def test_a_process_alone_makes_the_same_bytes_and_has_no_use_for_ray(
    expected, tiny_config, tmp_path
) -> None:
    config = tiny_config(generate={**with_actors(1), "workers": "here"})
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    command = [sys.executable, "-c", HERE, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert data_hashes(config) == expected


@pytest.mark.ray
def test_generate_with_nothing_set_has_two_actors_and_only_its_own_lines(tmp_path) -> None:
    command = [sys.executable, "-m", "factory.cli", "generate", "--out", str(tmp_path / "pairs")]
    command += ["--num", "8", "--samples-per-shard", "2"]
    seen: list[int] = []
    with watching(lambda: seen.append(len(nodes_at_work()))):
        done = subprocess.run(
            command,
            env={k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert max(seen) == min(2, os.cpu_count() or 1)
    assert done.stderr == ""
    own, _, next_commands = done.stdout.partition("next:\n")
    assert next_commands.startswith("  factory report ")
    assert all(line.startswith("generate | ") for line in own.splitlines())


@pytest.mark.ray
def test_a_killed_actor_costs_nothing_but_time(expected, tiny_config, ray_processes) -> None:
    config = tiny_config(generate=with_actors(2))
    killed: list[int] = []

    def kill_one() -> None:
        receipts = Path(config.generate.url) / "_factory" / "shards"
        wait_until(lambda: receipts.is_dir() and any(receipts.iterdir()))
        for worker in ray_processes(POOL_ACTOR)[:1]:
            killed.append(worker.pid)
            worker.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    generate(config)
    killer.join()
    assert killed
    assert data_hashes(config) == expected


@pytest.mark.ray
def test_the_same_command_goes_on_after_its_driver_was_stopped_or_killed_and_tells_no_secret(
    expected, tiny_config, ray_session, tmp_path
) -> None:
    secret = "canary-4e1f"
    config = tiny_config(generate=with_actors(1))
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))

    def receipts() -> list[Path]:
        folder = Path(config.generate.url) / "_factory" / "shards"
        return list(folder.iterdir()) if folder.is_dir() else []

    for number, code in (
        (signal.SIGTERM, 143),
        (signal.SIGINT, 130),
        (signal.SIGKILL, -signal.SIGKILL),
    ):
        before = len(receipts())
        driver = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "jobs" / "generate.py"), "--config", str(file)],
            env={
                **os.environ,
                "RAY_ADDRESS": ray_session,
                "AWS_SECRET_ACCESS_KEY": secret,
                "HF_TOKEN": secret,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(partial(lambda least: len(receipts()) > least, before))
        driver.send_signal(number)
        # Seconds, where nothing else is running.
        assert driver.wait(timeout=60) == code
    first = {i: r.sha256 for i, r in read_receipts(config.generate.url).items()}
    assert 3 <= len(first) < len(expected)
    generate(tiny_config(generate=with_actors(2)))
    assert data_hashes(config) == expected
    kept = read_receipts(config.generate.url)
    assert all(kept[i].sha256 == sha256 for i, sha256 in first.items())
    logs = [file for file in session_folder().rglob("*") if file.is_file()]
    assert len(logs) > 10 and not [file for file in logs if secret.encode() in file.read_bytes()]


@pytest.mark.ray
def test_a_shard_that_kills_its_actors_ends_the_job_with_a_reason(
    ray_session, tiny_config, monkeypatch
) -> None:
    class Kills(ray_actors.ShardActor):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.maker.batch_maker.batches = self.killing

        def killing(self, spec: Any) -> Any:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ray_actors, "ShardActor", Kills)
    config = tiny_config(generate=with_actors(1, max_shard_retries=1, num=1, batch_size=1))
    with pytest.raises(GenerationFailed, match="shard 0: its actor died or hung 2 times"):
        generate(config)
    assert not (Path(config.generate.url) / "_SUCCESS").exists()


@pytest.mark.ray
def test_a_shard_that_fails_for_good_stops_no_other(expected, tiny_config) -> None:
    config = tiny_config(generate=with_actors(2))
    foreign = Path(config.generate.url) / "data" / "train-00003.parquet"
    check(config).start(dump_config(config), {})
    foreign.parent.mkdir()
    foreign.write_bytes(b"foreign")
    with pytest.raises(
        GenerationFailed, match=r"1 of 8 shards failed:\n  shard 3: .*factory repair"
    ):
        generate(config)
    others = {name: sha256 for name, sha256 in expected.items() if name != foreign.name}
    assert data_hashes(config).items() >= others.items()
    assert repair(config.generate.url).finished
    assert data_hashes(config) == expected


@pytest.mark.ray
def test_a_job_whose_shards_all_fail_alike_stops_soon(ray_session, tiny_config) -> None:
    config = tiny_config(generate=with_actors(1, max_failed_shards=1))
    ledger = check(config)
    ledger.start("", {})
    for spec in ledger.plan.shards():
        storage.write(storage.join(config.generate.url, spec.path), b"foreign")
    with pytest.raises(GenerationFailed, match="2 shards failed and none succeeded in between"):
        generate(config)


@pytest.mark.ray
def test_an_actor_that_outlasts_the_deadline_is_replaced_and_at_last_told(
    ray_session, tiny_config
) -> None:
    hangs = with_actors(1, num=1, max_shard_retries=1, shard_deadline_seconds=0.01)
    with pytest.raises(GenerationFailed, match="shard 0: its actor died or hung 2 times"):
        generate(tiny_config(generate=hangs))


@pytest.mark.ray
def test_a_job_in_which_nothing_is_finished_for_too_long_ends_resumable_and_names_the_key(
    ray_session, tiny_config, monkeypatch, tmp_path, capsys
) -> None:
    class NeverReady(ray_actors.ShardActor):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            time.sleep(600)

    monkeypatch.setattr(ray_actors, "ShardActor", NeverReady)
    config = tiny_config(generate=with_actors(1, no_progress_timeout_seconds=3))
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert cli.main(["generate", "--config", str(tmp_path / "config.yaml")]) == 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "generate.no_progress_timeout_seconds = 3. Raise it" in lines[0]
    assert "run the same command again" in lines[1]


@pytest.mark.ray
def test_an_actor_that_cannot_start_ends_the_job_with_one_message(
    ray_session, tiny_config, monkeypatch, tmp_path, capfd
) -> None:
    class CannotStart(ray_actors.ShardActor):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            raise UserError("this node finds no model there. Name a path")

    monkeypatch.setattr(ray_actors, "ShardActor", CannotStart)
    (tmp_path / "config.yaml").write_text(dump_config(tiny_config(generate=with_actors(2))))
    assert cli.main(["generate", "--config", str(tmp_path / "config.yaml")]) == 3
    assert capfd.readouterr().err.splitlines() == [
        "error: this node finds no model there. Name a path",
        "finished shards are kept; once what is said above is mended, run the same command again "
        "to resume",
    ]


@pytest.mark.ray
def test_when_the_coordinator_is_killed_the_job_ends_with_that_reason_and_no_actor_stays(
    ray_session, tiny_config, ray_processes
) -> None:
    config = tiny_config(generate=with_actors(2))

    def kill() -> None:
        receipts = Path(config.generate.url) / "_factory" / "shards"
        wait_until(lambda: receipts.is_dir() and any(receipts.iterdir()))
        [coordinator] = ray_processes("ray::Coordinator")
        coordinator.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(
        GenerationFailed, match=r"coordinates the actors is lost: .*worker process has died"
    ):
        generate(config)
    killer.join()
    wait_until(lambda: not ray_processes(POOL_ACTOR))


@pytest.mark.ray
def test_a_shard_that_hangs_once_is_made_by_another_actor(
    expected, tiny_config, tmp_path, monkeypatch
) -> None:
    hung = tmp_path / "hung"

    class HangsOnce(ray_actors.ShardActor):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.batches = self.maker.batch_maker.batches
            self.maker.batch_maker.batches = self.hanging

        def hanging(self, spec: Any) -> Any:
            if spec.shard == 2 and not hung.exists():
                hung.touch()
                time.sleep(600)
            return self.batches(spec)

    monkeypatch.setattr(ray_actors, "ShardActor", HangsOnce)
    config = tiny_config(generate=with_actors(1, shard_deadline_seconds=30))
    generate(config)
    assert hung.exists() and data_hashes(config) == expected


@pytest.mark.ray
def test_a_lost_node_costs_nothing_but_time(expected, tiny_config, tmp_path) -> None:
    config = tiny_config(generate=with_actors(1, max_actors=2, num=60, max_shard_retries=0))
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = nodes.add_node(num_cpus=1)
    try:
        driver = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "jobs" / "generate.py"), "--config", str(file)],
            env={**os.environ, "RAY_ADDRESS": nodes.address},
        )
        receipts = Path(config.generate.url) / "_factory" / "shards"
        wait_until(lambda: receipts.is_dir() and len(list(receipts.iterdir())) >= 2)
        wait_until(lambda: len(set(nodes_at_work())) == 2)
        nodes.remove_node(lost, allow_graceful=False)
        assert driver.wait(timeout=120) == 0
    finally:
        nodes.shutdown()
    made = data_hashes(config)
    # The smaller dataset's last shard is shorter.
    assert len(made) == 15 and len(made.items() & expected.items()) == len(expected) - 1


@needs_older
@pytest.mark.ray
def test_a_pool_over_two_kinds_of_cpu_ends_naming_both(tiny_config, tmp_path) -> None:
    # So many shards that neither actor is done before the other is there.
    config = tiny_config(generate=with_actors(2, num=2000))
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.add_node(num_cpus=1, env_vars=OLDER)
    try:
        driver = subprocess.run(
            [sys.executable, str(REPOSITORY / "jobs" / "generate.py"), "--config", str(file)],
            env={**os.environ, "RAY_ADDRESS": nodes.address},
            capture_output=True,
            text=True,
        )
    finally:
        nodes.shutdown()
    assert driver.returncode == 3, driver.stderr
    kinds = {'"DEFAULT"', f'"{torch.backends.cpu.get_cpu_capability()}"'}
    both = {f"cpu_capability: there {a}, here {b}" for a, b in permutations(kinds)}
    assert any(made in driver.stderr for made in both), driver.stderr
    assert "generate.allow_unlike_hardware=true" in driver.stderr
    made_with = [r.made_with or {} for r in read_receipts(config.generate.url).values()]
    assert len({made["cpu_capability"] for made in made_with}) <= 1


@pytest.mark.ray
def test_a_place_that_a_node_does_not_share_is_refused(
    ray_session, tiny_config, monkeypatch
) -> None:
    config = tiny_config()
    there = Path(config.generate.url) / "_factory" / "run.json"
    [address] = cluster.live_nodes().values()
    assert cluster.nodes_without(str(there)) == ([address], [])
    monkeypatch.setattr(cluster, "live_nodes", lambda: {"one": address, "other": "10.0.0.2"})
    monkeypatch.setattr(cluster, "nodes_without", lambda path: (["10.0.0.2"], []))
    with pytest.raises(UserError, match=r"is not shared by 10\.0\.0\.2\. Name a path"):
        generate(config)
    ray_actors._check_shared(config.generate.url)
    with pytest.raises(GenerationFailed, match="finds no _factory/run"):
        ray_actors._check_shared(str(there.parent))


@pytest.mark.ray
def test_a_node_that_does_not_answer_is_named_and_waited_for_no_longer(
    ray_session, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(cluster, "_NODE_SECONDS", 0.0)
    [address] = cluster.live_nodes().values()
    assert cluster.nodes_without(str(tmp_path)) == ([], [address])
    monkeypatch.setattr(cluster, "live_nodes", lambda: {"one": address, "other": "10.0.0.2"})
    monkeypatch.setattr(cluster, "nodes_without", lambda path: ([], ["10.0.0.2"]))
    ray_actors._check_nodes_share(GenerateConfig(url=str(tmp_path)))
    assert "warning: 10.0.0.2 did not answer" in capsys.readouterr().out


@pytest.mark.ray
def test_an_extended_dataset_is_that_of_the_larger_command(expected, tiny_config) -> None:
    generate(tiny_config(generate=with_actors(1, num=12)))
    config = tiny_config(generate=with_actors(2))
    with pytest.raises(UserError, match="--extend"):
        generate(config)
    generate(tiny_config(generate=with_actors(2, extend=True)))
    assert data_hashes(config) == expected
    assert verify(config.generate.url, "decode").findings == []


@pytest.mark.ray
def test_a_finished_dataset_is_left_as_it_is(expected, tiny_config, capsys) -> None:
    config = tiny_config(generate=with_actors(1, format="webdataset", num=4))
    generate(config)
    before = data_hashes(config)
    written = {p: p.stat().st_mtime_ns for p in (Path(config.generate.url) / "data").iterdir()}
    capsys.readouterr()
    generate(config)
    assert data_hashes(config) == before
    assert {p: p.stat().st_mtime_ns for p in written} == written
    assert "1/1 shards are there" in capsys.readouterr().out


@pytest.mark.ray
def test_a_dataset_on_s3_holds_the_same_bytes(expected, tiny_config, s3_bucket) -> None:
    url = f"{s3_bucket}/dataset"
    manifest = generate(tiny_config(generate=with_actors(1, url=url)))
    assert {r.path.removeprefix("data/"): r.sha256 for r in manifest.receipts} == expected
    files = storage.list_files(url, recursive=True)
    assert sum("/data/" in file for file in files) == len(expected)
    assert storage.join(url, "_SUCCESS") in files


def test_another_plan_in_the_same_place_is_refused_with_the_difference(tiny_config) -> None:
    config = tiny_config()
    check(config).start("", {})
    with pytest.raises(UserError, match=r"recipe\.seed: there 0, here 5"):
        check(tiny_config(generate={"seed": 5}))
    with pytest.raises(UserError, match=r"30 pairs, 31 are asked for. Add --extend"):
        check(tiny_config(generate={"num": 31}))


def test_checking_writes_nothing(tiny_config, tmp_path) -> None:
    config = tiny_config()
    check(config)
    assert not Path(config.generate.url).exists()


def test_a_place_that_cannot_be_written_is_refused(tiny_config, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        check(tiny_config(generate={"url": str(tmp_path / "file" / "dataset")}))


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_refused(tiny_config, s3_bucket) -> None:
    with pytest.raises(UserError, match="s3://nowhere/dataset: cannot be written"):
        check(tiny_config(generate={"url": "s3://nowhere/dataset"}))


def test_missing_credentials_are_told_as_a_place_that_cannot_be_written(
    tiny_config, monkeypatch
) -> None:
    error = NoCredentialsError()
    fail_calls(monkeypatch, 99, error, at=lambda url: url.startswith("memory://"))
    with pytest.raises(UserError, match=r"cannot be written .*Unable to locate credentials"):
        check(tiny_config(generate={"url": "memory://bucket/dataset"}))


@pytest.mark.parametrize("workers", ["ray", "here"])
def test_a_path_in_a_jobs_own_folder_is_refused(
    tiny_config, monkeypatch, tmp_path, workers: str
) -> None:
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="thrown away"):
        check(tiny_config(generate={"workers": workers}))


@pytest.mark.parametrize("resource", ["cpus_per_actor", "gpus_per_actor"])
def test_a_pool_that_this_machine_can_never_run_is_refused(
    tiny_config, monkeypatch, resource
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(session, "num_cpus", lambda: 4)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    check(tiny_config(generate={"min_actors": 2, resource: 2}))
    with pytest.raises(
        UserError, match=rf"min_actors x generate\.{resource} = 6 .PUs, this machine"
    ):
        check(tiny_config(generate={"min_actors": 2, resource: 3}))
    # It may be part of a larger cluster, by whichever setting its address came.
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    check(tiny_config(generate={"min_actors": 2, resource: 3}))


def test_a_batch_that_does_not_fit_the_gpu_is_told_when_the_actor_starts(
    tiny_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    config = tiny_config()
    plan = check(config).plan
    monkeypatch.setattr(ray_actors, "batch_maker", full)
    monkeypatch.setattr(ray_actors, "_check_shared", lambda url: None)
    with pytest.raises(GenerationFailed, match=r"out of GPU memory with generate\.batch_size = 2"):
        ray_actors.ShardActor(ray_actors.Assignment(config, plan, False), None)
