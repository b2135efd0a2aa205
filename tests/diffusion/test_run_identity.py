"""Claims about run.json: which run may go on where, and what it says of itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from factory.config import Config, parse_config
from factory.diffusion.held_out import MOST_IMAGES
from factory.diffusion.run_identity import (
    begin_run,
    check_run,
    departures,
    most_held_out,
    note_beginning,
)
from factory.errors import UserError


def config_at(folder: Path, tree: dict[str, Any] | None = None, **train: object) -> Config:
    tree = tree or {}
    train = {"url": str(folder / "run"), **tree.get("train", {}), **train}
    return parse_config({**tree, "train": train})


def refusal(config: Config, found: dict[str, str] | None = None) -> str:
    with pytest.raises(UserError) as refused:
        check_run(config, found or {})
    return str(refused.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a run that came to step 6 in bfloat16."""
    config = config_at(tmp_path)
    begin_run(config)
    note_beginning(config, {"train.precision": "bf16", "images": "4 images"}, 0)
    return tmp_path


def test_a_run_of_another_config_is_refused_with_the_difference_and_the_way_on(folder) -> None:
    check_run(config_at(folder), {})
    check_run(config_at(folder, num_steps=20, log_steps=1, cpus_per_worker=2), {})
    message = refusal(config_at(folder, learning_rate=1e-3, num_workers=2))
    assert "train.learning_rate: there 0.0002, here 0.001" in message
    assert "train.num_workers: there 1, here 2" in message
    assert "Name another --out, or set back what differs. Or go on" in message
    assert "--resume-anyway" in message


def test_what_a_worker_found_counts_and_not_what_was_asked_for(folder) -> None:
    check_run(config_at(folder, precision="bf16"), {"train.precision": "bf16"})
    message = refusal(config_at(folder), {"train.precision": "fp32"})
    assert 'train.precision: there "bf16", here "fp32"' in message and "--resume-anyway" in message


def test_other_images_are_refused_unless_they_are_wanted(folder) -> None:
    assert "images: there" in refusal(config_at(folder), {"images": "5 images"})
    check_run(config_at(folder, resume_anyway=True), {"images": "5 images"})


def test_images_that_changed_with_the_way_of_decoding_tell_so(folder) -> None:
    told = refusal(config_at(folder), {"images": "other", "decoding": "version 2, Pillow 13"})
    assert 'images: there "4 images", here "other"' in told
    assert 'decoding: there "version 1", here "version 2, Pillow 13"' in told
    check_run(config_at(folder), {"images": "4 images", "decoding": "version 2, Pillow 13"})


@pytest.mark.parametrize(
    "tree",
    [{"train": {"unet": {"dropout": 0.2}}}, {"data": {"unlabelled": {"kind": "toy", "num": 7}}}],
)
def test_another_network_or_source_is_refused_even_with_resume_anyway(folder, tree) -> None:
    message = refusal(config_at(folder, tree, resume_anyway=True, num_workers=2))
    assert f"{next(iter(tree))}." in message and "num_workers" not in message
    assert "--resume-anyway" not in message


@pytest.mark.parametrize("source", [{"kind": "toy", "num": 4}, {"kind": "folder", "url": "/a"}])
def test_a_run_of_version_0_1_noted_the_keys_of_all_kinds_of_source_and_goes_on(
    tmp_path: Path, source: dict[str, Any]
) -> None:
    config = config_at(tmp_path, {"data": {"unlabelled": source}})
    begin_run(config)
    file = tmp_path / "run" / "run.json"
    content = json.loads(file.read_text())
    every = {"url": None, "seed": 0, "images": "images", "masks": "masks", "classes_url": None}
    content["data"]["unlabelled"] = {**every, **content["data"]["unlabelled"]}
    file.write_text(json.dumps(content))
    check_run(config, {})
    other = config_at(tmp_path, {"data": {"unlabelled": {**source, "num": 5}}})
    assert "data.unlabelled.num: there" in refusal(other)


