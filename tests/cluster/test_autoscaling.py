"""Claims about clusters that grow, lose nodes and shrink: some minutes, by `make cluster-test`."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from factory.shards.reading import read_manifest
from tests import tiny
from tests.cluster.simulated import ROOT, Job, SimulatedCluster, kill, simulated_cluster, wait_until
from tests.ray_processes import TRAIN_WORKER

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

NUM_NODES = 3
# Each is for a machine that does other things, too.
SOON, LATER = 180, 600


@pytest.fixture(scope="module")
def cluster() -> Iterator[SimulatedCluster]:
    with simulated_cluster(NUM_NODES) as up:
        yield up


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Of tiny models, in a file."""
    tree = {
        **tiny.TREE,
        "data": {"image_size": 16, "unlabelled": {"kind": "toy", "num": 64, "seed": 1}},
        "models": tiny.save_models(tmp_path / "models"),
        "train": {
            **tiny.TREE["train"],
            "num_workers": 2,
            "batch_size": 8,
            "num_steps": 1000,
            "warmup_steps": 10,
            "checkpoint_steps": 100,
            "log_steps": 500,
            "sample_steps": 1000,
        },
        "generate": {
            "num": 80,
            "samples_per_shard": 4,
            "batch_size": 2,
            "precision": "fp32",
            "num_sampling_steps": 20,
            "max_actors": NUM_NODES,
            "progress_seconds": 5,
        },
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


def on_this_machine(*command: str) -> None:
    """The same command, on a Ray of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    subprocess.run([sys.executable, *command], check=True, cwd=ROOT, env=environment)


def nodes_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def switch_off(node: psutil.Process) -> None:
    """As AWS takes a spot node back: all its processes end at once."""
    kill([node, *node.children(recursive=True)])


def while_it_runs(job: Job, condition: Callable[[], object]) -> None:
    """Waits for it, as long as the job goes on."""
    wait_until(lambda: job.process.poll() is not None or condition(), LATER)
    assert job.process.poll() is None, job.output()


def said(job: Job) -> list[str]:
    """The lines of the job's own."""
    _, _, output = job.output().partition("Running entrypoint for job")
    lines = output.partition("\n")[2].splitlines()
    # Lines of the command that follows the job begin with a position in its code.
    return [line for line in lines if " -- " not in line and line.strip()]


def test_a_job_grows_to_max_actors_outlives_a_lost_node_and_lets_all_nodes_go(
    cluster: SimulatedCluster, config: Path, tmp_path: Path
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    on_this_machine("jobs/generate.py", "--config", str(config), "--out", str(alone))
    for name in ("begun", "made"):
        (tmp_path / name).mkdir()
    assert cluster.nodes() == []
    command = ["-m", "tests.cluster.generating", str(tmp_path), "--config", str(config)]
    with cluster.submitted(*command, "--out", str(together)) as job:
        while_it_runs(job, lambda: len(nodes_in(tmp_path / "made")) == NUM_NODES)
        first = nodes_in(tmp_path / "made")
        switch_off(cluster.nodes()[0])
        while_it_runs(job, lambda: len(nodes_in(tmp_path / "begun")) == NUM_NODES + 1)
        (tmp_path / "go-on").touch()
        assert job.ends(LATER) == 0, job.output()
        lines = said(job)
    assert len(nodes_in(tmp_path / "made") - first) == 1, "the node that was added makes shards"
    assert read_manifest(str(together)).root == read_manifest(str(alone)).root
    # Nothing of the autoscaler's, and no page of the lost node's state.
    assert all(line.startswith("generate | ") for line in lines), "\n".join(lines)
    output = "\n".join(lines)
    assert "waiting for actors: 0 of 3 are ready; 3 CPUs and 0 GPUs are asked for, the " in output
    assert " is lost; begun again: shard" in output
    wait_until(lambda: not cluster.nodes(), SOON)


def test_a_training_grows_to_its_workers_outlives_a_lost_node_and_lets_all_nodes_go(
    cluster: SimulatedCluster, config: Path, tmp_path: Path
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    on_this_machine("jobs/train_diffusion.py", "--config", str(config), "--out", str(alone))
    wait_until(lambda: not cluster.nodes(), SOON)
    command = [
        str(ROOT / "jobs/train_diffusion.py"),
        "--config",
        str(config),
        "--out",
        str(together),
    ]
    checkpoints = together / "checkpoints"
    with cluster.submitted(*command) as job:
        while_it_runs(job, lambda: checkpoints.is_dir() and any(checkpoints.iterdir()))
        at_work = [node for node in cluster.nodes() if works(node)]
        assert len(at_work) == 2, "one worker on each of two nodes"
        switch_off(at_work[0])
        assert job.ends(LATER) == 0, job.output()
        lines = said(job)
    assert "train | going on from step" in "\n".join(lines)
    weights = "model/unet/diffusion_pytorch_model.safetensors"
    assert (together / weights).read_bytes() == (alone / weights).read_bytes()
    wait_until(lambda: not cluster.nodes(), SOON)


def works(node: psutil.Process) -> bool:
    """Whether a worker of a training runs there."""
    return any(TRAIN_WORKER in " ".join(each.cmdline()) for each in node.children())
