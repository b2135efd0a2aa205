"""Claims about factory.diffusion.families.unet2d, with diffusers' UNet2DModel as the reference."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from factory.config import UNetConfig
from factory.diffusion.families.unet2d import UNet
from factory.values import MIDDLE_BLOCK

SHAPES = [
    UNetConfig(
        block_out_channels=(8, 16), layers_per_block=1, attention_levels=(1,), norm_num_groups=4
    ),
    UNetConfig(
        block_out_channels=(16,), layers_per_block=2, attention_levels=(), norm_num_groups=8
    ),
    UNetConfig(
        block_out_channels=(8, 16, 16),
        layers_per_block=2,
        attention_levels=(0, 2),
        norm_num_groups=8,
    ),
    UNetConfig(
        block_out_channels=(12, 24, 16),
        layers_per_block=1,
        attention_levels=(1,),
        norm_num_groups=4,
    ),
]
SHAPE_IDS = ["two levels", "one level", "attention at 0 and 2", "widths up and down"]
TIMESTEPS = [(0, 999), (500, 3)]

each_shape = pytest.mark.parametrize("config", SHAPES, ids=SHAPE_IDS)
Reference = Callable[..., nn.Module]


@pytest.fixture
def x_t() -> torch.Tensor:
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def loaded(config: UNetConfig, reference: nn.Module) -> UNet:
    unet = UNet(config).eval()
    unet.load_state_dict(reference.state_dict())
    return unet


@pytest.mark.slow
@each_shape
@pytest.mark.parametrize("timesteps", TIMESTEPS)
@torch.inference_mode()
def test_output_equals_diffusers_with_its_weights(
    config: UNetConfig, timesteps: tuple[int, int], reference_unet: Reference, x_t: torch.Tensor
) -> None:
    reference, t = reference_unet(config), torch.tensor(timesteps)
    theirs = reference(x_t, t).sample
    assert theirs.std() > 0.1
    torch.testing.assert_close(loaded(config, reference)(x_t, t), theirs, atol=2e-5, rtol=0)


@pytest.mark.slow
@torch.inference_mode()
def test_output_equals_diffusers_where_the_norms_epsilon_decides(
    reference_unet: Reference, x_t: torch.Tensor
) -> None:
    reference, t = reference_unet(SHAPES[0]), torch.tensor([7, 700])
    reference.conv_in.weight *= 1e-3
    reference.conv_in.bias.zero_()
    theirs = reference(x_t, t).sample
    torch.testing.assert_close(loaded(SHAPES[0], reference)(x_t, t), theirs, atol=2e-5, rtol=0)


@pytest.mark.slow
@each_shape
@torch.inference_mode()
def test_diffusers_with_our_weights_gives_our_output(
    config: UNetConfig,
    reference_unet: Reference,
    randomize: Callable[..., nn.Module],
    x_t: torch.Tensor,
) -> None:
    ours, reference, t = (
        randomize(UNet(config), 3).eval(),
        reference_unet(config),
        torch.tensor([1, 99]),
    )
    reference.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x_t, t), reference(x_t, t).sample, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("widths", "attention_levels", "num_parameters"),
    [
        ((128, 256, 256, 256), (1,), 35_746_307),
        ((128, 128, 256, 256, 512, 512), (4,), 113_673_219),
    ],
    ids=["google/ddpm-cifar10-32", "google/ddpm-celebahq-256"],
)
def test_published_shapes_have_their_published_size(
    widths: tuple[int, ...], attention_levels: tuple[int, ...], num_parameters: int
) -> None:
    config = UNetConfig(
        block_out_channels=widths, layers_per_block=2, attention_levels=attention_levels
    )
    with torch.device("meta"):
        unet = UNet(config)
    assert sum(parameter.numel() for parameter in unet.parameters()) == num_parameters


def maps_seen_by_hooks(
    reference: nn.Module, x_t: torch.Tensor, t: torch.Tensor
) -> dict[int, torch.Tensor]:
    """{block: what its last module (residual, attention or upsampling) gave} of a full pass."""
    seen: dict[int, torch.Tensor] = {}
    reference.mid_block.register_forward_hook(
        lambda module, inputs, out: seen.update({MIDDLE_BLOCK: out})
    )
    layers = len(reference.up_blocks[0].resnets)
    for level, up_block in enumerate(reference.up_blocks):
        upsamplers = [None] * (layers - 1) + [*(up_block.upsamplers or [None])]
        attentions = getattr(up_block, "attentions", [None] * layers)
        for layer, modules in enumerate(zip(up_block.resnets, attentions, upsamplers, strict=True)):
            for module in filter(None, modules):
                module.register_forward_hook(
                    lambda module, inputs, out, block=level * layers + layer: seen.update(
                        {block: out}
                    )
                )
    reference(x_t, t)
    return seen


@each_shape
@torch.inference_mode()
def test_features_equal_what_hooks_see_on_diffusers(
    config: UNetConfig, reference_unet: Reference, x_t: torch.Tensor
) -> None:
    reference, t = reference_unet(config), torch.tensor([50, 250])
    unet = loaded(config, reference)
    theirs = maps_seen_by_hooks(reference, x_t, t)
    num_blocks = len(config.block_out_channels) * (config.layers_per_block + 1)
    ours = unet.features(x_t, t, tuple(unet.block_channels))
    assert list(ours) == sorted(theirs) == [MIDDLE_BLOCK, *range(num_blocks)]
    for block, m in ours.items():
        torch.testing.assert_close(m, theirs[block], atol=5e-5, rtol=0)


@each_shape
@torch.inference_mode()
def test_block_channels_and_downscaling_tell_the_real_maps_shapes(
    config: UNetConfig, x_t: torch.Tensor
) -> None:
    unet = UNet(config)
    channels, scales = unet.block_channels, unet.block_downscaling
    maps = unet.features(x_t, torch.tensor([1, 2]), tuple(channels))
    assert list(maps) == list(channels) == list(scales)
    for block, m in maps.items():
        size = 16 // scales[block]
        assert m.shape == (2, channels[block], size, size)


@torch.inference_mode()
def test_the_last_layer_of_a_level_is_told_after_upsampling() -> None:
    unet = UNet(SHAPES[2])
    scales = dict(unet.block_downscaling)
    assert scales.pop(MIDDLE_BLOCK) == 4 and list(scales.values()) == [4, 4, 2, 2, 2, 1, 1, 1, 1]
    channels = dict(unet.block_channels)
    assert channels.pop(MIDDLE_BLOCK) == 16 and list(channels.values()) == [16] * 6 + [8] * 3


@torch.inference_mode()
def test_the_middle_block_alone_is_read_without_the_decoder(x_t: torch.Tensor) -> None:
    unet, called = UNet(SHAPES[2]).eval(), []
    for module in unet.up_blocks.modules():
        module.register_forward_hook(lambda *call: called.append("up"))
    t = torch.tensor([5, 6])
    alone = unet.features(x_t, t, (MIDDLE_BLOCK,))
    assert list(alone) == [MIDDLE_BLOCK] and not called
    _, maps = unet.outputs_and_features(x_t, t, (1, MIDDLE_BLOCK))
    assert sorted(maps) == [MIDDLE_BLOCK, 1] and called
    assert torch.equal(maps[MIDDLE_BLOCK], alone[MIDDLE_BLOCK])


@pytest.mark.parametrize("last", range(9))
@torch.inference_mode()
def test_features_computes_nothing_after_the_last_block(last: int, x_t: torch.Tensor) -> None:
    unet, called = UNet(SHAPES[2]), []
    for name, module in unet.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda module, inputs, out, name=name: called.append(name))
    unet.features(x_t, torch.tensor([5, 6]), [0, last])
    level, layer = divmod(last, 3)
    assert any(name.startswith(f"up_blocks.{level}.resnets.{layer}.") for name in called)
    for name in called:
        part, *numbers = name.split(".")
        assert part not in ("conv_norm_out", "conv_out")
        if part == "up_blocks":
            position = int(numbers[0]), 2 if numbers[1] == "upsamplers" else int(numbers[2])
            assert position <= (level, layer), name


@torch.inference_mode()
def test_one_pass_gives_the_same_outputs_and_features_as_two(x_t: torch.Tensor) -> None:
    unet, t, blocks = UNet(SHAPES[3]).eval(), torch.tensor([50, 250]), (MIDDLE_BLOCK, 1, 3)
    epsilon, maps = unet.outputs_and_features(x_t, t, blocks)
    assert torch.equal(epsilon, unet(x_t, t))
    alone = unet.features(x_t, t, blocks)
    assert list(maps) == list(alone) == [MIDDLE_BLOCK, 1, 3]
    assert all(torch.equal(maps[block], alone[block]) for block in blocks)


@torch.inference_mode()
def test_rows_of_a_batch_do_not_mix(x_t: torch.Tensor, randomize: Callable[..., nn.Module]) -> None:
    unet, t = randomize(UNet(SHAPES[0])).eval(), torch.tensor([50, 250])
    both = unet(x_t, t)
    for row in range(2):
        alone = unet(x_t[row : row + 1], t[row : row + 1])
        torch.testing.assert_close(both[row : row + 1], alone, atol=1e-5, rtol=0)


def test_dropout_acts_in_training_alone(x_t: torch.Tensor) -> None:
    config = SHAPES[0].model_copy(update={"dropout": 0.5})
    unet, t = UNet(config), torch.tensor([50, 250])
    with torch.no_grad():
        assert not torch.equal(unet.train()(x_t, t), unet(x_t, t))
        assert torch.equal(unet.eval()(x_t, t), unet(x_t, t))
