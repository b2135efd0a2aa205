"""Claims about what tests are given: datasets that are made once, and what is logged."""

import logging
from pathlib import Path

import pytest

from tests import kept
from tests.folders import contents


@pytest.mark.parametrize("scheme", ["", "memory:/"])
def test_a_dataset_is_made_once_and_then_copied_but_not_over_another(
    tmp_path: Path, scheme: str
) -> None:
    made: list[str] = []

    def make(url: str) -> None:
        made.append(url)
        kept._put(url, {"run.json": b"{}", "data/a": bytes(range(256))})

    first, second = (f"{scheme}{tmp_path}/{i}" for i in range(2))
    for url in (first, second, first):
        kept.lay_down(url, ("of this test", scheme), make)
    assert made == [first, first]
    assert kept._files(first) == kept._files(second) and len(kept._files(first)) == 2
    assert (len(contents(tmp_path)) == 4) == (not scheme)


def test_what_a_logger_takes_is_heard_also_of_one_that_tells_no_other(logged: list[str]) -> None:
    assert not logging.getLogger("ray").propagate
    for name in ("kept", "ray"):
        logging.getLogger(name).error("of %s", name)
        logging.getLogger(name).debug("nobody asked")
    assert logged == ["of kept", "of ray"]
