"""Many toy faces at once."""

import numpy as np

from factory.data.toy.drawing import draw
from factory.images import UInt8


def draw_many(seed: int, num: int, size: int) -> tuple[UInt8, UInt8]:
    """Faces 0 .. num - 1: images (num, size, size, 3), masks (num, size, size)."""
    images, masks = zip(*(draw(seed, index, size) for index in range(num)), strict=True)
    return np.stack(images), np.stack(masks)
