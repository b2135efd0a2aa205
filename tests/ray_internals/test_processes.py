"""Claims about tests.ray_processes: what tests and benchmarks expect of Ray's processes."""

import os
from pathlib import Path

import pytest
import ray
from ray.data._internal.execution.operators import actor_pool_map_operator
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker

from tests import ray_processes


def test_workers_of_ray_train_are_titled_by_their_class() -> None:
    assert RayTrainWorker.__name__ == ray_processes.TRAIN_WORKER


def test_actors_of_ray_data_are_titled_by_this_word() -> None:
    assert ray_processes.POOL_ACTOR in Path(actor_pool_map_operator.__file__).read_text()


@pytest.mark.ray
def test_an_actor_is_found_by_its_class_and_the_session_by_its_logs(ray_session: str) -> None:
    class Titled:
        def pid(self) -> int:
            return os.getpid()

    actor = ray.remote(num_cpus=0)(Titled).remote()
    pid = ray.get(actor.pid.remote())
    assert [process.pid for process in ray_processes.processes("Titled")] == [pid]
    assert list((ray_processes.session_folder() / "logs").iterdir())
    ray.kill(actor)
