"""Claims about the files of a source: which names a tree has, and how archives are read."""

import io
import itertools
import re
import subprocess
import tarfile
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from factory import storage
from factory.data import loading
from factory.data.files import listing, trees
from factory.data.kinds import choosing
from factory.errors import Problems, UnreadableImage, UserError
from factory.png import encode_png
from factory.storage import ranged
from tests.data.inputs import encoded, flat, folder, only_problem, pairs, put
from tests.folders import contents

NAMES = ["a.png", "b/c.txt", "b/d/e.png", "f/.g.png", ".h/i.png", "__MACOSX/a.png", "b/Thumbs.db"]
NAMES += ["my.inspect.png", "@eaDir/a.png", "b/.ipynb_checkpoints/c.png", ".DS_Store", "._a.png"]
READ = ["a.png", "b/c.txt", "b/d/e.png"]
NUMBERS = itertools.count()
WriteTree = Callable[[dict[str, bytes]], str]


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture(params=["folder", "folder of a store", "archive", "archive in a store"])
def write_tree(request: pytest.FixtureRequest, tmp_path: Path) -> WriteTree:
    """Writes files as a tree of each kind, and returns the url of the tree."""
    root = f"memory://trees/{next(NUMBERS)}" if "store" in request.param else str(tmp_path / "x")

    def put_files(files: dict[str, bytes]) -> str:
        if "archive" in request.param:
            storage.write(f"{root}/data.zip", packed(files))
            return f"{root}/data.zip"
        for name, data in files.items():
            storage.write(storage.join(root, name), data)
        return root

    return put_files


def zipped(folder: Path, files: dict[str, bytes], **more: int) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "data.zip").write_bytes(packed(files, **more))
    return str(folder / "data.zip")


def test_a_tree_names_all_files_but_what_systems_put_among_them(write_tree: WriteTree) -> None:
    url = write_tree({name: name.encode() for name in NAMES})
    tree = trees.open_tree(url)
    assert tree.url == url and tree.names() == READ
    assert [tree.read(name).decode() for name in READ] == READ
    assert [tree.url_of(name) for name in READ] == [f"{url}/{name}" for name in READ]


def test_a_folder_of_a_tree_is_listed_alone(write_tree: WriteTree) -> None:
    tree = trees.open_tree(write_tree({name: b"x" for name in [*NAMES, "bb/c.png"]}))
    assert tree.names("b") == READ[1:] and tree.names("./b/d/") == READ[2:]
    assert tree.names("nothing") == [] and tree.is_there("b/d") and not tree.is_there("d")


def test_a_version_changes_with_the_content_of_its_file_alone(write_tree: WriteTree) -> None:
    first = trees.open_tree(write_tree({"a.png": b"1", "b.png": b"1"})).versions(["a.png", "b.png"])
    later = trees.open_tree(write_tree({"a.png": b"2"})).versions(["a.png"])
    assert len(first) == 2 and all(first) and later != first[:1]


def test_a_name_of_macos_is_that_of_other_systems(write_tree: WriteTree) -> None:
    name = "façade é.png"
    stored = unicodedata.normalize("NFD", name)
    tree = trees.open_tree(write_tree({stored: b"x"}))
    assert stored != name and tree.names() == [name]
    assert tree.read(name) == b"x" and tree.url_of(name).endswith(stored)
    assert all(tree.versions([name]))


def test_two_files_of_one_name_are_refused(write_tree: WriteTree) -> None:
    url = write_tree({"é.png": b"1", unicodedata.normalize("NFD", "é.png"): b"2"})
    with pytest.raises(UserError, match=r"two files each that are called é\.png.* Rename one"):
        trees.open_tree(url).names()


def test_a_folder_that_holds_all_of_an_archive_is_its_root(tmp_path: Path) -> None:
    url = zipped(tmp_path, {"top/a.png": b"x", "top/b/c.png": b"x", "__MACOSX/top/._a": b"x"})
    tree = trees.open_tree(url)
    assert tree.names() == ["a.png", "b/c.png"] and tree.url_of("a.png") == f"{url}/top/a.png"
    assert trees.open_tree(f"{url}/top/b").names() == ["c.png"]
    assert trees.open_tree(f"{url}/b").names() == ["c.png"]
    assert trees.open_tree(f"{url}/c").names() == []


