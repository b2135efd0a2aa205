"""Claims about where a run goes on whose length has changed, without Ray."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from factory.config import Config, parse_config
from factory.diffusion.run_checkpoints import checkpoints_url, on_this_machine
from factory.diffusion.run_identity import begin_run, check_run, departures, note_beginning
from factory.diffusion.run_models import Best, best_url, read_best, restored_best, write_best
from factory.diffusion.run_start import Start, find_start
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.train_state import TrainState, load_state, new_state
from factory.diffusion.train_step import train_step
from factory.diffusion.training_worker import _save
from factory.errors import UserError
from tests.folders import contents

IMAGES = torch.arange(4 * 3 * 8 * 8, dtype=torch.uint8).view(4, 3, 8, 8)


@pytest.fixture
def run(tmp_path: Path) -> Config:
    """A run whose learning rate falls after step 6 of 8, with a checkpoint every four steps."""
    unet = {"block_out_channels": [8], "attention_levels": [], "norm_num_groups": 4}
    train = {"num_steps": 8, "checkpoint_steps": 4, "num_checkpoints_to_keep": 1}
    url, data = str(tmp_path / "run"), {"image_size": 8, "unlabelled": {"kind": "toy", "num": 4}}
    return parse_config({"data": data, "train": {"url": url, "unet": unet, **train}})


def of_length(run: Config, num_steps: int, **train: object) -> Config:
    changed = run.train.model_copy(update={"num_steps": num_steps, **train})
    return run.model_copy(update={"train": changed})


def score(state: TrainState) -> Best:
    """Of each step a better one than of those before, as the weights alone decide."""
    total = sum(float(weight.detach().double().abs().sum()) for weight in state.ema.parameters())
    return Best(state.step, min(state.step / 1000 + total % 1e-6, 1.0), "probe")


def train(config: Config, until: int | None = None) -> tuple[TrainState, Start]:
    """Trains as a worker does, up to the step before which it is killed."""
    check_run(config, {})
    begin_run(config)
    state, start = new_state(config, torch.device("cpu")), find_start(config)
    if start.checkpoint is not None:
        with on_this_machine(start.checkpoint) as folder:
            load_state(state, folder)
    note_beginning(config, {}, state.step)
    best = restored_best(config, state, start) if state.step else None
    schedule = linear_schedule(config.train.diffusion)
    while state.step < (config.train.num_steps if until is None else until):
        train_step(state, state.unet, schedule, IMAGES, config.train)
        if state.step % 2 == 0:
            write_best(config, state, score(state), 1, best)
            best = score(state)
        if state.step in (config.train.num_steps, state.end.last_before) or not state.step % 4:
            _save(config, state, best)
    return state, start


def steps(config: Config) -> list[int]:
    return sorted(int(path.name[5:]) for path in Path(checkpoints_url(config)).iterdir())


def assert_equal(one: TrainState, other: TrainState) -> None:
    for first, second in ((one.unet, other.unet), (one.ema, other.ema)):
        pairs = zip(first.parameters(), second.parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


@pytest.fixture
def long(run: Config, tmp_path: Path) -> tuple[Config, TrainState]:
    """A run that had 16 steps from its start, and how it ended."""
    config = of_length(run, 16, url=str(tmp_path / "long"))
    return config, train(config)[0]


def killed_and_ended(config: Config) -> Iterator[tuple[TrainState, Start]]:
    """Each state of a run that is killed as soon as it is lengthened, before its first own
    checkpoint, after it, after it has passed the end of the shorter one, and then not."""
    for until in (6, 7, 9, 13, None):
        yield train(config, until)


def test_a_run_that_is_made_longer_goes_on_from_where_its_rate_began_to_fall(run, long) -> None:
    train(run)
    assert steps(run) == [6, 8]
    longer = of_length(run, 16)
    begun = [(start.checkpoint or "")[-2:] for _, start in killed_and_ended(longer)]
    assert begun == ["06", "06", "06", "08", "12"], "the 8 of the shorter run was passed over"
    state, start = train(longer)
    assert (state.step, start.why, steps(longer)) == (16, "", [12, 16])
    assert_equal(state, long[1])
    assert departures(longer) == []
    assert contents(Path(best_url(longer))) == contents(Path(best_url(long[0])))


def test_it_says_why_and_brings_back_the_best_step_until_there(run) -> None:
    train(run)
    later = of_length(run, 9, decay=0.1)  # falls from step 8.1
    (_, longer), (_, other) = (train(each, 6) for each in (of_length(run, 16), later))
    assert longer.why == ", where the learning rate began to fall, as the run is longer now"
    assert other.why == ", where the learning rate began to fall, as its end is another one now"
    best = read_best(run)
    assert best is not None and best.step == 6


def test_until_it_has_passed_it_a_longer_run_may_be_as_long_as_before_again(run) -> None:
    ended, _ = train(run)
    train(of_length(run, 16), 7)
    state, start = train(run)
    assert start.checkpoint is not None and start.checkpoint.endswith("08")
    assert_equal(state, ended)
    train(of_length(run, 16))
    with pytest.raises(UserError, match=r"train\.num_steps: there 16, here 8"):
        check_run(run, {})


def test_a_checkpoint_that_is_not_of_a_fall_is_never_passed_over(run) -> None:
    train(of_length(run, 16), 9)
    assert steps(run) == [8]
    with pytest.raises(UserError, match=r"train\.num_steps: there 16, here 8"):
        check_run(run, {})


def test_without_the_kept_checkpoint_a_change_is_refused_and_on_request_noted(run) -> None:
    train(run)
    for file in (Path(checkpoints_url(run)) / "step-0000006").iterdir():
        if file.is_file():
            file.unlink()
    with pytest.raises(UserError, match=r"none of its 2 checkpoints is whole and of a run of this"):
        train(of_length(run, 16))
    anyway = of_length(run, 16, resume_anyway=True)
    for until in (9, None):
        train(anyway, until)
        assert departures(anyway) == ["from step 8 on: train.num_steps: there 8, here 16"]
