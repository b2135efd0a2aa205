"""Parts of labelled images, for measuring on some what was learned from others.

Shapes: N images.
"""

import numpy as np
import numpy.typing as npt
import torch

from factory.classes import IGNORE_ID
from factory.data.loading import Labelled


def with_labels(labelled: Labelled) -> npt.NDArray[np.bool_]:
    """(N,) True for images that have a pixel which is not ignored."""
    has_labels: npt.NDArray[np.bool_] = (labelled.masks != IGNORE_ID).any(axis=(1, 2))
    return has_labels


def folds_of(labelled: Labelled, num_folds: int, seed: int) -> torch.Tensor:
    """(N,) the fold of each image. Images with labels are spread evenly over the folds."""
    has_labels = with_labels(labelled)
    order = np.random.default_rng(seed).permutation(len(labelled))
    order = order[np.argsort(~has_labels[order], kind="stable")]
    folds = np.zeros(len(labelled), np.int64)
    folds[order] = np.arange(len(labelled)) % min(num_folds, int(has_labels.sum()))
    return torch.from_numpy(folds)


def part_of(labelled: Labelled, chosen: npt.NDArray[np.bool_]) -> Labelled:
    """The chosen ones (N,) of the labelled images."""
    names = tuple(np.array(labelled.names)[chosen].tolist())
    return Labelled(labelled.images[chosen], labelled.masks[chosen], names, labelled.classes)