@pytest.mark.slow
def test_an_archive_is_read_by_several_threads_and_nothing_of_it_is_unpacked(
    write_tree: WriteTree,
) -> None:
    noise = np.random.default_rng(0)
    files = {f"{i:03d}.bin": noise.bytes(int(noise.integers(0, 9000))) for i in range(200)}
    tree = trees.open_tree(write_tree(files))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tree.read, [*files] * 3)) == [*files.values()] * 3


def test_of_an_archive_in_a_store_only_the_parts_that_are_asked_for_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"memory://trees/{next(NUMBERS)}.zip"
    storage.write(url, packed({f"{i}.bin": bytes([i]) * 10**5 for i in range(9)}, 0))
    ranges: list[int] = []
    read_range = storage.read_range
    monkeypatch.setattr(
        ranged,
        "read_range",
        lambda url, start, stop: (ranges.append(stop - start), read_range(url, start, stop))[1],
    )
    tree = trees.open_tree(url)
    assert sum(ranges) < 10**5
    ranges.clear()
    assert tree.read("4.bin") == bytes([4]) * 10**5
    assert len(ranges) == 1 and ranges[0] < 1.1e5


def test_an_archive_of_a_store_that_tells_no_sizes_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = zipped(tmp_path, {"a.png": b"x" * 99})
    monkeypatch.setattr(storage, "size_of", lambda url: None)
    monkeypatch.setattr(ranged, "read_range", None)
    assert trees.open_tree(url).read("a.png") == b"x" * 99


def without_password(data: bytes) -> bytes:
    """The archive, of which each member says that it is encrypted."""
    local, central = data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8
    changed = bytearray(data)
    changed[local] |= 1
    changed[central] |= 1
    return bytes(changed)


def claiming(size: int) -> Callable[[bytes], bytes]:
    """The archive, whose member is said to be unpacked to so many bytes."""

    def change(data: bytes) -> bytes:
        local, central = data.index(b"PK\x03\x04") + 22, data.index(b"PK\x01\x02") + 24
        changed = bytearray(data)
        for at in (local, central):
            changed[at : at + 4] = size.to_bytes(4, "little")
        return bytes(changed)

    return change


def flipped(data: bytes) -> bytes:
    """The archive with another bit in the data of its member."""
    changed = bytearray(data)
    changed[data.index(b"PK\x03\x04") + 30 + len("a.png") + 3] ^= 16
    return bytes(changed)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_password, "is encrypted in the archive. Pack it without a password."),
        (claiming(2**31), "has more than 512000000 bytes"),
        (claiming(9), "is damaged in the archive .*Pack it again"),
        (flipped, "is damaged in the archive .*Pack it again"),
        (lambda _: packed({"a.png": b"x" * 99}, zipfile.ZIP_BZIP2), "Pack it with deflate"),
    ],
)
def test_a_member_that_cannot_be_unpacked_is_refused_by_its_name(
    damage: Callable[[bytes], bytes], said: str, tmp_path: Path
) -> None:
    (tmp_path / "data.zip").write_bytes(damage(packed({"a.png": encode_png(flat(1))})))
    with pytest.raises(UnreadableImage, match=said):
        trees.open_tree(str(tmp_path / "data.zip")).read("a.png")
    problem = only_problem(folder(tmp_path / "data.zip"), labelled=False)
    assert problem.startswith(f"{tmp_path}/data.zip/a.png: ")


