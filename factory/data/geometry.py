"""An image of any size, and its mask, made the square that a network takes.

Shapes: the square is size x size pixels.
"""

import numpy as np
from PIL import Image

from factory import images
from factory.images import UInt8


def square_rgb(image: Image.Image, size: int) -> UInt8:
    """(size, size, 3): the centred square of an RGB image, smoothly scaled."""
    return np.asarray(images.crop_and_resize(image, size, Image.Resampling.BICUBIC))


def square_ids(mask: Image.Image, size: int) -> UInt8:
    """(size, size): the centred square of a mask, scaled by picking nearest pixels."""
    return np.asarray(images.crop_and_resize(mask, size, Image.Resampling.NEAREST))
