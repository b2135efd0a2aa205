"""Ray Train: what its public interface does not let a caller change, or does not tell."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ray.train import ControllerError, WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import (
    PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2.api.callback import RayTrainCallback

from factory.ray_internals import messages


class Trainer(TorchTrainer):  # type: ignore[misc]  # Ray is untyped
    """A TorchTrainer that leaves Ctrl-C to the command, and starts no cleaner."""

    def _register_sigint_handler(self, controller: Any) -> None:
        """Keeps the caller's handler, so that Ctrl-C ends the command with its own exit code."""

    def _create_default_callbacks(self) -> list[RayTrainCallback]:
        """Leaves out the cleaner of placement groups.

        The cluster itself removes them with the process that asked for them. The cleaner costs a
        process, and where several clusters are on a machine it asks any of them for the one that
        it watches.
        """
        callbacks = super()._create_default_callbacks()
        return [each for each in callbacks if not isinstance(each, PlacementGroupCleanerCallback)]


class AroundPlacement(WorkerGroupCallback):  # type: ignore[misc]  # Ray is untyped
    """Holds a context open while Ray Train waits for room for its workers.

    No public callback runs then. Where the room does not come in time, TimeoutError is raised
    inside the context.
    """

    def __init__(self, waiting: Callable[[], AbstractContextManager[None]]) -> None:
        self._waiting = waiting

    @contextmanager
    def on_worker_group_start(self) -> Iterator[None]:
        """Called by Ray Train; its body places the workers."""
        with self._waiting():
            try:
                yield
            except WorkerGroupStartupTimeoutError as error:
                raise TimeoutError(str(error)) from None


def problem(error: WorkerGroupError | ControllerError) -> str:
    """Returns what went wrong in the workers or while they were placed, without Ray's frames."""
    if isinstance(error, ControllerError):
        return " ".join(messages.shortened(str(error.controller_failure)).split())
    failures = (messages.shortened(str(each)) for each in error.worker_failures.values())
    lines = {failure.strip().splitlines()[-1] for failure in failures}
    return "; ".join(sorted(lines)) or str(error)
