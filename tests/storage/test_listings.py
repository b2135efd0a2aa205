"""Claims about factory.storage.listings."""

from pathlib import Path

from factory import storage


def test_listing_is_sorted_filtered_and_without_hidden_files(url: str) -> None:
    for name in (
        "b.png",
        "a.PNG",
        "c.txt",
        ".hidden.png",
        "sub/d.png",
        ".git/e.png",
        "B.png",
    ):
        storage.write_new(storage.join(url, name), b"x")
    flat = [storage.join(url, name) for name in ("B.png", "a.PNG", "b.png")]
    assert storage.list_files(url, (".png",)) == flat
    assert storage.list_files(url, (".png",), recursive=True) == [
        *flat, storage.join(url, "sub/d.png")
    ]  # fmt: skip
    assert len(storage.list_files(url)) == 4


def test_a_folder_that_is_not_there_has_no_files(url: str) -> None:
    assert storage.list_files(storage.join(url, "nothing")) == []


def test_a_linked_folder_does_not_repeat_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert storage.list_files(str(tmp_path), (".png",), recursive=True) == [str(tmp_path / "a.png")]
