"""Claims about `--to hub`, with a Hub that is a fake."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import huggingface_hub
import numpy as np
import pytest
import yaml
from fsspec import core
from fsspec.implementations.memory import MemoryFileSystem
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError

import factory
from factory import storage
from factory.cli import main
from factory.errors import UserError
from factory.shards.layout import PROOF
from factory.shards.reading import read_manifest
from factory.shards.schema import Sample
from factory.storage import files
from tests.exporting import made
from tests.proving.test_proof import proof_of

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


Answers = dict[str, tuple[int, dict[str, str]]]
KNOWN: Answers = {"/api/whoami-v2": (200, {}), "/api/datasets/owner/name": (200, {})}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    """What a server in place of the Hub's answers: a status and headers by path."""
    given = dict(KNOWN)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers = given[self.path.partition("?")[0]]
            body = b'{"id": "owner/name", "name": "me", "sha": "0"}'
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
        yield given
        server.shutdown()
    # It keeps connections to the server.
    huggingface_hub.close_session()


@pytest.fixture
def hub(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> Hub:
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


@pytest.mark.slow
@pytest.mark.parametrize("size", [{}, {"samples_per_shard": 2}])
def test_datasets_counts_what_it_loads_by_the_card(
    dataset: str,
    pushed: Callable[[], Path],
    load_dataset: Callable[..., Any],
    logged: list[str],
    monkeypatch: pytest.MonkeyPatch,
    size: dict[str, int],
) -> None:
    from datasets import exceptions, logging

    monkeypatch.setattr(logging.get_logger("datasets"), "propagate", True)
    num = factory.export(dataset, "hub", OUT, val=0.3, **size)
    clone = pushed()
    found = load_dataset(str(clone), verification_mode="all_checks")
    assert {split: len(found[split]) for split in found} == {
        "train": num["train"],
        "validation": num["val"],
    }
    assert not [line for line in logged if "dataset_info" in line]
    sorted((clone / "data").glob("train-*"))[0].unlink()
    with pytest.raises(exceptions.NonMatchingSplitsSizesError):
        load_dataset(str(clone), download_mode="force_redownload")


def test_the_licence_of_labels_is_that_of_their_own_section(
    tmp_path: Path, pushed: Callable[[], Path]
) -> None:
    recipe = {"seed": 0, "command": "label", "relabels": "0" * 16, "columns": []}
    made.write(str(tmp_path / "labels"), recipe=recipe)
    factory.export(str(tmp_path / "labels"), "hub", OUT)
    text = (pushed() / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "cc0-1.0"


def test_the_card_tells_whether_the_pairs_are_worth_training_on(
    dataset: str, pushed: Callable[[], Path]
) -> None:
    proof = replace(proof_of(), dataset=read_manifest(dataset).root)
    storage.write(storage.join(dataset, PROOF), json.dumps(proof.as_json()).encode())
    factory.export(dataset, "hub", OUT)
    lines = (pushed() / "README.md").read_text(encoding="utf-8").splitlines()
    assert "## Worth training on?" in lines and "| 20 real pairs | 50.0 ± 0.0 | 50.0 |" in lines
    # Markdown shows what is behind a backslash as it is.
    assert proof.verdict()[0] in "\n".join(lines).replace("\\", "")


def test_the_card_says_what_the_hub_asks_for(dataset: str, pushed: Callable[[], Path]) -> None:
    num = factory.export(dataset, "hub", OUT, val=0.3)
    text = (pushed() / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "cc0-1.0"
    assert front["task_ids"] == ["semantic-segmentation"]
    assert front["annotations_creators"] == ["machine-generated"]
    size = {
        split: sum(path.stat().st_size for path in (pushed() / "data").glob(f"{split}-*"))
        for split in ("train", "validation")
    }
    assert front["dataset_info"]["splits"] == [
        {"name": "train", "num_bytes": size["train"], "num_examples": num["train"]},
        {"name": "validation", "num_bytes": size["validation"], "num_examples": num["val"]},
    ]
    assert front["dataset_info"]["download_size"] == sum(size.values()) > 0
    assert f"{num['val']} pairs in split `validation`" in text


@pytest.fixture
def refused(
    dataset: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    """Runs an export that must be refused in one line, at once; returns that line."""

    def run() -> str:
        slept: list[float] = []
        monkeypatch.setattr(time, "sleep", slept.append)
        assert main(["export", dataset, "--to", "hub", "--out", OUT]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"error: {OUT}: ") and told.count("\n") == 1 and sum(slept) <= 1
        return told

    return run


def test_without_the_extra_it_is_refused_by_name(
    refused: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "Run pip install 'synthetic-data-factory[hub]'" in refused()


def test_without_a_network_it_is_refused_at_once(
    answers: Answers, refused: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody listens there.
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached now (ConnectError" in refused()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    assert "HF_HUB_OFFLINE is set" in refused()


def test_without_a_token_it_is_refused(
    answers: Answers, refused: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert "Run `hf auth login`, or set HF_TOKEN" in refused()


class Forbidden:
    """A response of the Hub, as far as its errors look at it."""

    status_code = 403
    headers: ClassVar[dict[str, str]] = {}
    request = None


NO_REPOSITORY = {"X-Error-Code": "RepoNotFound"}


@pytest.mark.parametrize(
    ("path", "answer", "words"),
    [
        ("/api/whoami-v2", (401, {}), "the Hub does not accept the token"),
        ("/api/whoami-v2", (403, {}), "the Hub does not accept the token"),
        ("/api/whoami-v2", (503, {}), "cannot be reached now"),
        ("/api/datasets/owner/name", (404, NO_REPOSITORY), "--repo-type dataset`, or name another"),
        ("/api/datasets/owner/name", (401, NO_REPOSITORY), "there is no such dataset, or the to"),
        ("/api/datasets/owner/name", (403, {"X-Error-Code": "GatedRepo"}), "does not open it"),
    ],
)
def test_what_the_hub_does_not_let_in_is_refused_with_what_to_do(
    answers: Answers,
    refused: Callable[[], str],
    path: str,
    answer: tuple[int, dict[str, str]],
    words: str,
) -> None:
    answers[path] = answer
    assert words in refused()


def test_a_name_that_no_dataset_can_have_is_refused(
    dataset: str, answers: Answers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", dataset, "--to", "hub", "--out", "hf://datasets/o/-a..b"]) == 2
    assert "is no name that a dataset can have" in capsys.readouterr().err


def test_a_token_that_may_only_read_is_refused_and_nothing_is_written(
    hub: Hub, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(self: Hub, path: str, *rest: Any, **kwargs: Any) -> None:
        raise HfHubHTTPError("403 Forbidden: you may not.", response=Forbidden())  # type: ignore

    monkeypatch.setattr(Hub, "pipe_file", deny)
    with pytest.raises(UserError, match=r"cannot be written \(403 Forbidden: you may not"):
        factory.export(dataset, "hub", OUT)
    assert len(hub.store) == 1


def test_a_repository_that_holds_something_is_refused(dataset: str, hub: Hub) -> None:
    hub.pipe_file(f"{OUT}/README.md", b"mine")
    with pytest.raises(UserError, match=r"holds other files \(README.md\)"):
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
