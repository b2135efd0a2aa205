"""Empty folders, and a store whose calls can fail."""

import uuid
from pathlib import Path

import pytest
from fsspec.registry import _registry

from factory.storage import store_errors
from tests.storage.stores import Store


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty folder on this machine, and of one behind fsspec."""
    return str(tmp_path / "a") if request.param == "local" else f"memory://{uuid.uuid4().hex}/a"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> type[Store]:
    """Behind memory://."""
    monkeypatch.setitem(_registry, "memory", Store)
    monkeypatch.setattr(store_errors, "_answered", set())
    for name, value in {"store": {}, "pseudo_dirs": [""], "errors": [], "replaces": False}.items():
        monkeypatch.setattr(Store, name, value)
    return Store
