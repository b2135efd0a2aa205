"""Claims about factory.generation.deadlines: a process in which a shard hangs ends."""

import subprocess
import sys

import pytest

HANGS = """
import sys, time
from factory.generation.deadlines import Deadlines
deadlines = Deadlines()
with deadlines.within(None), deadlines.within(600):
    with deadlines.within(0.2):
        pass
    time.sleep(0.5)
    print("alive", flush=True)
    with deadlines.within(0.2):
        time.sleep(600)
"""


@pytest.mark.slow
def test_a_process_that_outlasts_its_deadline_ends_and_says_where_it_hung() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout == "alive\n"
    assert "Timeout" in done.stderr and 'File "<string>", line 11' in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("order", ["before", "after"])
def test_what_was_given_no_time_may_be_limited_later(order: str) -> None:
    code = f"""
import time
from factory.generation.deadlines import Deadlines
deadlines = Deadlines()
if {order!r} == "before":
    deadlines.limit(0.2)
with deadlines.within(600), deadlines.within(None):
    print("alive", flush=True)
    deadlines.limit(0.2)
    time.sleep(600)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "alive\n")
    assert "Timeout" in done.stderr
