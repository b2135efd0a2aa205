"""`factory segment` on Ray Train: workers train a network on pairs; whatever dies, the same command
goes on.

The run's folder:

    run.json                 what was asked; another config in the same place is refused
    checkpoints/step-*/      weights, average, optimiser, step; sha256.json, last, proves them whole
    metrics.jsonl            loss and speed
    model/                   the result: see `factory.segmentation.folder`
    ray/                     Ray Train's mark, by which it sees that all nodes share the place
"""

from importlib.util import find_spec

import ray

from factory import cluster, storage, worker_group
from factory.config import Config, config_tree
from factory.errors import Problems
from factory.progress import tell
from factory.segmentation.material import Material, described, read_material
from factory.segmentation.networks import check_network, maker
from factory.segmentation.result import model_url
from factory.segmentation.run_identity import check_run
from factory.segmentation.training_worker import segment_worker
from factory.worker_group import run_workers


def check(config: Config) -> Material:
    """Returns what is learned from; raises UserError for all that would stop `segment`, and starts
    nothing."""
    settings, problems = config.segment, Problems()
    with problems.collected():
        worker_group.check_capacity(settings)
    with problems.collected():
        storage.check_writable(settings.url)
    if settings.onnx is True and find_spec("onnxscript") is None:
        problems.add("segment.onnx: needs the extra `onnx`. Install it, or leave the key out.")
    with problems.collected():
        maker(settings)
    with problems.collected():
        material = read_material(config)
    problems.raise_if_any()
    num_classes, size = len(material.classes), material.image_size
    check_network(settings, material.num_channels, num_classes, size)
    check_run(settings, material.identity())
    return material


def segment(config: Config) -> str:
    """Trains to segment.num_steps, from the newest whole checkpoint on; returns the URL of the
    result.

    Raises UserError before anything is started; TrainingFailed where workers die more often than
    segment.max_failures allows or find no room, where the training diverges, and where a checkpoint
    or the result cannot be saved.
    """
    material = check(config)
    for labelled in (material.real, material.test):
        for note in () if labelled is None else labelled.notes:
            tell(f"segment | {note}")
    tell(f"segment | learning from {described(material)}")
    cluster.connect()
    loop_config = {"config": config_tree(config), "material": ray.put(material)}
    run_workers(config.segment, config.segment.num_steps, segment_worker, loop_config)
    return model_url(config.segment)
