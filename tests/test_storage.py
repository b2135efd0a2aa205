"""Claims about factory.storage."""

import os
import uuid
from pathlib import Path

import pytest

from factory import storage
from factory.errors import UserError


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty place on this machine, and one behind fsspec."""
    return str(tmp_path / "a") if request.param == "local" else f"memory://{uuid.uuid4().hex}/a"


def test_what_is_written_is_read(place: str) -> None:
    file = storage.join(place, "b", "c.bin")
    storage.write_new(file, b"one")
    assert storage.read_bytes(file) == b"one"
    assert storage.size_of(file) == 3
    assert storage.exists(file) and storage.exists(place)
    assert not storage.exists(storage.join(place, "d"))


def test_write_new_never_replaces(place: str) -> None:
    file = storage.join(place, "c.bin")
    storage.write_new(file, b"one")
    with pytest.raises(FileExistsError):
        storage.write_new(file, b"two")
    assert storage.read_bytes(file) == b"one"


def test_write_replaces(place: str) -> None:
    file = storage.join(place, "c.txt")
    storage.write(file, b"a longer text")
    storage.write(file, "zwölf".encode())
    assert storage.read_text(file) == "zwölf"


def test_a_missing_file_is_not_found(place: str) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(storage.join(place, "nothing"))


def test_writing_leaves_nothing_else_behind(tmp_path: Path) -> None:
    storage.write_new(str(tmp_path / "a"), b"1")
    storage.write(str(tmp_path / "a"), b"2")
    with pytest.raises(FileExistsError):
        storage.write_new(str(tmp_path / "a"), b"3")
    assert os.listdir(tmp_path) == ["a"]


def test_listing_is_sorted_filtered_and_without_hidden_files(place: str) -> None:
    for name in (
        "b.png",
        "a.PNG",
        "c.txt",
        ".hidden.png",
        "sub/d.png",
        ".git/e.png",
        "B.png",
    ):
        storage.write_new(storage.join(place, name), b"x")
    flat = [storage.join(place, name) for name in ("B.png", "a.PNG", "b.png")]
    assert storage.list_files(place, (".png",)) == flat
    assert storage.list_files(place, (".png",), recursive=True) == [
        *flat, storage.join(place, "sub/d.png")
    ]  # fmt: skip
    assert len(storage.list_files(place)) == 4


def test_a_folder_that_is_not_there_has_no_files(place: str) -> None:
    assert storage.list_files(storage.join(place, "nothing")) == []


def test_a_linked_folder_does_not_repeat_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert storage.list_files(str(tmp_path), (".png",), recursive=True) == [str(tmp_path / "a.png")]


def test_paths_become_absolute_and_urls_lose_the_last_slash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.normalize("out/x/") == str(tmp_path / "out/x")
    assert storage.normalize(f"file://{tmp_path}/x") == str(tmp_path / "x")
    assert storage.normalize("s3://bucket/prefix/") == "s3://bucket/prefix"
    assert storage.is_local(storage.normalize("x")) and not storage.is_local("s3://bucket")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert storage.normalize("~/x") == str(tmp_path / "home/x")


@pytest.mark.parametrize("url", ["", "  ", "s4://b/x", "zip://a::s3://b/x", "s3://key:word@b/x"])
def test_urls_that_we_do_not_speak_are_refused(url: str) -> None:
    with pytest.raises(UserError):
        storage.normalize(url)


def test_a_secret_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(UserError) as refusal:
        storage.normalize("s3://key:word@bucket/x")
    assert "word" not in str(refusal.value)


def test_the_last_part_is_the_name() -> None:
    assert storage.name_of("s3://bucket/a/b.png") == storage.name_of("/a/b.png/") == "b.png"


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


def test_reasons_do_not_repeat_the_place() -> None:
    assert storage.reason(FileNotFoundError(2, "No such file", "/a/b")) == "No such file"
    assert storage.reason(OSError()) == "OSError"
    assert storage.reason(ValueError("odd")) == "odd"
