"""A group of Ray Train's workers that trains something; whatever dies, the same command goes on.

Ray Train is not told of the checkpoints: it would go on from what a list of its own names, without
looking at it, and not start at all where the list is torn or names what is gone. Here whatever is
whole counts, and nothing else does.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray.train import (
    ControllerError,
    FailureConfig,
    LoggingConfig,
    RunConfig,
    ScalingConfig,
    WorkerGroupError,
)

from factory import cluster, storage
from factory.cluster import Room
from factory.config.workers import WorkersConfig
from factory.errors import TrainingFailed, UserError, counted
from factory.progress import bar, heard, tell
from factory.ray_internals import environment
from factory.ray_internals import train as ray_train

Loop = Callable[[dict[str, Any]], str | None]
"""What every worker runs; it returns why it had to stop, None if it did not."""


def check_capacity(settings: WorkersConfig) -> None:
    """Raises UserError where this machine alone can never run all workers."""
    section, num = settings.section, settings.num_workers
    needed = {
        "CPUs": (
            f"{section}.num_workers x {section}.cpus_per_worker",
            float(num * settings.cpus_per_worker),
        )
    }
    if settings.use_gpu is True:
        needed["GPUs"] = (f"{section}.num_workers with {section}.use_gpu", float(num))
    cluster.check_capacity(needed)


def run_workers(
    settings: WorkersConfig, num_steps: int, loop: Loop, loop_config: Mapping[str, Any]
) -> None:
    """Runs the loop on all workers, on the cluster that this process is connected to.

    loop_config: what the loop is called with. Raises TrainingFailed where workers die more often
    than max_failures allows or find no room, and where the loop had to stop.
    """
    use_gpu = _uses_gpu(settings)
    workers = counted(settings.num_workers, "GPU worker" if use_gpu else "CPU worker")
    tell(f"{settings.section} | {workers} | {settings.url}")
    environment.wait_for_workers(settings.worker_wait_seconds)
    trainer = ray_train.Trainer(
        loop,
        train_loop_config=dict(loop_config),
        scaling_config=_scaling(settings, use_gpu),
        run_config=_run_config(settings, use_gpu),
    )
    try:
        with _steps_shown(settings.section, num_steps):
            problem = trainer.fit().return_value
    except (WorkerGroupError, ControllerError) as error:
        raise TrainingFailed(ray_train.problem(error)) from error
    if problem is not None:
        raise TrainingFailed(problem)


@contextmanager
def _steps_shown(section: str, num_steps: int) -> Iterator[None]:
    """Shows a bar on a terminal while the body runs.

    A worker's line of progress is all that the driver is told of a step.
    """
    step = re.compile(rf"{section} \| step ([\d,]+)/")
    with bar(section, num_steps, "steps") as shown:
        if not shown.is_shown:
            yield
            return

        def look(line: str) -> None:
            if found := step.search(line):
                shown.move(int(found[1].replace(",", "")))

        with heard(look):
            yield


@contextmanager
def _telling_of_waiting(settings: WorkersConfig, asked: Room) -> Iterator[None]:
    """Tells in the body, while the cluster has no room for the workers, what is waited for.

    Raises UserError where TimeoutError says that it did not come in time.
    """
    section, seconds = settings.section, settings.worker_wait_seconds
    placed = threading.Event()
    teller = threading.Thread(target=_tell_of_waiting, args=[placed, settings, asked], daemon=True)
    teller.start()
    try:
        yield
    except TimeoutError:
        raise UserError(
            f"{_waiting_line(settings, asked)}. That was not there within "
            f"{section}.worker_wait_seconds = {seconds:g}: start nodes that have it, lower "
            f"{section}.num_workers or {section}.cpus_per_worker, or raise "
            f"{section}.worker_wait_seconds where nodes take longer."
        ) from None
    finally:
        placed.set()
        teller.join(timeout=10)


def _tell_of_waiting(placed: threading.Event, settings: WorkersConfig, asked: Room) -> None:
    while not placed.wait(cluster.WAITING_SECONDS):
        tell(f"{settings.section} | {_waiting_line(settings, asked)}")


def _waiting_line(settings: WorkersConfig, asked: Room) -> str:
    return cluster.waiting_line("workers", 0, settings.num_workers, asked, cluster.room())


def _uses_gpu(settings: WorkersConfig) -> bool:
    """True if each worker gets a GPU; with `auto`, if the cluster has one for each now."""
    asked = settings.use_gpu
    if asked == "auto":
        return bool(ray.cluster_resources().get("GPU", 0) >= settings.num_workers)
    return asked


def _scaling(settings: WorkersConfig, use_gpu: bool) -> ScalingConfig:
    return ScalingConfig(
        num_workers=settings.num_workers,
        use_gpu=use_gpu,
        resources_per_worker={
            "CPU": settings.cpus_per_worker,
            **({"GPU": 1} if use_gpu else {}),
        },
    )


def _run_config(settings: WorkersConfig, use_gpu: bool) -> RunConfig:
    fs, path = storage.filesystem(settings.url)
    num, most = settings.num_workers, settings.max_failures
    waiting = partial(
        _telling_of_waiting, settings, Room(num * settings.cpus_per_worker, num * use_gpu)
    )
    return RunConfig(
        name="ray",
        storage_path=path,
        storage_filesystem=(
            None if storage.is_local(settings.url) else PyFileSystem(FSSpecHandler(fs))
        ),
        failure_config=FailureConfig(max_failures=most, controller_failure_limit=most),
        # What ends a training is told at its end; what does not, by whoever begins again.
        logging_config=LoggingConfig(log_level="CRITICAL"),
        callbacks=[ray_train.AroundPlacement(waiting)],
    )
