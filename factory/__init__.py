"""A factory of labelled images: a DDPM draws them, its own features label every pixel.

What `__all__` names is for programs and notebooks; see `factory.api`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factory.api import (
        fit,
        labelled_arrays,
        load_ddpm,
        load_images,
        load_segmenter,
        read_labelled,
        show,
        train,
    )
    from factory.classes import Classes
    from factory.data.loading import Labelled
    from factory.datasets import generate, label, open_dataset, sample
    from factory.diffusion.checkpoints import Model
    from factory.errors import (
        FactoryError,
        GenerationFailed,
        Incomplete,
        TrainingFailed,
        UserError,
    )
    from factory.exporting.command import export
    from factory.labeling.evaluation import Evaluation
    from factory.scores import Score
    from factory.segmentation.folder import TrainedNetwork, load_network
    from factory.segmenter import Segmentation, Segmenter
    from factory.shards.reader import ShardDataset, ShardIndex, read_dataset
    from factory.shards.schema import Sample

__version__ = "0.2.0"

__all__ = [
    "Classes",
    "Evaluation",
    "FactoryError",
    "GenerationFailed",
    "Incomplete",
    "Labelled",
    "Model",
    "Sample",
    "Score",
    "Segmentation",
    "Segmenter",
    "ShardDataset",
    "ShardIndex",
    "TrainedNetwork",
    "TrainingFailed",
    "UserError",
    "__version__",
    "export",
    "fit",
    "generate",
    "label",
    "labelled_arrays",
    "load_ddpm",
    "load_images",
    "load_network",
    "load_segmenter",
    "open_dataset",
    "read_dataset",
    "read_labelled",
    "sample",
    "show",
    "train",
]
_HOMES = {
    "Classes": "classes",
    "Evaluation": "labeling.evaluation",
    "Labelled": "data.loading",
    "Model": "diffusion.checkpoints",
    "Sample": "shards.schema",
    "Score": "scores",
    **dict.fromkeys(["TrainedNetwork", "load_network"], "segmentation.folder"),
    "Segmentation": "segmenter",
    "Segmenter": "segmenter",
    "ShardDataset": "shards.reader",
    "ShardIndex": "shards.reader",
    "export": "exporting.command",
    **dict.fromkeys(["generate", "label", "open_dataset", "sample"], "datasets"),
    "read_dataset": "shards.reader",
    **dict.fromkeys(
        ["FactoryError", "GenerationFailed", "Incomplete", "TrainingFailed", "UserError"], "errors"
    ),
}
"""Modules of what does not lie in `api`."""


def __getattr__(name: str) -> Any:
    """Imports what is asked for: the command line answers mistakes before torch is there."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"factory.{_HOMES.get(name, 'api')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
