"""How well a network labels images whose masks are known.

Shapes: N images, C channels, K classes, S image size.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from factory.classes import Classes
from factory.data.loading import Labelled
from factory.images import UInt8, to_signed
from factory.pictures import captioned, colorize, tile
from factory.precision import autocast
from factory.scores import Score, confusion_matrix

_BATCH_PIXELS = 2**18
"""Pixels of the images that are labelled at once."""
_SHOWN = 8
"""Rows of a sheet."""


def masks_of(network: nn.Module, images: UInt8) -> Iterator[UInt8]:
    """The mask (S, S) of each of the images (N, S, S, C), in float32; the network in eval mode."""
    device = next(network.parameters()).device
    num = max(1, _BATCH_PIXELS // (images.shape[1] * images.shape[2]))
    for start in range(0, len(images), num):
        part = torch.from_numpy(images[start : start + num].transpose(0, 3, 1, 2).copy())
        with torch.inference_mode(), autocast(False, device.type):
            masks = network(to_signed(part.to(device))).argmax(1).byte()
        yield from masks.cpu().numpy()


def score_of(network: nn.Module, test: Labelled) -> Score:
    """The scores of the network's masks over all test images."""
    num = len(test.classes)
    masks = masks_of(network, test.images)
    found = (confusion_matrix(*pair, num) for pair in zip(test.masks, masks, strict=True))
    return Score.of(sum(found, np.zeros((num, num), np.int64)))


def sheet_of(network: nn.Module, images: UInt8, masks: UInt8, classes: Classes) -> UInt8:
    """A picture of some images, their true masks, and those of the network."""
    shown = slice(_SHOWN)
    rows = [
        [image, colorize(mask, classes), colorize(found, classes)]
        for image, mask, found in zip(
            images[shown], masks[shown], masks_of(network, images[shown]), strict=True
        )
    ]
    scale = max(1, 128 // images.shape[1])
    return captioned(tile(rows, scale=scale), ["image", "truth", "prediction"])