def test_a_member_that_grows_beyond_what_it_says_costs_no_more_memory_than_that(
    tmp_path: Path,
) -> None:
    bomb = claiming(1000)(packed({"a.png": bytes(2**25)}))
    (tmp_path / "data.zip").write_bytes(bomb)
    tree = trees.open_tree(str(tmp_path / "data.zip"))
    tracemalloc.start()
    with pytest.raises(UnreadableImage, match="is damaged"):
        tree.read("a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "b/../../a.png", "C:/a.png"])
def test_names_that_leave_an_archive_are_refused(name: str, tmp_path: Path) -> None:
    problem = only_problem(folder(zipped(tmp_path, {name: b"x", "b.png": b"x"})), labelled=False)
    assert f"{tmp_path}/data.zip: holds names that leave the archive: {name}." in problem


def test_folders_of_old_windows_archives_are_parted_by_backslashes(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("b\\a.png")
    info.create_system = 0
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(info, b"x")
        archive.writestr("c.png", b"x")
    tree = trees.open_tree(str(tmp_path / "data.zip"))
    assert tree.names() == ["b/a.png", "c.png"] and tree.read("b/a.png") == b"x"


def test_an_archive_of_backslashes_alone_has_folders_whatever_system_it_names(
    tmp_path: Path,
) -> None:
    info = zipfile.ZipInfo("b\\a.png")
    info.create_system = 3
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(info, b"x")
    tree = trees.open_tree(str(tmp_path / "data.zip/b"))
    assert tree.names() == ["a.png"] and tree.read("a.png") == b"x"


@pytest.mark.parametrize("again", ["b/a.png", "./b/a.png", "b//a.png"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_that_differ_are_refused(again: str, tmp_path: Path) -> None:
    for name, data in {"differ.zip": b"y", "equal.zip": b"x"}.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, content in {"b/a.png": b"x", "Thumbs.db": b"x"}.items():
                archive.writestr(member, content)
            archive.writestr(again, data)
            archive.writestr("Thumbs.db", b"another")
    assert trees.open_tree(str(tmp_path / "equal.zip")).read("a.png") == b"x"
    problem = only_problem(folder(tmp_path / "differ.zip"), labelled=False)
    assert "differ.zip: holds several members each that are called b/a.png" in problem
    assert "Unpack it, which asks for the one to keep" in problem


ODD_NAMES = ("a b.png", "a#b.png", "a%20b.png", "A.png", "a.png", "ü.png", "[1].png", "a*b.png",
             "{stem}.png", "'q'.png", "a&b=c.png", "~x.png", "-x.png", " a.png", "x" * 190 + ".png",
             "日本.png", "a.b.c.png", "$HOME.png")  # fmt: skip
ON_DISKS = ("a?b.png", "a\nb.png", "a\\b.png", "a::b.png")


@pytest.mark.parametrize("place", ["folder", "archive", "store"])
def test_pairs_are_read_whatever_characters_their_names_have(place: str, tmp_path: Path) -> None:
    names = ODD_NAMES if place == "store" else (*ODD_NAMES, *ON_DISKS)
    files = {
        f"{part}/{name}": encode_png(flat(i) if part == "images" else flat(i % 2)[..., 0])
        for i, name in enumerate(names)
        for part in ("images", "masks")
    }
    source = pairs(tmp_path / "x")
    if place == "archive":
        source = source.model_copy(update={"url": zipped(tmp_path, files)})
    root = f"memory://trees/{next(NUMBERS)}" if place == "store" else str(tmp_path / "x")
    for name, data in files.items() if place != "archive" else ():
        storage.write(storage.join(root, name), data)
    if place == "store":
        source = source.model_copy(update={"url": root})
    read = loading.read_labelled(source, 8)
    found = {name: int(image[0, 0, 0]) for name, image in zip(read.names, read.images, strict=True)}
    assert found == {name: i for i, name in enumerate(names)}
    assert [found[name] % 2 for name in read.names] == read.masks[:, 0, 0].tolist()


def test_a_name_that_no_url_can_have_is_refused_by_name() -> None:
    root = f"trees/{next(NUMBERS)}"
    MemoryFileSystem().pipe_file(f"/{root}/a?b.png", encode_png(flat(1)))
    problem = only_problem(folder(f"memory://{root}"), labelled=False)
    assert "a?b.png: has a name that no URL can have" in problem and "Rename it." in problem


def test_what_means_nothing_in_the_names_of_an_archive_is_no_part_of_them(tmp_path: Path) -> None:
    tree = trees.open_tree(zipped(tmp_path, {"./b//a.png": b"x", "./c/./d.png": b"y", "./e/": b""}))
    assert tree.names() == ["b/a.png", "c/d.png"]
    assert [tree.read(name) for name in tree.names()] == [b"x", b"y"]


@pytest.mark.parametrize("named", ["NFC", "NFD"])
def test_a_folder_of_an_archive_of_macos_is_that_of_other_systems(
    named: Literal["NFC", "NFD"], tmp_path: Path
) -> None:
    url = zipped(tmp_path, {unicodedata.normalize("NFD", "é/a.png"): b"x", "b/c.png": b"y"})
    tree = trees.open_tree(f"{url}/{unicodedata.normalize(named, 'é')}")
    assert tree.names() == ["a.png"] and tree.read("a.png") == b"x"


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 99, packed({"a.png": b"x" * 999})[:-20]],
    ids=["empty", "other bytes", "cut short"],  # An archive's bytes hold the time of day.
)
def test_a_file_that_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(content)
    problem = only_problem(folder(tmp_path / "data.zip"), labelled=False)
    assert f"{tmp_path}/data.zip: is no whole .zip archive" in problem


def test_another_file_is_no_tree(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)))
    problem = only_problem(folder(tmp_path / "a.png"), labelled=False)
    assert "a.png: is a file. Name the folder that holds it, or a .zip archive." in problem
    put(tmp_path, instances_json=b"{}")
    problem = only_problem(folder(tmp_path / "instances.json"), labelled=False)
    assert "Name the folder that holds it and the images, or a .zip archive." in problem


