"""A fixed space of image features, which is the same on every machine and needs no download.

A small convolutional network whose weights are random numbers of one seed. Such a network knows
nothing of objects, but its activations tell colours, textures, sharpness and layout apart, in any
domain (Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", use one
where networks trained on photographs mean nothing).

Shapes: B images, H height, W width, F features.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F

from factory.diffusion.noise import normal_noise
from factory.images import UInt8, to_signed

SIDE = 64
"""The pixels that an image is scaled to: textures of one size mean the same in all images."""
_WIDTHS, _KERNELS = (3, 32, 64, 128), (5, 3, 3)
_LAYOUT_WIDTH, _LAYOUT_SIDE = 16, 4
_SLOPE = 0.2
_BATCH = 64


@dataclass(frozen=True)
class Features:
    """The features of B images."""

    statistics: torch.Tensor
    """(B, 454) float32: mean and deviation of each channel of the image and of each layer."""
    layout: torch.Tensor
    """(B, 256) float32: 16 random combinations of the last channels, in 4 x 4 cells."""

    def __len__(self) -> int:
        return len(self.layout)

    def __getitem__(self, images: slice) -> "Features":
        """The features of some of the images."""
        return Features(self.statistics[images], self.layout[images])


def features(images: Iterable[UInt8]) -> Features:
    """The features of images, each (H, W, 3) or (H, W, 1) in 0..255, read a few at a time."""
    parts = [_features(batch) for batch in _batches(images)]
    empty = [Features(torch.empty(0, 454), torch.empty(0, 256))]
    return Features(
        torch.cat([part.statistics for part in parts or empty]),
        torch.cat([part.layout for part in parts or empty]),
    )


def _batches(images: Iterable[UInt8]) -> Iterator[Sequence[UInt8]]:
    rest = iter(images)
    while batch := tuple(islice(rest, _BATCH)):
        yield batch


def _features(images: Sequence[UInt8]) -> Features:
    pixels = [to_signed(torch.from_numpy(np.array(image))).permute(2, 0, 1) for image in images]
    return features_of(torch.cat([_scaled(each[None]) for each in pixels]))


@torch.no_grad()
def features_of(x: torch.Tensor) -> Features:
    """The features of images (B, C, H, W) in [-1, 1], on their device."""
    x = _scaled(x)
    statistics = _mean_and_deviation(x)
    *kernels, last = _weights(x.device)
    for kernel in kernels:
        x = F.conv2d(x, kernel, stride=2, padding=kernel.shape[-1] // 2)
        x = F.leaky_relu(x, _SLOPE)
        statistics += _mean_and_deviation(x)
    layout = F.conv2d(F.adaptive_avg_pool2d(x, _LAYOUT_SIDE), last)
    return Features(torch.cat(statistics, dim=1), layout.flatten(1))


def _scaled(pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, SIDE, SIDE) of images (B, C, H, W)."""
    pixels = pixels.expand(-1, 3, -1, -1)
    if pixels.shape[-2:] == (SIDE, SIDE):
        return pixels
    return F.interpolate(pixels, (SIDE, SIDE), mode="bilinear", antialias=True)


def _mean_and_deviation(x: torch.Tensor) -> list[torch.Tensor]:
    return [x.mean(dim=(2, 3)), x.std(dim=(2, 3), correction=0)]


@cache
def _weights(device: torch.device) -> tuple[torch.Tensor, ...]:
    """The kernels of all layers (He et al. 2015), and of the combinations for the layout.

    Half of the first layer's sum to zero for each channel: they see edges and grain alone, which
    the others would drown in brightness.
    """
    shapes = [
        (wide, narrow, kernel, kernel)
        for narrow, wide, kernel in zip(_WIDTHS, _WIDTHS[1:], _KERNELS, strict=False)
    ]
    layers = []
    for i, shape in enumerate([*shapes, (_LAYOUT_WIDTH, _WIDTHS[-1], 1, 1)]):
        [numbers] = normal_noise([0], shape, stream=i)
        layers.append(numbers * (2 / np.prod(shape[1:])) ** 0.5)
    first = layers[0][: _WIDTHS[1] // 2]
    first -= first.mean(dim=(2, 3), keepdim=True)
    return tuple(layer.to(device) for layer in layers)
