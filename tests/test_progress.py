"""Claims about factory.progress."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from factory.progress import tracked

TELLS = "from factory.progress import print_lines, tell, warn\n{}\ntell('step 1'); warn('a %s b')"


def printed(before: str) -> tuple[str, str]:
    """What a process prints on stdout and stderr that logs two lines after some code."""
    code = [sys.executable, "-c", TELLS.format(before)]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_a_program_that_does_not_ask_for_progress_sees_warnings_alone() -> None:
    assert printed("") == ("", "warning: a %s b\n")


def test_a_program_may_take_lines_by_its_own_logging() -> None:
    logged = "import logging; logging.basicConfig(level='INFO', format='%(name)s: %(message)s')"
    assert printed(logged) == ("", "factory: step 1\nfactory: warning: a %s b\n")


def test_commands_print_progress_and_what_they_warn_of_apart() -> None:
    assert printed("print_lines(); print_lines()") == ("step 1\n", "warning: a %s b\n")


@pytest.mark.slow
def test_a_line_is_printed_once_where_ray_train_has_replaced_print() -> None:
    replaced = (
        "import io, sys; from ray.train.v2._internal.logging.patch_print import redirected_print; "
        "import builtins, logging; logging.basicConfig(level='INFO', stream=sys.stdout); "
        "sys.stdout = io.TextIOWrapper(sys.stdout.buffer); builtins.print = redirected_print; "
        "print_lines()"
    )
    assert printed(replaced) == ("step 1\n", "warning: a %s b\n")


WORKS = """
from factory.progress import print_lines, tell, tracked
{}
for step in tracked(range(3), "fit", 3, "steps"):
    tell(f"line {{step}}")
"""


def on_a_terminal(arguments: list[str]) -> str:
    """What a process shows on a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(arguments, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4096):
            shown += part
    except OSError:  # The other side is closed.
        pass
    os.close(ours)
    assert process.wait() == 0, shown
    return shown.decode()


def test_a_terminal_shows_a_bar_below_the_lines() -> None:
    shown = on_a_terminal([sys.executable, "-c", WORKS.format("print_lines()")])
    for step in range(3):
        assert f"line {step}" in shown
    assert "fit" in shown and re.search(r"[0-3]/3", shown) and "ETA" in shown


def test_a_program_of_its_own_has_no_bar_on_its_terminal() -> None:
    assert on_a_terminal([sys.executable, "-c", WORKS.format("")]) == ""


def test_a_pipe_gets_lines_alone() -> None:
    code = [sys.executable, "-c", WORKS.format("print_lines()")]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("line 0\nline 1\nline 2\n", "")


def test_every_item_is_given_once_whether_or_not_a_bar_is_shown() -> None:
    assert list(tracked("abc", "fit", 3, "letters")) == ["a", "b", "c"]


@pytest.mark.slow
def test_commands_show_bars_on_a_terminal(tmp_path: Path) -> None:
    factory = [sys.executable, "-m", "factory"]
    made = [*factory, "generate", "--workers", "here", "--num", "8", "--samples-per-shard", "2"]
    made += ["--out", str(tmp_path / "pairs"), "--set", "generate.num_sampling_steps=5"]
    shown = on_a_terminal(made)
    assert "generate" in shown and "shards/s" in shown and "complete | 8 pairs" in shown
    url = str(tmp_path / "pairs")
    assert re.search(r"verify.*/4", on_a_terminal([*factory, "verify", url]))
    assert re.search(r"report.*/4", on_a_terminal([*factory, "report", url]))
