"""The network of a training: the U-Net of this package, or what a function of one's own makes."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from factory.config.segment import SegmentConfig
from factory.errors import UserError
from factory.segmentation.unet import UNet

MakeNetwork = Callable[..., nn.Module]
"""Called with num_channels and num_classes, it makes a module from images (B, C, H, W) in [-1, 1]
to logits (B, K, H, W)."""

_OF_OTHERS = (
    *(TypeError, ValueError, RuntimeError, AttributeError, LookupError),
    *(AssertionError, ArithmeticError, OSError),
)
"""What somebody else's function, or its module, usually raises where it fails."""


def maker(settings: SegmentConfig) -> MakeNetwork:
    """What makes the network. Raises UserError where a function of one's own is not found."""
    if settings.network is None:

        def unet(num_channels: int, num_classes: int) -> nn.Module:
            return UNet(num_channels, num_classes, settings.widths)

        return unet
    module, _, path = settings.network.partition(":")
    # A script of its own folder does not look where it is run.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, SyntaxError, *_OF_OTHERS) as error:
        raise UserError(
            f"segment.network: {settings.network} is not found ({error}). Name it as "
            "module:function, of a module that is installed, or lies in the folder from which the "
            "command runs; a job takes it along in its working folder."
        ) from None
    if not callable(found):
        raise UserError(
            f"segment.network: {settings.network} is a {type(found).__name__}. Name a function of "
            "num_channels and num_classes that returns a torch module."
        )
    return found  # type: ignore[no-any-return]


def made(make: MakeNetwork, name: str, num_channels: int, num_classes: int, size: int) -> nn.Module:
    """The network of that many channels and classes, tried on an image of the size.

    name: of the function, for messages. Raises UserError where it is no such network.
    """
    with _naming(name):
        network = make(num_channels=num_channels, num_classes=num_classes)
    if not isinstance(network, nn.Module):
        raise UserError(
            f"segment.network: {name} returns a {type(network).__name__}. It must return a torch "
            "module."
        )
    training, network = network.training, network.eval()
    with _naming(name), torch.inference_mode():
        logits = network(torch.zeros(1, num_channels, size, size))
    wanted = (1, num_classes, size, size)
    if not isinstance(logits, torch.Tensor) or tuple(logits.shape) != wanted:
        shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UserError(
            f"segment.network: {name} makes {shape} of an image (1, {num_channels}, {size}, "
            f"{size}). It must make logits {wanted}: scale them to the image in its forward."
        )
    return network.train(training)


def check_network(settings: SegmentConfig, num_channels: int, num_classes: int, size: int) -> None:
    """Raises UserError where the network cannot learn from images of this size."""
    if settings.network is not None:
        made(maker(settings), settings.network, num_channels, num_classes, size)
        return
    # A level of one pixel has nothing to be normalised by.
    if size <= 2 ** (len(settings.widths) - 1):
        raise UserError(
            f"segment.widths: {len(settings.widths)} levels halve {size} px down to one. Name "
            "fewer."
        )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Turns what a function of one's own, or its network, usually raises into a UserError."""
    try:
        yield
    except _OF_OTHERS as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"segment.network: {name} fails ({type(error).__name__}: {first}). It is called with "
            "num_channels and num_classes, and its network with images (B, C, H, W)."
        ) from error
