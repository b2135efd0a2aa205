"""All trainings of a proof: those that are missing are made, and each score is kept as it comes."""

from collections.abc import Iterator, Mapping

from factory import cluster
from factory.config import Config
from factory.errors import counted
from factory.labeling.commands import available_device
from factory.progress import tell
from factory.proving import ray_tasks, runs
from factory.proving.conditions import TRAINED
from factory.proving.materials import Materials
from factory.proving.runs import Run, run_of, settings_of
from factory.scores import Score


def scores_of(
    config: Config, materials: Materials, found: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[Score, ...]]:
    """The scores of all kinds of training, by kind and seed; those that are kept already are read.

    found: by kind, hashes of what it learns from and is measured on. Raises UserError,
    TrainingFailed and OSError.
    """
    wanted = [
        run_of(config, kind, seed, found[kind])
        for seed in range(config.prove.num_seeds)
        for kind in TRAINED
    ]
    scores = {run: score for run in wanted if (score := run.kept) is not None}
    missing = [run for run in wanted if run not in scores]
    if missing:
        kept = f", {len(scores)} are there" if scores else ""
        tell(f"prove | {counted(len(wanted), 'training')}{kept}")
    for run, score in _made(config, materials, missing):
        run.keep(score)
        scores[run] = score
        tell(
            f"prove | {len(scores)}/{len(wanted)} | {run.kind}, seed {run.seed}: "
            f"mean IoU {score.mean_iou:.3f}, accuracy {score.pixel_accuracy:.3f}"
        )
    return {kind: tuple(scores[run] for run in wanted if run.kind == kind) for kind in TRAINED}


def _made(config: Config, materials: Materials, missing: list[Run]) -> Iterator[tuple[Run, Score]]:
    """The scores of runs, as they come."""
    if config.prove.workers == "here" or not missing:
        device = available_device()
        for run in missing:
            yield run, runs.score(settings_of(config, run.seed), materials.of(run.kind), device)
        return
    cluster.connect()
    yield from ray_tasks.made(config, materials, missing)
