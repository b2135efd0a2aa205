from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from factory import storage
from factory.errors import UserError
from factory.segmentation.folder import (
    NetworkConfig,
    TrainedNetwork,
    load_network,
    network_files,
    onnx_bytes,
)
from factory.segmentation.unet import UNet
from tests.segmentation.test_networks import a_network


@pytest.fixture
def trained() -> TrainedNetwork:
    torch.manual_seed(0)
    config = NetworkConfig(
        image_size=20,
        num_channels=3,
        class_names=("sky", "tree", "road"),
        palette=((0, 0, 255), (0, 255, 0), (90, 90, 90)),
        widths=(8, 16, 24),
    )
    return TrainedNetwork(UNet(3, 3, (8, 16, 24)).eval(), config)


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 20, 20, 3), dtype=np.uint8)


def write(trained: TrainedNetwork, folder: Path) -> str:
    for name, data in network_files(trained, None, "# A network\n").items():
        storage.write(str(folder / name), data)
    return str(folder)


def test_a_folder_gives_the_same_masks(trained, images, tmp_path) -> None:
    again = load_network(write(trained, tmp_path))
    assert again.config == trained.config
    assert np.array_equal(again.segment(images), trained.segment(images))


def test_onnxruntime_gives_the_same_masks(trained, images) -> None:
    session = onnxruntime.InferenceSession(onnx_bytes(trained))
    for num in (1, 5):
        (masks,) = session.run(None, {"image": images[:num]})
        assert masks.dtype == np.uint8 and np.array_equal(masks, trained.segment(images[:num]))


def test_no_code_that_a_folder_names_is_run(trained, tmp_path) -> None:
    config = trained.config.model_copy(update={"widths": None, "network": "os:abort"})
    own = TrainedNetwork(a_network(3, 3), config)
    url = write(own, tmp_path)
    with pytest.raises(UserError, match="os:abort, which is not run"):
        load_network(url)
    assert load_network(url, a_network).config.network == "os:abort"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_or_missing_file_is_named(trained, tmp_path, name) -> None:
    url = write(trained, tmp_path)
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(UserError, match=name):
        load_network(url)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match="holds no"):
        load_network(url)
