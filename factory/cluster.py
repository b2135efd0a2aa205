"""Joins the Ray cluster that is there, or starts one on this machine."""

import ipaddress
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from factory import storage
from factory.errors import Problems, UserError, counted
from factory.progress import tell, warn
from factory.ray_internals import environment, messages, session

_ANSWER_SECONDS = 15.0
"""A cluster has so long to accept a connection."""
_NODE_SECONDS = 60.0
"""A node has so long to start a process and look for a file."""
WAITING_SECONDS = 30.0
"""Every so many seconds a line tells what is waited for."""


def connect() -> None:
    """Joins the cluster of RAY_ADDRESS (`ray job submit` sets it), else starts a local one.

    Does nothing where this process is connected already; may be called in any thread. The local
    cluster has no dashboard, listens on loopback alone, asks for a token, and ends with the
    process. A cluster that asks for none is joined with a warning.

    Raises UserError where no cluster lets us in at RAY_ADDRESS, and where Ray cannot start here.
    """
    messages.sort_lines(tell)
    if ray.is_initialized():
        return
    environment.set_defaults()
    session.hide_sigterm_warning()
    with session.sigterm_kept():
        if address := _address():
            _join(address)
        else:
            _start()


def _address() -> str:
    """Returns the address of the cluster to join; empty if one is to be started on this machine."""
    address = os.environ.get("RAY_ADDRESS", "").strip()
    # Ray's own name for starting one.
    return "" if address == "local" else address


def _start() -> None:
    session.listen_on_loopback_only()
    session.hide_token_notice()
    try:
        session.provide_token()
        session.run_in_lasting_thread(
            partial(
                ray.init,
                address="local",
                include_dashboard=False,
                dashboard_host="127.0.0.1",
                logging_level=logging.WARNING,
            )
        )
    except ray.exceptions.AuthenticationError as error:
        raise UserError(f"Ray's token: {_first_sentence(error)}. Mend or unset it.") from None
    # When a process of its own does not start, Ray raises a plain Exception.
    except Exception as error:
        raise UserError(
            f"Ray cannot start on this machine ({_one_line(error)}). Its processes meet in "
            f"{session.temporary_folder()}: set RAY_TMPDIR to a folder with an absolute path of at "
            "most 35 characters that you may write to. Nothing was started."
        ) from None


def _join(address: str) -> None:
    host, has_port, port = address.rpartition("://")[2].rpartition(":")
    # This process may have had a local cluster before.
    session.allow_other_nodes()
    environment.try_an_address_once()
    try:
        if has_port:
            # Where nothing does, for some minutes.
            socket.create_connection((host.strip("[]"), _port(port)), _ANSWER_SECONDS).close()
        ray.init(address=address, logging_level=logging.WARNING)
    except ray.exceptions.AuthenticationError as error:
        raise UserError(
            f"RAY_ADDRESS={address}: the cluster does not let us in ({_first_sentence(error)}). "
            "Bring its token as the file ~/.ray/auth_token, or name the file in "
            "RAY_AUTH_TOKEN_PATH, and set RAY_AUTH_MODE=token."
        ) from None
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(
            f"RAY_ADDRESS={address}: no Ray cluster answers there ({_one_line(error)}). Start one, "
            "correct the address, or unset it to run on this machine alone."
        ) from None
    _warn_of_open_cluster(address)


def _port(text: str) -> int:
    """Returns the number of a port; raises ValueError if the text is none."""
    if not (text.isdecimal() and 1 <= int(text) <= 65535):
        raise ValueError(f"{text!r} is not a port: a number from 1 to 65535")
    return int(text)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _first_sentence(error: Exception) -> str:
    return _one_line(error).partition(". ")[0]


