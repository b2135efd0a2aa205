"""Claims about factory.storage.urls."""

from pathlib import Path

import pytest

from factory import storage
from factory.errors import UserError


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
    assert storage.normalize("./~x/y") == str(tmp_path / "~x/y")


def test_a_place_lies_in_a_folder_whatever_links_lead_there(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    folder = str(tmp_path / "folder")
    for inside in (folder, f"{folder}/a/b", f"{tmp_path}/link/a", f"{tmp_path}/x/../folder/a"):
        assert storage.lies_in(inside, folder)
    for outside in (f"{folder}2", str(tmp_path), "s3://bucket/folder"):
        assert not storage.lies_in(outside, folder)
    assert storage.lies_in("s3://bucket/a/b", "s3://bucket/a")
    assert not storage.lies_in("s3://bucket/ab", "s3://bucket/a")
    assert storage.lies_in("/anywhere", "/")


def test_a_place_below_a_folder_has_a_path_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert storage.path_in(str(tmp_path / "link" / "a" / "b"), str(tmp_path / "folder")) == "a/b"
    assert storage.path_in("s3://bucket/a/", "s3://bucket/a") == ""
    assert storage.path_in("s3://bucket/a", "s3://bucket/a/b") is None


def test_the_last_part_is_the_name() -> None:
    assert storage.name_of("s3://bucket/a/b.png") == storage.name_of("/a/b.png/") == "b.png"


def test_a_web_server_is_refused_for_its_protocol_and_not_for_its_port() -> None:
    with pytest.raises(UserError, match=r"protocol 'http' is not one of file, s3, .* Give a path"):
        storage.normalize("http://127.0.0.1:8000/images")


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128, "/".join(["a" * 250] * 17)])
def test_a_name_that_no_disk_takes_is_refused_before_anything_is_asked_for(name: str) -> None:
    for url in (f"/{name}", f"file:///{name}"):
        with pytest.raises(UserError, match=r"more than 255 bytes, or a path of more than 4,095"):
            storage.normalize(url)
    assert storage.normalize(f"s3://bucket/{name}").endswith(name)


def test_what_is_neither_text_nor_a_path_is_no_place(tmp_path: Path) -> None:
    assert storage.normalize(tmp_path / "x") == str(tmp_path / "x")
    for value in (None, 1, b"x"):
        with pytest.raises(UserError, match="url: must be of type str or PathLike, got "):
            storage.normalize(value)  # type: ignore[arg-type]
