"""Claims about DiffuseSeg's ten MLPs as one ensemble."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from factory.classes import MAX_CLASSES
from factory.config import DiffusionConfig
from factory.diffusion.checkpoints import Model
from factory.diffusion.families.diffuseseg import DiffuseSegUNet, Shape
from factory.diffusion.network import descriptor_dim
from factory.diffusion.noise import normal_noise
from factory.errors import UserError
from factory.labeling.diffuseseg_mlps import (
    BLOCKS,
    CLASSES,
    DESCRIPTOR_DIM,
    TIMESTEPS,
    load_mlps,
    read_ensemble,
)


def refused(load: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refusal:
        load()
    return str(refusal.value)


class PixelMLP(nn.Module):
    """One of the ten: normalises before the ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(624, 128), nn.BatchNorm1d(128)
        self.fc2, self.bn2 = nn.Linear(128, 32), nn.BatchNorm1d(32)
        self.fc_out = nn.Linear(32, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.fc1(x)))
        return self.fc_out(F.relu(self.bn2(self.fc2(x))))


@pytest.fixture(scope="module")
def mlps() -> list[nn.Module]:
    """Ten, each with statistics of its own, some gains negative."""
    generator = torch.Generator().manual_seed(0)
    found: list[nn.Module] = []
    for _ in range(10):
        mlp = PixelMLP().eval().requires_grad_(False)
        for norm in (mlp.bn1, mlp.bn2):
            for values in (norm.weight, norm.bias, norm.running_mean):
                values.normal_(0.0, 1.0, generator=generator)
            norm.running_var.uniform_(1e-3, 2.0, generator=generator)
        found.append(mlp)
    return found


@pytest.fixture
def mlp_urls(mlps: list[nn.Module], tmp_path: Path) -> Iterator[list[str]]:
    """Their files."""
    urls = [str(tmp_path / f"mlp_{i}_best.pt") for i in range(1, 11)]
    for mlp, url in zip(mlps, urls, strict=True):
        torch.save(mlp.state_dict(), url)
    yield urls


@pytest.fixture(scope="module")
def ddpm() -> Model:
    """DiffuseSeg's, without weights."""
    with torch.device("meta"):
        unet = DiffuseSegUNet(Shape())
    return Model(unet, DiffusionConfig(), 64, "ab" * 32)


@torch.inference_mode()
def test_the_ensemble_equals_the_ten_mlps(
    mlps: list[nn.Module], mlp_urls: list[str], ddpm: Model
) -> None:
    ensemble = read_ensemble(mlp_urls, ddpm)
    descriptors = normal_noise([5], (2000, 624), stream=0)[0]
    theirs = torch.stack([mlp(descriptors) for mlp in mlps])
    ours = ensemble(descriptors)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert torch.equal(ours.argmax(dim=-1), theirs.argmax(dim=-1))
    assert (ours[0] - ours[1]).abs().mean() > 0.1, "members differ"


def test_the_descriptor_is_as_wide_as_the_published_maps() -> None:
    with torch.device("meta"):
        unet = DiffuseSegUNet(Shape())
    assert [unet.block_channels[block] for block in BLOCKS] == [128, 64, 16]
    assert descriptor_dim(unet, TIMESTEPS, BLOCKS) == DESCRIPTOR_DIM


def test_names_and_colours_of_the_classes_differ() -> None:
    assert len(set(CLASSES.names)) == len(set(CLASSES.palette)) == 20
    assert len(CLASSES) <= MAX_CLASSES
    assert CLASSES.names[13] == "hair"
    assert CLASSES.palette[13] == (0, 255, 0)


def test_fewer_than_ten_mlps_are_refused(mlp_urls: list[str]) -> None:
    for urls in ([], mlp_urls[:9], [*mlp_urls[:9], mlp_urls[0]], [*mlp_urls, "one/more.pt"]):
        message = refused(partial(load_mlps, urls))
        assert "DiffuseSeg's ensemble has 10" in message


def test_all_that_is_wrong_with_the_mlps_is_message_at_once(
    mlps: list[nn.Module], mlp_urls: list[str]
) -> None:
    good = mlps[0].state_dict()
    torch.save({k: v for k, v in good.items() if k != "bn1.running_mean"}, mlp_urls[1])
    torch.save({**good, "fc1.weight": good["fc1.weight"].T}, mlp_urls[3])
    torch.save({**good, "bn2.running_var": -good["bn2.running_var"]}, mlp_urls[4])
    Path(mlp_urls[5]).write_bytes(b"")
    torch.save({**good, "fc2.bias": torch.full((32,), torch.inf)}, mlp_urls[8])
    message = refused(lambda: load_mlps(mlp_urls)).splitlines()
    assert len(message) == 5
    for line, (i, problem) in zip(
        message,
        [
            (1, "bn1.running_mean is missing"),
            (3, "fc1.weight has shape (624, 128), DiffuseSeg says (128, 624)"),
            (4, "bn2.running_var holds negative values"),
            (5, "is no file of torch.save's"),
            (8, "fc2.bias holds values that are not finite"),
        ],
        strict=True,
    ):
        assert line.startswith(mlp_urls[i]) and problem in line