def test_endings_of_packed_archives_are_counted_whole() -> None:
    assert listing.by_ending(["a.tar.gz", "b.TAR.GZ", "c.gz"]) == "2 .tar.gz, 1 .gz"


@pytest.mark.parametrize(
    ("name", "mode"), [("my photos.tar.gz", "w:gz"), ("a.TAR", "w"), ("a.b.tar.xz", "w:xz")]
)
def test_an_archive_of_another_kind_is_told_with_the_command_that_unpacks_it(
    name: str, mode: Literal["w", "w:gz", "w:xz"], tmp_path: Path
) -> None:
    png = encode_png(flat(1))
    with tarfile.open(tmp_path / name, mode) as archive:
        info = tarfile.TarInfo("a.png")
        info.size = len(png)
        archive.addfile(info, io.BytesIO(png))
    problem = only_problem(folder(tmp_path / name), labelled=False)
    assert "is an archive that is not read in place. Unpack it by `mkdir" in problem
    assert ("kind: webdataset" in problem) == (name == "a.TAR")
    command, place = re.findall("`(mkdir [^`]*|url: [^`]*)`", problem)
    subprocess.run(["bash", "-c", command], check=True)
    assert loading.read_images(folder(place.removeprefix("url: ")), 8).shape == (1, 8, 8, 3)


def test_archives_among_other_files_are_told(tmp_path: Path) -> None:
    put(tmp_path, a_rar=b"x", b_7z=b"x", c_txt=b"x")
    assert "Unpack it by `7z x" in only_problem(folder(tmp_path / "b.7z"), labelled=False)
    assert "unrar x" in only_problem(folder(tmp_path / "a.rar"), labelled=False)
    problem = only_problem(folder(tmp_path), labelled=False)
    assert "Unpack the archives among them: a.rar, b.7z." in problem
    problems = Problems()
    assert choosing.recognise(str(tmp_path), problems) is None
    assert "Unpack the archives among them: a.rar, b.7z." in problems.found[0]


def test_a_folder_whose_name_ends_like_an_archive_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path / "data.zip", a_png=encode_png(flat(1)))
    assert len(loading.read_images(folder(tmp_path / "data.zip"), 8)) == 1


def test_pairs_and_folders_are_read_out_of_an_archive_like_out_of_a_folder(tmp_path: Path) -> None:
    for name, value in {"a": 10, "b": 200}.items():
        put(tmp_path / "plain/images", **{f"{name}_jpg": encoded(flat(value), "JPEG")})
        put(tmp_path / "plain/masks", **{f"{name}_png": encode_png(flat(value // 100)[..., 0])})
    files = contents(tmp_path / "plain")
    url = zipped(tmp_path / "packed", {f"plain/{name}": data for name, data in files.items()})
    before = contents(tmp_path / "packed")
    plain = pairs(tmp_path / "plain")
    wanted = loading.read_labelled(plain, 8)
    read = loading.read_labelled(plain.model_copy(update={"url": url}), 8)
    assert read.names == wanted.names == ("a.jpg", "b.jpg")
    assert np.array_equal(read.images, wanted.images) and np.array_equal(read.masks, wanted.masks)
    assert contents(tmp_path / "packed") == before
    images = loading.read_images(folder(f"{url}/plain/images"), 8)
    assert np.array_equal(images, wanted.images)
    problem = only_problem(folder(url), labelled=False)
    assert f"url: {url}/plain/images" in problem
