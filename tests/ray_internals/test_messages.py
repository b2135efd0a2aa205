"""Claims about factory.ray_internals.messages: which of Ray's lines are shown, and how."""

from typing import Any

import pytest
from ray._private import worker
from ray.autoscaler.v2 import utils
from ray.exceptions import ActorDiedError, RayTaskError

from factory.ray_internals import messages
from tests.ray_internals import installed

EXECUTION = "data/_internal/execution"
OF_NO_CONCERN = [
    "[2026-01-01 00:00:00,000 E 1 1] core_worker.cc:2465: Actor with class name: 'MapWorker(x)' "
    "and ID: '1' has constructor arguments in the object store and max_restarts > 0. If the ...",
    ":event_summary:Adding 2 node(s) of type gpu_spot.",
    ":event_summary:Removing 4 nodes of type gpu_spot (idle).",
    ":event_summary:Resized to 4 CPUs.",
    "Raylet is terminated. Termination is unexpected. Possible reasons include: ...\n [state-dump]",
    "    [state-dump] 	ObjectManager.UpdateAvailableMemory - 1 total (0 active)",
    "The node with node id: 1 and address: 10.0.0.2 and node name: 10.0.0.2 has been marked dead "
    "because the detector has missed too many heartbeats from it.",
    "Task MapWorker(x).submit failed. There are infinite retries remaining, so the task will be "
    "retried. Error: The actor is temporarily unavailable",
    "[2026-01-01 00:00:00,000 E 1 1] (gcs_server) gcs_actor_scheduler.cc:538: Failed to kill actor "
    "1ccd7d40, return status: Invalid: KillActor RPC failed for actor 1ccd7d40: RpcError: Socket",
    "A worker died or was killed while executing a task by an unexpected system error. To ...",
    "Warning: The Ray cluster currently does not have any available CPUs. The Dataset job will ...",
]
SHOWN = [
    ":event_summary:Error: No available node types can fulfill resource request {'CPU': 2.0}.",
    "file_system_monitor.cc:116: /tmp/ray is over 95% full, available space: 0 GB",
    "Timeout (0:10:00)!",
    "2 Workers (tasks / actors) killed due to memory pressure (OOM)",
]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that Ray would print."""
    lines: list[str] = []

    def original(data: dict[str, Any], *rest: Any, **more: Any) -> None:
        lines.extend(data["lines"])

    monkeypatch.setattr(worker, "print_worker_logs", original)
    return lines


@pytest.fixture
def told() -> list[str]:
    """The lines that the process would tell."""
    return []


def test_what_concerns_no_user_is_left_out_and_the_rest_is_shown(printed, told) -> None:
    messages.sort_lines(told.append)
    messages.sort_lines(told.append)
    data = {"pid": 1, "ip": "10.0.0.1", "is_err": True, "lines": [*OF_NO_CONCERN, *SHOWN]}
    worker.print_worker_logs(data, None, ignore_prefix=False)
    assert printed == SHOWN
    assert worker.print_worker_logs.__name__ == "print_worker_logs"


def test_lines_that_workers_tell_are_told_once_and_not_printed_by_ray(printed, told) -> None:
    messages.sort_lines(told.append)
    messages.sort_lines(told.append)
    lines = [
        "train | step 1/2 | loss 1",
        "a | b",
        "it said: train | x",
        "data | decoded 1/2 images",
    ]
    worker.print_worker_logs({"pid": 1, "lines": lines}, None, ignore_prefix=False)
    assert (told, printed) == ([lines[0], lines[3]], lines[1:3])


def test_ray_adds_no_tip_to_what_is_shown(monkeypatch, told, capsys) -> None:
    monkeypatch.setattr(worker, "autoscaler_log_fyi_printed", False)
    monkeypatch.setattr(utils, "is_autoscaler_v2", lambda: False)
    monkeypatch.setattr(worker, "print_worker_logs", worker.print_worker_logs)
    messages.sort_lines(told.append)
    data = {"pid": "autoscaler", "ip": "10.0.0.1", "is_err": False, "lines": SHOWN[:1]}
    worker.print_worker_logs(data, None)
    output = capsys.readouterr().out
    assert "No available node types" in output and "Tip" not in output


def test_ray_prints_by_the_function_that_is_replaced(printed, told) -> None:
    messages.sort_lines(told.append)
    for is_err in (False, True):
        data = {"pid": "raylet", "is_err": is_err, "lines": [OF_NO_CONCERN[4], f"x{is_err}"]}
        worker.print_to_stdstream(data, ignore_prefix=False)
    assert printed == ["xFalse", "xTrue"]


def task_error(cause: Exception, text: str) -> RayTaskError:
    return RayTaskError("make", text, cause, pid=1, ip="10.0.0.1")


def test_the_reason_is_the_error_at_the_bottom() -> None:
    try:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise ValueError("outer") from error
    except ValueError as error:
        assert messages.root_cause(error) == "[Errno 28] No space left on device"


def test_the_reason_of_an_error_in_another_process_is_its_own_not_rays_hint() -> None:
    text = (
        "ray::MapWorker.__init__() (pid=1, ip=10.0.0.1)\n"
        '  File "pool.py", line 1, in __init__\n'
        "factory.diffusion.compilation.CannotCompile: no compiler; install one\n"
        "To change retry attempts, configure `ray.data.DataContext.get_current()`"
    )
    error = ActorDiedError(task_error(RuntimeError("no compiler; install one"), text))
    assert messages.root_cause(error) == "no compiler; install one"


def test_the_reason_of_a_killed_process_says_that_it_was_killed() -> None:
    class Died(ActorDiedError):
        def __str__(self) -> str:
            return (
                "The actor died unexpectedly before finishing this task.\n"
                "\tclass_name: _Coordinator\n\tactor_id: 1f\n\tpid: 7\n\tip: 10.0.0.1\n"
                "The actor is dead because its worker process has died. Worker exit type: "
                "SYSTEM_ERROR Worker exit detail: the process was killed."
            )

    assert messages.root_cause(Died()) == (
        "The actor died unexpectedly before finishing this task. The actor is dead because its "
        "worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: the process "
        "was killed."
    )


def test_of_a_process_that_was_ended_for_lack_of_memory_its_node_and_what_helps_are_told() -> None:
    message = (
        "1 worker(s) were killed due to the node running low on memory.\nMemory on the node "
        "(IP: 10.0.0.7, ID: 83c6) was 22.99GB used / 23.54GB limit (0.976676)\nOOM kill reason: "
        "Memory usage 1B exceeded threshold of 1B\nObject store memory usage: [- objects: 0"
    )
    assert messages.shortened(message) == (
        "1 worker(s) were killed due to the node running low on memory. Memory on the node "
        "(IP: 10.0.0.7, ID: 83c6) was 22.99GB used / 23.54GB limit. Use nodes with more memory, "
        "or ask for more CPUs a process"
    )
    assert messages.shortened("another\nreason") == "another\nreason"


@pytest.mark.parametrize(
    ("words", "file"),
    [
        ("has constructor arguments in the object store and max_restarts > 0", "_raylet.so"),
        ("retries remaining", "_raylet.so"),
        ("[state-dump]", "core/src/ray/raylet/raylet"),
        ("A worker died or was killed while executing a task by an", "core/src/ray/raylet/raylet"),
        ("killed due to the node running low on memory", "core/src/ray/raylet/raylet"),
        ("has been marked dead because the detector", "core/src/ray/gcs/gcs_server"),
        ("Failed to kill actor", "core/src/ray/gcs/gcs_server"),
        ("Termination is unexpected", "_private/process_watcher.py"),
        ("Progress bars disabled", "data/_internal/progress/__init__.py"),
        ("Dataset execution will now abort.", f"{EXECUTION}/streaming_executor_state.py"),
        ("To ignore this exception", f"{EXECUTION}/streaming_executor_state.py"),
        ("execution finished", f"{EXECUTION}/streaming_executor.py"),
        ("Resized to", "autoscaler/_private/monitor.py"),
        ("Resized to", "autoscaler/v2/event_logger.py"),
        ("Adding {} node(s) of type ", "autoscaler/_private/node_launcher.py"),
        ("Adding {count} node(s) of type", "autoscaler/v2/event_logger.py"),
    ],
)
def test_ray_still_says_what_is_looked_for(words: str, file: str) -> None:
    assert words.encode() in installed.content(file)
