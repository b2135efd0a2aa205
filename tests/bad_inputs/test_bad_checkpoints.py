"""Model folders and weight files that are damaged, hostile, or of another network."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from factory.diffusion.families.diffuseseg import DiffuseSegUNet, Shape
from factory.importing import read_ddpm
from factory.labeling.diffuseseg_mlps import load_mlps
from tests.bad_inputs.cases import Case, case, put, table

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
CONFIG = "unet/config.json"
SCHEDULER = "scheduler/scheduler_config.json"
COPY = "Copy"
Tensors = dict[str, torch.Tensor]


class Code:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.mkdir, ("owned",)


def lost(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def replaced(name: str, data: object) -> Callable[[Path], object]:
    return lambda folder: put(folder, name, data)


def cut(name: str, left: float) -> Callable[[Path], object]:
    return lambda folder: put(folder, name, half((folder / name).read_bytes(), left))


def half(data: bytes, left: float) -> bytes:
    return data[: int(len(data) * left)]


def edited(name: str, **fields: object) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        put(folder, name, {**json.loads((folder / name).read_text()), **fields})

    return make


def tensors(change: Callable[[Tensors], object]) -> Callable[[Path], None]:
    """Weights that were written anew, whole, with a change."""

    def make(folder: Path) -> None:
        content = load_file(folder / WEIGHTS)
        change(content)
        save_file({key: value.contiguous() for key, value in content.items()}, folder / WEIGHTS)

    return make


def tensor(key: str, value: torch.Tensor) -> Callable[[Path], None]:
    return tensors(lambda content: content.update({key: value}))


def a_folder_at(name: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return make


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "unet/diffusion_pytorch_model.bin")
    lost(WEIGHTS)(folder)


def overlapping(folder: Path) -> None:
    """Two tensors in the same bytes."""
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    text = json.dumps({"conv_in.bias": one, "conv_out.bias": one}).encode()
    put(folder, WEIGHTS, struct.pack("<Q", len(text)) + text + bytes(16))


def beyond(folder: Path) -> None:
    """A tensor of an exabyte in a file of a hundred bytes."""
    vast = {"dtype": "F32", "shape": [2**58], "data_offsets": [0, 2**60]}
    text = json.dumps({"conv_in.bias": vast}).encode()
    put(folder, WEIGHTS, struct.pack("<Q", len(text)) + text + bytes(16))


def five_tensors(content: Tensors) -> None:
    del content["conv_in.bias"]
    content["stranger"] = torch.zeros(1)
    content["conv_in.weight"] = content["conv_in.weight"][:4]
    content["conv_out.bias"].fill_(torch.nan)
    content["conv_out.weight"] = content["conv_out.weight"].long()


DAMAGED = "damaged safetensors"
SHAPED = "has shape (3,), the config says (16,)"
FOLDERS = [
    case("nothing there", shutil.rmtree, ("/model", "no model folder", "Name a folder")),
    case(
        "an empty folder",
        lambda f: (shutil.rmtree(f), f.mkdir()),
        ("/model", "no model folder", "Name a folder"),
    ),
    case(
        "a file in place of the folder",
        lambda f: (shutil.rmtree(f), put(f.parent, f.name, "x")),
        ("/model", "no model folder", "Name a folder"),
    ),
    case("no config", lost(CONFIG), ("/model", "neither unet/config.json", "Name a folder")),
    case(
        "no weights", lost(WEIGHTS), ("/model/unet", "no diffusion_pytorch_model", "save the model")
    ),
    case("no scheduler", lost(SCHEDULER), ("scheduler_config.json", "is missing", "Copy")),
    case(
        "weights as a pickle", as_pickle, ("/unet", "Only safetensors", "safe_serialization=True")
    ),
    case(
        "a pickle named safetensors",
        replaced(WEIGHTS, pickle.dumps(Code())),
        (WEIGHTS, DAMAGED, COPY),
    ),
    case("a folder in place of weights", a_folder_at(WEIGHTS), (WEIGHTS, "cannot be read", COPY)),
    case("a folder in place of the config", a_folder_at(CONFIG), (CONFIG, "cannot be read", COPY)),
    case("empty weights", replaced(WEIGHTS, b""), (WEIGHTS, DAMAGED, COPY)),
    case("weights of zeros", replaced(WEIGHTS, bytes(4096)), (WEIGHTS, DAMAGED, COPY)),
    case("a web page as weights", replaced(WEIGHTS, b"<html>404</html>"), (WEIGHTS, DAMAGED, COPY)),
    case(
        "a pointer in place of weights",
        replaced(WEIGHTS, "version https://git-lfs.github.com/spec/v1\n"),
        (WEIGHTS, "is a pointer of Git LFS", "git lfs pull"),
    ),
    case("weights cut in their header", cut(WEIGHTS, 0.01), (WEIGHTS, DAMAGED, COPY)),
    case("weights cut in half", cut(WEIGHTS, 0.5), (WEIGHTS, DAMAGED, COPY)),
    case("weights that lack their last byte", cut(WEIGHTS, 0.99999), (WEIGHTS, DAMAGED, COPY)),
    case(
        "a header of giant length",
        replaced(WEIGHTS, struct.pack("<Q", 2**62) + b"{}"),
        (WEIGHTS, DAMAGED, COPY),
    ),
    case(
        "a header that is no JSON",
        replaced(WEIGHTS, struct.pack("<Q", 4) + b"{[}]"),
        (WEIGHTS, DAMAGED, COPY),
    ),
    case("tensors that overlap", overlapping, (WEIGHTS, DAMAGED, COPY)),
    case("a tensor beyond the file", beyond, (WEIGHTS, DAMAGED, COPY)),
    case(
        "a missing tensor",
        tensors(lambda t: t.pop("conv_in.bias")),
        (WEIGHTS, "tensor conv_in.bias is missing", COPY),
    ),
    case(
        "a tensor too many",
        tensor("stranger", torch.zeros(1)),
        (WEIGHTS, "tensor stranger is unknown", COPY),
    ),
    case(
        "a shape", tensor("conv_in.bias", torch.zeros(3)), (WEIGHTS, f"conv_in.bias {SHAPED}", COPY)
    ),
    case(
        "a turned matrix",
        tensors(lambda t: t.update({"conv_out.weight": t["conv_out.weight"].mT[:1]})),
        (WEIGHTS, "conv_out.weight has shape", COPY),
    ),
    case(
        "one value that is no number",
        tensors(lambda t: t["conv_in.weight"].view(-1)[5].fill_(torch.nan)),
        (WEIGHTS, "conv_in.weight holds values that are not finite", "Use another checkpoint"),
    ),
    case(
        "an infinite value",
        tensors(lambda t: t["conv_in.bias"][3].fill_(-torch.inf)),
        (WEIGHTS, "conv_in.bias holds values that are not finite", "Use another checkpoint"),
    ),
    case(
        "a double beyond floats",
        tensor("conv_in.bias", torch.full((16,), 1e300, dtype=torch.float64)),
        (WEIGHTS, "conv_in.bias holds values that are not finite", "Use another checkpoint"),
    ),
    case(
        "whole numbers",
        tensor("conv_in.bias", torch.zeros(16, dtype=torch.int32)),
        (WEIGHTS, "conv_in.bias has type torch.int32, not floating point", COPY),
    ),
    case(
        "complex numbers",
        tensor("conv_in.bias", torch.zeros(16, dtype=torch.complex64)),
        (WEIGHTS, "conv_in.bias has type torch.complex64", COPY),
    ),
    case(
        "truth values",
        tensor("conv_in.bias", torch.zeros(16, dtype=torch.bool)),
        (WEIGHTS, "conv_in.bias has type torch.bool", COPY),
    ),
    case(
        "five bad tensors at once",
        tensors(five_tensors),
        *(
            (WEIGHTS, words, "")
            for words in (
                "conv_in.bias is missing",
                "stranger is unknown",
                "conv_in.weight has shape",
                "conv_out.bias holds values that are not finite",
                "conv_out.weight has type torch.int64",
            )
        ),
    ),
]


def config(name: str, what: str, remedy: str = "", file: str = CONFIG, **fields: object) -> Case:
    return case(name, edited(file, **fields), (file, what, remedy))


KIND = "Use a model of the google/ddpm-* kind, or train one"
CONFIGS = [
    case("a config that is no JSON", replaced(CONFIG, "{"), (CONFIG, "not JSON", COPY)),
    case("an empty config", replaced(CONFIG, b""), (CONFIG, "not JSON", COPY)),
    case("a config in bytes", replaced(CONFIG, b"\xff\xfe\0"), (CONFIG, "not JSON", COPY)),
    case("a config that is a list", replaced(CONFIG, []), (CONFIG, "expected a JSON object", COPY)),
    case(
        "a config nested without end",
        replaced(CONFIG, '{"a":' * 100_000),
        (CONFIG, "not JSON", COPY),
    ),
    case(
        "a scheduler that is nothing",
        replaced(SCHEDULER, "null"),
        (SCHEDULER, "expected a JSON object", COPY),
    ),
    config(
        "another network",
        "cross_attention_dim = 768 is not implemented",
        KIND,
        cross_attention_dim=768,
    ),
    config("another activation", "act_fn = 'elu'", KIND, act_fn="elu"),
    config("classes", "num_class_embeds = 10", KIND, num_class_embeds=10),
    config("grey in, colours out", "must both be 3, or 1 for grey", KIND, in_channels=1),
    config(
        "other blocks",
        "are not implemented",
        KIND,
        down_block_types=["DownBlock2D", "SkipDownBlock2D"],
    ),
    config("no widths", "must be lists", COPY, block_out_channels=None),
    config("a width that is a word", "block_out_channels", COPY, block_out_channels=[16, "x"]),
    config("a giant width", "less than or equal to 16384", COPY, block_out_channels=[16, 2**40]),
    config(
        "a million levels",
        "at most 8 items",
        COPY,
        block_out_channels=[16] * 10**4,
        down_block_types=["DownBlock2D"] * 10**4,
        up_block_types=["UpBlock2D"] * 10**4,
    ),
    config("a billion layers", "less than or equal to 16", COPY, layers_per_block=10**9),
    config("negative groups", "norm_num_groups = -8", COPY, norm_num_groups=-8),
    config(
        "groups that divide nothing",
        "16 must be divisible by norm_num_groups = 32",
        "",
        norm_num_groups=32,
    ),
    config("no image size", "sample_size = 0", "", sample_size=0),
    config("an odd image size", "sample_size = 15", "divisible by 2", sample_size=15),
    config("a giant image size", "sample_size = 1099511627776", "at most 4096", sample_size=2**40),
    config("not a number as dropout", "dropout = nan", COPY, dropout=float("nan")),
    config(
        "another prediction",
        "prediction_type = 'sample'",
        KIND,
        SCHEDULER,
        prediction_type="sample",
    ),
    config(
        "another schedule",
        "beta_schedule = 'squaredcos_cap_v2'",
        KIND,
        SCHEDULER,
        beta_schedule="squaredcos_cap_v2",
    ),
    config("no timesteps", "num_timesteps = 0", COPY, SCHEDULER, num_train_timesteps=0),
    config(
        "endless timesteps",
        "less than or equal to 100000",
        COPY,
        SCHEDULER,
        num_train_timesteps=10**12,
    ),
    config("betas beyond 1", "must be below 1", "", SCHEDULER, beta_end=1.5),
    config(
        "betas that are no numbers", "beta_start = nan", COPY, SCHEDULER, beta_start=float("nan")
    ),
]


@pytest.fixture
def model(tiny_models: dict[str, str], folder: Path) -> Path:
    """A good model folder, to be spoiled."""
    return Path(shutil.copytree(tiny_models["ddpm_url"], folder / "model"))


@table(FOLDERS + CONFIGS)
def test_bad_models_stop_a_job_before_it_starts(
    case: Case, refused: Callable[..., None], model: Path, folder: Path
) -> None:
    case.make(model)
    refused(case, "generate", "--dry-run", "--out", "data", "--ddpm", str(model))
    assert not (folder / "owned").exists()


@pytest.mark.parametrize(
    "make",
    [
        edited(CONFIG, block_out_channels=[32, 64], layers_per_block=2),
        replaced(WEIGHTS, save({})),
        replaced(WEIGHTS, save({f"layer.{i}": torch.zeros(1) for i in range(1000)})),
        tensors(lambda content: [tensor.fill_(torch.nan) for tensor in content.values()]),
    ],
    ids=["another shape", "no weights", "weights of another", "all not finite"],
)
def test_a_wholly_different_network_is_told_in_a_screen_of_lines(
    make: Callable[[Path], object], command: Callable[..., tuple[int, str, str]], model: Path
) -> None:
    make(model)
    code, _, err = command("generate", "--dry-run", "--out", "data", "--ddpm", str(model))
    lines = err.splitlines()
    assert code == 2 and len(lines) == 21
    assert all(WEIGHTS in line for line in lines[:-1]) and "more" in lines[-1]


SMALL = Shape(
    down_channels=(8, 16),
    mid_channels=(16, 8),
    last_channels=8,
    time_channels=8,
    num_down_layers=1,
    num_mid_layers=1,
    num_up_layers=1,
)
SMALL_UNET = DiffuseSegUNet(SMALL).state_dict()


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def unet(**changes: torch.Tensor) -> bytes:
    return saved({**SMALL_UNET, **{key.replace("__", "."): v for key, v in changes.items()}})


def bomb() -> bytes:
    """20 MiB of zeros in a file of 20 KiB; it might as well be petabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", pickle.dumps(bytes(20 * 2**20), protocol=2))
        file.writestr("archive/version", "3\n")
    return buffer.getvalue()


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def pth(name: str, data: bytes, what: str, remedy: str = "") -> Case:
    return case(name, lambda folder: put(folder, "unet.pth", data), ("/unet.pth", what, remedy))


