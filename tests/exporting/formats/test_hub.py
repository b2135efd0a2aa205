"""Claims about `--to hub`, with a Hub that is a fake."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from fsspec import core
from fsspec.implementations.memory import MemoryFileSystem

import factory
from factory.cli import main
from factory.errors import UserError
from factory.shards.schema import Sample
from factory.storage import files

OUT = "hf://datasets/owner/name"


class Hub(MemoryFileSystem):
    """A repository that is new: it has one file."""

    protocol = "hf"
    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("hf://").strip("/")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    fs = Hub()

    def url_to_fs(url: str, **options: Any) -> Any:
        if url.startswith("hf://"):
            return fs, fs._strip_protocol(url)
        return core.url_to_fs(url, **options)

    monkeypatch.setattr(files, "url_to_fs", url_to_fs)
    fs.store.clear()
    fs.pipe_file(f"{OUT}/.gitattributes", b"*.parquet filter=lfs")
    return fs


@pytest.fixture
def pushed(hub: Hub, tmp_path: Path) -> Callable[[], Path]:
    """The files of the repository, in a folder."""

    def copy() -> Path:
        hub.get("/datasets/owner/name", str(tmp_path / "clone"), recursive=True)
        return tmp_path / "clone"

    return copy


@pytest.mark.slow
@pytest.mark.parametrize("column", ["mask", "label"])
def test_every_pixel_is_read_back_by_the_card(
    dataset: str,
    samples: list[Sample],
    pushed: Callable[[], Path],
    load_dataset: Callable[..., Any],
    column: str,
) -> None:
    factory.export(dataset, "hub", OUT, val=0.3, mask_column=column)
    found = load_dataset(str(pushed()))
    rows = sorted([*found["train"], *found["validation"]], key=lambda row: row["key"])
    for row, sample in zip(rows, samples, strict=True):
        assert np.array_equal(np.asarray(row["image"]), sample.image)
        assert np.array_equal(np.asarray(row[column]), sample.mask)


def test_the_card_says_what_the_hub_asks_for(dataset: str, pushed: Callable[[], Path]) -> None:
    num = factory.export(dataset, "hub", OUT, val=0.3)
    text = (pushed() / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc0-1.0"
    assert front["task_ids"] == ["semantic-segmentation"]
    assert front["annotations_creators"] == ["machine-generated"]
    assert front["dataset_info"]["splits"] == [
        {"name": "train", "num_examples": num["train"]},
        {"name": "validation", "num_examples": num["val"]},
    ]
    assert f"{num['val']} pairs in split `validation`" in text


def test_without_the_extra_it_is_refused_by_name(
    dataset: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def url_to_fs(url: str, **options: Any) -> Any:
        raise ImportError("Install huggingface_hub to access HfFileSystem")

    monkeypatch.setattr(files, "url_to_fs", url_to_fs)
    assert main(["export", dataset, "--to", "hub", "--out", OUT]) == 2
    assert "Install huggingface_hub" in capsys.readouterr().err


def test_a_repository_that_holds_something_is_refused(dataset: str, hub: Hub) -> None:
    hub.pipe_file(f"{OUT}/README.md", b"mine")
    with pytest.raises(UserError, match=r"is not empty \(README.md\)"):
        factory.export(dataset, "hub", OUT)


def test_a_push_that_is_killed_goes_on(
    dataset: str, hub: Hub, killed_at: Callable[..., bool]
) -> None:
    factory.export(dataset, "hub", OUT)
    whole = {path: hub.cat(path) for path in hub.find("/datasets")}
    for point in (3, 8, 13):
        hub.store.clear()
        assert killed_at(point, lambda: factory.export(dataset, "hub", OUT))
        factory.export(dataset, "hub", OUT)
        found = {path: hub.cat(path) for path in hub.find("/datasets")}
        assert found == {path: data for path, data in whole.items() if "gitattributes" not in path}
