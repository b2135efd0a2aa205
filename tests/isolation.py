"""Keeps tests apart from the machine they run on: from its network, home folder and settings."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import pytest

_SETTINGS = (
    "AWS_", "AZURE_", "FACTORY_", "FSSPEC_", "GCS_", "GOOGLE_", "HF_", "RAY_", "TORCHINDUCTOR_",
    "XDG_",
)  # fmt: skip
_OF_A_TERMINAL = ("COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR")
_KEPT = ("RAY_TMPDIR",)
"""Ray's sockets need a folder with a short path, wherever the machine has one."""

_RAY_SERVERS = ("gcs_server", "raylet")


def hide_settings(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    """Gives this process, and those that it starts, an empty home and no settings of the user."""
    for name in list(os.environ):
        if name.startswith(_SETTINGS + _OF_A_TERMINAL) and name not in _KEPT:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", home)


class Watch:
    """Refuses what a test must not do, which Python's audit events report.

    An audit hook stays as long as its process: there is one, and `during` turns it on.
    """

    def __init__(self) -> None:
        self._refused: list[str] | None = None
        sys.addaudithook(self._audit)

    @contextmanager
    def during(self) -> Iterator[list[str]]:
        """Refuses connections that leave this machine, and starts of Ray.

        Yields the list of what was refused: the code that got the error may have caught it.
        """
        before, self._refused = self._refused, []
        try:
            yield self._refused
        finally:
            self._refused = before

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if self._refused is None:
            return
        if event in ("socket.connect", "socket.sendto"):
            # The address of a Unix socket is a path.
            if isinstance(args[1], tuple) and not _is_loopback(args[1][0]):
                self._refuse(f"reached for {args[1]}: tests have no network")
        elif event == "socket.getaddrinfo":
            if not _is_loopback(args[0]):
                self._refuse(f"looked up {args[0]!r}: tests have no network")
        elif event == "subprocess.Popen":
            program = args[1] if isinstance(args[1], str | bytes) else args[1][0]
            if os.path.basename(os.fsdecode(program)) in _RAY_SERVERS:
                self._refuse("started Ray: that needs the marker `ray`")

    def _refuse(self, message: str) -> None:
        assert self._refused is not None
        self._refused.append(message)
        raise AssertionError(message)


def _is_loopback(host: object) -> bool:
    name = os.fsdecode(host) if isinstance(host, str | bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ip_address(str(name)).is_loopback
    except ValueError:
        return False


WATCH = Watch()
