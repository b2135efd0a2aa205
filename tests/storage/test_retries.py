"""Claims about factory.storage.retries."""

import errno
import socket
from itertools import pairwise

import pytest

from factory import storage
from factory.storage import retries
from tests.storage.stores import Clock, Store, answer


@pytest.mark.parametrize("luck", [0.0, 0.5, 1.0])
def test_any_outage_of_a_minute_is_survived_with_few_calls(
    luck: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, calls = Clock(monkeypatch, luck), []

    def work() -> str:
        calls.append(clock.now)
        if clock.now < 60:
            raise OSError("503 SlowDown")
        return "done"

    assert retries.with_retries(work) == "done"
    assert len(calls) <= retries.TRIES
    assert max(after - before for before, after in pairwise(calls)) <= 30


@pytest.mark.parametrize("luck", [0.0, 1.0])
def test_an_outage_that_lasts_is_told_after_minutes(
    luck: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, luck)

    def work() -> None:
        raise OSError("503 SlowDown")

    with pytest.raises(OSError, match="503"):
        retries.with_retries(work)
    assert 60 < clock.now < 180


CALLS = {
    "read_bytes": lambda: storage.read_bytes("memory://b/x"),
    "sha256_of": lambda: storage.sha256_of("memory://b/x"),
    "exists": lambda: storage.exists("memory://b/x"),
    "list_files": lambda: storage.list_files("memory://b"),
    "list_names": lambda: storage.list_names("memory://b"),
    "read_range": lambda: storage.read_range("memory://b/x", 0, 1),
    "size_of": lambda: storage.size_of("memory://b/x"),
    "entries": lambda: storage.entries("memory://b"),
    "versions": lambda: storage.versions("memory://b", ["memory://b/x"]),
    "write": lambda: storage.write("memory://b/x", b"y"),
    "write_new": lambda: storage.write_new("memory://b/new", b"y"),
}


@pytest.mark.parametrize("name", CALLS)
def test_each_call_is_repeated_where_the_store_fails_and_no_more_often_than_that(
    name: str, store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write("memory://b/x", b"x")
    pauses = Clock(monkeypatch).pauses
    store.errors[:] = [answer("SlowDown", 503) for _ in range(3)]
    CALLS[name]()
    assert len(pauses) == 3 and not store.errors
    store.errors[:] = [answer("SlowDown", 503) for _ in range(99)]
    with pytest.raises(OSError, match="memory://b"):
        CALLS[name]()
    assert len(store.errors) == 99 - retries.TRIES


def _no_address() -> OSError:
    """As httpx raises what it finds no address of: its own error, of the system's."""
    error = OSError("ConnectError")
    error.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return error


def _no_answer() -> OSError:
    return ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed")


@pytest.mark.parametrize("error", [_no_address(), _no_answer()], ids=["no address", "no answer"])
def test_a_host_that_was_never_reached_is_told_at_once_and_one_that_was_gets_its_tries(
    error: OSError, store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    store.errors[:] = [error]
    with pytest.raises(OSError, match="cannot be reached; check the network or the name") as raised:
        storage.list_names("memory://b")
    assert not clock.now and storage.is_transient(raised.value)
    told = storage.to_user_error("memory://b", raised.value, "listed", "Check permissions.")
    assert "check the network or the name" in str(told) and "permissions" not in str(told)
    storage.write("memory://b/x", b"x")
    store.errors[:] = [error] * (retries.TRIES - 1)
    assert storage.list_names("memory://b") == ["x"]
    assert clock.now > 60
