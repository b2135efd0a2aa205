"""Claims about files that hold many images: which of them a url and a split mean."""

import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from factory.data.files.trees import FolderTree
from factory.data.recognizing import recognition
from factory.data.sharded import shard_files
from factory.errors import Problems
from tests.exporting import made


def found(url: Path | str, split: str | None = None, ending: str = ".tar") -> list[str]:
    problems = Problems()
    files = shard_files.find(str(url), ending, split, problems)
    assert not problems.found, problems.found
    assert files is not None
    return list(files.names)


def problem(url: Path | str, split: str | None = None, ending: str = ".tar") -> str:
    problems = Problems()
    assert shard_files.find(str(url), ending, split, problems) is None
    (only,) = problems.found
    return only


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def test_a_folder_one_file_and_a_pattern_name_files(tmp_path: Path) -> None:
    touch(tmp_path, "a/x-08.tar", "a/x-09.TAR", "a/x-10.tar", "a/notes.txt", ".x-11.tar")
    assert found(tmp_path) == ["a/x-08.tar", "a/x-09.TAR", "a/x-10.tar"]
    assert found(tmp_path / "a/x-10.tar") == ["x-10.tar"]
    assert found(f"{tmp_path}/a/x-{{08,10}}.tar") == ["x-08.tar", "x-10.tar"]
    assert found(f"{tmp_path}/a/x-{{10..10}}.tar") == ["x-10.tar"]
    touch(tmp_path, "b.tar/part-0.tar")
    assert found(tmp_path / "b.tar") == ["part-0.tar"], "a folder may be called like a file"


def test_the_files_of_a_pattern_that_are_missing_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "x-0.tar", "x-1.tar")
    message = problem(f"{tmp_path}/x-{{0..3}}.tar")
    assert "2 of 4 files are not there: x-2.tar, x-3.tar." in message and "`url:`" in message
    assert "no file" in problem(f"{tmp_path}/x-{{3..0}}.tar")
    assert "more than 100,000 files" in problem(f"{tmp_path}/x-{{0..99999999}}.tar")
    assert found(f"{tmp_path}/x-{{0..1}}.tar") == ["x-0.tar", "x-1.tar"], "as the message advises"


def test_files_of_several_splits_are_not_mixed(tmp_path: Path) -> None:
    touch(tmp_path, "train-0.tar", "train-1.tar", "val-0.tar", "test/0.tar", "odd-0-of-2.tar")
    message = problem(tmp_path)
    assert "odd (1 file), test (1 file), train (2 files), validation (1 file)" in message
    assert "such as `split: odd`" in message
    assert found(tmp_path, "train") == ["train-0.tar", "train-1.tar"]
    assert found(tmp_path, "validation") == found(tmp_path, "val") == ["val-0.tar"]
    assert found(tmp_path, "test") == ["test/0.tar"] and found(tmp_path, "odd")
    assert "no file is of `split: dev2`; there is odd (1 file)" in problem(tmp_path, "dev2")


def test_splits_have_the_names_that_people_give_them(tmp_path: Path) -> None:
    touch(tmp_path, "labelled-0.tar", "eval-0.tar", "trainval-0.tar")
    assert found(tmp_path, "labelled") == found(tmp_path, "train") == ["labelled-0.tar"]
    assert found(tmp_path, "test") == ["eval-0.tar"]
    assert found(tmp_path, "trainval") == ["trainval-0.tar"]
    (candidate,) = recognition.candidates(FolderTree(str(tmp_path)), str(tmp_path))
    assert list(candidate.splits) == ["test", "train", "trainval"], "each of which is found"


def test_words_within_names_are_no_splits(tmp_path: Path) -> None:
    touch(tmp_path, "streets-trained-0.tar", "trainset-0.tar", "latest-0.tar")
    assert len(found(tmp_path)) == 3
    assert "the names of its files tell none" in problem(tmp_path, "train")


def test_what_a_folder_without_such_files_holds_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    assert "no .tar file is there; it holds 1 .png." in problem(tmp_path)
    assert "there is no such folder" in problem(tmp_path / "nope")


def test_archives_are_refused_since_a_file_in_them_cannot_be_read_by_ranges(
    tmp_path: Path,
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train/a.tar", b"x")
    told = problem(tmp_path / "a.zip" / "train")
    assert f"Then name the folder: `url: {tmp_path}/a`." in told
    (command,) = re.findall("`python -m ([^`]*)`", told)
    subprocess.run([sys.executable, "-m", *shlex.split(command)], check=True)
    assert (tmp_path / "a/train/a.tar").read_bytes() == b"x"


def test_a_dataset_of_ours_is_read_if_it_is_finished_and_of_this_kind(tmp_path: Path) -> None:
    made.write(str(tmp_path / "out"), num=4)
    names = found(tmp_path / "out", ending=".parquet")
    assert names == ["data/train-00000.parquet", "data/train-00001.parquet"]
    assert "Set `kind: parquet`" in problem(tmp_path / "out", ending=".tar")
    (tmp_path / "out/_SUCCESS").unlink()
    message = problem(tmp_path / "out", ending=".parquet")
    assert "not finished" in message and f"`url: {tmp_path}/out/data`" in message
    assert len(found(tmp_path / "out/data", ending=".parquet")) == 2, "as the message advises"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a", ["a"]),
        ("{x,y}{1..2}", ["x1", "x2", "y1", "y2"]),
        ("{098..101}", ["098", "099", "100", "101"]),
        ("{a}", ["{a}"]),
        ("{,b}", ["", "b"]),
    ],
)
def test_braces_stand_for_words_and_numbers(pattern: str, names: list[str]) -> None:
    assert list(shard_files.expanded(pattern)) == names
