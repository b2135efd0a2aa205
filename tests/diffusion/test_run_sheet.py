"""Claims about the sheets of samples that a training draws."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from factory.config import Config, parse_config
from factory.diffusion.run_sheet import Reference, draw_sheet
from factory.diffusion.train_state import TrainState, new_state
from tests.drawings import draw_many

CPU = torch.device("cpu")
SIZE = 16


def config_at(url: Path, channels: int = 3) -> Config:
    unet = {"block_out_channels": [8], "attention_levels": [], "norm_num_groups": 4}
    unlabelled = {"kind": "toy", "num": 4}
    return parse_config(
        {
            "data": {"image_size": SIZE, "channels": channels, "unlabelled": unlabelled},
            "train": {"url": str(url), "unet": unet},
        }
    )


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return config_at(tmp_path / "run")


def drawn(num: int) -> Reference:
    """So many drawings as training images."""
    return Reference(draw_many(1, num, SIZE)[0])


def begun(config: Config) -> TrainState:
    state = new_state(config, CPU)
    state.step = 40
    return state


def test_a_sheet_tells_how_far_its_samples_are_from_training_images(
    config: Config, told: list[str]
) -> None:
    state = begun(config)
    draw_sheet(config, state, drawn(90), CPU)
    side = 6 * (2 * SIZE + 2) + 2
    assert Image.open(f"{config.train.url}/samples/step-0000040.png").size == (side, side)
    (line,) = told
    assert line.startswith("train | step 40 | Frechet distance of 36 samples to training images ")
    assert "red, green and blue less grey, of 255: " in line
    (entry,) = state.history
    assert entry["step"] == 40
    far, near = entry["frechet_distance"], entry["frechet_distance_of_training_images"]
    assert far > 2 * near > 0, "an untrained network draws noise"

    again = begun(config)
    draw_sheet(config, again, drawn(90), CPU)
    assert again.history == state.history, "the noise is always the same"


def test_few_images_are_not_compared(config: Config, told: list[str]) -> None:
    state = begun(config)
    draw_sheet(config, state, drawn(71), CPU)
    assert not told and not state.history
    assert (Path(config.train.url) / "samples/step-0000040.png").is_file()


def test_grey_images_have_no_colours(tmp_path: Path, told: list[str]) -> None:
    config = config_at(tmp_path / "grey", channels=1)
    draw_sheet(config, begun(config), Reference(drawn(80).pixels[..., :1]), CPU)
    (line,) = told
    assert "Frechet distance" in line and "less grey" not in line


def test_a_sheet_that_cannot_be_written_is_told_and_the_training_goes_on(
    config: Config, told: list[str]
) -> None:
    Path(config.train.url).mkdir()
    (Path(config.train.url) / "samples").write_text("a file where the folder should be")
    state = begun(config)
    draw_sheet(config, state, drawn(90), CPU)
    assert "samples/step-0000040.png: not written" in told[0] and len(state.history) == 1
