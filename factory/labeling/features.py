"""What the frozen U-Net knows of an image: decoder maps at (timesteps x blocks).

Maps keep their native resolution; descriptors of single pixels are gathered from them, equal to
upsampling every map to the image and reading the pixel (Baranchuk et al. 2022, section 3).

Shapes: B images, C_m channels of map m, D = sum of C_m, S image size, P pixels.
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F

from factory.config import UNet as UNetConfig
from factory.diffusion.process import Schedule, normal_noise, q_sample, sample_seed
from factory.diffusion.unet import UNet, block_channels


def default_blocks(config: UNetConfig) -> tuple[int, ...]:
    """Every decoder block but the first, too coarse, and the last, close to the noise."""
    num_blocks = len(block_channels(config))
    return tuple(range(1, num_blocks - 1)) or (0,)


def descriptor_dim(config: UNetConfig, timesteps: Sequence[int], blocks: Sequence[int]) -> int:
    """D: channels of a pixel's descriptor."""
    channels = block_channels(config)
    return len(timesteps) * sum(channels[block] for block in blocks)


def shared_noise(seed: int, image_size: int) -> torch.Tensor:
    """(3, S, S): the one noise for every image and timestep, as in the paper's code.

    The features of an image then depend on nothing but the image.
    """
    return normal_noise([sample_seed(seed, 0)], (3, image_size, image_size), stream=0)[0]


def renoised_maps(
    unet: UNet,
    schedule: Schedule,
    x_0: torch.Tensor,
    noise: torch.Tensor,
    timesteps: Sequence[int],
    blocks: Sequence[int],
) -> list[torch.Tensor]:
    """Maps (B, C_m, h_m, w_m) of images noised to each timestep; timesteps outermost.

    x_0: (B, 3, S, S) in [-1, 1]; noise: (3, S, S). The U-Net stops after the last block.
    """
    num_images = len(x_0)
    t = torch.tensor(timesteps, device=x_0.device).repeat_interleave(num_images)
    repeated = x_0.repeat(len(timesteps), 1, 1, 1)
    x_t = q_sample(schedule, repeated, t, noise.to(x_0.device).expand_as(repeated))
    maps = unet.features(x_t, t, blocks)
    return [
        maps[block].float()[i * num_images : (i + 1) * num_images]
        for i in range(len(timesteps))
        for block in blocks
    ]


def pixel_descriptors(
    maps: Sequence[torch.Tensor], pixels: torch.Tensor, image_size: int, out: torch.Tensor
) -> None:
    """Writes into out (P, D) the descriptors of pixels (P,), each (image * S + row) * S + column.

    Bilinear at the pixels' centres: what `F.interpolate(map, S, mode="bilinear")` has there. Maps
    are read one after the other: beside out, memory is that of one map.
    """
    image, place = pixels // image_size**2, pixels % image_size**2
    first_channel = 0
    for m in maps:
        num_channels, resolution = m.shape[1], m.shape[-1]
        near, shares = neighbours(resolution, image_size, m.device)
        cells = near[place] + (image * resolution**2)[:, None]
        rows = m.permute(0, 2, 3, 1).flatten(0, 2)
        out[:, first_channel : first_channel + num_channels] = F.embedding_bag(
            cells, rows, per_sample_weights=shares[place], mode="sum"
        )
        first_channel += num_channels


@cache
def neighbours(
    resolution: int, image_size: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each pixel: its four cells (S * S, 4) of a map, and how much of each it is made of."""
    centres = (torch.arange(image_size, dtype=torch.float64) + 0.5) * resolution / image_size
    centres = (centres - 0.5).clamp(0, resolution - 1)
    low = centres.long()
    along = torch.stack([low, (low + 1).clamp_max(resolution - 1)], dim=1)
    share = torch.stack([1 - (centres - low), centres - low], dim=1).float()
    cells = along[:, None, :, None] * resolution + along[None, :, None, :]
    shares = share[:, None, :, None] * share[None, :, None, :]
    return cells.reshape(-1, 4).to(device), shares.reshape(-1, 4).to(device)
