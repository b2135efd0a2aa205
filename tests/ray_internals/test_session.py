"""Claims about factory.ray_internals.session: what it expects of Ray, item by item."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import ray
from ray._private import ray_constants, services, utils, worker
from ray._private.authentication import authentication_token_setup

from factory.ray_internals import session
from factory.ray_internals.session import ActorState


def test_a_constant_of_rays_decides_whether_it_listens_beyond_loopback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", True)
    # A node that runs already has its address.
    monkeypatch.setattr(worker, "_global_node", None)
    session.listen_on_loopback_only()
    assert not session.other_nodes_may_join()
    assert services.get_node_ip_address() == "127.0.0.1"
    session.allow_other_nodes()
    assert session.other_nodes_may_join()


@pytest.mark.parametrize(
    ("module", "hide"),
    [
        (worker, session.hide_sigterm_warning),
        (authentication_token_setup, session.hide_token_notice),
    ],
)
def test_what_is_hidden_is_said_through_the_logger_of_its_module(
    module: ModuleType, hide: Callable[[], None]
) -> None:
    before = module.logger.level
    try:
        hide()
        assert module.logger.getEffectiveLevel() == logging.ERROR
    finally:
        module.logger.setLevel(before)


TOKEN = """
import os
from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader
from factory.ray_internals import session
session.provide_token()
assert AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
print(os.environ.get("RAY_AUTH_TOKEN", ""), session.sends_token())
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["token", "disabled"])
def test_a_token_is_made_in_memory_and_sent_where_the_mode_asks_for_it(
    mode: str, tmp_path: Path
) -> None:
    kept = {n: v for n, v in os.environ.items() if not n.startswith("RAY_AUTH")}
    made, is_sent = subprocess.run(
        [sys.executable, "-c", TOKEN],
        env={**kept, "HOME": str(tmp_path), "RAY_AUTH_MODE": mode},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(made) == 64 and is_sent == str(mode == "token")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_token_of_the_users_is_left_as_it_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOKEN],
        env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "the-users-own-token"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["the-users-own-token", "True"]


def test_rays_folder_follows_the_variable_that_messages_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    assert session.temporary_folder() == str(tmp_path / "ray")


def test_the_cpus_of_this_machine_are_counted_before_ray_starts() -> None:
    assert 1 <= session.num_cpus() <= (os.cpu_count() or 1)


def test_ray_installs_a_handler_and_ties_its_processes_to_the_thread_that_starts_them() -> None:
    # These are why `sigterm_kept` and `run_in_lasting_thread` exist.
    assert callable(utils.set_sigterm_handler)
    assert callable(utils.set_kill_on_parent_death_linux)


def test_what_the_start_raises_is_raised_where_the_caller_waits() -> None:
    def start() -> None:
        raise ValueError("it does not start")

    with pytest.raises(ValueError, match="it does not start"):
        session.run_in_lasting_thread(start)


@pytest.mark.ray
def test_actors_are_counted_by_the_cluster_whatever_they_tell(ray_session: str) -> None:
    class Waiter:
        def pid(self) -> int:
            return os.getpid()

    assert session.actors_of_class(Waiter) == []
    handles = [ray.remote(num_cpus=0, max_restarts=-1)(Waiter).remote() for _ in range(2)]
    pids = [ray.get(handle.pid.remote()) for handle in handles]
    assert session.actors_of_class(Waiter) == [ActorState(True, 0)] * 2
    os.kill(pids[0], signal.SIGKILL)
    end = time.monotonic() + 60
    while sorted(state.num_restarts for state in session.actors_of_class(Waiter)) != [0, 1] or (
        not all(state.is_ready for state in session.actors_of_class(Waiter))
    ):
        assert time.monotonic() < end, session.actors_of_class(Waiter)
        time.sleep(0.1)
    for handle in handles:
        ray.kill(handle)


@pytest.mark.ray
def test_an_actor_of_ray_data_is_known_by_the_class_that_it_runs(ray_session: str) -> None:
    import ray.data

    class Counter:
        def __call__(self, row: dict[str, object]) -> dict[str, object]:
            return {"states": [len(session.actors_of_class(Counter))]}

    pool = ray.data.ActorPoolStrategy(size=1)
    [row] = ray.data.from_items([{"x": 1}]).map_batches(Counter, batch_size=1, compute=pool).take()
    assert row == {"states": 1}
