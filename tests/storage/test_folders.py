"""Claims about factory.storage.folders."""

import uuid
from pathlib import Path

import pytest

from factory import storage
from factory.storage import Folder


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """An empty folder on this machine, and one behind fsspec."""
    url = str(tmp_path / "a") if request.param == "local" else f"memory://{uuid.uuid4().hex}/a"
    return Folder(url)


def test_files_go_by_their_names_in_the_folder(folder: Folder) -> None:
    folder.write_new("b/c.json", b"{}")
    folder.write("b/d.txt", b"words")
    assert folder.read_bytes("b/c.json") == storage.read_bytes(f"{folder.url}/b/c.json") == b"{}"
    assert folder.read_text("b/d.txt") == "words" and folder.exists("b")
    assert folder.sha256_of("b/c.json") == storage.sha256_of(folder.url_of("b/c.json"))
    assert folder.names_in("b", suffixes=[".json"]) == ["b/c.json"]
    assert folder.names_in("", recursive=True) == ["b/c.json", "b/d.txt"]
    for entries in (folder.entries(), folder.entries("b")):
        assert {name: entry.size for name, entry in entries.items()} == {
            "b/c.json": 2,
            "b/d.txt": 5,
        }
    folder.remove("b/c.json")
    assert folder.names_in("b") == ["b/d.txt"] and folder.names_in("nothing") == []


def test_a_folder_at_the_root_has_no_double_slash() -> None:
    assert Folder("/").url_of("data") == "/data"
    assert Folder("s3://bucket/").url_of("data/x") == "s3://bucket/data/x"
