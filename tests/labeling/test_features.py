"""Claims about factory.labeling.features: what the frozen U-Net knows of a pixel."""

import pytest
import torch
import torch.nn.functional as F

from factory.config import DiffusionConfig, UNetConfig
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.network import descriptor_dim
from factory.diffusion.schedule import linear_schedule, q_sample
from factory.labeling.features import (
    pixel_descriptors,
    projected_descriptors,
    renoised_maps,
    shared_noise,
)
from factory.values import MIDDLE_BLOCK

SHAPE = UNetConfig(
    block_out_channels=(16, 32), layers_per_block=1, attention_levels=(1,), norm_num_groups=8
)
SCHEDULE = linear_schedule(DiffusionConfig(num_timesteps=100, beta_start=1e-3, beta_end=0.2))
TIMESTEPS, BLOCKS = (40, 10), (MIDDLE_BLOCK, 1, 3)


@pytest.fixture(scope="module")
def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(SHAPE).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def x_0() -> torch.Tensor:
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def upsampled(maps: list[torch.Tensor], size: int) -> torch.Tensor:
    """(B * S * S, D), as the paper's code makes them."""
    big = [F.interpolate(m, size, mode="bilinear", align_corners=False) for m in maps]
    return torch.cat(big, dim=1).permute(0, 2, 3, 1).flatten(0, 2)


@pytest.mark.parametrize("size", [8, 12, 16])
def test_descriptors_equal_upsampling_every_map_and_reading_the_pixel(size: int) -> None:
    generator = torch.Generator().manual_seed(2)
    heights = [size, size // 2, size // 4, size]
    shapes = zip((3, 5, 2, 4), heights, strict=True)
    maps = [torch.randn(2, c, h, h, generator=generator) for c, h in shapes]
    corners = [0, size - 1, size * (size - 1), size**2 - 1]
    edges = [size // 2, size * (size // 2), size * 3 - 1, size**2 - 2]
    inside = torch.randint(2 * size**2, (40,), generator=generator)
    pixels = torch.cat([torch.tensor(corners + edges), inside])

    descriptors = pixel_descriptors(maps, pixels, size)
    assert descriptors.shape == (48, 14)
    torch.testing.assert_close(descriptors, upsampled(maps, size)[pixels], rtol=0, atol=1e-5)


def test_a_pixel_is_image_times_pixels_plus_row_times_size_plus_column() -> None:
    axes = [torch.arange(2.0), torch.arange(6.0), torch.arange(6.0)]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=1)
    descriptors = pixel_descriptors([positions], torch.tensor([0, 5, 7, 30, 35, 36 + 13]), 6)
    wanted = [[0, 0, 0], [0, 0, 5], [0, 1, 1], [0, 5, 0], [0, 5, 5], [1, 2, 1]]
    assert descriptors.round().int().tolist() == wanted


def test_projecting_cells_equals_projecting_descriptors() -> None:
    generator = torch.Generator().manual_seed(3)
    maps = [
        torch.randn(3, c, h, h, generator=generator) for c, h in [(5, 4), (3, 8), (2, 4), (4, 2)]
    ]
    matrix = torch.randn(14, 6, generator=generator)
    pixels = torch.randperm(3 * 64, generator=generator)[:50]
    descriptors = projected_descriptors(maps, matrix, pixels, 8)
    wanted = pixel_descriptors(maps, pixels, 8) @ matrix
    torch.testing.assert_close(descriptors, wanted, rtol=1e-5, atol=1e-5)


def test_maps_are_those_of_the_noised_image_with_timesteps_outermost(
    unet: UNet, x_0: torch.Tensor
) -> None:
    noise = shared_noise(7, 16)
    wanted = []
    for timestep in TIMESTEPS:
        t = torch.full((3,), timestep)
        features = unet.features(q_sample(SCHEDULE, x_0, t, noise.expand(3, -1, -1, -1)), t, BLOCKS)
        wanted += [features[block] for block in BLOCKS]
    maps = renoised_maps(unet.features, SCHEDULE, x_0, noise, TIMESTEPS, BLOCKS)
    assert len(maps) == len(wanted) == 6
    for ours, theirs in zip(maps, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_blocks_come_in_the_order_asked_for(unet: UNet, x_0: torch.Tensor) -> None:
    noise = shared_noise(7, 16)
    blocks = (MIDDLE_BLOCK, 1, 3)
    forth = renoised_maps(unet.features, SCHEDULE, x_0, noise, (10,), blocks)
    back = renoised_maps(unet.features, SCHEDULE, x_0, noise, (10,), blocks[::-1])
    assert [m.shape for m in back] == [m.shape for m in forth[::-1]]
    assert all(torch.equal(a, b) for a, b in zip(back, forth[::-1], strict=True))


def test_an_image_has_the_same_maps_in_whatever_batch(unet: UNet, x_0: torch.Tensor) -> None:
    noise = shared_noise(7, 16)
    together = renoised_maps(unet.features, SCHEDULE, x_0, noise, TIMESTEPS, BLOCKS)
    for i in range(3):
        alone = renoised_maps(unet.features, SCHEDULE, x_0[i : i + 1], noise, TIMESTEPS, BLOCKS)
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a[0], b[i], rtol=1e-5, atol=1e-5)


def test_the_shared_noise_hangs_on_its_seed_alone() -> None:
    noise = shared_noise(3, 32)
    torch.manual_seed(99)
    assert torch.equal(noise, shared_noise(3, 32))
    assert not torch.equal(noise, shared_noise(4, 32))
    assert noise.shape == (3, 32, 32) and noise.dtype == torch.float32
    assert abs(float(noise.mean())) < 0.1 and abs(float(noise.std()) - 1) < 0.1


@pytest.mark.parametrize("levels, layers", [(1, 1), (2, 1), (3, 1), (3, 2), (4, 2)])
def test_default_blocks_leave_out_the_first_and_the_last(levels: int, layers: int) -> None:
    config = UNetConfig(block_out_channels=(32,) * levels, layers_per_block=layers)
    with torch.device("meta"):
        blocks = UNet(config).default_blocks
    num_blocks = levels * (layers + 1)
    assert set(blocks) <= set(range(num_blocks)) and list(blocks) == sorted(set(blocks))
    assert blocks == (tuple(range(1, num_blocks - 1)) or (0,))


def test_the_dimension_is_that_of_the_maps(unet: UNet, x_0: torch.Tensor) -> None:
    for blocks in [(0,), (1, 3), (MIDDLE_BLOCK,), (MIDDLE_BLOCK, 0, 1, 2, 3)]:
        maps = renoised_maps(
            unet.features, SCHEDULE, x_0[:1], shared_noise(0, 16), TIMESTEPS, blocks
        )
        assert descriptor_dim(unet, TIMESTEPS, blocks) == sum(m.shape[1] for m in maps)
        channels = [unet.block_channels[block] for block in blocks] * 2
        heights = [16 // unet.block_downscaling[block] for block in blocks] * 2
        assert [(m.shape[1], m.shape[-1]) for m in maps] == list(
            zip(channels, heights, strict=True)
        )


def test_the_papers_descriptor_is_8448_wide() -> None:
    adm = UNetConfig(block_out_channels=(256, 256, 512, 512, 1024, 1024), layers_per_block=2)
    with torch.device("meta"):
        unet = UNet(adm)
    # ADM's blocks 5, 6, 7, 8, 12 are 1024, 512, 512, 512, 256 wide; so are ours.
    assert descriptor_dim(unet, (50, 150, 250), (5, 6, 7, 8, 12)) == 8448
