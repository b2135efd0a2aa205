"""Claims about what tests are kept from: the network, Ray, and the settings of their user."""

import os
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from tests.isolation import WATCH, hide_settings

UNROUTED = "192.0.2.1"
"""An address that stands for no machine (RFC 5737)."""


@pytest.mark.parametrize("host", [UNROUTED, "2001:db8::1", "host.example"])
def test_nothing_leaves_this_machine(host: str) -> None:
    with WATCH.during() as refused, pytest.raises(AssertionError, match="no network"):
        socket.create_connection((host, 80), timeout=0.01)
    assert len(refused) == 1 and host in refused[0]


def test_a_refusal_is_known_where_the_code_caught_it() -> None:
    with WATCH.during() as refused, suppress(Exception):
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (UNROUTED, 53))
    assert refused == [f"reached for {(UNROUTED, 53)}: tests have no network"]


def test_loopback_is_open() -> None:
    with WATCH.during() as refused, socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()
    assert not refused


@pytest.mark.slow
def test_ray_does_not_start_without_its_marker() -> None:
    code = (
        "import ray; from tests.isolation import WATCH\n"
        "with WATCH.during() as refused:\n"
        "    try: ray.init(address='local', include_dashboard=False)\n"
        "    finally: print(*refused)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == "started Ray: that needs the marker `ray`\n"


def test_the_settings_of_a_user_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = "AWS_PROFILE", "RAY_ADDRESS", "HF_HOME", "XDG_CACHE_HOME", "COLUMNS"
    for name in (*hidden, "RAY_TMPDIR", "PATH"):
        monkeypatch.setenv(name, "mine")
    hide_settings(monkeypatch, "/empty")
    assert not set(hidden) & set(os.environ)
    assert os.environ["RAY_TMPDIR"] == os.environ["PATH"] == "mine"
    assert os.path.expanduser("~") == "/empty"
