"""Claims about the checkpoints of a run, in one process and without Ray."""

import errno
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from factory import storage
from factory.config import Config, parse_config, required
from factory.data.loading import read_images
from factory.diffusion.run_checkpoints import newest_checkpoint, save_checkpoint
from factory.diffusion.schedule import linear_schedule
from factory.diffusion.train_state import TrainState, load_state, new_state
from factory.diffusion.train_step import batch_indices, read_batch, train_step
from factory.errors import NotFinite, UserError
from tests.folders import contents

CPU = torch.device("cpu")


def config() -> Config:
    return parse_config(
        {
            "data": {"image_size": 16, "unlabelled": {"kind": "toy", "num": 4}},
            "train": {
                "batch_size": 2,
                "unet": {"block_out_channels": [8], "attention_levels": [], "norm_num_groups": 4},
            },
        }
    )


def stepped(state: TrainState, num_steps: int) -> TrainState:
    pixels = read_images(required(config(), "data.unlabelled"), 16)
    train, schedule = config().train, linear_schedule(config().train.diffusion)
    while state.step < num_steps:
        chosen = batch_indices(len(pixels), train, state.step, 0, 1)
        train_step(state, state.unet, schedule, read_batch(pixels, chosen, CPU), train)
    return state


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    state = new_state(config(), CPU)
    for step in (2, 4, 6):
        save_checkpoint(stepped(state, step), str(folder), num_to_keep=3)
    return folder


@pytest.fixture
def run_url(checkpoints, tmp_path) -> str:
    """Checkpoints of the steps 2, 4 and 6, for one test to damage."""
    return str(shutil.copytree(checkpoints, tmp_path / "checkpoints"))


def names(url: str) -> list[str]:
    return sorted({entry.name.partition("/")[0] for entry in storage.entries(url)})


def cut(folder: Path) -> None:
    file = folder / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def flip(folder: Path) -> None:
    file = folder / "ema.safetensors"
    data = bytearray(file.read_bytes())
    data[-5] ^= 0x40
    file.write_bytes(data)


def change_the_step(folder: Path) -> None:
    file = folder / "state.json"
    file.write_text(file.read_text().replace('"step": 6', '"step": 4'))


def cut_all_to_nothing(folder: Path) -> None:
    for file in folder.iterdir():
        file.write_bytes(b"")


def lack(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def replace_proof(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "sha256.json").write_text(text)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "optimizer.safetensors is not as it was written"),
        (flip, "ema.safetensors is not as it was written"),
        (change_the_step, "state.json is not as it was written"),
        (cut_all_to_nothing, "sha256.json is damaged"),
        (lack("unet.safetensors"), "unet.safetensors is missing"),
        (lack("sha256.json"), "sha256.json is missing"),
        (replace_proof('{"unet.safe'), "sha256.json is damaged"),
        (replace_proof("{}"), "sha256.json is damaged"),
        (replace_proof("[]"), "sha256.json is damaged"),
    ],
)
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(
    run_url, capsys, damage, reason
) -> None:
    newest = Path(str(newest_checkpoint(run_url, 2)))
    assert newest.name == "step-0000006"
    assert capsys.readouterr().out == ""
    damage(newest)
    before = contents(Path(run_url))
    assert newest_checkpoint(run_url, 2) == str(newest.with_name("step-0000004"))
    assert capsys.readouterr().out == f"train | {newest}: left aside, {reason}\n"
    assert contents(Path(run_url)) == before


def test_what_is_saved_is_what_is_loaded(run_url) -> None:
    state = new_state(config(), CPU)
    load_state(state, Path(str(newest_checkpoint(run_url, 2))))
    assert state.step == 6
    trained = stepped(new_state(config(), CPU), 8).unet.state_dict()
    resumed = stepped(state, 8).unet.state_dict()
    assert all(torch.equal(trained[key], resumed[key]) for key in trained)


def test_a_checkpoint_that_was_left_aside_is_written_anew(run_url) -> None:
    cut(Path(run_url) / "step-0000006")
    state = new_state(config(), CPU)
    load_state(state, Path(str(newest_checkpoint(run_url, 2))))
    save_checkpoint(stepped(state, 6), run_url, num_to_keep=3)
    assert newest_checkpoint(run_url, 2) == f"{run_url}/step-0000006"


