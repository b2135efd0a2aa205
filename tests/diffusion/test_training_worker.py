"""Claims about what a training's workers do together, of which one runs here, without Ray."""

from pathlib import Path
from typing import Any

import pytest
import torch

from factory import ranks
from factory.config import Config, parse_config
from factory.data.cache.decoded import cached_images
from factory.diffusion import run_checkpoints, run_health, training_worker
from factory.diffusion.run_checkpoints import checkpoints_url, save_checkpoint
from factory.diffusion.run_start import find_start
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.train_state import TrainState, new_state
from factory.errors import Stopped, UserError

CPU = torch.device("cpu")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return parse_config(
        {
            "data": {"image_size": 16, "unlabelled": {"kind": "toy", "num": 4}},
            "train": {
                **{"url": str(tmp_path / "run"), "batch_size": 2, "precision": "bf16"},
                "unet": {"block_out_channels": [8], "attention_levels": [], "norm_num_groups": 4},
            },
        }
    )


@pytest.fixture(autouse=True)
def others(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The problems of the other ranks."""
    problems: list[str | None] = []

    def gather(found: list[Any], mine: Any) -> None:
        found[:] = [mine, *problems]

    monkeypatch.setattr(ranks, "barrier", lambda: None)
    monkeypatch.setattr(ranks, "broadcast_from_rank_zero", lambda data: data)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    return problems


def with_nan(state: TrainState) -> TrainState:
    with torch.no_grad():
        next(state.unet.parameters()).view(-1)[0] = float("nan")
    return state


def test_what_one_machine_cannot_do_stops_the_workers_of_all(others) -> None:
    others[:] = [None]
    assert ranks.on_all_ranks(2, lambda: 7) == 7
    others[:] = ["node b: no room"]
    with pytest.raises(Stopped, match="node b: no room"):
        ranks.on_all_ranks(2, lambda: 7)


def test_a_machine_that_finds_other_images_than_the_driver_is_named(config) -> None:
    images = cached_images(config.data, config.data.unlabelled)
    assert training_worker._images_here(config, images.key, images.summary).digest == images.digest
    with pytest.raises(UserError, match=r"finds other images than the driver: 4 images, sha256"):
        training_worker._images_here(config, images.key, "5 images, sha256 0")


def test_a_training_that_diverges_before_its_first_checkpoint_tells_where_to_begin(config) -> None:
    state = new_state(config, CPU)
    state.step = 40
    with pytest.raises(UserError) as refused:
        training_worker._stop_diverged(config, state, "the loss is not finite")
    assert "diverged: the loss is not finite at step 40, with a learning rate of " in str(
        refused.value
    )
    assert "There is no checkpoint yet." in str(refused.value)
    assert "or set train.precision=fp32, at another --out." in str(refused.value)


def test_a_training_that_diverges_in_fp32_is_not_told_to_use_it(config, monkeypatch) -> None:
    monkeypatch.setattr(training_worker, "in_bf16", lambda precision, device: False)
    with pytest.raises(UserError) as refused:
        training_worker._stop_diverged(config, new_state(config, CPU), "the loss is not finite")
    assert "or raise train.warmup_steps" in str(refused.value)
    assert "precision" not in str(refused.value)


def test_how_it_does_on_images_that_are_left_out_is_told_and_kept(config, told) -> None:
    state, schedule = new_state(config, CPU), linear_schedule(config.train.diffusion)
    held_out = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    state.step = 4
    run_health.tell_health(config, state, schedule, held_out)
    (line,) = told
    assert line.startswith("train | step 4 | error on 2 held-out images by share of noise: 5 %: ")
    assert "not healthy yet: " in line and "colours are guessed no better than from" in line
    (entry,) = state.history
    assert entry["step"] == 4 and entry["held_out_error_99"] > 1
    run_health.tell_health(config, with_nan(state), schedule, held_out)
    assert len(told) == len(state.history) == 2, "the averaged weights are what counts"


def test_weights_that_are_not_finite_stop_at_a_checkpoint_and_name_the_last_good_one(
    config,
) -> None:
    state, url = new_state(config, CPU), checkpoints_url(config)
    state.step = 2
    save_checkpoint(state, url, 2)
    state.step = 4
    with pytest.raises(UserError) as refused:
        training_worker._save(config, with_nan(state))
    assert "the weights are not finite at step 4" in str(refused.value)
    assert f"The last good checkpoint is {url}/step-0000002. " in str(refused.value)
    assert [folder.name for folder in Path(url).iterdir()] == ["step-0000002"]


def test_a_checkpoint_of_a_diverged_training_is_not_gone_on_from(config, monkeypatch) -> None:
    state = with_nan(new_state(config, CPU))
    state.step = 1000
    monkeypatch.setattr(run_checkpoints, "is_finite", lambda state: True)  # as it was before
    save_checkpoint(state, checkpoints_url(config), 2)
    with pytest.raises(Stopped, match=r"step-0001000: holds .* Delete it"):
        training_worker._restored_state(config, find_start(config).checkpoint, CPU)
