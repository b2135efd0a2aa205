"""Storage whose calls fail, below the point where `factory.storage` tries them again."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from factory.storage import files


@dataclass
class Failures:
    """How many calls failed by URL, and the pauses between tries in seconds, which take no time."""

    num_by_url: Counter[str] = field(default_factory=Counter)
    pauses: list[float] = field(default_factory=list)


def fail_calls(
    monkeypatch: pytest.MonkeyPatch,
    times: float = 1,
    error: Exception | None = None,
    at: Callable[[str], bool] = lambda url: True,
) -> Failures:
    """The first calls at each URL that `at` chooses, so many of them, raise the error."""
    failures, working = Failures(), files.filesystem

    def fail(url: str) -> None:
        if at(url) and failures.num_by_url[url] < times:
            failures.num_by_url[url] += 1
            raise error or OSError("503 SlowDown")

    def filesystem(url: str) -> Any:
        fail(url)
        return working(url)

    def opened(file: Any, *args: Any, **more: Any) -> Any:
        fail(str(file))
        return open(file, *args, **more)

    monkeypatch.setattr(files, "filesystem", filesystem)
    monkeypatch.setattr(files, "open", opened, raising=False)  # Local files are read by it alone.
    monkeypatch.setattr(time, "sleep", failures.pauses.append)
    return failures
