"""How much of a GPU's memory an actor takes: by the automatic batch, and at most."""

from collections.abc import Collection, Sequence

import torch

from factory.config import UNetConfig
from factory.diffusion.families.unet2d import block_channels, block_downscaling, skip_channels

_BATCH_BYTES = 2**33
"""That a batch may take beside weights and labelling: half of 24 GB holds all three."""
_MAX_BATCH_PIXELS = 2**21
"""512 images of 64 px: no GPU gains from more."""
_SHARE_OF_SHARE = 0.9
"""The rest is for what torch does not count: each process's own kernels and libraries."""


def automatic_batch(
    config: UNetConfig,
    image_size: int,
    timesteps: Sequence[int],
    blocks: Collection[int],
    bf16: bool,
) -> int:
    """Images that go through the network together: a power of two, by size and memory."""
    bytes_an_image = pass_bytes(config, image_size, bf16)
    bytes_an_image += len(timesteps) * map_bytes(config, image_size, blocks, bf16)
    most = min(_BATCH_BYTES // bytes_an_image, _MAX_BATCH_PIXELS // image_size**2)
    return 1 << max(1, most).bit_length() - 1


def map_bytes(config: UNetConfig, image_size: int, blocks: Collection[int], bf16: bool) -> int:
    """Of an image's maps at one timestep."""
    sizes = zip(block_channels(config), block_downscaling(config), strict=True)
    numbers = [channels * (image_size // scale) ** 2 for channels, scale in sizes]
    return (2 if bf16 else 4) * sum(numbers[block] for block in blocks)


def pass_bytes(config: UNetConfig, image_size: int, bf16: bool) -> int:
    """What a pass of one image holds at its peak, not compiled; an estimate.

    Of each residual block on the way up: the maps that are still to be joined, the one that comes
    from below, both joined, and these again as a normalisation takes them, row-major and in
    float32, and as it gives them.
    """
    item, last = 2 if bf16 else 4, len(config.block_out_channels) - 1
    normalised = 4 + 4 + (4 if bf16 else 0)
    pixels = [(image_size >> level) ** 2 for level in range(last + 1)]
    waiting = 0
    peak = 0
    for level in range(last + 1):
        below = config.block_out_channels[min(level + 1, last)]
        for i, skip in enumerate(reversed(skip_channels(config, level))):
            waiting += skip * pixels[level] * item
            # On the way up the first to be joined is the last that was kept.
            first = i == config.layers_per_block
            width = below if first else config.block_out_channels[level]
            joined = (width + skip) * pixels[level]
            peak = max(peak, waiting + width * pixels[level] * item + joined * (item + normalised))
    return peak


def limit_memory(gpus_per_actor: float) -> None:
    """Holds this process to its share of the GPU, so that actors cannot starve each other."""
    if 0 < gpus_per_actor < 1:
        torch.cuda.set_per_process_memory_fraction(_SHARE_OF_SHARE * gpus_per_actor)
