"""Claims about factory.storage.local_writing."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory import storage

HALF = f".x.{'0' * 32}.tmp"


def test_what_a_killed_process_left_is_removed_and_what_is_being_written_stays(
    tmp_path: Path,
) -> None:
    for name in (HALF, f"a/b/{HALF}", ".x.tmp", "kept"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    removed = []

    def chunks() -> Iterator[bytes]:
        yield b"one "
        removed.append(storage.remove_abandoned(str(tmp_path)))
        yield b"two"

    storage.write_chunks(str(tmp_path / "a" / "whole"), chunks())
    assert removed == [2]
    assert (tmp_path / "a" / "whole").read_bytes() == b"one two"
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {".x.tmp", "kept", "a/whole"}


def test_a_new_file_that_is_taken_for_a_left_one_before_it_is_locked_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, removed = fcntl.flock, []

    def late(file: object, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        removed.append(storage.remove_abandoned(str(tmp_path)))
        lock(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", late)
    storage.write(str(tmp_path / "x"), b"all of it")
    assert removed == [1] and (tmp_path / "x").read_bytes() == b"all of it"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
