"""One Ray instance for all tests, tiny models for any of them, and no way off this machine."""

import gc
import itertools
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import psutil
import pytest
import torch

from factory import progress
from factory.config import Config, parse_config
from factory.generation import local
from factory.progress import LOGGER, heard
from factory.shards.plan import Plan
from tests import isolation, s3, tiny
from tests.ray_processes import processes

TESTS = Path(__file__).parent
_NUMBERS = itertools.count()

# Tiny tensors gain nothing from threads, and lose much on a busy machine.
torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    """Hides the user's home and settings before any test module is imported."""
    home, monkeypatch = tempfile.TemporaryDirectory(prefix="home-"), pytest.MonkeyPatch()
    isolation.hide_settings(monkeypatch, home.name)
    config.add_cleanup(monkeypatch.undo)
    config.add_cleanup(home.cleanup)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, one of them has all those that need Ray, and begins
    with them, as they take longest; the others share the folders, so that what a folder's tests
    import and make for each other is imported and made once."""
    for item in items:
        below = item.path.relative_to(TESTS).parts[0]
        if "ray_session" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.ray)
        if below == "chaos":
            item.add_marker(pytest.mark.chaos)
        if below == "gpu":
            item.add_marker(pytest.mark.slow)
        item.add_marker(pytest.mark.xdist_group("ray" if _needs_ray(item) else below))
    items.sort(key=lambda item: not _needs_ray(item))


def _needs_ray(item: pytest.Item) -> bool:
    return item.get_closest_marker("ray") is not None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names files in tests by their argument: their bytes hold the time, which processes that share
    the tests do not have in common."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Spares the garbage collector the modules and tests, which last as long as the process."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def printed_lines() -> None:
    """Lines of progress are printed, as by commands."""
    progress.print_lines()


@pytest.fixture(autouse=True)
def isolated(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves this machine, or that starts Ray without the marker for it."""
    if any(map(request.node.get_closest_marker, ("ray", "cluster"))):
        yield
        return
    with isolation.WATCH.during() as refused:
        yield
    assert not refused, refused


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, as pytest's own fixture makes it, which looks through those of all tests
    before for the next free number."""
    name = re.sub(r"\W", "_", request.node.name)[:30]
    return tmp_path_factory.mktemp(f"{name}{next(_NUMBERS)}", numbered=False)


@pytest.fixture(scope="session")
def s3_bucket() -> Iterator[str]:
    """A bucket of an S3 server on loopback, which s3fs finds in every process of the session."""
    with s3.server():
        fsspec.filesystem("s3").mkdir("factory")
        yield "s3://factory"


@pytest.fixture(scope="session")
def ray_session(s3_bucket: str) -> Iterator[str]:
    """Starts Ray once for all tests; yields its address, for processes that join it."""
    import ray

    # Ray would run workers at low priority, and the tests behind anything else on the machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    context = ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        logging_level=logging.ERROR,
    )
    yield context.address_info["gcs_address"]
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of a tiny random DDPM and a tiny random ensemble on its features."""
    return tiny.save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def tiny_config(tiny_models: dict[str, str], tmp_path: Path) -> Callable[..., Config]:
    """A config over the tiny models; keyword arguments are sections."""

    def make(**sections: dict[str, object]) -> Config:
        generate = {
            "url": str(tmp_path / "dataset"),
            "num": 30,
            "samples_per_shard": 4,
            "batch_size": 2,
            "precision": "fp32",
            "num_sampling_steps": 5,
            "progress_seconds": 0.5,
        }
        defaults = {**tiny.TREE, "models": tiny_models, "generate": generate}
        tree = {**defaults, **sections}
        for name in ("train", "fit", "generate"):
            tree[name] = {**defaults[name], **sections.get(name, {})}
        return parse_config(tree)

    return make


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Grows by the lines that a handler on the logger `factory` of this process is given."""
    lines: list[str] = []
    level = LOGGER.level
    LOGGER.setLevel(logging.INFO)
    with heard(lines.append):
        yield lines
    LOGGER.setLevel(level)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Grows by what any logger of this process takes; the root's level is put back afterwards."""
    handler, lines = logging.Handler(), list[str]()
    # Of pytest's own caplog, all tests would pay the price.
    handler.emit = lambda record: lines.append(handler.format(record))
    names = logging.root.manager.loggerDict
    loggers = [logging.root, *(logging.getLogger(name) for name in names)]
    loggers = [each for each in loggers if each is logging.root or not each.propagate]
    level = logging.root.level
    for logger in loggers:
        logger.addHandler(handler)
    yield lines
    for logger in loggers:
        logger.removeHandler(handler)
    logging.root.setLevel(level)


@pytest.fixture
def shards_made(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Grows by the shards of each time that this process makes some, with `workers: here`."""
    made: list[list[int]] = []
    make_shards = local.make_shards

    def recording(config: Config, plan: Plan, shards: Sequence[int], *rest: Any) -> None:
        made.append(list(shards))
        make_shards(config, plan, shards, *rest)

    monkeypatch.setattr(local, "make_shards", recording)
    return made


@pytest.fixture
def ray_processes(ray_session: str) -> Callable[[str], list[psutil.Process]]:
    """Finds processes of this session's Ray by a word in their title."""
    return processes
