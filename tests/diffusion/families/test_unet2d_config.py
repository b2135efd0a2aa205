"""Claims about factory.diffusion.families.unet2d_config: networks of diffusers' UNet2DModel compute
here as they do there, whatever its config says, or are refused by name."""

import json
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from factory.diffusion.families.unet2d import FAMILY, UNet
from factory.diffusion.families.unet2d_config import GOOGLE, read_config
from factory.errors import UserError
from tests.diffusion import conftest
from tests.diffusion.families.test_unet2d import maps_seen_by_hooks

SMALL = {"sample_size": 16, "block_out_channels": (8, 16), "norm_num_groups": 4}
ATTENDING = {
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
}
PLAIN = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
PUBLISHED: dict[str, dict[str, Any]] = {
    "diffusers' own defaults": {
        "sample_size": 16,
        "block_out_channels": (16, 24, 32, 40),
        "norm_num_groups": 8,
    },
    "its example of unconditional training": {
        "sample_size": 32,
        "block_out_channels": (8, 8, 16, 16, 24, 24),
        "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
    },
    "its tutorial on butterflies": {
        "sample_size": 32,
        "block_out_channels": (8, 16, 16, 32),
        "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D",) * 2 + ("AttnDownBlock2D",) * 2,
        "up_block_types": ("AttnUpBlock2D",) * 2 + ("UpBlock2D",) * 2,
    },
    "its tutorial on grey digits": {
        "sample_size": 28,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": (8, 16, 16),
        "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    },
    "google/ddpm-*": {**SMALL, **ATTENDING, **conftest.GOOGLE},
}
CONVENTIONS: dict[str, dict[str, Any]] = {
    "a sample that is centred": {"center_input_sample": True},
    "another embedding of the timestep": {"time_embedding_dim": 20},
    "frequencies in between": {"freq_shift": 0.5},
    "the middle block scaled": {"mid_block_scale_factor": 2**0.5},
    "mish": {"act_fn": "mish"},
    "gelu": {"act_fn": "gelu"},
    "relu": {"act_fn": "relu"},
    "swish": {"act_fn": "swish"},
    "one head": {"attention_head_dim": None},
    "heads that leave channels over": {"attention_head_dim": 5},
    "groups of the middle's attention": {"attn_norm_num_groups": 2},
    "scaled and shifted": {"resnet_time_scale_shift": "scale_shift"},
    "scaled, shifted and normalised": {
        "resnet_time_scale_shift": "scale_shift",
        "attn_norm_num_groups": 4,
    },
    "no attention in the middle": {"add_attention": False},
    "a switch that is null": {"flip_sin_to_cos": None},
    "attention on the way up alone": {**PLAIN, "up_block_types": ATTENDING["up_block_types"]},
    "attention on the way down alone": {**PLAIN, "down_block_types": ATTENDING["down_block_types"]},
}
EVERY = PUBLISHED | {name: {**SMALL, **ATTENDING, **given} for name, given in CONVENTIONS.items()}


each_network = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in PUBLISHED else []) for n in EVERY],
)


def published(diffusers: ModuleType, fields: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """A random network of diffusers, and the content of the config that it saves."""
    unet = conftest.randomized(diffusers.UNet2DModel(**fields)).eval()
    return unet, json.loads(unet.to_json_string())


def opened(content: dict[str, Any], tensors: dict[str, torch.Tensor]) -> UNet:
    unet = FAMILY.network(read_config(content, "u")[0])
    assert isinstance(unet, UNet)
    unet.load_state_dict(tensors)
    unet.eval()
    return unet


@each_network
@torch.inference_mode()
def test_networks_of_diffusers_predict_and_describe_here_as_they_do_there(
    name: str, diffusers: ModuleType
) -> None:
    reference, content = published(diffusers, EVERY[name])
    unet, t = opened(content, reference.state_dict()), torch.tensor([3, 700])
    size, channels = content["sample_size"], content["in_channels"]
    x_t = torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1))
    blocks = tuple(unet.block_channels)
    epsilon, maps = unet.outputs_and_features(x_t, t, blocks)
    torch.testing.assert_close(epsilon, reference(x_t, t).sample, atol=2e-5, rtol=1e-5)
    theirs = maps_seen_by_hooks(reference, x_t, t)
    assert list(maps) == sorted(theirs) == list(blocks)
    for block in blocks:
        torch.testing.assert_close(maps[block], theirs[block], atol=1e-4, rtol=1e-5)


@each_network
def test_the_config_that_is_written_of_a_network_is_that_of_the_same_network(
    name: str, diffusers: ModuleType
) -> None:
    with torch.device("meta"):
        shape, size = read_config(
            json.loads(diffusers.UNet2DModel(**EVERY[name]).to_json_string()), "u"
        )
        written = UNet(shape.config, shape.channels, shape.convention).config_json(size)
        assert read_config(written, "u") == (shape, size)
        theirs = json.loads(diffusers.UNet2DModel.from_config(written).to_json_string())
    assert read_config(theirs, "u") == (shape, size)


def test_only_what_differs_from_the_google_convention_is_part_of_a_networks_identity() -> None:
    content = json.loads(json.dumps({**SMALL, **ATTENDING, **conftest.GOOGLE}))
    google, _ = read_config(content, "u")
    assert google.convention == GOOGLE
    assert google.model_dump() == google.config.model_dump(), "as it was before there were others"
    other, _ = read_config({**content, "freq_shift": 0}, "u")
    assert other.model_dump() == {**google.config.model_dump(), "convention": {"freq_shift": 0}}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"num_class_embeds": 10}, "it is a class-conditional network"),
        ({"class_embed_type": "timestep"}, "it is a class-conditional network"),
        ({"time_embedding_type": "fourier"}, "such a network is told variances"),
        ({"time_embedding_type": "learned"}, "time_embedding_type = 'learned' is another"),
        ({"downsample_type": "resnet"}, "downsample_type = 'resnet' is another"),
        ({"mid_block_type": None}, "mid_block_type = None is another"),
        ({"act_fn": "elu"}, "act_fn = 'elu': Input should be 'silu', 'swish'"),
        ({"downsample_padding": 2}, "downsample_padding = 2: Input should be 0 or 1"),
        ({"norm_eps": 0}, "norm_eps = 0: Input should be greater than 0"),
        ({"attention_head_dim": 17}, "attention_head_dim = 17 is more than the 16 channels"),
        ({"attn_norm_num_groups": 3}, "16 must be divisible by attn_norm_num_groups = 3"),
        ({"up_attention_levels": [1]}, "up_attention_levels = [1] is not implemented"),
        ({"down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"]}, "are not implemented"),
        ({"sample_size": None}, "Write there the height and width in pixels of the images"),
    ],
)
def test_what_makes_another_network_is_refused_by_name(fields: dict[str, Any], said: str) -> None:
    content = json.loads(json.dumps({**SMALL, **ATTENDING, **fields}))
    with pytest.raises(UserError) as refusal:
        read_config(content, "u")
    (problem,) = refusal.value.problems
    assert problem.startswith("u: ") and said in problem


def test_all_that_makes_another_network_is_told_at_once() -> None:
    content = {**SMALL, **ATTENDING, "act_fn": "elu", "norm_eps": -1, "num_class_embeds": 3}
    with pytest.raises(UserError) as refusal:
        read_config(content, "u")
    assert len(refusal.value.problems) == 3