def test_where_nothing_is_whole_and_much_is_lost_the_user_is_asked(run_url) -> None:
    for folder in Path(run_url).iterdir():
        cut(folder)
    with pytest.raises(UserError, match=r"none of its 3 checkpoints is whole.* step 6\. .*delete"):
        newest_checkpoint(run_url, affordable_steps=5)


def test_a_checkpoint_that_cannot_be_read_is_not_taken_for_a_damaged_one(
    run_url, monkeypatch, capsys
) -> None:
    def refuse(url: str) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(storage, "sha256_of", refuse)
    with pytest.raises(UserError, match=r"step-0000006: cannot be read \(Permission denied\)"):
        newest_checkpoint(run_url, 2)
    assert capsys.readouterr().out == ""


def test_a_run_whose_first_checkpoint_is_torn_begins_again(tmp_path, capsys) -> None:
    url = str(tmp_path)
    assert newest_checkpoint(url, 2) is None
    assert capsys.readouterr().out == ""
    save_checkpoint(stepped(new_state(config(), CPU), 2), url, num_to_keep=2)
    cut(tmp_path / "step-0000002")
    assert newest_checkpoint(url, 2) is None
    assert "step-0000002: left aside" in (out := capsys.readouterr().out)
    assert "beginning again at step 0" in out


@pytest.mark.slow
@pytest.mark.parametrize("store", ["folder", "s3"])
def test_only_the_newest_checkpoints_are_kept(tmp_path, s3_bucket, store) -> None:
    url = f"{s3_bucket}/checkpoints" if store == "s3" else str(tmp_path / "checkpoints")
    state = new_state(config(), CPU)
    for step in (2, 4, 6):
        save_checkpoint(stepped(state, step), url, num_to_keep=2)
    assert names(url) == ["step-0000004", "step-0000006"]
    assert newest_checkpoint(url, 2) == f"{url}/step-0000006"


@pytest.mark.slow
@pytest.mark.parametrize("num_writes", range(5))
def test_a_save_on_a_full_disk_is_told_and_leaves_all_as_it_was(
    run_url, monkeypatch, num_writes
) -> None:
    before = contents(Path(run_url))
    write, left = storage.write, iter(range(num_writes))

    def write_until_full(url: str, data: bytes) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(url, data)

    monkeypatch.setattr(storage, "write", write_until_full)
    state = stepped(new_state(config(), CPU), 8)
    with pytest.raises(UserError) as refused:
        save_checkpoint(state, run_url, num_to_keep=1)
    assert f"{run_url}/step-0000008: the checkpoint of step 8 could not be saved (No space" in str(
        refused.value
    )
    assert "make room" in str(refused.value) and "run the same command again" in str(refused.value)
    assert contents(Path(run_url)) == before
    monkeypatch.undo()
    save_checkpoint(state, run_url, num_to_keep=1)
    assert names(run_url) == ["step-0000008"]


@pytest.mark.parametrize("part", ["weight", "average", "moment"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_never_saved_and_pushes_nothing_out(run_url, part, value) -> None:
    state = stepped(new_state(config(), CPU), 8)
    parameter = next(state.unet.parameters())
    where = {
        "weight": parameter,
        "average": next(state.ema.parameters()),
        "moment": state.optimizers[-1].state[parameter]["exp_avg"],
    }[part]
    with torch.no_grad():
        where.view(-1)[3] = value
    before = contents(Path(run_url))
    with pytest.raises(NotFinite, match="step 8"):
        save_checkpoint(state, run_url, num_to_keep=1)
    assert contents(Path(run_url)) == before


def killed_while_saving(state: TrainState, url: str, point: str) -> bool:
    """Whether a process that saved the state was killed when it came to the point."""
    child = os.fork()
    if child == 0:
        os.environ["FACTORY_FAULTS"] = point
        save_checkpoint(state, url, num_to_keep=1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.slow
def test_a_process_killed_anywhere_in_a_save_leaves_a_whole_checkpoint(
    run_url, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    state = stepped(new_state(config(), CPU), 8)
    num_files = 5
    for moment in ("before", "after"):
        for file in range(1, num_files + 1):
            assert killed_while_saving(state, run_url, f"write.{moment}:{file}")
            # Of use as soon as all is written, whether or not the process said so.
            whole = moment == "after" and file == num_files
            newest = newest_checkpoint(run_url, 2)
            assert newest == f"{run_url}/step-000000{8 if whole else 6}"
            if not whole:
                shutil.rmtree(f"{run_url}/step-0000008")
    save_checkpoint(state, run_url, num_to_keep=1)
    assert names(run_url) == ["step-0000008"]
