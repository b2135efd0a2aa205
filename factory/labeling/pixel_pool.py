"""A pool of labelled pixels to fit a head on: their descriptors along principal axes.

Labels are known before descriptors, so the pixels to learn from are chosen first. The maps of a
few images at a time are then made, read at those pixels and dropped: memory is that of the pool,
however many and however large the images are.

Shapes: N images, S image size, P pixels of the pool, D descriptor, Q axes, C_m channels of map m.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch

from factory.classes import IGNORE_ID
from factory.errors import UserError
from factory.labeling.features import pixel_descriptors, projected_descriptors
from factory.labeling.head import Maps

_MAX_PIXELS = 2**24
"""The most that torch.multinomial draws from."""
_CLASS_SHARE = 0.75
"""1 draws pixels as they occur, 0 draws all classes alike: between the two, mean IoU is largest."""
_NUM_AXES = 512
_AXES_IMAGES, _AXES_PIXELS = 16, 2**14
"""The number of images, and of their pixels, that the axes are computed from."""


@dataclass(frozen=True)
class ChosenPixels:
    """P pixels of N images, in the images' order, none of them ignored."""

    positions: torch.Tensor
    """(P,) int64: image * S * S + row * S + column, ascending."""
    labels: torch.Tensor
    """(P,) int64 class ids."""
    weights: torch.Tensor
    """(P,) float64: how often to draw each, relative to the others."""

    def __len__(self) -> int:
        return len(self.positions)

    def to(self, device: torch.device) -> "ChosenPixels":
        """The same pixels on another device, for draws there."""
        return ChosenPixels(*(p.to(device) for p in (self.positions, self.labels, self.weights)))


def choose_pixels(labels: torch.Tensor, num: int) -> ChosenPixels:
    """Chooses at most num random pixels of N images; labels (N, S * S) uint8, 255 = ignore.

    Where not all fit, those of rare classes are likelier to be kept. A class of n pixels in the
    images is drawn n ** 0.75 times as often as one of a single pixel, whatever was kept of it.
    Raises UserError where every pixel is ignored.
    """
    positions = (labels.flatten() != IGNORE_ID).nonzero().flatten()
    if len(positions) == 0:
        raise UserError(
            "data.labelled: every pixel of its masks is ignored (255); there is nothing to learn "
            "from. Give masks with class ids."
        )
    ids = labels.flatten()[positions].long()
    counts = ids.bincount().double()
    # The first to arrive of exponential waits is a draw without replacement by their rates.
    waits = torch.empty(len(positions)).exponential_() * counts.sqrt().float()[ids]
    first = waits.topk(min(num, len(positions)), largest=False).indices.sort().values
    positions, ids = positions[first], ids[first]
    shares = counts**_CLASS_SHARE / ids.bincount(minlength=len(counts))
    return ChosenPixels(positions, ids, shares[ids])


@dataclass(frozen=True)
class Axes:
    """Coordinates of descriptors: standardised, then along principal axes."""

    mean: torch.Tensor
    """(D,)."""
    deviation: torch.Tensor
    """(D,)."""
    directions: torch.Tensor
    """(D, Q): orthogonal, of one length, with which coordinates deviate by 1 over all."""

    @classmethod
    def of(cls, sample: torch.Tensor) -> "Axes":
        """The axes along which the descriptors (n, D) vary most, at most 512."""
        mean, deviation = sample.mean(dim=0), sample.std(dim=0, correction=0).clamp_min(1e-6)
        sample = (sample - mean) / deviation
        _, _, axes = torch.pca_lowrank(sample, min(_NUM_AXES, *sample.shape), center=False)
        return cls(mean, deviation, axes / (sample @ axes).std().clamp_min(1e-6))

    def coordinates(self, maps: Maps, pixels: torch.Tensor, image_size: int) -> torch.Tensor:
        """(P, Q) of pixels (P,), each an index (image * S + row) * S + column."""
        matrix = self.directions / self.deviation[:, None]
        return projected_descriptors(maps, matrix, pixels, image_size) - self.mean @ matrix


@dataclass(frozen=True)
class PixelPool:
    """All that a fit learns from."""

    coordinates: torch.Tensor
    """(P, Q) bfloat16, on the device that fits."""
    pixels: ChosenPixels
    """The pixels that they are of, on the same device."""
    axes: Axes

    def draw(self, num: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Coordinates (num, Q) bfloat16 and labels (num,) of random pixels."""
        rows = torch.multinomial(self.pixels.weights, num, replacement=True)
        return self.coordinates[rows], self.pixels.labels[rows]


def make_pool(
    passes: Iterable[Maps], masks: torch.Tensor, descriptor_dim: int, pool_gib: float
) -> PixelPool:
    """Chooses pixels of masks (N, S, S) uint8, and reads them off the maps of their images.

    passes: the maps of the images in the masks' order, a few images at a time. The order should be
    random: the first images tell the axes. Raises UserError where every pixel is ignored.
    """
    num_axes = min(_NUM_AXES, descriptor_dim)
    room = max(1, int(pool_gib * 2**30 / (2 * num_axes)))
    chosen = choose_pixels(masks.flatten(1), min(room, _MAX_PIXELS))
    return read_pool(passes, chosen, masks.shape[-1])


def read_pool(passes: Iterable[Maps], pixels: ChosenPixels, size: int) -> PixelPool:
    """Reads the pixels off the maps of all images (size, size), a few images at a time."""
    parts = with_positions(passes, pixels.positions, size)
    first: list[tuple[Maps, torch.Tensor]] = []
    while sum(len(maps[0]) for maps, _ in first) < _AXES_IMAGES and (part := next(parts, None)):
        first.append(part)
    axes = Axes.of(sampled_descriptors(first, size))
    shape = (len(pixels), axes.directions.shape[1])
    coordinates = torch.empty(shape, dtype=torch.bfloat16, device=axes.mean.device)
    start = 0
    for maps, positions in chain((first.pop(0) for _ in range(len(first))), parts):
        coordinates[start : start + len(positions)] = axes.coordinates(maps, positions, size)
        start += len(positions)
    assert start == len(pixels), "the maps are those of the images that the pixels are of"
    return PixelPool(coordinates, pixels.to(coordinates.device), axes)


def with_positions(
    passes: Iterable[Maps], positions: torch.Tensor, image_size: int
) -> Iterator[tuple[Maps, torch.Tensor]]:
    """Yields each pass that has any of the positions, with these as positions in its own images.

    positions: of pixels of all images, ascending.
    """
    first_position = first = 0
    for maps in passes:
        last_position = first_position + len(maps[0]) * image_size**2
        last = int(torch.searchsorted(positions, last_position))
        if last > first:
            yield maps, (positions[first:last] - first_position).to(maps[0].device)
        first_position, first = last_position, last


def sampled_descriptors(
    parts: Sequence[tuple[Maps, torch.Tensor]], image_size: int
) -> torch.Tensor:
    """Returns the descriptors (n, D) of some of the positions of each part."""
    num = _AXES_PIXELS // len(parts)
    return torch.cat(
        [
            pixel_descriptors(
                maps,
                positions[torch.randperm(len(positions))[:num].to(positions.device)],
                image_size,
            )
            for maps, positions in parts
        ]
    )
