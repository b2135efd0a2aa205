"""Starting, joining and looking at a cluster: what Ray's public interface does not offer for it."""

import logging
import os
import re
import secrets
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private import ray_constants
from ray._private.authentication.authentication_token_setup import AuthenticationTokenLoader
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray._private.state import actors
from ray._private.utils import get_num_cpus

_CAN_BE_JOINED = bool(ray_constants.ENABLE_RAY_CLUSTER)
"""True if Ray supports clusters of several nodes on this operating system."""


@dataclass(frozen=True)
class ActorState:
    """An actor as the cluster itself knows it, even one that is killed while it starts."""

    is_ready: bool
    num_restarts: int


def hide_sigterm_warning() -> None:
    """Silences Ray's warning that in threads other than the main one it leaves SIGTERM alone."""
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)


def hide_token_notice() -> None:
    """Silences Ray's notice that it turned on token authentication, as it always does here."""
    name = "ray._private.authentication.authentication_token_setup"
    logging.getLogger(name).setLevel(logging.ERROR)


def listen_on_loopback_only() -> None:
    """Makes the next cluster that starts here one of this machine alone.

    With support of several nodes enabled, Ray binds to every interface; it has no option that
    keeps it on loopback.
    """
    ray_constants.ENABLE_RAY_CLUSTER = False


def allow_other_nodes() -> None:
    """Undoes `listen_on_loopback_only`, for a process that joins a cluster afterwards."""
    ray_constants.ENABLE_RAY_CLUSTER = _CAN_BE_JOINED


def other_nodes_may_join() -> bool:
    """Returns whether nodes may join the cluster later; Ray keeps this to itself."""
    return bool(ray_constants.ENABLE_RAY_CLUSTER)


def provide_token() -> None:
    """Makes a token for this process and its children if the user has none.

    Ray would write it into the home folder, which may be read-only or absent.
    """
    tokens = AuthenticationTokenLoader.instance()
    if not tokens.has_token(ignore_auth_mode=True):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        tokens.reset_cache()


def sends_token() -> bool:
    """Returns whether this process presents a token; after joining it tells of the cluster, too.

    A cluster that requires a token rejects clients without one. So if we connected without a
    token, the cluster requires none.
    """
    return bool(is_token_auth_enabled())


def temporary_folder() -> str:
    """Returns the folder of Ray's sockets, for a message: Ray's own names other places."""
    return str(get_default_ray_temp_dir())


def num_cpus() -> float:
    """Returns how many CPUs Ray would find on this machine or in this container, unstarted."""
    return float(get_num_cpus(override_docker_cpu_warning=True))


def actors_of_class(kind: type) -> list[ActorState]:
    """Returns this job's actors that run a class, those that Ray Data started for it among them.

    The public state API needs the dashboard, which local clusters do without. Ray Data names its
    actors' class MapWorker(...), with the name of the class inside.
    """
    job = ray.JobID.from_hex(ray.get_runtime_context().get_job_id())
    name = re.compile(rf"\b{kind.__name__}\b")
    return [
        ActorState(actor["State"] == "ALIVE", actor["NumRestarts"])
        for actor in actors(job_id=job).values()
        if name.search(actor["ActorClassName"])
    ]


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Keeps this process's SIGTERM handler.

    In the main thread Ray installs its own, which ends with another exit code.
    """
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def run_in_lasting_thread(start: Callable[[], object]) -> None:
    """Starts Ray in a thread that lives as long as this process; raises what start raises.

    Linux ends Ray's processes with the thread that started them: one that serves a single request,
    perhaps, and the next request would wait for ever. In the main thread, Ray's own handler would
    meanwhile end us at SIGTERM, with another exit code.
    """
    started: Future[object] = Future()

    def run() -> None:
        try:
            started.set_result(start())
        # Whatever it is, it is raised where the caller waits.
        except BaseException as error:
            started.set_exception(error)
        else:
            threading.Event().wait()

    threading.Thread(target=run, name="ray", daemon=True).start()
    started.result()
