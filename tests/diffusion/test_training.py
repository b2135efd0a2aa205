import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
import torch
from PIL import Image
from safetensors.torch import load_file

from factory import storage
from factory.cli import main
from factory.config import Config, dump_config, parse_config, required
from factory.data.cache.decoded import cached_images
from factory.diffusion.checkpoints import load_model
from factory.diffusion.run_identity import note_beginning
from factory.diffusion.run_models import best_url, model_url, read_best
from factory.diffusion.training import check, train
from factory.errors import UserError
from factory.likeness.training_images import read_training_images
from factory.precision import in_bf16
from tests.folders import contents
from tests.ray_processes import TRAIN_WORKER

REPOSITORY = Path(__file__).parents[2]


def num_told(told: list[str], words: str) -> int:
    """How many lines hold the words, as soon as one does: Ray brings workers' lines late."""
    end = time.monotonic() + 10
    while not (found := sum(words in line for line in told)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def config_at(url: Path | str, num_steps: int = 8, **train_keys: object) -> Config:
    return parse_config(
        {
            "data": {
                "image_size": 16,
                "unlabelled": {"kind": "toy", "num": 12, "seed": 5},
                "labelled": {"kind": "toy", "num": 6, "seed": 6},
            },
            "train": {
                "unet": {
                    "block_out_channels": [16, 32],
                    "attention_levels": [1],
                    "norm_num_groups": 8,
                    "dropout": 0.1,
                },
                "url": str(url),
                "num_workers": 2,
                "num_steps": num_steps,
                "batch_size": 8,
                "warmup_steps": 4,
                "log_steps": 2,
                "checkpoint_steps": 2,
                "sample_steps": 4,
                **train_keys,
            },
        }
    )


def last_checkpoint(config: Config) -> dict[str, torch.Tensor]:
    """All tensors of the newest checkpoint: weights, EMA, optimiser."""
    folder = sorted((Path(config.train.url) / "checkpoints").iterdir())[-1]
    assert json.loads((folder / "state.json").read_text())["step"] == config.train.num_steps
    return {
        f"{file.stem}.{key}": value
        for file in folder.glob("*.safetensors")
        for key, value in load_file(file).items()
    }


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(ray_session, tmp_path_factory) -> Config:
    """The config of a finished run, all of whose checkpoints are there."""
    url = tmp_path_factory.mktemp("undisturbed")
    config = config_at(url, num_checkpoints_to_keep=4, probe_steps=2)
    assert train(config) == model_url(config)
    return config


def assert_ended_like(undisturbed: Config, config: Config) -> None:
    assert_equal(last_checkpoint(config), last_checkpoint(undisturbed))
    first = load_model(model_url(undisturbed)).unet.state_dict()
    assert_equal(first, load_model(model_url(config)).unet.state_dict())
    best = contents(Path(best_url(undisturbed)))
    assert best == contents(Path(best_url(config))) and "training_images.safetensors" in best


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_steps_are_compared_by_labels_which_changes_no_weight(undisturbed, tmp_path, told) -> None:
    plain, url = config_at(tmp_path / "plain"), Path(undisturbed.train.url)
    train(plain)
    assert_equal(last_checkpoint(plain), last_checkpoint(undisturbed))
    assert not Path(best_url(plain)).exists()
    lines = [json.loads(line) for line in (url / "metrics.jsonl").read_text().splitlines()]
    scores = {entry["step"]: entry["labels_mean_iou"] for entry in lines if len(entry) == 2}
    assert list(scores) == [2, 4, 6, 8]
    best = read_best(undisturbed)
    assert best is not None and best.mean_iou == max(scores.values()) == scores[best.step]
    # A run that has ended tells its end again.
    train(undisturbed)
    assert num_told(told, "the last") == 1


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_run_whose_driver_and_worker_were_killed_ends_bit_equal_to_an_undisturbed_one(
    undisturbed, ray_session, ray_processes, tmp_path, capfd
) -> None:
    killed = config_at(tmp_path / "killed", probe_steps=2)
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(killed))
    driver = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "jobs" / "train_diffusion.py"), "--config", str(file)],
        env={**os.environ, "RAY_ADDRESS": ray_session, "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    proofs = Path(killed.train.url) / "checkpoints"

    def newest() -> str:
        return max((str(file) for file in proofs.glob("step-*/sha256.json")), default="")

    wait_until(lambda: newest() != "")
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    # The dead driver's workers go with it; the new ones are not to be mixed up with them.
    wait_until(lambda: not ray_processes(TRAIN_WORKER))

    hit: list[int] = []

    def kill_a_worker() -> None:
        wait_until(lambda: len(ray_processes(TRAIN_WORKER)) == 2)
        before = newest()
        wait_until(lambda: newest() != before)
        worker = ray_processes(TRAIN_WORKER)[-1]
        hit.append(worker.pid)
        worker.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    train(killed)
    killer.join()
    assert hit
    assert_ended_like(undisturbed, killed)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_training_that_is_interrupted_says_so_by_its_exit_code(ray_session, tmp_path) -> None:
    config = config_at(tmp_path / "run", 10_000, num_workers=1)
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    driver = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "jobs" / "train_diffusion.py"), "--config", str(file)],
        env={**os.environ, "RAY_ADDRESS": ray_session},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: any(Path(config.train.url).glob("checkpoints/step-*/sha256.json")))
    driver.send_signal(signal.SIGINT)
    _, err = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "run the same command again to go on" in err and "Traceback" not in err


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_run_with_a_full_disk_and_then_a_torn_checkpoint_ends_bit_equal_to_an_undisturbed_one(
    undisturbed, ray_processes, tmp_path, capfd
) -> None:
    config = config_at(tmp_path / "run", probe_steps=2)
    shutil.copytree(undisturbed.train.url, config.train.url)
    checkpoints = Path(config.train.url) / "checkpoints"
    shutil.rmtree(checkpoints / "step-0000008")
    shutil.rmtree(model_url(config))
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    wait_until(lambda: not ray_processes(TRAIN_WORKER))

    def let_workers_write_no_more_than_60_kb() -> None:
        wait_until(lambda: len(ray_processes(TRAIN_WORKER)) == 2)
        for worker in ray_processes(TRAIN_WORKER):
            resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (60_000, 60_000))

    filler = threading.Thread(target=let_workers_write_no_more_than_60_kb)
    filler.start()
    capfd.readouterr()
    assert main(["train", "--config", str(file)]) == 1
    filler.join()
    output = capfd.readouterr()
    assert [line for line in output.err.splitlines() if "error" in line] == [
        line for line in output.err.splitlines() if line.startswith("error: training failed: ")
    ]
    assert "the checkpoint of step 8 could not be saved" in output.err
    assert "File too large" in output.err and "run the same command again" in output.err
    assert "Traceback" not in output.out + output.err
    assert sorted(folder.name for folder in checkpoints.iterdir()) == [
        "step-0000002",
        "step-0000004",
        "step-0000006",
    ]

    weights = checkpoints / "step-0000006" / "unet.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert main(["train", "--config", str(file)]) == 0
    output = capfd.readouterr()
    assert f"{weights.parent}: left aside, unet.safetensors is not as it was written" in output.out
    assert "going on from step 4" in output.out
    assert_ended_like(undisturbed, config)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_training_that_diverges_keeps_the_last_good_checkpoint_and_tells_the_way_out(
    undisturbed, tmp_path, capfd
) -> None:
    run = Path(shutil.copytree(undisturbed.train.url, tmp_path / "run"))
    shutil.rmtree(run / "model")
    good = contents(run / "checkpoints")
    file = tmp_path / "config.yaml"
    # The log comes after checkpoints, of which none may be of weights that are no numbers.
    keys = {"learning_rate": 1e30, "log_steps": 6, "num_checkpoints_to_keep": 1}
    file.write_text(dump_config(config_at(run, 14, **keys)))
    capfd.readouterr()
    assert main(["train", "--config", str(file)]) == 2
    assert "go on from the newest checkpoint with --resume-anyway" in capfd.readouterr().err
    assert main(["train", "--config", str(file), "--resume-anyway"]) == 1
    output = capfd.readouterr()
    (line,) = [line for line in output.err.splitlines() if "error" in line]
    assert line.startswith("error: training failed: the training diverged: ")
    assert "at step 10, with a learning rate of 1e+30" in line
    assert f"The last good checkpoint is {run}/checkpoints/step-0000008. " in line
    assert "lower train.learning_rate" in line and "--resume-anyway" in line
    assert "Traceback" not in output.out
    assert contents(run / "checkpoints") == good and not (run / "model").exists()


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_run_may_go_on_with_fewer_workers_and_its_card_says_so(
    undisturbed, tmp_path, told
) -> None:
    run = Path(shutil.copytree(undisturbed.train.url, tmp_path / "run"))
    was, now = ("bf16", "fp32") if in_bf16("auto", "cpu") else ("fp32", "bf16")
    train(config_at(run, 10, num_workers=1, precision=now, decay=0, resume_anyway=True))
    assert num_told(told, "train.num_workers: there 2, here 1") == 1
    assert num_told(told, "no longer bit-equal") == 1
    assert num_told(told, "going on from step 8") == 1
    card = (run / "model" / "README.md").read_text()
    assert "Not bit-equal" in card and "from step 8 on: " in card
    assert "train.num_workers: there 2, here 1" in card
    assert f'train.precision: there "{was}", here "{now}"' in card
    # From now on this is what the run is.
    train(config_at(run, 12, num_workers=1, precision=now, decay=0))
    assert num_told(told, "no longer bit-equal") == 1, "it is told once, and not by this run"
    assert (run / "model" / "README.md").read_text().count("from step") == 1


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_workers_for_whom_a_cluster_has_no_room_are_waited_for_so_long_and_no_longer(
    ray_session, tmp_path, monkeypatch, capfd
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray_session)
    file = tmp_path / "config.yaml"
    asked = config_at(tmp_path / "run", use_gpu=True, worker_wait_seconds=1)
    file.write_text(dump_config(asked))
    assert main(["train", "--config", str(file)]) == 1
    output = capfd.readouterr()
    (line,) = [line for line in output.err.splitlines() if line.startswith("error: ")]
    assert "waiting for workers: 0 of 2 are ready; 2 CPUs and 2 GPUs are asked for" in line
    assert "the cluster has 2 CPUs and 0 GPUs" in line
    assert "train.worker_wait_seconds = 1: start nodes" in line
    assert "Traceback" not in output.out + output.err


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"cpus_per_worker": 500}, r"train\.num_workers x train\.cpus_per_worker = 1000 CPUs, "),
        ({"use_gpu": True}, r"train\.num_workers with train\.use_gpu = 2 GPUs, this machine has 0"),
    ],
)
def test_workers_that_this_machine_never_has_room_for_are_refused_at_once(
    tmp_path, monkeypatch, keys, message
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    config = config_at(tmp_path / "run", **keys)
    with pytest.raises(UserError, match=message):
        check(config)
    with pytest.raises(UserError, match=message):
        train(config)
    assert not (tmp_path / "run").exists()
    # A cluster may grow.
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    check(config)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_beside_another_ray_instance_a_training_prints_its_own_lines_alone(
    ray_session, tmp_path
) -> None:
    file = tmp_path / "config.yaml"
    config = config_at(tmp_path / "run", 2, num_workers=1)
    unlabelled = config.data.model_copy(update={"labelled": None})
    file.write_text(dump_config(config.model_copy(update={"data": unlabelled})))
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "jobs" / "train_diffusion.py"), "--config", str(file)],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == ""
    own, _, next_commands = done.stdout.partition("next:\n")
    assert next_commands.startswith("  factory ")
    *lines, result = own.splitlines()
    assert result == str(tmp_path / "run" / "model")
    assert [line for line in lines if not re.match(r"(train|data) \| ", line)] == []
    assert len(lines) == len(set(lines)) and any("| loss " in line for line in lines)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_more_steps_go_on_from_where_a_finished_run_ended(ray_session, tmp_path, told) -> None:
    longer = config_at(tmp_path / "longer", 6, tensorboard=True, probe_steps=2)
    shorter = config_at(tmp_path / "shorter", 3, probe_steps=2)
    train(longer)
    train(shorter)
    model_of_three = load_model(model_url(shorter)).unet.state_dict()
    train(config_at(tmp_path / "shorter", 6, probe_steps=2))
    best = contents(Path(best_url(longer)))
    assert best and best == contents(Path(best_url(shorter)))
    continued = load_model(model_url(shorter)).unet.state_dict()
    assert_equal(continued, load_model(model_url(longer)).unet.state_dict())
    assert any(not torch.equal(continued[key], model_of_three[key]) for key in continued)

    kept = read_training_images(model_url(longer))
    assert kept is not None and (len(kept.layout), kept.total) == (12, 12)
    url = Path(longer.train.url)
    assert (url / "samples" / "step-0000004.png").stat().st_size > 0
    assert list((url / "tensorboard").glob("events.*"))
    lines = [json.loads(line) for line in (url / "metrics.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in lines if "loss" in entry] == [2, 4, 6]
    where = "going on from step 2, where the learning rate began to fall, as the run is longer now"
    assert num_told(told, where) == 1
    assert num_told(told, "step 3/3 | loss") == 1, "a worker's line is told here, and once"
    assert num_told(told, "step 6/6 | loss") == 2


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_a_run_on_s3_goes_on_from_its_checkpoint(ray_session, s3_bucket, told) -> None:
    url = f"{s3_bucket}/run"
    train(config_at(url, 2, num_workers=1, batch_size=4, decay=0))
    train(config_at(url, 4, num_workers=1, batch_size=4, decay=0))
    assert num_told(told, "going on from step 2") == 1
    lines = storage.read_text(f"{url}/metrics.jsonl").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4]
    assert load_model(f"{url}/model").image_size == 16


def test_an_initial_model_of_another_shape_is_refused(tmp_path, tiny_models) -> None:
    config = config_at(tmp_path / "run", initial_model_url=tiny_models["ddpm_url"])
    with pytest.raises(UserError, match=r"train\.unet\.dropout: there 0\.0, here 0\.1"):
        check(config)


def test_checking_refuses_a_run_whose_images_have_changed(tmp_path) -> None:
    photo = tmp_path / "photos" / "a.png"
    photo.parent.mkdir()
    Image.new("RGB", (20, 20), "red").save(photo)
    source = {"kind": "folder", "url": str(photo.parent)}
    data = {"image_size": 16, "unlabelled": source, "cache_dir": str(tmp_path / "cache")}
    config = parse_config({"data": data, "train": {"url": str(tmp_path / "run")}})
    note_beginning(
        config,
        {"images": cached_images(config.data, required(config, "data.unlabelled")).summary},
        0,
    )
    check(config)
    Image.new("RGB", (20, 20), "blue").save(photo)
    with pytest.raises(UserError, match="images: there"):
        check(config)
    check(
        config.model_copy(update={"train": config.train.model_copy(update={"resume_anyway": True})})
    )


def test_labelled_images_are_checked_with_the_others_where_steps_are_compared_by_them(
    tmp_path: Path,
) -> None:
    data = {
        "image_size": 16,
        "unlabelled": {"kind": "folder", "url": str(tmp_path / "nowhere")},
        "labelled": {"kind": "pairs", "url": str(tmp_path / "neither"), "classes": ["a", "b"]},
    }

    def refusal(work: Callable[[Config], object], **keys: object) -> list[str]:
        tree = {"url": str(tmp_path / "run"), **keys}
        with pytest.raises(UserError) as refused:
            work(parse_config({"data": data, "train": tree}))
        return [str(problem) for problem in refused.value.problems]

    for work in (check, train):
        first, *others = refusal(work)
        assert "nowhere" in first and len(others) == 2
        assert all("neither" in each for each in others)
        (one,) = refusal(work, num_steps=100)
        assert "nowhere" in one
    assert not (tmp_path / "run").exists()


def test_features_that_the_network_will_lack_are_refused_before_it_is_trained(tmp_path) -> None:
    config = config_at(tmp_path / "run", probe_steps=2)
    lacking = config.model_copy(update={"fit": config.fit.model_copy(update={"blocks": (40,)})})
    with pytest.raises(UserError, match=r"fit\.blocks: 40: the model's blocks are"):
        check(lacking)
    check(config)


def test_a_missing_folder_of_images_is_refused_and_nothing_written(tmp_path) -> None:
    source = {"kind": "folder", "url": str(tmp_path / "nowhere")}
    data = {"unlabelled": source, "image_size": 64}
    config = parse_config({"data": data, "train": {"url": str(tmp_path / "run")}})
    with pytest.raises(UserError, match="nowhere"):
        train(config)
    assert not (tmp_path / "run").exists()