def test_a_run_that_noted_no_way_of_reading_its_images_goes_on_with_the_default(
    tmp_path: Path,
) -> None:
    tree: dict[str, Any] = {"data": {"unlabelled": {"kind": "folder", "url": "/a"}}}
    begin_run(config_at(tmp_path, tree))
    file = tmp_path / "run" / "run.json"
    content = json.loads(file.read_text())
    for key in ("intensity", "exif", "fit", "tile_size"):
        del content["data"]["unlabelled"][key]
    file.write_text(json.dumps(content))
    check_run(config_at(tmp_path, tree), {})
    tree["data"]["unlabelled"]["exif"] = "ignore"
    told = refusal(config_at(tmp_path, tree))
    assert 'data.unlabelled.exif: there "apply", here "ignore"' in told


def test_a_run_of_a_version_that_knew_the_noise_alone_goes_on_with_it(folder) -> None:
    file = folder / "run" / "run.json"
    content = json.loads(file.read_text())
    del content["diffusion"]["prediction_type"]
    file.write_text(json.dumps(content))
    check_run(config_at(folder), {})
    of_v = {"train": {"diffusion": {"prediction_type": "v_prediction"}}}
    told = refusal(config_at(folder, of_v, resume_anyway=True))
    assert 'train.diffusion.prediction_type: there "epsilon", here "v_prediction"' in told


def test_a_run_may_be_longer_or_shorter_until_its_learning_rate_falls(folder) -> None:
    run = config_at(folder, num_steps=100, decay=0.25)
    note_beginning(run, {"train.precision": "bf16", "images": "4 images"}, 0)
    (folder / "run" / "checkpoints" / "step-0000075").mkdir(parents=True)
    (folder / "run" / "checkpoints" / "step-0000075" / "state.json").write_text("{}")
    longer, shorter = (config_at(folder, num_steps=num, decay=0.25) for num in (200, 80))
    check_run(longer, {})
    check_run(config_at(folder, num_steps=100, decay=0), {})
    assert "train.num_steps: there 100, here 80" in refusal(shorter)
    (folder / "run" / "checkpoints" / "step-0000075").rename(
        folder / "run" / "checkpoints" / "step-0000080"
    )
    told = refusal(longer)
    assert "train.num_steps: there 100, here 200" in told and "--resume-anyway" in told
    check_run(config_at(folder, num_steps=200, decay=0.25, resume_anyway=True), {})
    check_run(run, {})


def test_a_run_without_decay_may_always_be_longer_or_shorter(folder) -> None:
    note_beginning(config_at(folder, decay=0), {"train.precision": "bf16"}, 0)
    (folder / "run" / "checkpoints" / "step-0000075").mkdir(parents=True)
    (folder / "run" / "checkpoints" / "step-0000075" / "state.json").write_text("{}")
    for num_steps in (20, 100_000):
        check_run(config_at(folder, decay=0, num_steps=num_steps), {})


def test_a_run_of_a_version_that_knew_adamw_alone_goes_on_with_it(folder) -> None:
    file = folder / "run" / "run.json"
    content = json.loads(file.read_text())
    for key in ("optimizer", "decay", "num_steps"):
        content["train"].pop(key)
    file.write_text(json.dumps(content))
    check_run(config_at(folder, optimizer="adamw", decay=0), {})
    check_run(config_at(folder, optimizer="adamw"), {})
    assert 'train.optimizer: there "adamw", here "muon"' in refusal(config_at(folder))


def test_a_run_leaves_out_images_from_its_beginning_or_not_at_all(folder) -> None:
    assert most_held_out(config_at(folder)) == MOST_IMAGES
    file = folder / "run" / "run.json"
    content = json.loads(file.read_text())
    del content["held_out"]
    file.write_text(json.dumps(content))
    check_run(config_at(folder), {})
    note_beginning(config_at(folder), {"train.precision": "bf16", "images": "4 images"}, 6)
    assert most_held_out(config_at(folder)) == 0


