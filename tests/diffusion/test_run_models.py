"""Claims about the model folders of a run."""

from pathlib import Path

import pytest
import torch

from factory.config import Config, parse_config
from factory.diffusion.checkpoints import load_model
from factory.diffusion.run_models import (
    Best,
    best_url,
    model_url,
    read_best,
    write_best,
    write_model,
)
from factory.diffusion.train_state import TrainState, new_state

BEST = Best(1000, 0.1 + 0.2, "0123456789abcdef")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    unet = {"block_out_channels": [8], "attention_levels": [], "norm_num_groups": 4}
    data = {"image_size": 16, "unlabelled": {"kind": "toy", "num": 4}}
    return parse_config({"data": data, "train": {"url": str(tmp_path / "run"), "unet": unet}})


@pytest.fixture
def state(config: Config) -> TrainState:
    state = new_state(config, torch.device("cpu"))
    state.step = 1000
    return state


def test_the_best_step_says_which_it_is_and_is_a_whole_model(config, state) -> None:
    assert read_best(config) is None
    write_best(config, state, BEST, 40, None)
    assert read_best(config) == BEST, "to the last bit"
    loaded = load_model(best_url(config)).unet.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.ema.state_dict().items())
    card = (Path(best_url(config)) / "README.md").read_text()
    assert card.startswith("# DDPM, 16 px, 1,000 steps of 32 images")
    assert "a linear probe of 40 labelled images comes to 0.300 mean IoU" in card


def test_weights_that_are_not_those_that_were_measured_are_no_best_step(config, state) -> None:
    write_best(config, state, BEST, 40, None)
    weights = Path(best_url(config)) / "unet" / "diffusion_pytorch_model.safetensors"
    older = weights.read_bytes()
    with torch.no_grad():
        next(state.ema.parameters()).zero_()
    better = Best(2000, 0.5, BEST.probe)
    write_best(config, state, better, 40, BEST)
    assert read_best(config) == better
    for content in (older, older[:-1]):
        weights.write_bytes(content)
        assert read_best(config) is None


def test_a_model_that_says_nothing_of_itself_is_no_best_step(config, state) -> None:
    write_model(config, state)
    Path(model_url(config)).rename(best_url(config))
    assert read_best(config) is None
    for content in ("", "[]", "{}", "[" * 100_000):
        (Path(best_url(config)) / "steps.json").write_text(content)
        assert read_best(config) is None


def test_a_score_that_is_none_is_of_no_best_step(config, state) -> None:
    write_best(config, state, Best(1000, float("nan"), ""), 40, None)
    assert read_best(config) is None
