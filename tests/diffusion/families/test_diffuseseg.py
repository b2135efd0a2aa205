"""Claims about DiffuseSeg's network, against the architecture stated anew here."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from factory.diffusion.checkpoints import Model, load_model
from factory.diffusion.families.diffuseseg import DiffuseSegUNet, Shape
from factory.diffusion.noise import normal_noise
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.timesteps import uniform_timesteps
from factory.errors import UserError
from factory.importing import import_weights, read_ddpm
from factory.values import MIDDLE_BLOCK

SHAPE = Shape(
    down_channels=(8, 16, 32),
    mid_channels=(32, 24, 16),
    last_channels=8,
    time_channels=16,
    num_down_layers=2,
    num_mid_layers=1,
    num_up_layers=3,
)
T = torch.tensor([3, 870])
REPLACE = "Copy the file again, or name another"
Tensors = dict[str, torch.Tensor]


class Reference:
    """DiffuseSeg's U-Net over a state dict, as its authors define it; notes which keys it reads."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self.read: set[str] = set()

    def of(self, name: str) -> Tensors:
        """{weight, bias, ...} below a module's name."""
        found = {k: v for k, v in self.tensors.items() if k.rpartition(".")[0] == name}
        self.read |= set(found)
        return {key.rpartition(".")[2]: value for key, value in found.items()}

    def conv(self, name: str, x: torch.Tensor, **options: int) -> torch.Tensor:
        return F.conv2d(x, **self.of(name), **options)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, **self.of(name))

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.group_norm(x, 8, **self.of(name))

    def norm_silu_conv(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return self.conv(f"{name}.2", F.silu(self.norm(f"{name}.0", x)), padding=1)

    def resnet(self, name: str, i: int, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        h = self.norm_silu_conv(f"{name}.resnet_conv_first.{i}", x)
        h = h + self.linear(f"{name}.t_emb_layers.{i}.1", F.silu(time))[:, :, None, None]
        h = self.norm_silu_conv(f"{name}.resnet_conv_second.{i}", h)
        return h + self.conv(f"{name}.residual_input_conv.{i}", x)

    def attention(self, name: str, i: int, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(f"{name}.attention_norms.{i}", x.flatten(2)).transpose(1, 2)
        attend = nn.MultiheadAttention(x.shape[1], 4, batch_first=True, dtype=x.dtype)
        own, out = self.of(f"{name}.attentions.{i}"), self.of(f"{name}.attentions.{i}.out_proj")
        attend.load_state_dict({**own, **{f"out_proj.{key}": v for key, v in out.items()}})
        attended, _ = attend(tokens, tokens, tokens)
        return x + attended.transpose(1, 2).reshape(x.shape)

    def layers(self, name: str, num: int, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        for i in range(num):
            x = self.attention(name, i, self.resnet(name, i, x, time))
        return x

    def __call__(self, x: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, Tensors]:
        frequencies = 10_000 ** (torch.arange(8, dtype=x.dtype) / 8)
        angles = t[:, None].repeat(1, 8) / frequencies
        time = self.linear("t_proj.0", torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1))
        time = self.linear("t_proj.2", F.silu(time))
        x, skips, maps = self.conv("conv_in", x, padding=1), [], {}
        for level in range(2):
            skips.append(x)
            x = self.layers(f"downs.{level}", 2, x, time)
            x = self.conv(f"downs.{level}.down_sample_conv", x, stride=2, padding=1)
        for level in range(2):
            x = self.resnet(f"mids.{level}", 0, x, time)
            x = self.attention(f"mids.{level}", 0, x)
            x = maps[MIDDLE_BLOCK] = self.resnet(f"mids.{level}", 1, x, time)
        for level in range(2):
            up = self.of(f"ups.{level}.up_sample_conv")
            x = torch.cat([F.conv_transpose2d(x, **up, stride=2, padding=1), skips.pop()], dim=1)
            x = maps[level] = self.layers(f"ups.{level}", 3, x, time)
        return self.conv("conv_out", F.silu(self.norm("norm_out", x)), padding=1), maps


@pytest.fixture(scope="module")
def tensors(randomize: Callable[..., nn.Module]) -> Tensors:
    """The weights of a tiny random network, the same whichever tests ran before."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return randomize(DiffuseSegUNet(SHAPE)).state_dict()


@pytest.fixture
def pth(tensors: Tensors, tmp_path: Path) -> Path:
    """Its file."""
    torch.save(tensors, tmp_path / "unet.pth")
    return tmp_path / "unet.pth"


def imported(pth: Path) -> Model:
    """The model of a file, through the folder that `factory import` writes."""
    folder = pth.parent / f"model_{len(list(pth.parent.iterdir()))}"
    return load_model(import_weights(str(pth), str(folder), None))


def x_t() -> torch.Tensor:
    return normal_noise([1, 2], (3, 16, 16), stream=0)


def assert_equal_up_to_rounding(ours: torch.Tensor, exact: torch.Tensor) -> None:
    """Both of one shape; the error of float32 through 40 layers, about 2e-6 of the values.

    The mean error is compared, as the largest one depends on the machine's order of summation.
    """
    assert ours.dtype == torch.float32 and exact.dtype == torch.float64
    assert ours.shape == exact.shape
    error = (ours.double() - exact).square().mean().sqrt()
    assert float(error / exact.square().mean().sqrt()) < 5e-6


@torch.no_grad()
def test_outputs_and_features_are_those_of_the_architecture(tensors: Tensors, pth: Path) -> None:
    reference = Reference({key: value.double() for key, value in tensors.items()})
    epsilon, maps = reference(x_t().double(), T)
    assert reference.read == set(tensors), "every weight is used"
    unet = imported(pth).unet
    assert unet.block_channels == {MIDDLE_BLOCK: 16, 0: 8, 1: 8}
    assert unet.block_downscaling == {MIDDLE_BLOCK: 4, 0: 2, 1: 1}
    assert unet.default_blocks == (0, 1)
    ours, our_maps = unet.outputs_and_features(x_t(), T, (MIDDLE_BLOCK, 0, 1))
    assert_equal_up_to_rounding(ours, epsilon)
    assert epsilon.std() > 0.1 and list(our_maps) == [MIDDLE_BLOCK, 0, 1]
    for block, m in our_maps.items():
        assert_equal_up_to_rounding(m, maps[block])
    assert torch.equal(unet(x_t(), T), ours)
    for block in (MIDDLE_BLOCK, 1):
        (alone,) = unet.features(x_t(), T, (block,)).items()
        assert alone[0] == block and torch.equal(alone[1], our_maps[block])


@torch.no_grad()
def test_bf16_stays_close_to_fp32(pth: Path) -> None:
    unet = imported(pth).unet
    epsilon = unet(x_t(), T)
    with torch.autocast("cpu", torch.bfloat16):
        half = unet(x_t(), T)
    assert half.dtype == torch.bfloat16
    assert 0 < (half - epsilon).abs().mean() < 0.03 * epsilon.abs().mean()


def test_the_published_network_has_its_number_of_parameters() -> None:
    with torch.device("meta"):
        unet = DiffuseSegUNet(Shape())
    assert sum(parameter.numel() for parameter in unet.parameters()) == 45_878_451


def test_a_loaded_network_is_frozen_and_tells_what_it_was_trained_with(pth: Path) -> None:
    model = imported(pth)
    assert not model.unet.training
    assert not any(parameter.requires_grad for parameter in model.unet.parameters())
    assert model.image_size == 64
    assert linear_schedule(model.diffusion).alpha_bar(999) == pytest.approx(4.036e-5, rel=1e-3)
    assert len(uniform_timesteps(linear_schedule(model.diffusion), 10, (50, 150, 250))) == 10


@pytest.mark.slow
def test_the_hash_tells_weights_apart(tensors: Tensors, pth: Path) -> None:
    before = imported(pth).model_hash
    assert imported(pth).model_hash == before and len(before) == 64
    torch.save({**tensors, "conv_in.bias": tensors["conv_in.bias"] + 1}, pth)
    assert imported(pth).model_hash != before


def refused(load: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refusal:
        load()
    return str(refusal.value)


@pytest.mark.parametrize(
    "key",
    [
        "downs.1.resnet_conv_first.0.2.weight",
        "t_proj.0.weight",
        "conv_in.bias",
        "ups.1.attentions.2.in_proj_weight",
        "mids.0.residual_input_conv.1.weight",
        "norm_out.weight",
    ],
)
def test_every_bad_tensor_of_a_network_is_named(tensors: Tensors, pth: Path, key: str) -> None:
    spoiled = {name: value for name, value in tensors.items() if name != key}
    spoiled["extra.weight"] = torch.ones(3)
    spoiled["mids.1.attentions.0.out_proj.weight"] = torch.full((16, 16), torch.nan)
    spoiled["conv_out.weight"] = tensors["conv_out.weight"].transpose(0, 1)
    spoiled["norm_out.bias"] = tensors["norm_out.bias"].long()
    torch.save(spoiled, pth)
    message = refused(lambda: read_ddpm(str(pth)))
    assert message.splitlines() == [
        f"{pth}: tensor {problem}."
        for problem in (
            *sorted(
                f"{end}. {REPLACE}" for end in (f"{key} is missing", "extra.weight is unknown")
            ),
            "conv_out.weight has shape (8, 3, 3, 3), the rest of the file says (3, 8, 3, 3). "
            + REPLACE,
            "mids.1.attentions.0.out_proj.weight holds values that are not finite: "
            "the training diverged. Use another checkpoint",
            f"norm_out.bias has type torch.int64, not floating point. {REPLACE}",
        )
    ]


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"conv_in.weight": torch.ones(8, 3, 3, 3), "conv_in.bias": torch.ones(8)},
        {"conv_in.bias": torch.ones(6), "downs.0.x.bias": torch.ones(6)},
    ],
    ids=["nothing", "another network", "widths that no groups divide"],
)
def test_another_network_is_refused(content: Tensors, pth: Path) -> None:
    torch.save(content, pth)
    assert "is no U-Net of DiffuseSeg's" in refused(lambda: read_ddpm(str(pth)))


@pytest.mark.parametrize(
    "content",
    [[torch.ones(2)], {"model": {"conv_in.bias": torch.ones(8)}}, {1: torch.ones(8)}],
    ids=["a list", "a wrapped state dict", "keys that are no names"],
)
def test_what_is_no_state_dict_is_refused(content: object, pth: Path) -> None:
    torch.save(content, pth)
    assert "is no state dict" in refused(lambda: read_ddpm(str(pth)))


class Code:
    """Runs a command where it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def test_code_in_a_pickle_is_refused_and_does_not_run(tensors: Tensors, pth: Path) -> None:
    trace = pth.with_name("trace")
    torch.save({**tensors, "extra": Code(f"touch {trace}")}, pth)
    assert "holds more than tensors, such as code" in refused(lambda: read_ddpm(str(pth)))
    assert not trace.exists()


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(pth: Path, share: float) -> None:
    data = pth.read_bytes()
    pth.write_bytes(data[: int(len(data) * share)])
    assert f"{pth}: damaged" in refused(lambda: read_ddpm(str(pth)))


def test_what_torch_did_not_save_is_refused(pth: Path) -> None:
    for data in (b"", b"<html>", b"\x80\x02}q\x00."):
        pth.write_bytes(data)
        assert "is no file of torch.save's" in refused(lambda: read_ddpm(str(pth)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    url = str(tmp_path / "no.pth")
    assert f"{url}: is missing" in refused(lambda: read_ddpm(url))