NO_FILE = "is no file of torch.save's"
PTHS = [
    pth("an empty file", b"", NO_FILE, "Name one of"),
    pth("a web page", b"<html>", NO_FILE, "Name one of"),
    pth("a bare pickle with code", pickle.dumps(Code()), NO_FILE, "Name one of"),
    pth("safetensors", save({"a": torch.zeros(1)}), NO_FILE, "Name one of"),
    pth("code among tensors", saved({**SMALL_UNET, "x": Code()}), "such as code", "state_dict()"),
    pth("a whole module", saved(torch.nn.Linear(1, 1)), "such as code", "state_dict()"),
    pth("a list", saved([torch.zeros(1)]), "is no state dict", "state_dict()"),
    pth(
        "a state dict in another", saved({"model": SMALL_UNET}), "is no state dict", "state_dict()"
    ),
    pth("cut in half", half(unet(), 0.5), "damaged", "Copy it again"),
    pth("all but the last byte", unet()[:-1], "damaged", "Copy it again"),
    pth("a flipped bit in the index", flipped(unet(), -30), "damaged", "Copy it again"),
    pth("a zip without a state dict", bomb()[:4] + bytes(500), "damaged", "Copy it again"),
    pth("a zip bomb", bomb(), "compressed", "Save the model's state_dict() with torch.save"),
    pth("nothing in it", saved({}), "is no U-Net of DiffuseSeg's", "Name a .pth file"),
    pth("another network", saved(torch.nn.Linear(8, 8).state_dict()), "is no U-Net", "Name a .pth"),
    pth(
        "a width of a trillion",
        unet(conv_in__bias=torch.zeros(1).expand(10**12)),
        "conv_in.bias has shape (1000000000000,)",
    ),
    pth(
        "widths of a trillion",
        saved({key: torch.zeros(1).expand(10**12) for key in SMALL_UNET}),
        "is no U-Net of DiffuseSeg's",
        "Name a .pth file",
    ),
    pth("a sparse tensor", unet(conv_in__bias=torch.zeros(8).to_sparse()), "conv_in.bias", "plain"),
    pth(
        "a tensor without values",
        unet(conv_in__bias=torch.zeros(8, device="meta")),
        "conv_in.bias",
        "plain",
    ),
    pth("a value that is no number", unet(conv_in__bias=torch.full((8,), torch.nan)), "not finite"),
    pth("whole numbers", unet(conv_in__bias=torch.zeros(8).long()), "torch.int64, not floating"),
    pth("a tensor too many", unet(stranger=torch.zeros(1)), "tensor stranger is unknown"),
    case("a missing file", lambda folder: None, ("/unet.pth", "is missing", "Download")),
    case(
        "a folder", lambda f: (f / "unet.pth").mkdir(), ("/unet.pth", "cannot be read", "Download")
    ),
]


@table(PTHS)
def test_bad_pickled_weights_are_refused_and_run_nothing(
    case: Case, refused_by: Callable[..., None], folder: Path
) -> None:
    case.make(folder)
    refused_by(case, lambda: read_ddpm(str(folder / "unet.pth")))
    assert not (folder / "owned").exists()


def test_ten_bad_classifiers_are_told_at_once(
    refused_by: Callable[..., None], folder: Path
) -> None:
    contents = [b"", b"<html>", saved([]), saved(Code()), bomb()] * 2
    words = [NO_FILE, NO_FILE, "no state dict", "such as code", "compressed"] * 2
    urls = [str(put(folder, f"mlp_{i}.pt", data)) for i, data in enumerate(contents)]
    problems = [(url, word, "") for url, word in zip(urls, words, strict=True)]
    refused_by(case("ten", str, *problems), lambda: load_mlps(urls))
    assert not (folder / "owned").exists()
