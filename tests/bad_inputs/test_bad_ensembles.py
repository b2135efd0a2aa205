"""Ensembles that are damaged, of another DDPM, or of shapes that their weights do not have."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from tests.bad_inputs.cases import Case, case, put, table

WEIGHTS, CONFIG = "ensemble.safetensors", "config.json"
FIT = "factory fit"
NOT_ONE = "not an ensemble's"


def edited(**fields: object) -> Callable[[Path], object]:
    """The config with other fields; `...` stands for none."""

    def make(folder: Path) -> None:
        content = {**json.loads((folder / CONFIG).read_text()), **fields}
        put(folder, CONFIG, {key: value for key, value in content.items() if value is not ...})

    return make


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        content = load_file(folder / WEIGHTS)
        change(content)
        save_file({key: value.contiguous() for key, value in content.items()}, folder / WEIGHTS)

    return make


def replaced(name: str, data: object) -> Callable[[Path], object]:
    return lambda folder: put(folder, name, data)


def a_folder_at(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return make


def five(content: dict[str, torch.Tensor]) -> None:
    del content["bias_2"]
    content["stranger"] = torch.zeros(1)
    content["weight_2"] = content["weight_2"].mT
    content["bias_3"].fill_(torch.inf)
    content["weight_3"] = content["weight_3"].long()


def config(name: str, *words: str, **fields: object) -> Case:
    return case(name, edited(**fields), (f"/{CONFIG}", " ".join(words), FIT))


DAMAGED = "damaged safetensors"
FOLDERS = [
    case("nothing there", shutil.rmtree, ("/ensemble", "no ensemble", FIT)),
    case("no weights", lambda f: (f / WEIGHTS).unlink(), ("/ensemble", "no ensemble", FIT)),
    case("no config", lambda f: (f / CONFIG).unlink(), ("/ensemble", "no ensemble", FIT)),
    case("a folder as weights", a_folder_at(WEIGHTS), ("/ensemble", "cannot be read", FIT)),
    case("a folder as the config", a_folder_at(CONFIG), ("/ensemble", "cannot be read", FIT)),
    case("a config that is no JSON", replaced(CONFIG, "{"), (f"/{CONFIG}", NOT_ONE, FIT)),
    case("an empty config", replaced(CONFIG, b""), (f"/{CONFIG}", NOT_ONE, FIT)),
    case("a config in bytes", replaced(CONFIG, b"\xff\xfe"), (f"/{CONFIG}", NOT_ONE, FIT)),
    case(
        "a config nested without end",
        replaced(CONFIG, '{"a":' * 100_000),
        (f"/{CONFIG}", NOT_ONE, FIT),
    ),
    case(
        "a config of a network",
        replaced(CONFIG, {"_class_name": "UNet2DModel"}),
        (f"/{CONFIG}", NOT_ONE, FIT),
    ),
    case(
        "weights cut in half",
        lambda f: put(f, WEIGHTS, (f / WEIGHTS).read_bytes()[:-500]),
        (WEIGHTS, DAMAGED, "Copy"),
    ),
    case("empty weights", replaced(WEIGHTS, b""), (WEIGHTS, DAMAGED, "Copy")),
    case("a pickle as weights", replaced(WEIGHTS, b"\x80\x02}q\0."), (WEIGHTS, DAMAGED, "Copy")),
    case(
        "a header of giant length",
        replaced(WEIGHTS, struct.pack("<Q", 2**62) + b"{}"),
        (WEIGHTS, DAMAGED, "Copy"),
    ),
    case(
        "values that are no numbers",
        tensors(lambda t: t["bias_2"].fill_(torch.nan)),
        (WEIGHTS, "bias_2 holds values that are not finite", "Use another"),
    ),
    case(
        "negative variances",
        tensors(lambda t: t["norm_1.running_var"].neg_()),
        (WEIGHTS, "norm_1.running_var holds negative values", "Fit anew"),
    ),
    case(
        "five bad tensors",
        tensors(five),
        *(
            (WEIGHTS, words, "")
            for words in (
                "bias_2 is missing",
                "stranger is unknown",
                "weight_2 has shape",
                "bias_3 holds values that are not finite",
                "weight_3 has type torch.int64",
            )
        ),
    ),
]


def weights(name: str, *keys: str, **fields: object) -> Case:
    """A config that the weights do not fit."""
    return case(name, edited(**fields), *((WEIGHTS, f"{key} has shape", "Copy") for key in keys))


FIRST = "linear_1.bias", "linear_1.weight"
NORM_1 = tuple(f"norm_1.{name}" for name in ("bias", "running_mean", "running_var", "weight"))
CONFIGS = [
    case(
        "another DDPM",
        edited(ddpm_hash="0" * 64),
        ("/ensemble", "was fitted on another DDPM (000000000000)", FIT),
    ),
    config("an unknown field", "normalisation: Extra", normalisation="layer"),
    config("a missing field", "blocks: Field required", blocks=...),
    config("no classes", "class_names", class_names=[], palette=[]),
    config("too many classes", "class_names", class_names=["x"] * 300, palette=[[0, 0, 0]] * 300),
    config("classes that are numbers", "class_names.0", class_names=[1, 2]),
    config("fewer colours than classes", "11 names, 1 colour", palette=[[0, 0, 0]]),
    config("a colour beyond 255", "palette.0.0", palette=[[256, 0, 0]] * 11),
    config("no members", "num_members", num_members=0),
    config("minus one member", "num_members", num_members=-1),
    config("a billion members", "num_members", num_members=10**9),
    config("a giant width", "hidden.0", hidden=[10**12, 4]),
    config("three widths", "hidden", hidden=[8, 4, 2]),
    config("a giant descriptor", "descriptor_dim", descriptor_dim=10**12),
    config("no timesteps", "timesteps", timesteps=[]),
    config("a timestep before the first", "timesteps.0", timesteps=[-1]),
    config("a block before the middle", "blocks.0: Value error, must be", blocks=[-1]),
    config("a block that is no word", "blocks.1: Value error, must be", blocks=[1, "centre"]),
    config("a giant image", "image_size", image_size=2**40),
    weights("a descriptor that is wider", "linear_1.weight", descriptor_dim=4096),
    weights(
        "a class more",
        "bias_3",
        "weight_3",
        class_names=[str(i) for i in range(12)],
        palette=[[0, 0, 0]] * 12,
    ),
    weights("a width that is wider", *FIRST, *NORM_1, "weight_2", hidden=[16, 4]),
]
UNFIT = [
    case(
        "another image size", edited(image_size=32), (f"/{CONFIG}", "image_size = 32", "Fit anew")
    ),
    case(
        "a timestep after the last",
        edited(timesteps=[10, 100]),
        (f"/{CONFIG}", "the DDPM has 0..99", "Fit anew"),
    ),
    case(
        "a block after the last",
        edited(blocks=[1, 7]),
        (f"/{CONFIG}", "blocks = [1, 7], the DDPM has middle, 0..3", "Fit anew"),
    ),
    case(
        "the middle block beside the others",
        edited(blocks=["middle", 1, 2]),
        (f"/{CONFIG}", "descriptor_dim = ", "Fit anew"),
    ),
    case("other blocks", edited(blocks=[0]), (f"/{CONFIG}", "descriptor_dim = ", "Fit anew")),
]


@pytest.fixture
def models(tiny_models: dict[str, str], folder: Path) -> dict[str, str]:
    """The two models' flags; the ensemble is a copy, to be spoiled."""
    shutil.copytree(tiny_models["ensemble_url"], folder / "ensemble")
    return {"--ddpm": tiny_models["ddpm_url"], "--ensemble": str(folder / "ensemble")}


@table(FOLDERS + CONFIGS)
def test_bad_ensembles_stop_a_job_before_it_starts(
    case: Case, refused: Callable[..., None], models: dict[str, str], folder: Path
) -> None:
    case.make(folder / "ensemble")
    flags = [f"{flag}={url}" for flag, url in models.items()]
    refused(case, "generate", "--dry-run", "--out", "data", *flags)


@table(UNFIT)
def test_ensembles_that_do_not_fit_the_network_stop_an_evaluation(
    case: Case, refused: Callable[..., None], models: dict[str, str], folder: Path
) -> None:
    case.make(folder / "ensemble")
    flags = [f"{flag}={url}" for flag, url in models.items()]
    refused(case, "evaluate", "--dry-run", "--out", "scores", *flags)


def test_a_fit_does_not_replace_a_model_of_another_kind(
    tiny_models: dict[str, str], refused: Callable[..., None], folder: Path
) -> None:
    shutil.copytree(Path(tiny_models["ddpm_url"]) / "unet", folder / "model")
    problem = "/model", "holds a config.json that is not an ensemble's", "Choose another --out"
    refused(case("model", save, problem), "fit", "--dry-run", "--out", str(folder / "model"))
