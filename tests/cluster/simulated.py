"""A cluster on one machine that grows and shrinks: Ray's own autoscaler, with processes as nodes.

The head has no CPUs and is all there is at first. Nodes come when they are asked for and go when
they are idle, as on a cloud; they share this machine's disks. A token is asked for, and nothing
listens but at loopback and at this machine's own address.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from ray.util import get_node_ip_address

ROOT = Path(__file__).parents[2]
_MARK = "SIMULATED_CLUSTER"
"""An environment variable of all processes of a cluster, by which they are found."""


@dataclass(frozen=True)
class SimulatedCluster:
    """One that is up."""

    jobs: str
    """Where jobs are submitted."""
    environment: dict[str, str]
    """For processes that use it: its token among others."""

    @contextmanager
    def submitted(self, *arguments: str) -> Iterator["Job"]:
        """A job of Python with these arguments, which `ray job submit` follows to its end.

        It is killed if the body ends before.

        Without --working-dir: nodes on one machine have one folder for it, from which each that
        comes would take away what the others run.
        """
        with tempfile.NamedTemporaryFile("w+") as log:
            submit = ["job", "submit", "--address", self.jobs, "--"]
            process = subprocess.Popen(
                [*_RAY, *submit, sys.executable, *arguments],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                yield Job(process, Path(log.name))
            finally:
                process.kill()
                process.wait()

    def nodes(self) -> list[psutil.Process]:
        """The process of each node that is there, but for the head's."""
        return [node for node in self.processes("raylet/raylet ") if "--head" not in node.cmdline()]

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Those of the cluster that have a word in their titles."""
        return _marked(self.environment[_MARK], word)


@dataclass(frozen=True)
class Job:
    """A submitted job, as the user sees it."""

    process: subprocess.Popen[bytes]
    log: Path

    def output(self) -> str:
        """What it has said so far."""
        return self.log.read_text()

    def ends(self, seconds: float) -> int:
        """The exit code of `ray job submit`."""
        return self.process.wait(timeout=seconds)


_RAY = (sys.executable, "-m", "ray.scripts.scripts")


@contextmanager
def simulated_cluster(max_nodes: int) -> Iterator[SimulatedCluster]:
    """A head without CPUs, and up to max_nodes nodes of one CPU each."""
    # Short, as sockets lie below it.
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    here = get_node_ip_address()
    gcs, dashboard, agent = (_free_port(here) for _ in range(3))
    mark = uuid.uuid4().hex
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        _MARK: mark,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    }
    autoscaling = folder / "autoscaling.json"
    autoscaling.write_text(json.dumps(_autoscaling(max_nodes, f"{here}:{gcs}")))
    start = [
        *("start", "--head", "--block", "--num-cpus=0", "--disable-usage-stats"),
        *(f"--port={gcs}", f"--temp-dir={folder / 'ray'}", f"--autoscaling-config={autoscaling}"),
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
        f"--dashboard-agent-listen-port={agent}",
    ]
    log = folder / "start.log"
    try:
        with log.open("wb") as output:
            head = subprocess.Popen([*_RAY, *start], env=environment, stdout=output, stderr=output)
        # Which starts the jobs.
        wait_until(lambda: head.poll() is not None or _answers(here, agent), 120)
        assert head.poll() is None, log.read_text()
        yield SimulatedCluster(f"http://127.0.0.1:{dashboard}", environment)
    finally:
        _end(mark)
        shutil.rmtree(folder)


def _autoscaling(max_nodes: int, gcs_address: str) -> dict[str, object]:
    """What a cluster.yaml becomes; of most of it nodes on one machine have no use."""
    return {
        "cluster_name": "simulated",
        "max_workers": max_nodes,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.25,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": gcs_address,
            "launch_multiple": True,
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {
                "resources": {"CPU": 1},
                "node_config": {},
                "min_workers": 0,
                "max_workers": max_nodes,
            },
        },
        **{name: {} for name in ("auth", "docker", "file_mounts")},
        **{
            name: []
            for name in (
                *("cluster_synced_files", "file_mounts_sync_continuously", "rsync_exclude"),
                *("rsync_filter", "initialization_commands", "setup_commands"),
                *("head_setup_commands", "worker_setup_commands"),
                *("head_start_ray_commands", "worker_start_ray_commands"),
            )
        },
        "head_node": {},
        "worker_nodes": {},
    }


def wait_until(condition: Callable[[], object], seconds: float) -> None:
    """Returns when the condition holds; fails where it does not in so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


def _free_port(here: str) -> int:
    with socket.create_server((here, 0)) as server:
        return int(server.getsockname()[1])


def _answers(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


def _marked(mark: str, word: str = "") -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(_MARK) == mark and word in " ".join(process.cmdline()):
                found.append(process)
    return found


def _end(mark: str) -> None:
    """Ends all processes of a cluster, each by its id; those that start others first."""
    while left := _marked(mark):
        kill(left)


def kill(processes: Sequence[psutil.Process]) -> None:
    """By SIGKILL, as a machine that is switched off ends them."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, timeout=10)
