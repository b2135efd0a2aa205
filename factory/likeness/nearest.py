"""The training image that is nearest to each image, in the fixed feature space.

Shapes: N images, M training images, F features.
"""

from dataclasses import dataclass

import torch

_QUERIES = 256
_NUM_TYPICAL = 2000
"""The number of training images whose nearest other one tells what is usual."""
NEARLY_SAME = 0.5
"""Images closer than this share of what is usual between training images nearly repeat one: JPEG of
quality 50 and noise of 8 of 255 leave a copy at 0.2; of 600 other faces none is so close to one."""
_UNUSUAL = 0.01
_SAME = 1e-3
"""Two images that are closer than this share of the features' length are one and the same."""


@dataclass(frozen=True)
class Nearest:
    """The nearest of M training images for each of N images."""

    indices: torch.Tensor
    """(N,) int64, of training images."""
    distances: torch.Tensor
    """(N,) float32; 1 is the median distance of a training image to the nearest other one."""


def nearest(
    some: torch.Tensor,
    mirrored: torch.Tensor,
    training: torch.Tensor,
    usual: float,
    lengths: torch.Tensor | None = None,
) -> Nearest:
    """The nearest training images (M, F) of images (N, F), or of their mirror images (N, F).

    usual: as `usual_distance` tells it of the training images. lengths: as `squared_lengths` tells
    them, where that is known already.
    """
    lengths = squared_lengths(training) if lengths is None else lengths
    indices = _closest(torch.cat([some, mirrored]), training, lengths).reshape(2, len(some))
    both = torch.stack([some, mirrored])
    # Products of matrices round too much to tell how far a copy is: that is reckoned anew.
    distances, views = (both - training[indices]).norm(dim=2).min(dim=0)
    found = indices.gather(0, views[None])[0]
    return Nearest(found, distances / usual)


def squared_lengths(training: torch.Tensor) -> torch.Tensor:
    """(M,) the squares of the lengths of training images (M, F)."""
    return training.square().sum(dim=1)


def _closest(some: torch.Tensor, training: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The indices (N,) of the nearest rows."""
    parts = [(lengths - 2 * part @ training.T).argmin(dim=1) for part in some.split(_QUERIES)]
    return torch.cat(parts)


def own_distances(training: torch.Tensor) -> torch.Tensor:
    """The distances of training images (M, F) to the nearest other one, sorted: of 2,000 of them
    that lie evenly at most, and without those that occur twice."""
    # Products of matrices in float32 round so much that an image would not be the same as itself.
    training = training.double()
    step = max(1, len(training) // _NUM_TYPICAL)
    parts = []
    for part in training[::step].split(_QUERIES):
        apart = torch.cdist(part, training)
        apart[apart <= _SAME * training.norm(dim=1).mean()] = torch.inf
        parts.append(apart.min(dim=1).values)
    closest = torch.cat(parts)
    return closest[closest.isfinite()].sort().values.float()


def usual_distance(own: torch.Tensor) -> float:
    """The median of `own_distances`; 1 where there are none."""
    return float(own.median()) if len(own) else 1.0


def unusual_distance(own: torch.Tensor) -> float:
    """The distance, as a share of what is usual, within which 1 % of the training images have
    another one, those aside that nearly repeat one; 0 where there are none."""
    shares = own / usual_distance(own)
    others = shares[shares >= NEARLY_SAME]
    return float(others.quantile(_UNUSUAL)) if len(others) else 0.0
