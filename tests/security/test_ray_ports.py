"""Claims about Ray's ports: Ray runs whatever it is sent, so nobody else may reach it."""

import ipaddress
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray._private import ray_constants

from factory import cluster
from factory.ray_internals import environment, session

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(
    path
    for pattern in ("*.md", "*.yaml", "Makefile", "docs/**/*.md", "configs/*.yaml", "jobs/*.py",
                    "benchmarks/*.*", "factory/**/*.py")
    for path in ROOT.glob(pattern)
)  # fmt: skip


@pytest.fixture
def init_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """What `ray.init` was called with; nothing is started."""
    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **options: calls.append(options))
    # Set for good in a process that starts a cluster of its own.
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(session, "provide_token", lambda: None)
    for name, value in environment.DEFAULTS.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    before = signal.getsignal(signal.SIGTERM)
    yield calls
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_local_cluster_is_on_loopback_without_a_dashboard(
    init_calls: list[dict[str, Any]],
) -> None:
    cluster.connect()
    (options,) = init_calls
    assert options["address"] == "local"
    assert options["include_dashboard"] is False and options["dashboard_host"] == "127.0.0.1"
    assert ray_constants.ENABLE_RAY_CLUSTER is False
    # Nothing that would turn off the token, which Ray turns on by itself.
    assert set(options) == {"address", "include_dashboard", "dashboard_host", "logging_level"}


REALLY = """
import json, os, psutil, ray
from factory import cluster
from factory.ray_internals import session
from tests.ray_processes import session_folder
cluster.connect()
assert ray.get(ray.remote(os.path.exists).remote("/"))
processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
found = [c for p in processes for c in p.net_connections("inet") if c.status == "LISTEN"]
files = [file for file in session_folder().rglob("*") if file.is_file()]
token = os.environ["RAY_AUTH_TOKEN"].encode()
print(json.dumps({
    "asks for a token": session.sends_token(),
    "listens at": [c.laddr.ip for c in found],
    "files": len(files),
    "that hold the token": [str(file) for file in files if token in file.read_bytes()],
    "arguments with it": [p.pid for p in processes if token.decode() in " ".join(p.cmdline())],
}))
ray.shutdown()
"""


@pytest.mark.ray
def test_a_local_cluster_really_listens_on_loopback_alone_and_asks_for_a_token_in_memory(
    tmp_path: Path,
) -> None:
    names = ("RAY_ADDRESS", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in names and not name.startswith("RAY_AUTH")
    }
    # No home that could hold the token as a file.
    (tmp_path / "file").write_text("")
    environment["HOME"] = str(tmp_path / "file" / "home")
    done = subprocess.run(
        [sys.executable, "-c", REALLY], env=environment, capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["asks for a token"] is True
    assert found["files"] > 5
    assert found["that hold the token"] == found["arguments with it"] == []
    addresses = found["listens at"]
    assert len(addresses) >= 5
    for address in addresses:
        assert ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback, addresses


@pytest.mark.parametrize(
    ("address", "with_token", "warned"),
    [
        ("10.0.0.5:6379", False, True),
        ("192.0.2.7:6379", False, True),
        ("head.internal:6379", False, True),
        ("127.0.0.1.evil.example:6379", False, True),
        ("ray://10.0.0.5:10001", False, True),
        ("[fd00::2]:6379", False, True),
        ("auto", False, True),
        ("10.0.0.5:6379", True, False),
        ("auto", True, False),
        ("127.0.0.1:6379", False, False),
        ("127.8.8.8:6379", False, False),
        ("localhost:6379", False, False),
        ("[::1]:6379", False, False),
        ("ray://127.0.0.1:10001", False, False),
    ],
)
def test_joining_a_cluster_that_asks_for_no_token_is_warned_of_once(
    address: str,
    with_token: bool,
    warned: bool,
    init_calls: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(session, "sends_token", lambda: with_token)
    monkeypatch.setattr(socket, "create_connection", lambda *arguments: socket.socket())
    cluster.connect()
    (options,) = init_calls
    assert set(options) == {"address", "logging_level"} and options["address"] == address
    assert ray_constants.ENABLE_RAY_CLUSTER is True
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == warned
    assert all(line.startswith("warning: ") and "RAY_AUTH_MODE=token" in line for line in lines)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_example_opens_a_port_to_the_world(path: Path) -> None:
    text = path.read_text()
    assert "0.0.0.0" not in text and "::/0" not in text
    hosts = re.findall(
        r"(?:dashboard[-_]host|node[-_]ip[-_]address)[=: ]+[\"'`]?([^\s\"'`,)]+)", text
    )
    assert set(hosts) <= {"127.0.0.1"}
    assert not re.search(r"(?:-p|--publish)[= ]\d+:(?:8265|10001|6379)|hostPort|LoadBalancer", text)
    for host in re.findall(r"(\S+?):(?:8265|10001)\b", text):
        assert host.endswith(("127.0.0.1", "localhost")), host
    assert "RAY_AUTH_MODE=disabled" not in text


def test_the_examples_are_seen() -> None:
    names = {str(path.relative_to(ROOT)) for path in EXAMPLES}
    assert {"README.md", "SECURITY.md", "cluster.yaml", "docs/operations.md"} <= names


def test_every_cluster_that_is_shown_asks_for_a_token() -> None:
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    starts = [
        command
        for command in config["head_start_ray_commands"] + config["worker_start_ray_commands"]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token ray start" in command for command in starts)