def check_capacity(needed: Mapping[str, tuple[str, float]]) -> None:
    """Raises UserError where this machine alone can never run what is asked for at once.

    needed: "CPUs" and "GPUs" -> the keys that ask for them, and how many they ask for. With
    RAY_ADDRESS all is possible: a cluster may grow, and the caller's own may be one.
    """
    if _address() or ray.is_initialized():
        return
    import torch  # Most of what joins a cluster does without.

    available = {"CPUs": session.num_cpus(), "GPUs": float(torch.cuda.device_count())}
    problems = Problems()
    for resource, (keys, number) in needed.items():
        if number > available[resource]:
            problems.add(
                f"{keys} = {number:g} {resource}, this machine has {available[resource]:g}. Lower "
                "one of them, or set RAY_ADDRESS to a cluster."
            )
    problems.raise_if_any()


@dataclass(frozen=True)
class Room:
    """CPUs and GPUs that processes need, or that a cluster has."""

    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{counted(self.cpus, 'CPU')} and {counted(self.gpus, 'GPU')}"


def room() -> Room:
    """Returns what all nodes of the cluster have together, in use or not."""
    resources = ray.cluster_resources()
    return Room(resources.get("CPU", 0.0), resources.get("GPU", 0.0))


def waiting_line(what: str, num_ready: int, num_wanted: int, asked: Room, existing: Room) -> str:
    """Tells those who wait for nodes how many processes are wanted and ready, what was asked for
    them and what the cluster has. It is printed at once, and every WAITING_SECONDS."""
    return (
        f"waiting for {what}: {num_ready} of {num_wanted} are ready; {asked} are asked for, "
        f"the cluster has {existing}"
    )


def node_names() -> dict[str, str]:
    """Returns names of nodes by their ids, of lost ones too: the address, and the name if it
    differs."""
    return {
        node["NodeID"]: " ".join(dict.fromkeys((node["NodeManagerAddress"], node["NodeName"])))
        for node in ray.nodes()
    }


def may_grow() -> bool:
    """Returns whether nodes may join later: not if `connect` started Ray on this machine."""
    return session.other_nodes_may_join()


def live_nodes() -> dict[str, str]:
    """Returns the addresses of the nodes that are alive, by their ids."""
    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def this_node() -> str:
    """Returns the id of the node on which this process runs."""
    return str(ray.get_runtime_context().get_node_id())


@contextmanager
def naming_this_node() -> Iterator[None]:
    """Lets a worker use storage in the body: if it finds no credentials, UserError says on which
    node, and how they come there."""
    try:
        yield
    except (OSError, UserError) as error:
        why = storage.lack_of_credentials(error)
        if why is None:
            raise
        here = this_node()
        raise UserError(
            f"node {node_names().get(here, here)} finds no credentials for the storage ({why}). "
            "Workers do not inherit the environment of the shell that starts a command: give the "
            "nodes a role, or pass variables with the job; see Credentials in docs/operations.md."
        ) from None


def at_node(node: str) -> NodeAffinitySchedulingStrategy:
    """Returns the strategy by which a task or an actor runs on that node alone."""
    return NodeAffinitySchedulingStrategy(node, soft=False)


def nodes_without(path: str) -> tuple[list[str], list[str]]:
    """Returns the addresses of the nodes that do not find a file of this machine, and of those that
    did not answer in time."""
    sees = ray.remote(num_cpus=0, max_retries=0)(os.path.exists)
    asked = {
        sees.options(scheduling_strategy=at_node(id)).remote(path): address
        for id, address in live_nodes().items()
    }
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_NODE_SECONDS)
    without, lost = [], [asked[answer] for answer in silent]
    for answer in answered:
        try:
            if not ray.get(answer):
                without.append(asked[answer])
        except RayError:
            lost.append(asked[answer])
    return sorted(without), sorted(lost)


def _warn_of_open_cluster(address: str) -> None:
    """Warns that anyone may use the cluster if it requires no token."""
    if not session.sends_token() and not _is_loopback(address):
        warn(
            f"the Ray cluster at {address} asks for no token: whoever reaches its ports "
            "can run code there and read its data. Start it with RAY_AUTH_MODE=token; SECURITY.md "
            "tells how.",
        )


def _is_loopback(address: str) -> bool:
    """Returns whether host:port, perhaps with a protocol before it, is of this machine alone."""
    host = address.rpartition("://")[2].rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
