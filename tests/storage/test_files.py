"""Claims about factory.storage.files."""

import errno
import os
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from factory import storage
from tests.storage.stores import Clock, Store, answer, lose_the_response


def test_what_is_written_is_read(url: str) -> None:
    file = storage.join(url, "b", "c.bin")
    storage.write_new(file, b"one")
    assert storage.read_bytes(file) == b"one"
    assert storage.exists(file) and storage.exists(url)
    assert not storage.exists(storage.join(url, "d"))


def test_write_new_never_replaces(url: str) -> None:
    file = storage.join(url, "c.bin")
    storage.write_new(file, b"one")
    with pytest.raises(FileExistsError):
        storage.write_new(file, b"two")
    assert storage.read_bytes(file) == b"one"


def test_write_replaces(url: str) -> None:
    file = storage.join(url, "c.txt")
    storage.write(file, b"a longer text")
    storage.write(file, "zwölf".encode())
    assert storage.read_text(file) == "zwölf"


def test_chunks_become_one_file_which_replaces_an_older_one(url: str) -> None:
    file = storage.join(url, "folder", "c.txt")
    for parts in ([b"a", b"", b"longer text"], [b"b", b"c"], []):
        storage.write_chunks(file, iter(parts))
        assert storage.read_bytes(file) == b"".join(parts)


def test_chunks_that_break_off_leave_the_older_file(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise RuntimeError

    file = storage.join(url, "c.txt")
    storage.write(file, b"whole")
    with pytest.raises(RuntimeError):
        storage.write_chunks(file, chunks())
    assert storage.read_bytes(file) == b"whole"
    assert storage.list_files(url) == [file]


def test_chunks_are_written_again_where_a_store_fails(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lose_the_response(monkeypatch, "put_file")
    storage.write_chunks("memory://b/x", iter([b"a", b"b"]))
    assert storage.read_bytes("memory://b/x") == b"ab"


def test_a_missing_file_is_not_found(url: str) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(storage.join(url, "nothing"))


def test_writing_leaves_nothing_else_behind(tmp_path: Path) -> None:
    storage.write_new(str(tmp_path / "a"), b"1")
    storage.write(str(tmp_path / "a"), b"2")
    with pytest.raises(FileExistsError):
        storage.write_new(str(tmp_path / "a"), b"3")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["x" * 255, "\N{GRINNING FACE}" * 63])
def test_a_name_may_be_as_long_as_the_system_lets_it(name: str, tmp_path: Path) -> None:
    storage.write_new(str(tmp_path / name), b"1")
    storage.write(str(tmp_path / name), b"2")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"2"]


def test_a_file_that_was_created_although_the_response_was_lost_is_nobody_elses(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    lose_the_response(monkeypatch, "pipe_file")
    storage.write_new("memory://b/x", b"ours")
    assert storage.read_bytes("memory://b/x") == b"ours"
    with pytest.raises(FileExistsError):
        storage.write_new("memory://b/x", b"ours")


def test_a_file_that_somebody_else_created_after_a_failed_call_is_theirs(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: storage.write("memory://b/x", b"theirs"))
    store.errors[:] = [answer("SlowDown", 503)]
    with pytest.raises(FileExistsError):
        storage.write_new("memory://b/x", b"ours")
    assert storage.read_bytes("memory://b/x") == b"theirs"


def test_a_file_that_was_removed_although_the_response_was_lost_is_not_missing(
    store: type[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch)
    storage.write("memory://b/x", b"x")
    lose_the_response(monkeypatch, "rm_file")
    storage.remove("memory://b/x")
    assert not storage.exists("memory://b/x")
    with pytest.raises(FileNotFoundError):
        storage.remove("memory://b/x")


def test_a_full_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        # As the system says it: without a name.
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for write in (storage.write, storage.write_new):
        with pytest.raises(OSError, match="No space left") as raised:
            write(str(tmp_path / "weights"), b"x")
        assert str(tmp_path / "weights") in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for write in (storage.write, storage.write_new):
        for below in ("file/x", "file/x/y"):
            with pytest.raises(NotADirectoryError) as raised:
                write(str(tmp_path / below), b"x")
            assert raised.value.filename == str(tmp_path / below)
    with pytest.raises(FileExistsError) as exists:
        storage.write_new(str(tmp_path / "file"), b"y")
    assert exists.value.filename == str(tmp_path / "file")


def test_a_full_disk_of_temporary_files_is_told_with_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", partial(open, "/dev/full", "wb"))
    with pytest.raises(OSError, match="No space left") as raised:
        storage.write_chunks("memory://b/x", [b"x"])
    assert raised.value.filename == tempfile.gettempdir()


def test_below_a_file_there_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for read in (storage.read_bytes, storage.sha256_of):
        with pytest.raises(FileNotFoundError):
            read(str(tmp_path / "file" / "below"))


def test_memory_alone_does_not_outlive_the_process(tmp_path: Path) -> None:
    assert storage.outlives_this_process(str(tmp_path))
    assert not storage.outlives_this_process("memory://b")
