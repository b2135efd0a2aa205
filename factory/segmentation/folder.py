"""The folder of a trained network: what it is, its weights, and the same as ONNX.

config.json        classes, size, and the shape of the network
model.safetensors  its weights, averaged
model.onnx         uint8 images (N, H, W, C) -> uint8 masks (N, H, W), for any runtime
metrics.json       scores on labelled images that it has not seen; sheet.png shows some
README.md          all that in words
"""

import json
import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from factory import storage
from factory.classes import Classes
from factory.errors import UserError, counted
from factory.images import UInt8, to_signed
from factory.segmentation.networks import MakeNetwork, made
from factory.segmentation.scoring import masks_of
from factory.segmentation.unet import UNet

CONFIG, WEIGHTS, ONNX, METRICS, SHEET, CARD = (
    *("config.json", "model.safetensors", "model.onnx", "metrics.json", "sheet.png", "README.md"),
)


_TALKATIVE = ("torch.onnx", "onnxscript", "onnx_ir")
"""Loggers of packages that tell each step of an export."""


class NetworkConfig(BaseModel, frozen=True, extra="forbid"):
    """What a trained network is."""

    kind: str = "factory-segmentation"
    image_size: int
    """Height and width of the images that it learned from, in pixels."""
    num_channels: int
    """Channels of the images: 3 for RGB, 1 for grey."""
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """The colour of each class."""
    widths: tuple[int, ...] | None = None
    """Channels of the U-Net per level; None for a network of a function of one's own."""
    network: str | None = None
    """That function, as module:function."""

    @property
    def classes(self) -> Classes:
        """Names and colours of the classes."""
        return Classes(self.class_names, self.palette)


@dataclass(frozen=True, repr=False)
class TrainedNetwork:
    """A network that labels every pixel of an image, and what it is."""

    network: nn.Module
    """In eval mode: images (B, C, H, W) in [-1, 1] to logits (B, K, H, W)."""
    config: NetworkConfig

    def __repr__(self) -> str:
        classes = counted(len(self.config.class_names), "class", "classes")
        return f"TrainedNetwork({self.config.image_size} px, {classes})"

    def segment(self, images: UInt8) -> UInt8:
        """The masks (N, H, W) of class ids, uint8, of images (N, H, W, C) uint8.

        Height and width may be any; it has learned from images of `config.image_size`. Raises
        UserError for anything else.
        """
        wanted = f"must be (N, H, W, {self.config.num_channels}) uint8 of at least one image"
        if not isinstance(images, np.ndarray):
            raise UserError(f"images: {wanted}, got a value of type {type(images).__name__}.")
        is_right = images.ndim == 4 and images.dtype == np.uint8 and images.size > 0
        if not is_right or images.shape[3] != self.config.num_channels:
            raise UserError(f"images: {wanted}, got {images.shape} {images.dtype}.")
        return np.stack(list(masks_of(self.network, images)))


def load_network(url: str | os.PathLike[str], network: MakeNetwork | None = None) -> TrainedNetwork:
    """The network of a folder that `factory segment` wrote.

    network: the function that makes it, where it is not the U-Net of this package; no code that a
    folder names is run. Raises UserError.
    """
    url = storage.normalize(url)
    config_url = storage.join(url, CONFIG)
    try:
        config = NetworkConfig.model_validate_json(storage.read_bytes(config_url))
        weights = storage.read_bytes(storage.join(url, WEIGHTS))
    except FileNotFoundError:
        raise UserError(
            f"{url}: holds no {CONFIG} with {WEIGHTS}. Name the folder `model` of a run of "
            "`factory segment`."
        ) from None
    except (ValidationError, UnicodeDecodeError):
        raise UserError(
            f"{config_url}: is not what `factory segment` writes. Copy it anew from its run."
        ) from None
    loaded = _network(config, network, url)
    try:
        loaded.load_state_dict(load(weights))
    except (SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{url}: {WEIGHTS} does not hold this network ({str(error).splitlines()[0]}). Copy it "
            "anew from its run."
        ) from None
    return TrainedNetwork(loaded.eval().requires_grad_(False), config)


def _network(config: NetworkConfig, make: MakeNetwork | None, url: str) -> nn.Module:
    num_classes = len(config.class_names)
    if config.widths is not None:
        return UNet(config.num_channels, num_classes, config.widths)
    if make is None:
        raise UserError(
            f"{url}: its network is made by {config.network}, which is not run by its name alone. "
            "Hand over the function: load_network(url, network=function)."
        )
    return made(make, str(config.network), config.num_channels, num_classes, config.image_size)


class _WithPixels(nn.Module):
    """Uint8 images (N, H, W, C) to uint8 masks (N, H, W), as files have them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The masks of the images."""
        logits = self.network(to_signed(image.permute(0, 3, 1, 2)))
        masks: torch.Tensor = logits.argmax(1).to(torch.uint8)
        return masks


def onnx_bytes(trained: TrainedNetwork) -> bytes:
    """The network as an ONNX file, for any number of images of its size. Needs the extra `onnx`."""
    size, channels = trained.config.image_size, trained.config.num_channels
    example = torch.zeros(2, size, size, channels, dtype=torch.uint8)
    model = _WithPixels(trained.network).eval().cpu()
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # torch's own of its parts that it is about to replace.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            input_names=["image"],
            output_names=["mask"],
            dynamic_shapes={"image": {0: torch.export.Dim("num")}},
            verbose=False,
        )
    assert program is not None, "it returns nothing only where it is given a file"
    data: bytes = program.model_proto.SerializeToString()
    return data


def network_files(
    trained: TrainedNetwork, metrics: Mapping[str, Any] | None, card: str
) -> dict[str, bytes]:
    """The files of a folder by name, without pictures and ONNX."""
    tensors = {
        name: tensor.cpu().contiguous() for name, tensor in trained.network.state_dict().items()
    }
    files = {
        WEIGHTS: save(tensors),
        CONFIG: (trained.config.model_dump_json(indent=2, exclude_none=True) + "\n").encode(),
        CARD: card.encode(),
    }
    if metrics is not None:
        files[METRICS] = (json.dumps(metrics, indent=1) + "\n").encode()
    return files
