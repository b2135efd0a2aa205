"""Claims about factory.ray_internals.train: what it expects of Ray Train, item by item."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ray.train import ControllerError, WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks.placement_group_callback import (
    PlacementGroupCleanerCallback,
)
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.worker_group import worker_group

from factory.ray_internals import train
from tests.ray_internals import installed


def kinds(trainer: TorchTrainer) -> list[type]:
    return [type(callback) for callback in trainer._create_default_callbacks()]


def test_the_cleaner_of_placement_groups_is_left_out_of_rays_own_callbacks() -> None:
    theirs, ours = kinds(TorchTrainer(print)), kinds(train.Trainer(print))
    assert PlacementGroupCleanerCallback in theirs
    assert ours == [kind for kind in theirs if kind is not PlacementGroupCleanerCallback]


def test_ray_would_take_ctrl_c_by_the_method_that_does_nothing_here() -> None:
    assert callable(TorchTrainer._register_sigint_handler)
    assert train.Trainer._register_sigint_handler is not TorchTrainer._register_sigint_handler
    assert b"self._register_sigint_handler(controller)" in installed.content(
        "train/v2/api/data_parallel_trainer.py"
    )


def test_rays_timeout_is_raised_where_the_waiting_is_told() -> None:
    events = []

    @contextmanager
    def waiting() -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            events.append(str(error))
            raise ValueError("no room") from None

    around = train.AroundPlacement(waiting)
    with around.on_worker_group_start():
        pass
    with pytest.raises(ValueError, match="no room"), around.on_worker_group_start():
        raise WorkerGroupStartupTimeoutError(num_workers=3)
    assert len(events) == 1 and "3 workers" in events[0]


def test_ray_holds_the_context_of_its_callbacks_open_while_it_places_workers() -> None:
    assert b"callback.on_worker_group_start for callback" in installed.content(
        "train/v2/_internal/execution/worker_group/worker_group.py"
    )
    assert worker_group.WorkerGroupStartupTimeoutError is WorkerGroupStartupTimeoutError


def test_the_problem_of_workers_is_the_last_line_of_each_ones_error() -> None:
    frames = "Traceback (most recent call last):\n  File 'x.py'\n"
    failures = {0: ValueError(f"{frames}ValueError: a\n"), 1: ValueError(f"{frames}OSError: b\n")}
    error = WorkerGroupError("2 workers failed", failures)
    assert train.problem(error) == "OSError: b; ValueError: a"
    assert train.problem(WorkerGroupError("none is known", {})).endswith("none is known")


def test_the_problem_of_the_controller_is_on_one_line() -> None:
    error = ControllerError(RuntimeError("no room\n  for workers"))
    assert train.problem(error) == "no room for workers"
