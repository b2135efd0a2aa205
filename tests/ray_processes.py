"""The processes and the folder of the Ray that tests started; `tests/ray_internals` proves each."""

from pathlib import Path

import psutil
import ray

POOL_ACTOR = "MapWorker"
"""A word in the title of each process in which Ray Data runs an actor."""
TRAIN_WORKER = "RayTrainWorker"
"""A word in the title of each worker of Ray Train."""


def processes(title: str) -> list[psutil.Process]:
    """Returns this process's children, and theirs, with a word in their title."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if title in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def session_folder() -> Path:
    """Returns the folder of logs and sockets of the Ray that this process is connected to."""
    return Path(ray._private.worker.global_worker.node.get_session_dir_path())
