"""Claims about stage 1 on a GPU, on one made of Python."""

from pathlib import Path

import numpy as np
import pytest
import torch

from factory.config import Config, parse_config
from factory.diffusion.compilation import CompiledOrNot
from factory.diffusion.run_labels import LabelProbe, read_probed, tell_better
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.train_state import load_state, new_state, save_state
from factory.diffusion.train_step import (
    batch_indices,
    fast_network,
    read_batch,
    resident_images,
    train_step,
)
from tests.gpu.standin import CUDA, StandIn

CPU = torch.device("cpu")


@pytest.fixture
def config() -> Config:
    return parse_config(
        {
            "data": {"image_size": 8},
            "train": {
                "unet": {
                    "block_out_channels": [8, 16],
                    "attention_levels": [1],
                    "norm_num_groups": 4,
                },
                "diffusion": {"num_timesteps": 100, "beta_start": 1e-3, "beta_end": 0.2},
                **{"batch_size": 4, "precision": "fp32", "compile": False},
            },
        }
    )


class Run:
    """A training on images that lie on the device."""

    def __init__(self, config: Config, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=generator)
        self.config, self.images = config, images.to(device)
        self.schedule = linear_schedule(config.train.diffusion).to(device)
        self.state = new_state(config, device)

    def steps(self, num: int) -> list[torch.Tensor]:
        """Their losses, on the device."""
        network, train = fast_network(self.state.unet, self.config.train), self.config.train
        return [
            train_step(self.state, network, self.schedule, self.images, train) for _ in range(num)
        ]


def resumed(run: Run, folder: Path) -> Run:
    """The same run, gone on from a checkpoint by another process."""
    save_state(run.state, folder)
    other = Run(run.config, run.images.device)
    load_state(other.state, folder)
    return other


def test_the_losses_are_those_of_a_cpu(config: Config, gpu: StandIn) -> None:
    on_cpu, on_gpu = (Run(config, device).steps(3) for device in (CPU, CUDA))
    torch.testing.assert_close([loss.cpu() for loss in on_gpu], on_cpu, rtol=1e-4, atol=1e-5)


def test_a_run_resumes_and_repeats_the_run_that_was_not_stopped(
    config: Config, gpu: StandIn, tmp_path: Path
) -> None:
    run = Run(config, CUDA)
    run.steps(2)
    other = resumed(run, tmp_path)
    expected, losses = (one.steps(2) for one in (run, other))
    assert [float(loss) for loss in losses] == [float(loss) for loss in expected]


def test_weights_averages_and_moments_lie_alike_also_after_a_resume(
    config: Config, gpu: StandIn, tmp_path: Path
) -> None:
    run = Run(config, CUDA)
    run.steps(1)
    other = resumed(run, tmp_path)
    other.steps(0)
    state = other.state
    averages = state.ema.parameters()
    for parameter, average in zip(state.unet.parameters(), averages, strict=True):
        moments = [value for one in state.optimizers for value in one.state[parameter].values()]
        strides = {moment.stride() for moment in moments if moment.dim()}
        assert strides == {parameter.stride()} == {average.stride()}


def test_no_step_waits_for_the_device_and_the_average_moves_in_one_launch(
    config: Config, gpu: StandIn
) -> None:
    run = Run(config, CUDA)
    run.steps(1)
    gpu.waits.clear()
    run.steps(2)
    assert not gpu.slow, gpu.slow
    assert not gpu.waits, gpu.waits


def test_the_network_is_compiled_before_it_is_distributed(config: Config, gpu: StandIn) -> None:
    distributed: list[object] = []
    train = config.train.model_copy(update={"compile": True})
    fast_network(new_state(config, CUDA).unet, train, lambda network: distributed.append(network))
    assert isinstance(distributed[0], CompiledOrNot)


def test_a_step_is_measured_by_labels_on_the_gpu_as_on_a_cpu(
    config: Config, gpu: StandIn, tmp_path: Path
) -> None:
    labelled = {"kind": "toy", "num": 5}
    data = config.data.model_dump() | {"labelled": labelled, "unlabelled": labelled}
    train = config.train.model_dump() | {"url": str(tmp_path)}
    config = parse_config({"data": data, "train": train, "fit": {"precision": "fp32"}})
    images, scores = read_probed(config), []
    assert images is not None
    for device in (CPU, CUDA):
        state = new_state(config, device)
        LabelProbe(config, images, None).measure(state)
        scores.append(state.history[0]["labels_mean_iou"])
        tell_better(config, images, 1, device)
    assert scores[0] == pytest.approx(scores[1], abs=1e-2)


@pytest.mark.parametrize("free_bytes", [2**30, 2**10])
def test_a_batch_is_the_images_chosen_and_nobody_waits_for_it(
    config: Config, gpu: StandIn, free_bytes: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    gpu.free_bytes = free_bytes
    images = resident_images(pixels, CUDA)
    assert isinstance(images, torch.Tensor) == (free_bytes == 2**30)
    chosen = batch_indices(20, config.train, 7, 0, 1)
    gpu.waits.clear()
    batch = read_batch(images, chosen, CUDA)
    assert not gpu.waits, gpu.waits
    assert batch.device == CUDA
    expected = torch.from_numpy(pixels[chosen.numpy()]).permute(0, 3, 1, 2)
    assert torch.equal(batch.cpu(), expected)


def test_images_come_to_the_device_once_and_a_part_at_a_time(
    gpu: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.diffusion.train_step._COPIED_BYTES", 600)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    images = resident_images(pixels, CUDA)
    assert torch.equal(images.cpu(), torch.from_numpy(pixels))
    assert gpu.live_bytes() == pixels.nbytes
