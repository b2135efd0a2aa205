"""Claims about factory.gpu_memory, on a GPU made of Python whose bytes can be counted."""

from collections.abc import Callable
from itertools import product

import pytest
import torch

from factory.config import Config, UNetConfig
from factory.diffusion.families.diffuseseg import DiffuseSegUNet, Shape
from factory.diffusion.families.unet2d import UNet
from factory.generation.gpu_memory import automatic_batch, limit_memory, map_bytes
from factory.generation.recipe import load_models, make_plan
from factory.precision import autocast
from factory.values import MIDDLE_BLOCK
from tests.gpu.standin import CUDA, StandIn

SHAPES = [
    UNetConfig(block_out_channels=(16, 32, 48), attention_levels=(2,), norm_num_groups=8),
    UNetConfig(
        block_out_channels=(16, 16, 64), layers_per_block=2, attention_levels=(), norm_num_groups=8
    ),
]
"""Without attention over many positions: the CPU holds what a GPU's kernel for it does not."""
FACES = UNetConfig(
    block_out_channels=(32, 64, 128, 192), attention_levels=(2, 3), norm_num_groups=16
)
WIDE_FACES = FACES.model_copy(update={"block_out_channels": (96, 192, 288, 384)})
PUBLISHED = UNetConfig(
    block_out_channels=(128, 128, 256, 256, 512, 512),
    layers_per_block=2,
    attention_levels=(4,),
    norm_num_groups=32,
)
NUM_PASSES = 3


@pytest.mark.parametrize(("shape", "bf16"), list(product(SHAPES, [False, True])))
@torch.inference_mode()
def test_the_estimate_of_a_pass_is_what_it_holds(
    shape: UNetConfig, bf16: bool, gpu: StandIn
) -> None:
    unet = UNet(shape).requires_grad_(False).to(CUDA, memory_format=torch.channels_last)
    x_t, t = torch.zeros(8, 3, 32, 32, device=CUDA), torch.zeros(8, device=CUDA)
    gpu.forget_peak()
    before = gpu.live_bytes()
    with autocast(bf16, "cuda"):
        unet(x_t, t)
    assert (gpu.peak_bytes - before) / 8 == pytest.approx(unet.pass_bytes(32, bf16), rel=0.15)


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("widths", [(64, 128, 256, 512), (32, 128, 128)])
@torch.inference_mode()
def test_the_estimate_of_diffusesegs_network_is_near_what_it_holds(
    widths: tuple[int, ...], bf16: bool, gpu: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The CPU's kernel holds the attention of all pairs of positions, a GPU's does not.
    monkeypatch.setattr(
        "factory.diffusion.families.diffuseseg._attend", lambda qkv: qkv[:, :, 2].contiguous()
    )
    shape = Shape(down_channels=widths, mid_channels=(widths[-1], widths[-2]))
    unet = DiffuseSegUNet(shape).requires_grad_(False).to(CUDA, memory_format=torch.channels_last)
    x_t, t = torch.zeros(8, 3, 32, 32, device=CUDA), torch.zeros(8, device=CUDA)
    gpu.forget_peak()
    before = gpu.live_bytes()
    with autocast(bf16, "cuda"):
        unet(x_t, t)
    held = (gpu.peak_bytes - before) / 8
    assert held == pytest.approx(unet.pass_bytes(32, bf16), rel=0.15)


@pytest.mark.parametrize(("shape", "bf16"), list(product(SHAPES, [False, True])))
@torch.inference_mode()
def test_the_bytes_of_maps_are_theirs(shape: UNetConfig, bf16: bool, gpu: StandIn) -> None:
    unet = UNet(shape).to(CUDA)
    blocks = (MIDDLE_BLOCK, *unet.default_blocks)
    with autocast(bf16, "cuda"):
        maps = unet.features(
            torch.zeros(2, 3, 32, 32, device=CUDA), torch.zeros(2, device=CUDA), blocks
        )
    assert sum(m.nbytes for m in maps.values()) == 2 * map_bytes(unet, 32, blocks, bf16)


@pytest.mark.parametrize(
    ("shape", "image_size", "batch"),
    [(FACES, 64, 512), (WIDE_FACES, 64, 256), (PUBLISHED, 256, 16)],
)
def test_the_automatic_batch_knows_the_network(
    shape: UNetConfig, image_size: int, batch: int
) -> None:
    with torch.device("meta"):
        unet = UNet(shape)
    blocks = unet.default_blocks
    assert automatic_batch(unet, image_size, NUM_PASSES, blocks, bf16=True) == batch
    assert automatic_batch(unet, image_size, NUM_PASSES, blocks, bf16=False) <= batch
    assert automatic_batch(unet, 2048, NUM_PASSES, blocks, bf16=True) >= 1


def test_the_plan_has_the_automatic_batch(tiny_config: Callable[..., Config]) -> None:
    config = tiny_config(
        generate={"batch_size": "auto", "gpus_per_actor": 1, "samples_per_shard": 100_000}
    )
    models = load_models(config)
    ensemble_config, unet = models.ensemble.config, models.ddpm.unet
    num_passes = ensemble_config.num_views * len(ensemble_config.timesteps)
    batch = automatic_batch(unet, 16, num_passes, ensemble_config.blocks, bf16=False)
    assert make_plan(config, models).recipe["batch_size"] == batch == 2**21 // 16**2


@pytest.mark.parametrize(("share", "limit"), [(0.5, 0.45), (1, 1.0), (2, 1.0), (0, 1.0)])
def test_an_actor_with_a_share_of_a_gpu_has_no_more_of_its_memory(
    share: float, limit: float, gpu: StandIn
) -> None:
    limit_memory(share)
    assert gpu.memory_fraction == limit
