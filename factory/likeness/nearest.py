"""The training image that is nearest to each image, in the fixed feature space.

Shapes: N images, M training images, F features.
"""

from dataclasses import dataclass

import torch

_QUERIES = 256
_NUM_TYPICAL = 500
"""The number of training images whose nearest other one tells what is usual."""
_SAME = 1e-3
"""Two images that are closer than this share of the features' length are one and the same."""


@dataclass(frozen=True)
class Nearest:
    """The nearest of M training images for each of N images."""

    indices: torch.Tensor
    """(N,) int64, of training images."""
    distances: torch.Tensor
    """(N,) float32; 1 is the median distance of a training image to the nearest other one."""


def nearest(some: torch.Tensor, mirrored: torch.Tensor, training: torch.Tensor) -> Nearest:
    """The nearest training images (M, F) of images (N, F), or of their mirror images (N, F).

    Needs two training images at least.
    """
    plain, turned = _closest(some, training), _closest(mirrored, training)
    distances = torch.minimum(plain[0], turned[0])
    indices = torch.where(plain[0] <= turned[0], plain[1], turned[1])
    return Nearest(indices, distances / _usual(training))


def _closest(some: torch.Tensor, training: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The distances (N,) to the nearest rows, and their indices (N,)."""
    parts = [torch.cdist(part, training).min(dim=1) for part in some.split(_QUERIES)]
    return torch.cat([p.values for p in parts]), torch.cat([p.indices for p in parts])


def _usual(training: torch.Tensor) -> float:
    """The median distance of a training image to the nearest other one; images that occur twice
    would make it 0, and are passed over."""
    step = max(1, len(training) // _NUM_TYPICAL)
    some = training[::step]
    parts = []
    for part in some.split(_QUERIES):
        apart = torch.cdist(part, training)
        parts.append(torch.where(apart > _SAME * training.norm(dim=1).mean(), apart, torch.inf))
    closest = torch.cat([part.min(dim=1).values for part in parts])
    finite = closest[closest.isfinite()]
    return float(finite.median()) if len(finite) else 1.0
