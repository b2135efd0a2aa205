"""Features of images: maps of the frozen network at (timesteps x blocks).

Maps keep their native resolution; descriptors of single pixels are gathered from them, equal to
upsampling every map to the image and reading the pixel (Baranchuk et al. 2022, section 3).

Shapes: B images of C channels, C_m channels of map m, D = sum of C_m, S image size, P pixels.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from factory.diffusion.network import FeaturesFn, NetworkFn
from factory.diffusion.noise import normal_noise, sample_seed
from factory.diffusion.schedule import Schedule, q_sample


@dataclass(frozen=True)
class Places:
    """Where features are read: all of the blocks at all of the timesteps."""

    timesteps: tuple[int, ...]
    blocks: tuple[int, ...]
    noise_seed: int
    """The seed of the noise that images are noised with."""


def shared_noise(seed: int, image_size: int, channels: int = 3) -> torch.Tensor:
    """(C, S, S): the one noise for every image and timestep, as in the paper's code.

    The features of an image then depend on nothing but the image.
    """
    return normal_noise([sample_seed(seed, 0)], (channels, image_size, image_size), stream=0)[0]


def renoised_maps(
    features: FeaturesFn,
    schedule: Schedule,
    x_0: torch.Tensor,
    noise: torch.Tensor,
    timesteps: Sequence[int],
    blocks: Sequence[int],
) -> list[torch.Tensor]:
    """Maps (B, C_m, h_m, w_m) of images noised to each timestep; timesteps outermost.

    features: `FeatureNetwork.features`, or the same compiled; the maps keep the type that they are
    computed in. x_0: (B, C, S, S) in [-1, 1]; noise: (C, S, S). Each timestep is a pass of its own,
    so that memory is that of one.
    """
    noise, found = noise.to(x_0.device), []
    for timestep in timesteps:
        t = torch.full((len(x_0),), timestep, device=x_0.device)
        maps = features(q_sample(schedule, x_0, t, noise.expand_as(x_0)), t, blocks)
        found += [maps[block] for block in blocks]
    return found


class FeatureTap:
    """The epsilon function of a network, which keeps decoder maps at some timesteps that it passes.

    A sampler calls it once at each timestep of `order`, in that order. So the timestep is known
    without the device being asked for t, which would be to wait for it.
    """

    def __init__(
        self,
        network: NetworkFn,
        order: Iterable[int],
        timesteps: Sequence[int],
        blocks: Sequence[int],
    ) -> None:
        """timesteps: those of `order` at which the maps of blocks are kept."""
        self._network = network
        self._order = iter(order)
        self._timesteps, self._blocks = timesteps, blocks
        self._maps: dict[tuple[int, int], torch.Tensor] = {}

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """epsilon (B, C, H, W) of x_t (B, C, H, W) at t (B,), which is the next of `order`."""
        timestep = next(self._order)
        blocks = self._blocks if timestep in self._timesteps else ()
        epsilon, maps = self._network(x_t, t, blocks)
        self._maps.update({(timestep, block): maps[block] for block in blocks})
        return epsilon

    def maps(self) -> list[torch.Tensor]:
        """The maps (B, C_m, h_m, w_m) that were kept, in the descriptor's order."""
        return [self._maps[t, block] for t in self._timesteps for block in self._blocks]


def pixel_descriptors(
    maps: Sequence[torch.Tensor], pixels: torch.Tensor, image_size: int
) -> torch.Tensor:
    """Descriptors (P, D) of pixels (P,), each an index (image * S + row) * S + column.

    Bilinear at the pixels' centres: what `F.interpolate(map, S, mode="bilinear")` has there.
    """
    descriptors = maps[0].new_empty((len(pixels), sum(m.shape[1] for m in maps)))
    parts = descriptors.split([m.shape[1] for m in maps], dim=1)
    for m, part in zip(maps, parts, strict=True):
        part.copy_(read_cells(m.flatten(2).transpose(1, 2), pixels, image_size))
    return descriptors


def projected_descriptors(
    maps: Sequence[torch.Tensor], matrix: torch.Tensor, pixels: torch.Tensor, image_size: int
) -> torch.Tensor:
    """`pixel_descriptors` times a matrix (D, Q): (P, Q).

    The maps' cells are multiplied, and the products read: there are far fewer cells than pixels.
    """
    weights = matrix.split([m.shape[1] for m in maps])
    total = maps[0].new_zeros((len(pixels), matrix.shape[1]))
    for resolution in sorted({m.shape[-1] for m in maps}):
        chosen = [i for i, m in enumerate(maps) if m.shape[-1] == resolution]
        cells = torch.cat([maps[i].flatten(2) for i in chosen], dim=1).transpose(1, 2)
        projected = cells @ torch.cat([weights[i] for i in chosen])
        total += read_cells(projected, pixels, image_size)
    return total


def read_cells(cells: torch.Tensor, pixels: torch.Tensor, image_size: int) -> torch.Tensor:
    """(P, C) read off cells (B, h * h, C) at pixels (P,), between a pixel's four cells."""
    image, position = pixels // image_size**2, pixels % image_size**2
    near, shares = neighbours(math.isqrt(cells.shape[1]), image_size, cells.device)
    rows = near[position] + (image * cells.shape[1])[:, None]
    return F.embedding_bag(
        rows, cells.flatten(0, 1), per_sample_weights=shares[position], mode="sum"
    )


@cache
def neighbours(
    resolution: int, image_size: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """The four cells (S * S, 4) of a map that each pixel lies between, and the share of each."""
    centres = (torch.arange(image_size, dtype=torch.float64) + 0.5) * resolution / image_size
    centres = (centres - 0.5).clamp(0, resolution - 1)
    low = centres.long()
    along = torch.stack([low, (low + 1).clamp_max(resolution - 1)], dim=1)
    share = torch.stack([1 - (centres - low), centres - low], dim=1).float()
    cells = along[:, None, :, None] * resolution + along[None, :, None, :]
    shares = share[:, None, :, None] * share[None, :, None, :]
    return cells.reshape(-1, 4).to(device), shares.reshape(-1, 4).to(device)