def test_each_time_that_something_changes_is_noted_once(folder, capsys) -> None:
    one = config_at(folder, num_workers=2, resume_anyway=True)
    for _ in range(2):
        note_beginning(one, {"train.precision": "bf16", "images": "4 images"}, 6)
    assert "no longer bit-equal" in capsys.readouterr().out
    other = config_at(folder, num_workers=4, resume_anyway=True)
    note_beginning(other, {"train.precision": "fp32", "images": "4 images"}, 9)
    assert departures(other) == [
        "from step 6 on: train.num_workers: there 1, here 2",
        "from step 9 on: train.num_workers: there 2, here 4; "
        'train.precision: there "bf16", here "fp32"',
    ]


def test_a_run_without_a_step_yet_is_begun_as_the_other_one(folder) -> None:
    other = config_at(folder, learning_rate=1e-5, resume_anyway=True)
    note_beginning(other, {}, 0)
    assert departures(other) == []
    check_run(config_at(folder, learning_rate=1e-5), {})


def test_a_run_json_of_before_goes_on(tmp_path) -> None:
    config = config_at(tmp_path)
    begin_run(config)
    file = tmp_path / "run" / "run.json"
    content = json.loads(file.read_text())
    content["train"]["precision"] = "fp32"
    file.write_text(json.dumps(content))
    check_run(config, {})
    check_run(config, {"train.precision": "fp32", "images": "4 images"})
    assert "train.precision" in refusal(config, {"train.precision": "bf16"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not readable as JSON"),
        ("{", "not readable as JSON"),
        ("[]", "is not what a training writes there"),
        ('{"train": 1}', "is not what a training writes there"),
    ],
)
def test_a_damaged_run_json_is_named(tmp_path, text, reason) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(text)
    refused = refusal(config_at(tmp_path))
    assert f"run.json: {reason}. Copy it back, or name another --out. Or, without it, go" in refused


def test_settings_that_left_no_trace_in_the_weights_are_forgotten(folder, capsys) -> None:
    found = {"train.precision": "bf16", "images": "4 images"}
    diverging = config_at(folder, learning_rate=1e3, resume_anyway=True)
    note_beginning(diverging, found, 6)
    assert departures(diverging) == [
        "from step 6 on: train.learning_rate: there 0.0002, here 1000.0"
    ]
    # No checkpoint was saved, and back to what it was.
    capsys.readouterr()
    note_beginning(config_at(folder, resume_anyway=True), found, 6)
    assert departures(config_at(folder)) == []
    assert "bit-equal" not in capsys.readouterr().out


def test_what_an_older_checkpoint_goes_on_with_is_noted_from_its_own_step_on(folder) -> None:
    found = {"train.precision": "bf16", "images": "4 images"}
    other = config_at(folder, num_workers=2, resume_anyway=True)
    for step in (6, 3):
        note_beginning(other, found, step)
    assert departures(other) == ["from step 3 on: train.num_workers: there 1, here 2"]
    note_beginning(other, found, 0)
    assert departures(other) == []


def test_checkpoints_without_a_run_json_are_not_gone_on_from_unnoticed(folder) -> None:
    run = folder / "run"
    (run / "run.json").unlink()
    (run / "checkpoints" / "step-0000006").mkdir(parents=True)
    (run / "checkpoints" / "step-0000006" / "state.json").write_text("{}")
    message = refusal(config_at(folder, seed=5))
    assert "run.json: is missing, though there are checkpoints" in message
    assert "Copy it back" in message and "--resume-anyway" in message
    anyway = config_at(folder, seed=5, resume_anyway=True)
    check_run(anyway, {})
    begin_run(anyway)
    assert not (run / "run.json").exists(), "no worker could go on from them yet"
    for _ in range(2):
        note_beginning(anyway, {}, 6)
        (line,) = departures(anyway)
        assert line.startswith("from step 6 on: run.json was lost")
    check_run(config_at(folder, seed=5), {})
