"""URLs that cannot be written or are taken are refused before anything is written."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from tests.bad_inputs.cases import Problem, case, put


def taken(folder: Path) -> None:
    """Files of someone else where data would go."""
    put(folder, "data/train-00000.parquet", b"PAR1")


def under_a_file(folder: Path) -> None:
    put(folder.parent, folder.name, "a file")


CANNOT = "cannot be written"
REMEDY = "Name a place that you may write to"
TAKEN = "holds other files"
TOY = "--set=data.unlabelled={kind: toy, num: 1}", "--set=models.ddpm_url=toy"
OUTPUTS: dict[str, tuple[str, Callable[[Path], object], Problem]] = {
    "generate into a file": ("", under_a_file, ("/out", CANNOT, REMEDY)),
    "generate below a file": ("/a/b", under_a_file, ("/out/a/b", CANNOT, REMEDY)),
    "train below a file": ("/a", under_a_file, ("/out/a", CANNOT, REMEDY)),
    "probe below a file": ("/a", under_a_file, ("/out/a", CANNOT, REMEDY)),
    "fit below a file": ("/a", under_a_file, ("/out/a", CANNOT, REMEDY)),
    "evaluate below a file": ("/a", under_a_file, ("/out/a", CANNOT, REMEDY)),
    "generate among foreign files": ("", taken, ("/out", TAKEN, "Choose another --out")),
    "generate where run.json is cut": (
        "",
        lambda f: put(f, "_factory/run.json", "{"),
        ("run.json", "is damaged", "choose another"),
    ),
    "generate where run.json is of another kind": (
        "",
        lambda f: put(f, "_factory/run.json", {}),
        ("run.json", "is damaged", "choose another"),
    ),
    "train where run.json is cut": (
        "",
        lambda f: put(f, "run.json", "{"),
        ("/run.json", "not readable as JSON", "another --out"),
    ),
    "train where another run lies": (
        "",
        lambda f: put(f, "run.json", {"train": {"seed": 1}}),
        ("/out", "another config", "--out"),
    ),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_place_that_is_taken_or_cannot_be_written_is_left_alone(
    name: str, refused: Callable[..., None], folder: Path
) -> None:
    below, make, problem = OUTPUTS[name]
    make(folder / "out")
    refused(
        case(name, str, problem),
        name.split()[0],
        "--dry-run",
        f"--out={folder}/out{below}",
        "--set=data.test={kind: toy, num: 1}",
        "--set=data.labelled={kind: toy, num: 2, seed: 9}",
        *TOY,
    )


@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_a_disk_that_takes_nothing_is_told_beforehand(
    kind: str, refused: Callable[..., None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = {"read-only": errno.EROFS, "full": errno.ENOSPC}[kind]

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    problem = "/out", os.strerror(number), REMEDY
    refused(case(kind, str, problem), "train", "--dry-run", f"--out={folder}/out", TOY[0])


def test_a_store_whose_package_is_missing_is_told_with_it(
    refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "adlfs", None)
    problem = "az://box/x", "package", "pip install 'synthetic-data-factory[azure]'"
    refused(case("az", str, problem), "train", "--dry-run", "--out=az://box/x")


BUCKETS = {
    "generate.url": (["generate", "--out={}/x"], (CANNOT, REMEDY)),
    "train.url": (["train", "--out={}/x", "--set=data.unlabelled.num=1"], (CANNOT, REMEDY)),
    "models.ddpm_url": (["generate", "--ensemble=toy", "--ddpm={}/x"], ("no model folder", "Name")),
    "models.ensemble_url": (["generate", "--ddpm=toy", "--ensemble={}/x"], ("no ensemble", "Name")),
    "data.unlabelled": (
        [
            *("train", "--out=out", "--set=preset=32px"),
            "--set=data.unlabelled={{kind: folder, url: {}/x}}",
        ],
        ("no such folder", "Check the url"),
    ),
    "config": (["train", "--config={}/x"], ("no such config file", "")),
}


@pytest.mark.slow
@pytest.mark.parametrize("key", BUCKETS)
def test_a_bucket_that_is_not_there_is_named(
    key: str, refused: Callable[..., None], s3_bucket: str
) -> None:
    (command, *flags), words = BUCKETS[key]
    url = "s3://nothing-of-this-name"
    flags = [flag.format(url) for flag in flags]
    refused(case(key, str, (f"{url}/x", *words)), command, "--dry-run", *flags)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["generate.url", "train.url", "models.ensemble_url", "config"])
def test_a_store_that_cannot_be_reached_is_named(
    key: str, refused: Callable[..., None], s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("factory.storage.retries.time.sleep", lambda seconds: None)
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    (command, *flags), _ = BUCKETS[key]
    url = "s3://bucket"
    flags = [flag.format(url) for flag in flags]
    refused(case(key, str, (f"{url}/x", "connect", "")), command, "--dry-run", *flags)
    fsspec.get_filesystem_class("s3").clear_instance_cache()


DATASETS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda folder: None,
    "an empty folder": lambda folder: folder.mkdir(),
    "a file": under_a_file,
}


@pytest.mark.parametrize("name", ["report", "status", "verify", "repair"])
@pytest.mark.parametrize("kind", DATASETS)
def test_a_place_without_a_dataset_is_no_dataset(
    name: str, kind: str, refused: Callable[..., None], folder: Path
) -> None:
    DATASETS[kind](folder / "out")
    problem = "/out", "holds no dataset of this factory", "Check the place, or make one"
    refused(case(kind, str, problem), name, f"{folder}/out")
