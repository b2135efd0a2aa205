"""Claims about factory.diffusion.folders: what people name in place of a model folder."""

import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file, save_file

from factory import embedded, storage
from factory.diffusion import folders
from factory.diffusion.checkpoints import load_model
from factory.errors import UserError
from factory.labeling.heads import load_head

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny_models: dict[str, str], tmp_path: Path) -> Path:
    """A good model folder, to be spoiled."""
    return Path(shutil.copytree(tiny_models["ddpm_url"], tmp_path / "model"))


def refused(model: Path | str) -> str:
    with pytest.raises(UserError) as refusal:
        load_model(str(model))
    (problem,) = refusal.value.problems
    return problem


def put(path: Path, content: bytes | str = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("ending", [".pt", ".pth", ".ckpt", ".bin", ".pkl"])
def test_a_pickle_is_never_opened_and_told_how_to_become_a_folder(
    ending: str, tmp_path: Path
) -> None:
    message = refused(put(tmp_path / f"model{ending}", b"\x80\x02not looked at"))
    assert "is a pickle, which is never opened" in message
    assert "DDPMPipeline(unet, scheduler).save_pretrained(FOLDER)" in message


@pytest.mark.parametrize("name", [f"unet/{WEIGHTS}", "unet/config.json", "model_index.json"])
def test_a_file_of_a_model_folder_names_that_folder(name: str, folder: Path) -> None:
    message = refused(folder / name)
    assert f"Name a folder: {folder}." in message
    load_model(str(folder))


def test_safetensors_alone_lack_shape_and_schedule(tmp_path: Path) -> None:
    message = refused(put(tmp_path / "model.safetensors"))
    assert "does not tell the network's shape or its noise schedule" in message


def test_a_name_of_the_hub_is_told_to_be_written_as_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "write hf://google/ddpm-cifar10-32." in refused("google/ddpm-cifar10-32")
    for other in ("../google/ddpm", "out/toy/ddpm", "missing", str(tmp_path.parent / "a/b")):
        assert "hf://" not in refused(other)


def test_a_page_of_the_hub_is_told_to_be_written_as_a_url() -> None:
    message = refused("https://huggingface.co/google/ddpm-cifar10-32/tree/main")
    assert message.endswith("is a web page. Write hf://google/ddpm-cifar10-32.")


def test_a_folder_too_high_names_the_models_below(folder: Path) -> None:
    assert f"Name {folder}." in refused(folder.parent)
    cache = folder.parent / "models--google--ddpm"
    shutil.copytree(folder, cache / "snapshots" / "5a3f")
    shutil.copytree(folder, cache / "b")
    assert f"Name {cache}/b or {cache}/snapshots/5a3f." in refused(cache)


def test_the_networks_own_folder_names_the_one_above(folder: Path) -> None:
    assert f"is a part of a model folder. Name all of it: {folder}." in refused(folder / "unet")


def test_a_training_run_names_its_model_or_says_that_it_is_unfinished(
    folder: Path, tmp_path: Path
) -> None:
    put(tmp_path / "run/run.json", "{}")
    assert "run its `factory train` again to finish it" in refused(tmp_path / "run")
    shutil.copytree(folder, tmp_path / "run/model")
    assert f"Name {tmp_path}/run/model." in refused(tmp_path / "run")


def test_ensembles_and_models_are_told_apart() -> None:
    assert "holds an ensemble: name that as models.ensemble_url" in refused(embedded.ENSEMBLE_URL)
    with pytest.raises(UserError, match=r"holds a DDPM: name that as models\.ddpm_url"):
        load_head(embedded.DDPM_URL, "")


def test_averaged_weights_alone_are_read_once_they_are_the_network(folder: Path) -> None:
    (folder / "unet").rename(folder / "unet_ema")
    averaged = {"decay": 0.99, "optimization_step": 5, "use_ema_warmup": True, "power": 0.7}
    config = folder / "unet_ema/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **averaged}))
    assert "only unet_ema/: copy that to unet/" in refused(folder)
    shutil.copytree(folder / "unet_ema", folder / "unet")
    load_model(str(folder))


def variant(folder: Path, dtype: torch.dtype, name: str) -> dict[str, torch.Tensor]:
    """Weights of that type are put beside the others, under a name of diffusers'."""
    tensors = {key: t.to(dtype) for key, t in load_file(folder / "unet" / WEIGHTS).items()}
    save_file(tensors, folder / "unet" / f"diffusion_pytorch_model.{name}.safetensors")
    return tensors


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_a_variant_of_half_precision_alone_is_read_as_float32(
    name: str, dtype: torch.dtype, folder: Path
) -> None:
    whole = load_model(str(folder))
    halves = variant(folder, dtype, name)
    assert load_model(str(folder)).model_hash == whole.model_hash, "the whole weights come first"
    (folder / "unet" / WEIGHTS).unlink()
    state = load_model(str(folder)).unet.state_dict()
    assert all(torch.equal(state[key], value.float()) for key, value in halves.items())


def test_several_variants_or_another_are_named(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet/diffusion_pytorch_model.non_ema.safetensors")
    assert "Rename the one to read to that: diffusion_pytorch_model.non_ema" in refused(folder)
    for name in ("fp16", "bf16"):
        (folder / "unet" / f"{WEIGHTS}.index.{name}.json").write_text("{}")
    assert f"Rename the one to read to {WEIGHTS}.index.json" in refused(folder)


def split(folder: Path, variant: str = "") -> tuple[list[str], Path]:
    """The weights in two files, as diffusers names them, and their index."""
    tensors = load_file(folder / "unet" / WEIGHTS)
    (folder / "unet" / WEIGHTS).unlink()
    names = [f"diffusion_pytorch_model{variant}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    files = {key: names[i % 2] for i, key in enumerate(tensors)}
    for name in names:
        part = {key: value for key, value in tensors.items() if files[key] == name}
        save_file(part, folder / "unet" / name)
    index = folder / "unet" / f"{WEIGHTS}.index{variant}.json"
    return names, put(index, json.dumps({"weight_map": files}))


@pytest.mark.parametrize("variant", ["", ".fp16", ".bf16"])
def test_weights_in_several_files_add_up(variant: str, folder: Path) -> None:
    whole = load_model(str(folder)).unet.state_dict()
    names, index = split(folder, variant)
    loaded = load_model(str(folder)).unet.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in whole.items())
    (folder / "unet" / names[1]).unlink()
    assert names[1] in refused(folder) and "is missing" in refused(folder)
    index.write_text(json.dumps({"weight_map": {"conv_in.bias": "../../secret"}}))
    assert "names no files of its folder" in refused(folder)
    index.unlink()
    assert f"whose index is missing: copy {WEIGHTS}.index.json there, too" in refused(folder)


def test_a_tensor_in_two_files_is_not_taken_from_either(folder: Path) -> None:
    names, _ = split(folder)
    first, second = (load_file(folder / "unet" / name) for name in names)
    twice = next(iter(first))
    save_file({**second, twice: first[twice] * 2}, folder / "unet" / names[1])
    assert f"holds {twice}, which another file holds, too" in refused(folder)


def test_weights_that_git_has_not_fetched_are_not_called_damaged(folder: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
    for name in (f"unet/{WEIGHTS}", "unet/config.json"):
        put(folder / name, pointer)
        assert f"{name}: is a pointer of Git LFS" in refused(folder)


def test_a_checkpoint_of_diffusers_training_is_not_told_to_be_other_weights(folder: Path) -> None:
    checkpoint = folder / "checkpoint-500"
    shutil.copytree(folder / "unet", checkpoint / "unet")
    message = refused(checkpoint)
    assert f"Copy {folder}/scheduler into it, or name {folder}, whose weights may be" in message
    shutil.copytree(folder / "scheduler", checkpoint / "scheduler")
    load_model(str(checkpoint))


@pytest.mark.parametrize(
    ("renamed", "remedy"),
    [
        ("config.json", "scheduler/config.json is it, rename it to that."),
        ("other.json", "Copy it from the model that the weights belong to"),
    ],
)
def test_a_model_without_a_noise_schedule_is_told_where_it_comes_from(
    renamed: str, remedy: str, folder: Path
) -> None:
    file = folder / "scheduler" / "scheduler_config.json"
    file.rename(file.with_name(renamed))
    message = refused(folder)
    assert f"{file}: is missing, and with it the noise schedule." in message and remedy in message


@pytest.mark.parametrize("part", ["scheduler", "scheduler/scheduler_config.json"])
def test_the_schedulers_own_folder_names_the_one_above(part: str, folder: Path) -> None:
    assert refused(folder / part).endswith(f": {folder}.")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "fp16", "in several files"])
def test_the_remedy_for_a_pickle_in_a_model_folder_makes_it_readable(
    kind: str, folder: Path, diffusers: ModuleType
) -> None:
    whole = load_model(str(folder))
    tensors = load_file(folder / "unet" / WEIGHTS)
    (folder / "unet" / WEIGHTS).unlink()
    name = "diffusion_pytorch_model" + {"fp16": ".fp16.bin", "whole": ".bin"}.get(kind, "")
    if kind == "in several files":
        name += "-00001-of-00001.bin"
        index = json.dumps({"metadata": {}, "weight_map": dict.fromkeys(tensors, name)})
        put(folder / "unet/diffusion_pytorch_model.bin.index.json", index)
    torch.save(tensors, folder / "unet" / name)
    message = refused(folder)
    assert "Only safetensors are read" in message
    (command,) = re.findall(r"(UNet2DModel\.from_pretrained.*\))$", message)
    eval(f"diffusers.{command}", {"diffusers": diffusers})
    again = load_model(str(folder)).unet.state_dict()
    assert all(torch.equal(again[key], value) for key, value in whole.unet.state_dict().items())


def test_a_pickle_that_diffusers_does_not_open_is_not_told_to_be_converted(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).rename(folder / "unet/last.ckpt")
    message = refused(folder)
    assert "from_pretrained" not in message and "a UNet2DModel with its weights" in message


def test_no_weights_at_all_are_told_so(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).unlink()
    assert "none is there. Copy the model folder again" in refused(folder)


@pytest.mark.parametrize(
    ("url", "command"),
    [
        (
            "hf://google/ddpm-church-256",
            "DDPMPipeline.from_pretrained('google/ddpm-church-256', use_safetensors=False)",
        ),
        (
            "hf://me/model@v2/unet",
            "DDPMPipeline.from_pretrained('me/model', use_safetensors=False, revision='v2')",
        ),
        ("s3://bucket/model", "Copy the model to a FOLDER of this machine"),
    ],
)
def test_a_pickle_elsewhere_is_converted_on_this_machine(
    url: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "exists", lambda url: False)
    monkeypatch.setattr(storage, "list_files", lambda url: [f"{url}/diffusion_pytorch_model.bin"])
    with pytest.raises(UserError) as refusal:
        folders.weight_files(url)
    assert command in str(refusal.value)
