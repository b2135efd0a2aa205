"""diffusers as the reference, with the google/ddpm-* convention that ours follows."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from factory.config import UNetConfig
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.network import EpsilonFn
from factory.diffusion.noise import normal_noise
from tests.diffusion.multistep import SHAPE

GOOGLE: dict[str, Any] = {
    "downsample_padding": 0,
    "freq_shift": 1,
    "flip_sin_to_cos": False,
    "attention_head_dim": None,
    "norm_eps": 1e-6,
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def diffusers() -> ModuleType:
    return pytest.importorskip("diffusers")


@pytest.fixture(scope="session")
def reference_unet(diffusers: ModuleType) -> Callable[..., nn.Module]:
    """diffusers' UNet2DModel of a shape, in eval mode, every parameter random."""

    def make(config: UNetConfig, size: int = 16, **fields: Any) -> nn.Module:
        down = [
            "AttnDownBlock2D" if level in config.attention_levels else "DownBlock2D"
            for level in range(len(config.block_out_channels))
        ]
        unet = diffusers.UNet2DModel(
            **{
                "sample_size": size,
                "block_out_channels": config.block_out_channels,
                "layers_per_block": config.layers_per_block,
                "norm_num_groups": config.norm_num_groups,
                "down_block_types": down,
                "up_block_types": [name.replace("Down", "Up") for name in reversed(down)],
                **GOOGLE,
                **fields,
            }
        )
        return randomized(unet).eval()

    return make


def randomized(unet: nn.Module, seed: int = 0) -> nn.Module:
    """Moves every parameter off its initial value, so that none may be mixed up or left out."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in unet.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return unet


@pytest.fixture(scope="session")
def randomize() -> Callable[..., nn.Module]:
    return randomized


@pytest.fixture(scope="module")
def network(randomize: Callable[..., nn.Module]) -> EpsilonFn:
    """Random, and wild enough that clipping x_0 matters."""
    torch.manual_seed(0)
    config = UNetConfig(block_out_channels=(8, 8), attention_levels=(), norm_num_groups=4)
    return randomize(UNet(config)).eval()


@pytest.fixture
def x_T() -> torch.Tensor:
    """Two starts of sampling."""
    return normal_noise([1, 2], SHAPE[1:], stream=0)
