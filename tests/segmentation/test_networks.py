import pytest
import torch
from torch import nn

from factory.config import parse_config
from factory.errors import UserError
from factory.segmentation.networks import made, maker

NOT_A_FUNCTION = 3


def a_network(num_channels: int, num_classes: int) -> nn.Module:
    return nn.Conv2d(num_channels, num_classes, 1)


def half_a_size(num_channels: int, num_classes: int) -> nn.Module:
    return nn.Conv2d(num_channels, num_classes, 2, stride=2)


def of_one_argument(num_channels: int) -> nn.Module:
    return nn.Conv2d(num_channels, 2, 1)


def of_other_images(num_channels: int, num_classes: int) -> nn.Module:
    return nn.Conv2d(num_channels + 1, num_classes, 1)


def no_network(num_channels: int, num_classes: int) -> int:
    return num_channels + num_classes


def named(name: str):
    return maker(parse_config({"segment": {"network": f"{__name__}:{name}"}}).segment)


def test_a_function_of_ones_own_makes_the_network() -> None:
    network = made(named("a_network"), "a_network", 1, 7, 8)
    assert network(torch.zeros(1, 1, 8, 8)).shape == (1, 7, 8, 8) and network.training


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("half_a_size", r"makes \(1, 7, 4, 4\) .* scale them"),
        ("no_network", "returns a int"),
        ("of_one_argument", r"of_one_argument fails \(TypeError"),
        ("of_other_images", r"of_other_images fails \(RuntimeError"),
    ],
)
def test_what_is_no_segmentation_network_is_refused(name, words) -> None:
    with pytest.raises(UserError, match=words):
        made(named(name), name, 1, 7, 8)


@pytest.mark.parametrize("name", ["missing", "NOT_A_FUNCTION", "a_network.weight"])
def test_a_name_of_no_function_is_refused(name) -> None:
    with pytest.raises(UserError, match=r"segment\.network"):
        named(name)


def test_a_module_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="no_such_module"):
        maker(parse_config({"segment": {"network": "no_such_module:make"}}).segment)
