"""The labels that an ensemble gives to candidates, and their features, a few images at a time.

Features are those of the network that the ensemble reads, averaged over the image: they cost
nothing more, and tell what the network tells apart.

Shapes: B squares of a batch, S image size, C classes, F features.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from factory.calibration import Expected
from factory.data.pixels import geometry
from factory.data.pixels.geometry import Box, Placement
from factory.diffusion.checkpoints import Model
from factory.errors import UserError
from factory.generation.source_images import SourceImage
from factory.images import UInt8
from factory.labeling.fitting import maps_and_labels
from factory.labeling.head import Head, image_uncertainty

_BATCH_PIXELS = 2**16
"""The pixels of the squares that are labelled together."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """What an ensemble says of an image."""

    masks: Sequence[UInt8]
    """(S, S) class ids of each of its squares."""
    uncertainties: Sequence[npt.NDArray[np.float32]]
    """(S, S) of each of its squares, nats."""
    uncertainty: float
    """The mean over the most uncertain tenth of its pixels."""
    features: npt.NDArray[np.float64]
    """(F,)."""
    expected: Expected | None
    """The IoU that is expected of its mask; None where the ensemble has no calibration."""

    def mask(self, image: SourceImage) -> UInt8:
        """(H, W) class ids of the whole image, 255 where the network saw nothing."""
        assert image.whole is not None, "the image was read whole"
        return geometry.whole_ids(zip(self.masks, image.places, strict=True), image.whole.size)


def label_images(
    model: Model, head: Head, images: Iterable[SourceImage | None]
) -> Iterator[Labelled | None]:
    """Labels images in their order; None stays None. Raises UserError where labels are no finite
    numbers."""
    most = max(1, _BATCH_PIXELS // model.image_size**2)
    waiting: list[SourceImage | None] = []
    for image in images:
        waiting.append(image)
        if sum(len(each.squares) for each in waiting if each) >= most:
            yield from _labelled(model, head, waiting, most)
            waiting = []
    yield from _labelled(model, head, waiting, most)


def whole_square(image: UInt8) -> SourceImage:
    """An image (S, S, C) of the network's size, as one that may be labelled."""
    all_of_it = Box(0, 0, image.shape[1], image.shape[0])
    return SourceImage("", [image], [Placement(all_of_it, all_of_it)])


@dataclass(frozen=True, eq=False)
class _Square:
    """What an ensemble says of a square of an image."""

    mask: UInt8
    uncertainty: torch.Tensor
    overlap: npt.NDArray[np.int64]
    features: npt.NDArray[np.float64]


def _labelled(
    model: Model, head: Head, images: Sequence[SourceImage | None], batch_size: int
) -> Iterator[Labelled | None]:
    """The labels of a few images, their squares together."""
    squares = [square for image in images if image for square in image.squares]
    places = [place for image in images if image for place in image.places]
    found = _squares(model, head, squares, places, batch_size) if squares else iter(())
    for image in images:
        parts = [next(found) for _ in image.squares] if image else []
        yield _joined(head, image, parts) if image else None


def _squares(
    model: Model,
    head: Head,
    squares: Sequence[UInt8],
    places: Sequence[Placement],
    batch_size: int,
) -> Iterator[_Square]:
    size = model.image_size
    within = np.zeros((len(squares), size, size), np.bool_)
    for pixels, place in zip(within, places, strict=True):
        pixels[place.target.slices] = True
    for maps, labels in maps_and_labels(model, head, np.stack(squares), batch_size, within):
        means = torch.cat([m.mean(dim=(2, 3)) for m in maps], dim=1).double()
        parts = labels.soft, labels.uncertainty, labels.soft_overlaps, means
        for mask, uncertainty, overlap, features in zip(*(p.cpu() for p in parts), strict=True):
            yield _Square(mask.numpy(), uncertainty, overlap.numpy(), features.numpy())


def _joined(head: Head, image: SourceImage, parts: Sequence[_Square]) -> Labelled:
    """The labels of an image from those of its squares; bars around it do not count."""
    pixels = [
        part.uncertainty[place.target.slices].flatten()
        for part, place in zip(parts, image.places, strict=True)
    ]
    uncertainty = float(image_uncertainty(torch.cat(pixels)[None])[0])
    features = np.mean([part.features for part in parts], axis=0)
    if not np.isfinite([uncertainty, *features]).all():
        raise UserError(
            f"models: the labels of {image.name} are not finite: the weights of one of them are "
            "broken. Name others."
        )
    calibration, expected = head.config.calibration, None
    if calibration is not None:
        overlap = np.sum([part.overlap for part in parts], axis=0)
        expected = calibration.expected(uncertainty, overlap)
    return Labelled(
        [part.mask for part in parts],
        [part.uncertainty.numpy() for part in parts],
        uncertainty,
        features,
        expected,
    )
