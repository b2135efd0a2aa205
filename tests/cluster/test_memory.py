"""Claims about nodes whose memory is used up the whole time."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ray.cluster_utils import Cluster

from tests import tiny
from tests.cluster.simulated import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture
def address() -> Iterator[str]:
    """Of a cluster with one node for work, at which Ray kills whatever is started."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        # Of all memory of this machine, of which more is in use.
        nodes.add_node(num_cpus=2, env_vars={"RAY_memory_usage_threshold": "0.01"})
        yield nodes.address
    finally:
        nodes.shutdown()


@pytest.mark.parametrize(("command", "code"), [("generate", 3), ("train", 1)])
def test_a_node_that_is_short_of_memory_ends_the_command_with_what_helps(
    command: str, code: int, address: str, tmp_path: Path
) -> None:
    toy = {"kind": "toy", "num": 8, "seed": 1}
    tree = {
        **tiny.TREE,
        "data": {"image_size": 16, "unlabelled": toy},
        "models": tiny.save_models(tmp_path / "models"),
        "train": {**tiny.TREE["train"], "num_steps": 5, "batch_size": 4},
        "generate": {"num": 8, "samples_per_shard": 4, "num_sampling_steps": 5, "batch_size": 2},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    arguments = ["--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "factory.cli", command, *arguments],
        env={**os.environ, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
    )
    assert done.returncode == code, done.stderr
    [message] = re.findall(r"(?m)^error: .*$", done.stderr)
    assert "memory" in message and re.search(r"[Uu]se nodes with more", message)
    assert "Traceback" not in done.stderr and "Object store" not in done.stderr
