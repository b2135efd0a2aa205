import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import ray
import torch
import yaml
from botocore.exceptions import NoCredentialsError
from PIL import Image

import factory
from factory import cluster, storage
from factory.cli import main
from factory.config import Config, dump_config, loading
from factory.config.presets import preset_table
from factory.data.toy import drawing
from factory.diffusion.checkpoints import load_model, save_model
from factory.diffusion.families.unet2d import UNet
from factory.yaml_reading import read_yaml
from tests.failing_storage import fail_calls
from tests.test_images import png_header

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def refused(capsys, tmp_path) -> Callable[..., str]:
    """Runs a command that must be refused: exit code 2, nothing written; returns what it says."""

    def run(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        try:
            code: str | int | None = main(list(arguments))
        except SystemExit as stop:
            code = stop.code
        output = capsys.readouterr()
        assert code == 2, output
        assert "Traceback" not in output.err
        assert sorted(tmp_path.rglob("*")) == before
        return output.err

    return run


@pytest.mark.parametrize("num", ["0", "-1", "1.5", "nan", "inf", "1e400", "abc", ""])
def test_a_number_of_pairs_that_is_no_count_is_refused_with_the_value(refused, num, tmp_path):
    message = refused("generate", f"--num={num}", "--out", str(tmp_path / "out"))
    assert "generate.num" in message
    assert repr(num) in message
    assert "whole number >= 1" in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("unipic", "Did you mean unipc?"),
        ("DDIM", "Known here: sde_dpm_solver, unipc, dpm_solver, ddim, ddpm."),
    ],
)
@pytest.mark.parametrize("dry_run", [["--dry-run"], []])
def test_a_sampler_that_is_not_there_is_refused_with_the_nearest(
    refused, tmp_path, name, remedy, dry_run
):
    message = refused(
        "generate", "--set", f"generate.sampler={name}", "--out", str(tmp_path / "out"), *dry_run
    )
    assert message == f"error: generate.sampler: {name!r} is no sampler. {remedy}\n"


