"""Claims about factory.storage.probing."""

import time
from pathlib import Path

import pytest

from factory import storage
from factory.errors import UserError
from tests.storage.stores import TEMPORARY_ERRORS, Clock, Store, answer, kind


def test_probing_a_place_leaves_no_trace(tmp_path: Path) -> None:
    storage.check_writable(str(tmp_path / "new" / "deep"))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named_with_the_reason(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be written") as refusal:
        storage.check_writable(str(tmp_path / "file" / "below"))
    assert str(tmp_path / "file") in str(refusal.value)


@pytest.mark.parametrize("error", TEMPORARY_ERRORS, ids=kind)
def test_a_store_that_fails_once_is_asked_again(
    error: Exception, store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    for num_good in range(4):
        store.errors[:] = [*[None] * num_good, error]
        assert storage.check_writable("memory://b")
        assert not store.errors and clock.now
        assert storage.entries("memory://b") == []


def test_a_missing_bucket_is_told_at_once(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    store.errors[:] = [answer("NoSuchBucket", 404)]
    with pytest.raises(UserError, match="cannot be written"):
        storage.check_writable("memory://b")
    assert not clock.now


def test_a_store_that_cannot_be_reached_for_long_is_no_mistake_of_the_place(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    store.errors[:] = [answer("SlowDown", 503) for _ in range(99)]
    with pytest.raises(UserError, match=r"memory://b: cannot be reached now .* same command again"):
        storage.check_writable("memory://b")


def test_a_store_without_create_only_writes_is_found_out(store: type[Store]) -> None:
    assert storage.check_writable("memory://b")
    store.replaces = True
    assert not storage.check_writable("memory://b")
    assert storage.entries("memory://b") == []


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_a_places_clock_is_not_this_processes(
    url: str, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(f"{url}/x", b"x")
    original = time.time
    monkeypatch.setattr(time, "time", lambda: original() + days * 86400)
    now, [entry] = storage.clock_of(url), storage.entries(url)
    assert now is not None and entry.modified is not None
    assert 0 <= now - entry.modified < 3600
    assert [entry.name for entry in storage.entries(url)] == ["x"]
