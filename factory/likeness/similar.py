"""The image of a set that looks most like another image.

Shapes: M images of the set, F features.
"""

from collections.abc import Sequence

import torch

from factory.images import UInt8
from factory.likeness.feature_space import features
from factory.likeness.nearest import nearest


def most_similar(images: Sequence[UInt8], known: torch.Tensor) -> list[int]:
    """For each image, (H, W, C), the index of the one of M images that is nearest to it, or to its
    mirror image, in the fixed feature space.

    known: (M, F) the `layout` of the features of these, at least one.
    """
    found, mirrored = (
        features(some).layout for some in (images, [image[:, ::-1] for image in images])
    )
    return [int(i) for i in nearest(found, mirrored, known, usual=1.0).indices]
