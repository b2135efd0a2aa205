"""What a DDPM's folder keeps of the images that the DDPM learned from, so that whoever draws with
it can tell how near a drawn image is to one of them.

Their features in the fixed space, as float16: half a kilobyte an image, from which no image can be
had back. At most MAX_IMAGES of them, so that file and memory are bounded.

Shapes: M images that are kept, F features, B images of a batch.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from safetensors.torch import save

from factory import storage
from factory.diffusion.folders import exists, read
from factory.diffusion.tensors import checked_tensors, read_safetensors
from factory.errors import UserError
from factory.images import UInt8
from factory.likeness.feature_space import features, features_of
from factory.likeness.nearest import (
    Nearest,
    nearest,
    own_distances,
    squared_lengths,
    usual_distance,
)

FILE = "training_images.safetensors"
"""The name of the file in a DDPM's folder."""
MAX_IMAGES = 200_000
"""Of more training images so many are kept, evenly: 102 MB, and twice that in memory."""
_REMEDY = "Or make it anew with `factory fingerprint`."


@dataclass(frozen=True)
class TrainingImages:
    """The features of a DDPM's training images."""

    layout: torch.Tensor
    """(M, F) float32."""
    numbers: torch.Tensor
    """(M,) int64: the places of these images in the listing of their source, from 0."""
    total: int
    """The number of images that the DDPM learned from, of which M are kept."""
    own: torch.Tensor
    """Distances of training images to the nearest other one, sorted; see `own_distances`."""
    sha256: str
    """The hash of the file that they are of."""

    @cached_property
    def usual(self) -> float:
        """The distance that is called 1."""
        return usual_distance(self.own)

    @cached_property
    def lengths(self) -> torch.Tensor:
        """(M,) the squares of the lengths of layout's rows."""
        return squared_lengths(self.layout)

    def nearest(self, x_0: torch.Tensor) -> Nearest:
        """The training images that are nearest to images (B, C, S, S) in [-1, 1], or to their
        mirror images; `indices` are numbers in the listing of their source. On the images' device.
        """
        some, mirrored = (features_of(x).layout for x in (x_0, x_0.flip(-1)))
        found = nearest(some, mirrored, self.layout, self.usual, self.lengths)
        return Nearest(self.numbers[found.indices], found.distances)

    def to(self, device: torch.device) -> "TrainingImages":
        """The same on another device."""
        moved = self.layout.to(device), self.numbers.to(device)
        return TrainingImages(*moved, self.total, self.own, self.sha256)


def kept(num: int) -> range:
    """The places of the images of a source of num that are kept."""
    return range(0, num, -(-num // MAX_IMAGES))


def write_training_images(url: str, images: Iterable[UInt8], total: int) -> None:
    """Writes the file of a DDPM's folder; images: those that `kept` names, in their order, each (H,
    W, C) in 0..255. Raises OSError."""
    layout = features(images).layout.half()
    tensors = {
        "layout": layout,
        "numbers": torch.tensor(kept(total), dtype=torch.int64),
        "own": own_distances(layout.float()),
        "total": torch.tensor([total]),
    }
    storage.write(storage.join(url, FILE), save(tensors))


def read_training_images(url: str) -> TrainingImages | None:
    """What a DDPM's folder keeps of its training images; None if it keeps nothing.

    Raises UserError where the file is damaged, or the storage cannot answer.
    """
    file = storage.join(url, FILE)
    if not exists(file):
        return None
    data = read(file)
    try:
        return _decoded(data, file)
    except UserError as error:
        raise UserError([f"{problem} {_REMEDY}" for problem in error.problems]) from None


def _decoded(data: bytes, file: str) -> TrainingImages:
    """The content of the file; raises UserError where it is damaged."""
    tensors = read_safetensors(data, file)
    layout, own = (tensors.get(name, torch.empty(0)) for name in ("layout", "own"))
    numbers, total = (tensors.pop(name, torch.empty(0)) for name in ("numbers", "total"))
    shapes = {"layout": torch.Size([len(numbers), 256]), "own": own.shape}
    found = checked_tensors(tensors, shapes, file, "the number of its images")
    if not len(layout) or numbers.dtype != torch.int64 or total.shape != (1,):
        raise UserError(f"{file}: does not hold features of training images.")
    digest = hashlib.sha256(data).hexdigest()
    return TrainingImages(found["layout"], numbers, int(total), found["own"], digest)