def test_an_unknown_key_is_refused_with_the_nearest_name(refused, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("generate: {nums: 5}\nfit: {num_member: 3}\n")
    message = refused("generate", "--config", str(file))
    assert "generate.nums: unknown key. Did you mean generate.num?" in message
    assert "fit.num_member: unknown key. Did you mean fit.num_members?" in message
    assert "Did you mean generate.num_sampling_steps?" in refused(
        "generate", "--set", "generate.sampling_steps=3"
    )


def test_a_key_of_another_section_is_refused_with_that_section(refused):
    message = refused("label", "--set", "label.sampler=ddim")
    assert "label.sampler: unknown key. Other sections have it: generate.sampler." in message
    message = refused("label", "--set", "prove.num_folds=3")
    known = "probe.num_folds, adopt.num_folds"
    assert f"mean prove.num_seeds? Other sections have it: {known}." in message


def test_a_validation_split_of_labels_is_what_export_makes(refused):
    message = refused("label", "--set", "label.val_fraction=0.1")
    assert "label.val_fraction: unknown key. Labels are not split when they are made" in message
    assert "`factory export --val 0.1`" in message and "Did you mean" not in message


@pytest.mark.parametrize(
    ("command", "lacking"),
    [
        ("inspect", ("data.unlabelled", "data.labelled", "data.test")),
        ("train", ("data.unlabelled",)),
        ("fingerprint", ("data.unlabelled", "models.ddpm_url")),
        ("probe", ("data.labelled", "models.ddpm_url")),
        ("fit", ("data.labelled", "models.ddpm_url", "models.ensemble_url")),
        ("evaluate", ("data.test", "models.ddpm_url", "models.ensemble_url")),
        ("label", ("models.ddpm_url", "models.ensemble_url")),
        ("sample", ("models.ddpm_url",)),
        ("generate", ("models.ddpm_url", "models.ensemble_url")),
    ],
)
def test_an_empty_config_draws_no_faces_but_names_what_is_missing(
    refused, tmp_path, command, lacking
):
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    message = refused(command, "--config", str(tmp_path / "empty.yaml"))
    assert all(f"{key} is not set." in message for key in lacking)


def test_a_missing_config_file_is_refused(refused, tmp_path):
    assert "nothing.yaml: no such config file" in refused(
        "train", "--config", str(tmp_path / "nothing.yaml")
    )


def test_a_missing_or_empty_folder_of_images_is_refused(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "missing"):
        message = refused(
            *("train", "--set", "preset=32px", "--set"),
            f"data.unlabelled={{kind: folder, url: {tmp_path / name}}}",
            "--out",
            str(tmp_path / "run"),
        )
        assert str(tmp_path / name) in message


@pytest.fixture
def pairs(tmp_path) -> Path:
    """A folder of three good pairs with two classes."""
    for kind in ("images", "masks"):
        (tmp_path / "pairs" / kind).mkdir(parents=True)
    (tmp_path / "pairs" / "classes.json").write_text(json.dumps(["background", "thing"]))
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        mask = rng.integers(0, 2, (16, 16), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pairs" / "images" / f"{i}.png")
        Image.fromarray(mask).save(tmp_path / "pairs" / "masks" / f"{i}.png")
    return tmp_path / "pairs"


def fit_arguments(pairs: Path, tiny_models: dict[str, str]) -> list[str]:
    source = f"{{kind: pairs, url: {pairs}, classes_url: {pairs / 'classes.json'}}}"
    return [
        "fit",
        *("--ddpm", tiny_models["ddpm_url"], "--out", str(pairs.parent / "ensemble")),
        *("--set", f"data.labelled={source}"),
        *("--set", "fit={timesteps: [10], blocks: [1], num_steps: 2, pixels_per_step: 32}"),
        *("--set", "fit.num_members=2", "--set", "fit.hidden=[4, 4]"),
    ]


def test_good_pairs_are_fitted(pairs, tiny_models, capsys):
    assert main(fit_arguments(pairs, tiny_models)) == 0
    assert (pairs.parent / "ensemble" / "ensemble.safetensors").exists()
    assert "fit | step 2/2" in capsys.readouterr().out


def test_missing_masks_wrong_sizes_and_wrong_ids_are_all_told_at_once(refused, pairs, tiny_models):
    (pairs / "masks" / "0.png").unlink()
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(pairs / "masks" / "1.png")
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(pairs / "masks" / "2.png")
    message = refused(*fit_arguments(pairs, tiny_models))
    for name in ("0.png", "1.png", "2.png"):
        assert name in message
    assert "9" in message


def test_a_folder_without_masks_is_refused(refused, pairs, tiny_models):
    for mask in (pairs / "masks").iterdir():
        mask.unlink()
    (pairs / "masks").rmdir()
    assert "masks" in refused(*fit_arguments(pairs, tiny_models))


def test_a_model_folder_of_another_convention_is_refused_by_field(refused, tiny_models, tmp_path):
    model = load_model(tiny_models["ddpm_url"])
    url = tmp_path / "model"
    save_model(model.unet, model.diffusion, 16, str(url))
    config = url / "unet" / "config.json"
    changed = {**json.loads(config.read_text()), "act_fn": "elu", "freq_shift": 2}
    config.write_text(json.dumps(changed))
    message = refused("generate", "--ddpm", str(url), "--out", str(tmp_path / "out"))
    assert "act_fn = 'elu'" in message
    assert "freq_shift = 2" in message


def test_weights_that_are_not_finite_are_refused_by_name(refused, tiny_models, tmp_path):
    model = load_model(tiny_models["ddpm_url"])
    cast(UNet, model.unet).conv_in.weight[0, 0, 0, 0] = torch.nan
    save_model(model.unet, model.diffusion, 16, str(tmp_path / "model"))
    message = refused("generate", "--ddpm", str(tmp_path / "model"), "--out", str(tmp_path / "out"))
    assert "conv_in.weight" in message
    assert "not finite" in message


def test_an_ensemble_of_another_ddpm_is_refused(refused, tiny_models, tmp_path):
    model = load_model(tiny_models["ddpm_url"])
    cast(UNet, model.unet).conv_in.weight[0, 0, 0, 0] += 1
    save_model(model.unet, model.diffusion, 16, str(tmp_path / "model"))
    message = refused(
        "generate",
        *("--ddpm", str(tmp_path / "model"), "--ensemble", tiny_models["ensemble_url"]),
        *("--out", str(tmp_path / "out")),
    )
    assert "another DDPM" in message


def test_an_output_that_cannot_be_written_is_refused(refused, tiny_models, tmp_path):
    (tmp_path / "file").write_text("")
    message = refused(
        "generate",
        *("--ddpm", tiny_models["ddpm_url"], "--ensemble", tiny_models["ensemble_url"]),
        *("--out", str(tmp_path / "file" / "out")),
    )
    assert "cannot be written" in message


def test_the_printed_config_reads_back_equal(capsys, tmp_path):
    assert (
        main(["generate", "--num", "1e6", "--set", "train.learning_rate=1e-3", "--print-config"])
        == 0
    )
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    assert yaml.safe_load(printed)["generate"]["num"] == 1_000_000
    assert main(["generate", "--config", str(tmp_path / "printed.yaml"), "--print-config"]) == 0
    assert capsys.readouterr().out == printed


def test_a_flag_wins_over_set_and_set_over_the_file(capsys, tmp_path):
    (tmp_path / "c.yaml").write_text("generate: {num: 1, seed: 1, batch_size: 1}")
    arguments = ["generate", "--config", str(tmp_path / "c.yaml"), "--print-config"]
    main([*arguments, "--set", "generate.num=2", "--set", "generate.seed=2", "--num", "3"])
    found = yaml.safe_load(capsys.readouterr().out)["generate"]
    assert (found["num"], found["seed"], found["batch_size"]) == (3, 2, 1)


def test_keys_of_a_section_that_an_argument_names_are_set_within_it(capsys, tmp_path, refused):
    command = ["label", str(tmp_path), "--print-config", "--set"]
    main([*command, "label.source.fit=tile"])
    found = yaml.safe_load(capsys.readouterr().out)["label"]["source"]
    assert (found["url"], found["fit"]) == (str(tmp_path), "tile")
    message = refused(*command, "label.source={kind: folder, url: other, fit: tile}")
    assert "--set label.source=...: an argument of the command names it, too" in message


CLASSES = "classes: [background, thing]"


@pytest.mark.parametrize(
    ("source", "found", "told"),
    [
        # A folder: what chooses among its images says nothing of others.
        (
            "{kind: folder, url: one, exif: ignore, fit: tile, exclude: x.png, num: 3}",
            {"kind": "folder", "exif": "ignore", "fit": "tile", "exclude": ["x.png"]},
            "exif, fit, exclude of label.source kept; num not used; ",
        ),
        (
            "{kind: pairs, url: one, intensity: [0, 4095], " + CLASSES + "}",
            {"kind": "folder", "intensity": [0.0, 4095.0]},
            "intensity of label.source kept; classes (of kind pairs) not used; --set ",
        ),
        ("{kind: folder, url: one, exif: apply, fit: crop}", {"kind": "folder"}, None),
        ("{kind: toy, num: 5}", {"kind": "folder"}, "num (of kind toy) not used"),
        ("{kind: [folder], fit: pad}", {"kind": "folder", "fit": "pad"}, "fit of label.source"),
        # That very place: all of it.
        (
            "{kind: pairs, url: other/../other/, num: 2, " + CLASSES + "}",
            {"kind": "pairs", "num": 2},
            "num, classes of label.source kept",
        ),
    ],
)
def test_images_of_the_command_line_keep_the_settings_that_hold_for_them(
    capsys, tmp_path, monkeypatch, source, found, told
):
    files = []
    monkeypatch.setattr(loading, "read_yaml", lambda file: files.append(file) or read_yaml(file))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(f"label: {{source: {source}}}")
    command = ["label", "other", "--config", "c.yaml"]
    main([*command, "--print-config"])
    assert files == ["c.yaml"], "it may be a pipe, which is read once"
    printed = yaml.safe_load(capsys.readouterr().out)["label"]["source"]
    assert printed["url"].rstrip("/").endswith("other")
    assert {key: printed[key] for key in found} == found
    assert ("num" in printed) == ("num" in found)
    assert ("classes" in printed) == (printed["kind"] == "pairs")
    main([*command, "--dry-run"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "IMAGES" in line]
    assert len(lines) == (told is not None)
    assert all(f"label | IMAGES instead of those of the config: {told}" in line for line in lines)


def test_a_dry_run_checks_and_writes_nothing(tiny_config, tmp_path, capsys):
    config: Config = tiny_config()
    file = tmp_path / "config.yaml"
    file.write_text(dump_config(config))
    assert main(["generate", "--config", str(file), "--dry-run"]) == 0
    assert "nothing was started" in capsys.readouterr().out
    assert not Path(config.generate.url).exists()


SIZE = "--set=data.image_size=16"


def test_inspect_tells_what_is_there_and_fails_on_bad_data(capsys, pairs):
    source = pairs_source(pairs)
    arguments = ["inspect", SIZE]
    for name in ("unlabelled", "labelled", "test"):
        arguments += ["--set", f"data.{name}={source}"]
    assert main(arguments) == 0
    assert "thing" in capsys.readouterr().out
    (pairs / "images" / "1.png").write_bytes(b"not a picture")
    assert main(arguments) == 2
    assert "1.png" in capsys.readouterr().out


def pairs_source(pairs: Path) -> str:
    return f"{{kind: pairs, url: {pairs}, classes_url: {pairs / 'classes.json'}}}"


def test_inspect_looks_at_what_is_set_and_names_the_rest_without_drawing(
    capsys, pairs, monkeypatch
):
    monkeypatch.setattr(drawing, "draw", None)
    assert main(["inspect", SIZE, "--set", f"data.labelled={pairs_source(pairs)}"]) == 0
    output = capsys.readouterr().out
    assert "data.unlabelled is not set" in output and "data.test is not set" in output
    assert "images   3" in output


@pytest.mark.slow
def test_inspect_decodes_by_its_own_threads_and_numpy_starts_none_beside_them(pairs):
    arguments = ["inspect", SIZE, "--set", f"data.labelled={pairs_source(pairs)}"]
    code = "import os, sys, time; from factory.cli import main; main(sys.argv[1:]); "
    # A thread that has ended is there for another moment.
    code += "nums = (len(os.listdir('/proc/self/task')) + (time.sleep(i / 50) or 0) "
    code += "for i in range(20)); print(1 in nums)"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={name: os.environ[name] for name in os.environ if name != "OPENBLAS_NUM_THREADS"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "True", done.stdout


def test_inspect_of_a_config_without_images_names_all_three_sections(refused):
    message = refused("inspect", "--set", "models.ddpm_url=out/model")
    for name in ("unlabelled", "labelled", "test"):
        assert f"data.{name} is not set. Name" in message


def test_inspect_says_which_test_images_are_training_images(capsys, pairs):
    source = pairs_source(pairs)
    arguments = ["--set", f"data.labelled={source}", "--set", f"data.test={source}"]
    folder = f"{{kind: folder, url: {pairs / 'images'}}}"
    assert main(["inspect", SIZE, *arguments, "--set", f"data.unlabelled={folder}"]) == 0
    output = capsys.readouterr().out
    assert (
        "note: 3 of the 3 images of data.test are also in data.labelled, training images" in output
    )
    assert "Name another place in data.test" in output and "(0.png, 1.png, 2.png)" in output
    assert "also in data.unlabelled, among the images that the DDPM learns from" in output


def test_inspect_refuses_a_test_set_of_other_classes(capsys, pairs):
    (pairs / "other.json").write_text(json.dumps(["background", "stuff"]))
    other = pairs_source(pairs).replace("classes.json", "other.json")
    arguments = ["--set", f"data.labelled={pairs_source(pairs)}", "--set", f"data.test={other}"]
    assert main(["inspect", SIZE, *arguments]) == 2
    output = capsys.readouterr().out
    assert "problem: data.test: its classes ['background', 'stuff'] are not those of" in output


OWN = "data.unlabelled={kind: folder, url: photos}"


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["train", "--out=run"], ["data.unlabelled", "data.image_size"]),
        (["train", "--set", OWN], ["data.image_size"]),
        (["inspect", "--set", OWN], ["data.image_size"]),
        (["train", "--out=run", "--set=preset=64px"], ["data.unlabelled"]),
        (["fit", "--set", OWN], ["models.ensemble_url", "models.ddpm_url", "data.labelled"]),
        (["fit", "--out=e"], ["models.ddpm_url", "data.labelled"]),
        (["fit", "--out=e", "--ddpm=toy"], ["data.labelled"]),
        (["fit", "--set=train.url=run", "--ddpm=toy"], ["models.ensemble_url", "data.labelled"]),
        (["evaluate", "--set", OWN], ["models.ddpm_url", "models.ensemble_url", "data.test"]),
        (["evaluate", "--ddpm=toy", "--ensemble=toy", "--set", OWN], ["data.test"]),
        (["generate", "--set", OWN], ["models.ddpm_url", "models.ensemble_url"]),
        (["generate", "--ensemble=e"], ["models.ddpm_url"]),
        (["generate", "--set=train.url=run", "--ddpm=toy"], ["models.ensemble_url"]),
    ],
)  # fmt: skip
def test_what_a_command_needs_and_a_config_of_ones_own_lacks_is_named(
    arguments, missing, refused, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(drawing, "draw", None)
    for more in ([], ["--dry-run"]):
        lines = refused(*arguments, *more).splitlines()
        named = [line.split(" is not set. ")[0] for line in lines if line.startswith("error: ")]
        assert named == [f"error: {key}" for key in missing]
        assert ("data.image_size" in missing) == (preset_table()[-1] in lines)


def test_an_ensemble_does_not_replace_the_embedded_one(refused, pairs):
    arguments = "--ddpm=toy", "--out=toy", "--set", f"data.labelled={pairs_source(pairs)}"
    assert "Name where yours goes with --out" in refused("fit", *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("job", ["train_diffusion", "fit_ensemble", "generate"])
def test_every_job_is_a_script_that_answers_a_mistake_without_starting_anything(job, tmp_path):
    script = REPOSITORY / "jobs" / f"{job}.py"
    assert os.access(script, os.X_OK)
    done = subprocess.run(
        [sys.executable, str(script), "--set", "generate.nun=5"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert done.stderr == "error: config: generate.nun: unknown key. Did you mean generate.num?\n"
    assert not list(tmp_path.iterdir())


# Failures after the start: one line, no traceback


GOES_ON = (
    "finished shards are kept; once what is said above is mended, run the same command again to "
    "resume"
)


def failed(capsys, arguments: list[str], code: int) -> str:
    """The one line that a command says on stderr, before what it says to go on."""
    assert main(arguments) == code
    line, *more = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert more == [GOES_ON] * (code == 3)
    return line


@pytest.mark.parametrize("command", ["status", "verify", "repair", "gc", "report"])
def test_a_dataset_that_cannot_be_read_is_told_on_one_line(command, capsys, monkeypatch, tmp_path):
    denied = PermissionError(errno.EACCES, "Permission denied", "/folder/file")
    fail_calls(monkeypatch, times=99, error=denied)
    message = failed(capsys, [command, str(tmp_path)], 1)
    assert message == "error: /folder/file: Permission denied"
    busy = OSError(errno.EBUSY, "Please reduce your request rate", "s3://bucket/file")
    fail_calls(monkeypatch, times=99, error=busy)
    message = failed(capsys, [command, str(tmp_path)], 1)
    assert message.startswith("error: s3://bucket/file: Please reduce")
    assert message.endswith("Run the same command again when it can be reached.")


def full(*rest, **more):
    raise OSError(errno.ENOSPC, "No space left on device", "/folder/file")


def test_a_full_disk_after_fitting_or_measuring_is_told_on_one_line(
    pairs, tiny_models, capsys, monkeypatch, tiny_config, tmp_path
):
    monkeypatch.setattr(storage, "check_writable", lambda url: True)
    monkeypatch.setattr(storage, "write", full)
    message = "error: /folder/file: No space left on device"
    assert failed(capsys, fit_arguments(pairs, tiny_models), 1) == message
    toy = {"kind": "toy", "num": 1}
    data = {"image_size": 16, "labelled": {**toy, "seed": 1}, "test": {**toy, "seed": 2}}
    config = tiny_config(data=data, evaluate={"url": str(tmp_path / "scores")})
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert failed(capsys, ["evaluate", "--config", str(tmp_path / "config.yaml")], 1) == message


def test_a_storage_that_fails_while_generate_is_checked_leaves_it_resumable(
    tiny_config, tmp_path, capsys, monkeypatch
):
    (tmp_path / "config.yaml").write_text(dump_config(tiny_config()))
    denied = PermissionError(errno.EACCES, "Permission denied", "/folder/file")
    fail_calls(monkeypatch, times=99, error=denied, at=lambda url: url.endswith("/run.json"))
    arguments = ["generate", "--config", str(tmp_path / "config.yaml"), "--workers=here"]
    assert failed(capsys, arguments, 3) == "error: /folder/file: Permission denied"
    message = failed(capsys, [*arguments, "--dry-run"], 1)
    assert message == "error: /folder/file: Permission denied", "nothing is there to be resumed"


@pytest.mark.parametrize("command", ["export", "label", "status"])
def test_a_store_that_never_answered_is_a_wrong_place_and_nothing_is_said_to_be_kept(
    command, tiny_config, tmp_path, capsys, monkeypatch
):
    (tmp_path / "config.yaml").write_text(dump_config(tiny_config()))
    out, config = ["--out", str(tmp_path / "out")], ["--config", str(tmp_path / "config.yaml")]
    more = {"export": ["--to", "coco", *out], "label": ["--workers=here", *out, *config]}
    url = f"memory://never-{command}"
    fail_calls(monkeypatch, 99, NoCredentialsError(), at=lambda at: at.startswith(url))
    message = failed(capsys, [command, f"{url}/x", *more.get(command, [])], 2)
    assert f"{url}/x" in message and "Unable to locate credentials. Give credentials" in message
    assert "same command" not in message and not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [ConnectionError, ray.exceptions.RaySystemError])
def test_a_cluster_that_cannot_be_joined_is_told_on_one_line(
    kind, tiny_config, tmp_path, capsys, monkeypatch
):
    def connect(**arguments):
        raise kind("nobody answers\nat this address")

    monkeypatch.setattr(cluster, "connect", connect)
    config = tiny_config(train={"url": str(tmp_path / "run")})
    (tmp_path / "config.yaml").write_text(dump_config(config))
    message = failed(capsys, ["train", "--config", str(tmp_path / "config.yaml")], 1)
    assert "nobody answers at this address" in message


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize("command", ["generate", "train"])
def test_the_memory_of_one_process_is_no_place_for_what_others_make(command, more, refused):
    message = refused(command, "--out", "memory://box/x", *more)
    assert "gone with the process" in message and "Name a path or a bucket" in message


@pytest.mark.parametrize("command", ["generate", "train"])
def test_a_cluster_that_does_not_answer_leaves_nothing_behind(
    command, refused, tiny_config, tmp_path, monkeypatch
):
    toy = {"kind": "toy", "num": 1}
    config = tiny_config(data={"image_size": 16, "unlabelled": toy})
    (tmp_path / "config.yaml").write_text(dump_config(config))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    arguments = ["--config", str(tmp_path / "config.yaml"), "--out", str(tmp_path / "out")]
    assert "RAY_ADDRESS=127.0.0.1:9: no Ray cluster answers" in refused(command, *arguments)


def test_windows_is_refused_with_the_way_out(refused, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    message = refused("generate", "--num", "5")
    assert (
        message.startswith("error: Windows")
        and "WSL2" in message
        and len(message.splitlines()) == 1
    )


def test_a_command_runs_in_any_thread_and_leaves_signals_alone_there(capsys):
    before = signal.getsignal(signal.SIGTERM)
    codes = []
    another = threading.Thread(target=lambda: codes.append(main(["generate", "--print-config"])))
    another.start()
    another.join()
    assert codes == [0] and signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_shell_closed_changes_no_exit_code(closed: str) -> None:
    factory = f"{sys.executable} -m factory.cli generate"
    shown = subprocess.run(f"{factory} --print-config {closed}", shell=True)
    refused = subprocess.run(f"{factory} --num 0 {closed}", shell=True, capture_output=True)
    assert (shown.returncode, refused.returncode) == (0, 2)
    assert refused.stdout == b"" and b"Traceback" not in refused.stderr


@pytest.mark.slow
def test_output_that_nobody_reads_any_more_is_no_failure(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "factory.cli", "generate", "--print-config"],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.slow
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "--print-config"],
        ["generate", "--dry-run"],
        ["--help"],
        ["generate", "--help"],
        ["--version"],
    ],
)
def test_what_a_full_disk_does_not_take_of_an_answer_is_told_on_one_line(
    arguments: list[str], unbuffered: str, tmp_path: Path
) -> None:
    with open("/dev/full", "w") as full_disk:
        done = subprocess.run(
            [sys.executable, "-m", "factory.cli", *arguments],
            stdout=full_disk,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and line.endswith("No space left on device")
    # Where Python keeps nothing, nothing tells any more what it was that was not taken.
    assert unbuffered or "error: stdout: " in line


def test_what_a_full_disk_does_not_take_of_the_progress_is_told_as_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((16, 16), 9, np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "my.yaml").write_text(
        f"data: {{image_size: 16, unlabelled: {{kind: folder, url: {tmp_path}}}}}"
    )
    with open("/dev/full", "w") as full_disk, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full_disk)
        assert main(["inspect", "--config", str(tmp_path / "my.yaml")]) == 1
    assert capsys.readouterr().err == "error: stdout: No space left on device\n"


SLOW = """
import time
from dataclasses import replace
from factory import cli

def slow(arguments):
    try:
        print("begun", flush=True)
        time.sleep(600)
    finally:
        print("ending", flush=True)
        time.sleep(600)

cli.COMMANDS["gc"] = replace(cli.COMMANDS["gc"], run=slow)
cli.main(["gc", "nowhere"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(number, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", SLOW],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    ) as process:
        for line in ("begun\n", "ending\n"):
            assert process.stdout.readline() == line
            process.send_signal(number)
        assert process.wait(timeout=120) == 128 + number
        assert "Traceback" not in process.stderr.read()


INTERRUPTED = """
import sys
from dataclasses import replace
from factory import cli

def interrupted(args):
    exec("raise KeyboardInterrupt")  # As in the middle of an import that makes a dataclass.

cli.COMMANDS["gc"] = replace(cli.COMMANDS["gc"], run=interrupted)
sys.exit(cli.main(["gc", "nowhere"]) - 100)
"""


def test_an_interrupt_while_modules_are_imported_ends_with_the_exit_code_that_was_chosen(
    tmp_path: Path,
) -> None:
    (tmp_path / "script.py").write_text(INTERRUPTED)
    done = subprocess.run(
        [sys.executable, "-m", "script"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 128 + signal.SIGINT - 100, done.stderr


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"factory {factory.__version__}\n"


def test_an_image_of_too_many_pixels_is_named_without_a_warning_of_the_library(
    capsys, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "large.png").write_bytes(png_header(9500, 9500))
    source = "data.unlabelled={kind: folder, url: images}"
    assert main(["inspect", "--set", "preset=toy", "--set", source]) == 2
    assert "9500x9500 pixels, more than 64000000" in capsys.readouterr().out
