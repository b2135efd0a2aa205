"""Claims about factory.processes: work done by forks of the process that reads."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from factory import processes
from factory.errors import UserError
from tests.sources import ROOT


def test_results_come_in_the_order_of_the_items() -> None:
    items = list(range(1000))
    assert list(processes.in_processes(lambda item: item * item, items, 2)) == [
        item * item for item in items
    ]


def test_items_need_not_be_such_as_can_be_sent() -> None:
    locks = [threading.Lock() for _ in range(3)]
    assert list(processes.in_processes(lambda lock: lock.locked(), locks, 2)) == [False] * 3


def test_work_is_done_by_as_many_processes_as_asked_for() -> None:
    def work(item: int) -> int:
        time.sleep(0.001)
        return os.getpid()

    done_by = set(processes.in_processes(work, range(640), 2))
    assert len(done_by) == 2 and os.getpid() not in done_by


def test_what_work_raises_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        list(processes.in_processes(lambda item: 1 // item, [0], 2))


def test_a_process_that_is_killed_is_told_in_words() -> None:
    def work(item: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UserError, match="was killed, perhaps as memory ran out"):
        list(processes.in_processes(work, [1], 2))


def test_little_work_and_processes_with_threads_do_not_fork(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    assert processes.num_processes(30_000) == 2
    assert processes.num_processes(999) == 0
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert processes.num_processes(30_000) == 0
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    assert processes.num_processes(30_000) == 0, "one core gains nothing"


@pytest.mark.slow
def test_processes_end_with_their_parent_however_it_ends(tmp_path: Path) -> None:
    code = (
        "import os, sys, time\n"
        "from factory.processes import in_processes\n"
        "def work(item):\n"
        "    open(f'{sys.argv[1]}/{os.getpid()}', 'w').close()\n"
        "    time.sleep(0.2)\n"
        "list(in_processes(work, range(10_000), 2))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    children = [int(path.name) for path in tmp_path.iterdir()]
    while any(map(_runs, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(children) == 2 and not any(map(_runs, children))


def _runs(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
