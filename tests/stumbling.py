"""Storage whose calls fail, below the point where `factory.storage` tries them again."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from factory.storage import files


@dataclass
class Stumbles:
    """Calls that failed by URL, and the pauses between tries in seconds, which take no time."""

    failed: Counter[str] = field(default_factory=Counter)
    pauses: list[float] = field(default_factory=list)


def stumble(
    monkeypatch: pytest.MonkeyPatch,
    times: float = 1,
    error: Exception | None = None,
    at: Callable[[str], bool] = lambda url: True,
) -> Stumbles:
    """The first calls at each URL that `at` chooses, so many of them, raise the error."""
    stumbles, honest = Stumbles(), files.filesystem

    def filesystem(url: str) -> Any:
        if at(url) and stumbles.failed[url] < times:
            stumbles.failed[url] += 1
            raise error or OSError("503 SlowDown")
        return honest(url)

    monkeypatch.setattr(files, "filesystem", filesystem)
    monkeypatch.setattr(time, "sleep", stumbles.pauses.append)
    return stumbles
