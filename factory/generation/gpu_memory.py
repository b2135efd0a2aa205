"""Decides how much of a GPU's memory an actor takes: by the automatic batch, and at most."""

from collections.abc import Collection

import torch

from factory.diffusion.network import FeatureNetwork

_BATCH_BYTES = 2**33
"""A batch may take so much beside weights and labelling: half of 24 GB holds all three."""
_MAX_BATCH_PIXELS = 2**21
"""A batch has at most so many pixels, 512 images of 64 px: no GPU gains from more."""
_SHARE_OF_SHARE = 0.9
"""Share of an actor's share that torch may use; the rest is for what torch does not count: each
process's own kernels and libraries."""


def automatic_batch(
    network: FeatureNetwork,
    image_size: int,
    num_passes: int,
    blocks: Collection[int],
    bf16: bool,
) -> int:
    """Returns how many images go through the network together: a power of two, by size and
    memory.

    num_passes: those whose maps label an image.
    """
    bytes_an_image = network.pass_bytes(image_size, bf16)
    bytes_an_image += num_passes * map_bytes(network, image_size, blocks, bf16)
    most = min(_BATCH_BYTES // bytes_an_image, _MAX_BATCH_PIXELS // image_size**2)
    return 1 << max(1, most).bit_length() - 1


def map_bytes(network: FeatureNetwork, image_size: int, blocks: Collection[int], bf16: bool) -> int:
    """Returns the size of an image's maps at one timestep, in bytes."""
    channels, scales = network.block_channels, network.block_downscaling
    numbers = (channels[block] * (image_size // scales[block]) ** 2 for block in blocks)
    return (2 if bf16 else 4) * sum(numbers)


def limit_memory(gpus_per_actor: float) -> None:
    """Holds this process to its share of the GPU, so that actors cannot starve each other."""
    if 0 < gpus_per_actor < 1:
        torch.cuda.set_per_process_memory_fraction(_SHARE_OF_SHARE * gpus_per_actor)
