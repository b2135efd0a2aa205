"""Trainings side by side, as tasks of Ray: a core each, or a GPU where the cluster has some."""

from collections.abc import Iterator, Sequence

import ray
from ray.exceptions import RayError

from factory.config import Config
from factory.config.segment import SegmentConfig
from factory.errors import FactoryError, TrainingFailed
from factory.labeling.commands import available_device
from factory.progress import print_lines
from factory.proving.materials import Materials
from factory.proving.runs import Run, score, settings_of
from factory.scores import Score
from factory.segmentation.material import Material


def made(config: Config, materials: Materials, runs: Sequence[Run]) -> Iterator[tuple[Run, Score]]:
    """The scores of runs, as they come. Raises TrainingFailed where one fails."""
    segment = config.segment
    has_gpu = ray.cluster_resources().get("GPU", 0) >= 1 and segment.use_gpu is not False
    remote = ray.remote(num_cpus=segment.cpus_per_worker, num_gpus=int(has_gpu), max_retries=3)(
        _run
    )
    by_kind = {kind: ray.put(materials.of(kind)) for kind in {run.kind for run in runs}}
    waiting = {remote.remote(settings_of(config, run.seed), by_kind[run.kind]): run for run in runs}
    try:
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            run = waiting.pop(done)
            try:
                yield run, ray.get(done)
            except FactoryError as error:
                raise TrainingFailed(f"{run.kind}, seed {run.seed}: {error}") from error
            except RayError as error:
                first = str(error).strip().splitlines()[0]
                raise TrainingFailed(f"{run.kind}, seed {run.seed}: {first}") from error
    finally:
        for task in waiting:
            ray.cancel(task, force=True)


def _run(settings: SegmentConfig, material: Material) -> Score:
    """A training in a worker process of Ray."""
    print_lines()
    return score(settings, material.copied(), available_device())
