"""Claims about factory.cluster, most in a process that has no Ray yet."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import ray
from ray._private import ray_constants

from factory import cluster, storage
from factory.diffusion.checkpoints import load_model
from factory.errors import UserError
from factory.ray_internals import environment, session

CONNECT = """
from factory import cluster
from factory.errors import UserError
try:
    cluster.connect()
except UserError as error:
    print(error)
"""


def connect(**environment: str) -> str:
    """What `cluster.connect` says in a process with these environment variables."""
    names = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    done = subprocess.run(
        [sys.executable, "-c", CONNECT],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "address", ["nonsense", "127.0.0.1:9", "[::1]:9", "nowhere.invalid:6379", "http://127.0.0.1:9"]
)
def test_an_address_at_which_no_cluster_answers_is_refused(address: str) -> None:
    message = connect(RAY_ADDRESS=address)
    assert message.startswith(f"RAY_ADDRESS={address}: no Ray cluster answers there (")
    assert "unset it to run on this machine alone" in message


@pytest.mark.parametrize("port", ["-1", "0", "99999", "²", "", "6379/x"])
def test_a_port_that_is_none_is_refused_without_asking(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray would knock there for most of a minute, and say so on lines of its own.
    monkeypatch.setattr(ray, "init", lambda *arguments, **more: pytest.fail("was asked"))
    with pytest.raises(UserError, match="is not a port: a number from 1 to 65535"):
        cluster._join(f"127.0.0.1:{port}")


def test_a_process_that_had_a_local_cluster_joins_one_that_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grows: list[bool] = []
    for name, value in environment.DEFAULTS.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(session, "provide_token", lambda: None)
    monkeypatch.setattr(ray, "init", lambda *arguments, **more: grows.append(cluster.may_grow()))
    for address in ("local", "auto"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        cluster.connect()
    assert grows == [False, True]


@pytest.mark.parametrize("address", ["local", "", " ", " local "])
def test_no_address_and_rays_word_for_none_start_the_same_closed_cluster(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "_start", lambda: started.append("here"))
    monkeypatch.setattr(cluster, "_join", started.append)
    cluster.connect()
    assert started == ["here"]
    # And this machine's room counts.
    with pytest.raises(UserError, match="9999 CPUs, this machine has"):
        cluster.check_capacity({"CPUs": ("generate.cpus_per_actor", 9999)})


def test_what_answers_but_is_no_cluster_is_asked_for_less_than_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The variable says how often, and each time takes 41 seconds.
    monkeypatch.delenv(environment.ADDRESS_TRIES, raising=False)
    asked: list[str] = []

    def init(address: str, **options: object) -> None:
        asked.append(os.environ[environment.ADDRESS_TRIES])
        raise ConnectionError("Failed to connect")

    monkeypatch.setattr(ray, "init", init)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(UserError, match="no Ray cluster answers there"),
    ):
        cluster._join(f"127.0.0.1:{server.getsockname()[1]}")
    assert asked == ["1"]


@pytest.mark.slow
def test_a_cluster_whose_token_we_lack_says_where_to_put_it(tmp_path: Path) -> None:
    # Whoever is there is not asked without a token.
    environment = {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        message = connect(RAY_ADDRESS=address, **environment)
    assert message.startswith(f"RAY_ADDRESS={address}: the cluster does not let us in (")
    assert "~/.ray/auth_token" in message and "RAY_AUTH_TOKEN_PATH" in message


@pytest.mark.slow
def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "token")
    message = connect(RAY_AUTH_TOKEN_PATH=missing)
    assert message.startswith("Ray's token: RAY_AUTH_TOKEN_PATH is set but") and missing in message


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["file/below", "x" * 40])
def test_a_temporary_folder_that_ray_cannot_use_is_named(folder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    tmpdir = str(tmp_path / folder)
    message = connect(TMPDIR=tmpdir)
    assert message.startswith("Ray cannot start on this machine (")
    assert f"Its processes meet in {tmpdir}/ray: set RAY_TMPDIR to a folder" in message


def test_ray_is_started_from_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.DEFAULTS.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(session, "provide_token", lambda: None)
    started: list[threading.Thread] = []

    def init(**options: object) -> None:
        started.append(threading.current_thread())
        if started[-1] is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    monkeypatch.setattr(ray, "init", init)
    before = signal.getsignal(signal.SIGTERM)
    # As Streamlit and FastAPI call: what is raised in there would fail the test.
    another = threading.Thread(target=cluster.connect)
    another.start()
    another.join()
    cluster.connect()
    # Linux ends what a thread started when that thread ends.
    assert not another.is_alive() and all(thread.is_alive() for thread in started)
    # Whose signals Ray would take.
    assert threading.main_thread() not in started
    assert signal.getsignal(signal.SIGTERM) is before


class NoCredentialsError(Exception):
    """As botocore calls it."""


def test_a_worker_without_credentials_names_its_node_and_says_how_they_come_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(cluster, "this_node", lambda: "0af3")
    monkeypatch.setattr(cluster, "node_names", lambda: {"0af3": "10.0.0.7 worker-3"})
    filesystem = storage.filesystem("memory://bucket/x")[0]
    monkeypatch.setattr(type(filesystem), "cat_file", refuse)
    monkeypatch.setattr(type(filesystem), "exists", refuse)
    for work in (storage.read_bytes, storage.exists, load_model):
        with pytest.raises(UserError) as error, cluster.naming_this_node():
            work("memory://bucket/x")
        message = str(error.value)
        assert "node 10.0.0.7 worker-3 finds no credentials" in message
        assert "(Unable to locate credentials)" in message
        assert "do not inherit the environment of the shell" in message
        assert "docs/operations.md" in message
    # Others are not for lack of credentials.
    with pytest.raises(FileNotFoundError), cluster.naming_this_node():
        storage.remove("memory://bucket/x")
