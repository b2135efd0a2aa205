"""Claims about factory.diffusion.checkpoints, with diffusers opening ours and ours theirs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from factory import embedded
from factory.config import DiffusionConfig, UNetConfig
from factory.diffusion.checkpoints import Model, load_model, save_model
from factory.diffusion.families.unet2d import UNet
from factory.diffusion.noise import normal_noise
from factory.diffusion.prediction import epsilon_fn
from factory.diffusion.samplers import ddim
from factory.diffusion.schedule import linear_schedule
from factory.errors import UserError

SHAPE = UNetConfig(
    block_out_channels=(8, 16), layers_per_block=1, attention_levels=(1,), norm_num_groups=4
)
SHORT = DiffusionConfig(num_timesteps=12, beta_start=1e-2, beta_end=0.5)
T = torch.tensor([3, 11])
CONFIG, WEIGHTS = "unet/config.json", "unet/diffusion_pytorch_model.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"


@pytest.fixture(scope="module")
def saved(
    tmp_path_factory: pytest.TempPathFactory, randomize: Callable[..., nn.Module]
) -> tuple[UNet, Path]:
    """A random network and the folder that we made of it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    unet = randomize(UNet(SHAPE)).eval().requires_grad_(False)
    save_model(unet, SHORT, 16, str(folder), card="# A card\n")
    return unet, folder


@pytest.fixture
def folder(saved: tuple[UNet, Path], tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(saved[1], tmp_path / "model"))


def edit(file: Path, **fields: Any) -> None:
    """Sets fields of a JSON file; ... removes one."""
    content = {**json.loads(file.read_text()), **fields}
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as refusal:
        load_model(str(folder))
    for problem in refusal.value.problems:
        assert str(folder) in problem, "a problem names the folder"
    return str(refusal.value)


def x_t() -> torch.Tensor:
    return normal_noise([1, 2], (3, 16, 16), stream=0)


@torch.inference_mode()
def test_a_saved_model_loads_to_the_same_frozen_network(saved: tuple[UNet, Path]) -> None:
    unet, folder = saved
    model = load_model(str(folder))
    assert (model.diffusion, model.image_size) == (SHORT, 16)
    assert model.unet.config == SHAPE
    assert not model.unet.training
    assert not any(parameter.requires_grad for parameter in model.unet.parameters())
    assert torch.equal(model.unet(x_t(), T), unet(x_t(), T))
    assert (folder / "README.md").read_text() == "# A card\n"


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"clip_sample": False},
        {"clip_sample_range": 0.5},
        {"prediction_type": "v_prediction"},
        {"prediction_type": "v_prediction", "clip_sample": False},
    ],
    ids=["as saved", "unclipped", "clipped to a half", "of v", "of v, unclipped"],
)
def test_diffusers_opens_our_folder_and_draws_our_samples(
    fields: dict[str, Any],
    saved: tuple[UNet, Path],
    folder: Path,
    diffusers: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from diffusers.pipelines.ddpm import pipeline_ddpm
    from diffusers.schedulers import scheduling_ddpm

    edit(folder / SCHEDULER, **fields)
    unet, model = saved[0], load_model(str(folder))
    pipeline = diffusers.DDPMPipeline.from_pretrained(str(folder))
    pipeline.set_progress_bar_config(disable=True)
    torch.testing.assert_close(pipeline.unet(x_t(), T).sample, unet(x_t(), T), atol=2e-5, rtol=0)
    timesteps = iter(range(11, 0, -1))
    monkeypatch.setattr(pipeline_ddpm, "randn_tensor", lambda *a, **k: x_t())
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *a, **k: noise(next(timesteps)))
    theirs = pipeline(batch_size=2, num_inference_steps=12, output_type="np").images
    schedule, clip = linear_schedule(SHORT), model.clip
    network = epsilon_fn(model.diffusion.prediction_type, schedule, unet)
    every = range(schedule.num_timesteps - 1, -1, -1)
    ours = ddim(network, schedule, x_t(), every, 1.0, noise, clip).clamp(-1, 1)
    usual = ddim(network, schedule, x_t(), every, 1.0, noise)
    assert (clip == 1) == torch.equal(ours, usual), "clipping matters to these samples"
    torch.testing.assert_close(
        ours.permute(0, 2, 3, 1) / 2 + 0.5, torch.from_numpy(theirs), atol=5e-5, rtol=0
    )


def noise(t: int) -> torch.Tensor:
    return normal_noise([1, 2], (3, 16, 16), stream=t + 1)


@pytest.fixture(scope="module")
def theirs(
    tmp_path_factory: pytest.TempPathFactory,
    diffusers: ModuleType,
    reference_unet: Callable[..., nn.Module],
) -> tuple[nn.Module, Path]:
    """A network of diffusers and the folder that diffusers made of it."""
    folder = tmp_path_factory.mktemp("theirs") / "pipeline"
    unet = reference_unet(SHAPE.model_copy(update={"layers_per_block": 2})).requires_grad_(False)
    scheduler = diffusers.DDPMScheduler(
        SHORT.num_timesteps, beta_start=SHORT.beta_start, beta_end=SHORT.beta_end
    )
    diffusers.DDPMPipeline(unet, scheduler).save_pretrained(folder)
    return unet, folder


@torch.inference_mode()
def test_a_grey_network_of_diffusers_loads_and_predicts_the_same(
    tmp_path: Path, diffusers: ModuleType, reference_unet: Callable[..., nn.Module]
) -> None:
    shape = SHAPE.model_copy(update={"layers_per_block": 2})
    unet = reference_unet(shape, in_channels=1, out_channels=1)
    scheduler = diffusers.DDPMScheduler(SHORT.num_timesteps, beta_end=SHORT.beta_end)
    diffusers.DDPMPipeline(unet, scheduler).save_pretrained(tmp_path / "grey")
    model = load_model(str(tmp_path / "grey"))
    grey = x_t()[:, :1]
    assert model.channels == 1
    assert model.unet.config == shape
    torch.testing.assert_close(model.unet(grey, T), unet(grey, T).sample, atol=2e-5, rtol=0)
    ours = tmp_path / "ours"
    save_model(model.unet, model.diffusion, 16, str(ours))
    opened = diffusers.DDPMPipeline.from_pretrained(str(ours)).unet
    torch.testing.assert_close(opened(grey, T).sample, unet(grey, T).sample, atol=2e-5, rtol=0)


def same_as(model: Model, unet: nn.Module) -> bool:
    with torch.inference_mode():
        return torch.allclose(model.unet(x_t(), T), unet(x_t(), T).sample, atol=2e-5, rtol=0)


def test_what_a_network_predicts_is_kept_and_is_part_of_the_models_identity(
    saved: tuple[UNet, Path], folder: Path, tmp_path: Path
) -> None:
    of_v = SHORT.model_copy(update={"prediction_type": "v_prediction"})
    save_model(saved[0], of_v, 16, str(tmp_path / "of_v"))
    model, of_epsilon = load_model(str(tmp_path / "of_v")), load_model(str(folder))
    assert model.diffusion == of_v and of_epsilon.diffusion == SHORT
    assert model.model_hash != of_epsilon.model_hash


def test_a_model_that_predicts_the_noise_has_the_identity_that_older_versions_gave_it() -> None:
    head = json.loads((Path(embedded.ENSEMBLE_URL) / "config.json").read_text())
    assert load_model(embedded.DDPM_URL).model_hash == head["ddpm_hash"]


def test_we_open_what_diffusers_saves(theirs: tuple[nn.Module, Path]) -> None:
    unet, folder = theirs
    model = load_model(str(folder))
    assert same_as(model, unet)
    assert (model.diffusion, model.image_size) == (SHORT, 16)
    assert model.unet.config.layers_per_block == 2


def test_we_open_the_root_layout_with_old_scheduler_names(
    theirs: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    unet, folder = theirs
    shutil.copytree(folder / "unet", tmp_path / "root")
    old = {
        "_class_name": "GaussianDDPMScheduler",
        "timesteps": 12,
        "beta_start": 1e-2,
        "beta_end": 0.5,
        "beta_schedule": "linear",
        "clip_predicted_image": True,
        "variance_type": "fixed_large",
    }
    (tmp_path / "root" / "scheduler_config.json").write_text(json.dumps(old))
    model = load_model(str(tmp_path / "root"))
    assert same_as(model, unet) and model.diffusion == SHORT
    assert model.model_hash == load_model(str(folder)).model_hash


@pytest.mark.slow
def test_a_network_of_diffusers_default_convention_is_read_saved_and_opened_by_it(
    diffusers: ModuleType, folder: Path, tmp_path: Path, randomize: Callable[..., nn.Module]
) -> None:
    google = load_model(str(folder))
    shutil.rmtree(folder / "unet")
    unet = diffusers.UNet2DModel(
        sample_size=16,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    unet.load_state_dict(google.unet.state_dict())
    unet.eval().save_pretrained(folder / "unet")
    model = load_model(str(folder))
    assert same_as(model, unet) and not same_as(google, unet), "of the same tensors"
    assert model.model_hash != google.model_hash
    save_model(model.unet, model.diffusion, 16, str(tmp_path / "again"))
    assert same_as(load_model(str(tmp_path / "again")), unet)
    reopened = diffusers.DDPMPipeline.from_pretrained(str(tmp_path / "again")).unet
    assert same_as(model, reopened)


def test_an_absent_field_means_what_it_means_to_diffusers(
    diffusers: ModuleType, folder: Path
) -> None:
    edit(folder / CONFIG, freq_shift=..., attention_head_dim=..., norm_eps=..., act_fn=...)
    theirs = diffusers.UNet2DModel.from_pretrained(folder / "unet").eval()
    assert same_as(load_model(str(folder)), theirs)


@pytest.mark.parametrize(
    ("file", "fields", "said"),
    [
        (CONFIG, {"down_block_types": ["DownBlock2D", "ResnetDownsampleBlock2D"]}, "block types"),
        (CONFIG, {"up_block_types": ["UpBlock2D", "SkipUpBlock2D"]}, "block types"),
        (CONFIG, {"down_block_types": ["DownBlock2D"]}, "block types"),
        (CONFIG, {"down_block_types": None}, "must be lists"),
        (CONFIG, {"down_block_types": [["DownBlock2D"], 5]}, "block types"),
        (CONFIG, {"up_block_types": None}, "block types"),
        (CONFIG, {"block_out_channels": ...}, "must be lists"),
        (CONFIG, {"block_out_channels": 5}, "must be lists"),
        (CONFIG, {"block_out_channels": [8, "x"]}, "block_out_channels"),
        (CONFIG, {"block_out_channels": [8, 18]}, "18 must be divisible by norm_num_groups = 4"),
        (CONFIG, {"layers_per_block": 0}, "layers_per_block = 0"),
        (CONFIG, {"layers_per_block": [1, 1]}, "layers_per_block"),
        (CONFIG, {"norm_num_groups": None}, "norm_num_groups = None"),
        (CONFIG, {"dropout": 2.0}, "dropout = 2.0"),
        (CONFIG, {"in_channels": 6}, "are 6 and 3. Use a model"),
        (CONFIG, {"out_channels": 6}, "are 3 and 6: it predicts variances, too"),
        (CONFIG, {"in_channels": 2, "out_channels": 2}, "are 2 and 2. Use a model"),
        (CONFIG, {"sample_size": None}, "sample_size = None"),
        (CONFIG, {"sample_size": [16, 32]}, "sample_size = [16, 32]"),
        (CONFIG, {"sample_size": [16]}, "sample_size = [16]"),
        (CONFIG, {"_class_name": "UNet2DConditionModel"}, "which text or other embeddings lead"),
        (CONFIG, {"in_channels": 4, "out_channels": 4}, "are 4 and 4: a latent model's"),
        (CONFIG, {"sample_size": 15}, "sample_size = 15"),
        (CONFIG, {"class_embed_type": "timestep"}, "class_embed_type = 'timestep'"),
        (CONFIG, {"resnet_time_scale_shift": "spatial"}, "resnet_time_scale_shift"),
        (CONFIG, {"norm_num_group": 2}, "If norm_num_groups is meant, write that"),
        (CONFIG, {"attention_legacy_order": True}, "attention_legacy_order = True is not impl"),
        (SCHEDULER, {"prediction_type": "sample"}, "prediction_type = 'sample'"),
        (SCHEDULER, {"beta_schedule": "squaredcos_cap_v2"}, "beta_schedule"),
        (SCHEDULER, {"trained_betas": [0.1]}, "trained_betas"),
        (SCHEDULER, {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        (SCHEDULER, {"num_train_timesteps": 0}, "num_timesteps = 0"),
        (SCHEDULER, {"beta_start": 0}, "beta_start = 0"),
        (SCHEDULER, {"beta_end": 1.5}, "must be below 1"),
    ],
)
def test_what_our_network_does_not_do_is_refused_by_name(
    file: str, fields: dict[str, Any], said: str, folder: Path
) -> None:
    edit(folder / file, **fields)
    assert said in refused(folder)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (CONFIG, b"{", "not JSON"),
        (CONFIG, b"\xff\xfe", "not JSON"),
        (CONFIG, b"[]", "expected a JSON object"),
        (SCHEDULER, b"null", "expected a JSON object"),
        (SCHEDULER, None, "is missing"),
        (CONFIG, None, "neither unet/config.json nor config.json"),
        (WEIGHTS, None, "Only safetensors are read"),
        (WEIGHTS, b"", "damaged safetensors"),
        (WEIGHTS, b"\x80\x02}q\x00.", "damaged safetensors"),
        (WEIGHTS, b"\xff" * 64, "damaged safetensors"),
    ],
)
def test_a_missing_or_damaged_file_is_refused_by_name(
    file: str, content: bytes | None, said: str, folder: Path
) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    assert said in refused(folder)


def test_an_empty_place_is_refused(tmp_path: Path) -> None:
    assert "no model folder" in refused(tmp_path / "nothing")


def test_weights_as_a_pickle_are_refused(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "unet/diffusion_pytorch_model.bin")
    assert "safe_serialization=True" in refused(folder)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.999])
def test_cut_off_weights_are_refused(kept: float, folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: int(len(data) * kept)])
    assert "damaged safetensors" in refused(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("conv_in.bias"), "conv_in.bias is missing"),
        (lambda tensors: tensors.update(more=torch.zeros(1)), "tensor more is unknown"),
        (
            lambda tensors: tensors.update({"conv_in.bias": torch.zeros(9)}),
            "conv_in.bias has shape (9,), the config says (8,)",
        ),
        (
            lambda tensors: (
                tensors["mid_block.resnets.0.conv1.weight"].view(-1)[7:8].fill_(float("nan"))
            ),
            "mid_block.resnets.0.conv1.weight holds values that are not finite",
        ),
        (lambda tensors: tensors["conv_out.bias"].fill_(float("inf")), "conv_out.bias holds"),
        (
            lambda tensors: tensors.update({"conv_in.bias": torch.zeros(8, dtype=torch.int32)}),
            "conv_in.bias has type torch.int32, not floating point",
        ),
    ],
    ids=["missing", "extra", "shape", "nan", "inf", "integer"],
)
def test_a_wrong_tensor_is_refused_by_name(
    change: Callable[[dict[str, torch.Tensor]], object], said: str, folder: Path
) -> None:
    edit_tensors(folder, change)
    message = refused(folder)
    assert said in message and len(message.splitlines()) == 1


def test_every_wrong_tensor_is_told(folder: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["conv_in.bias"]
        tensors["conv_in.weight"] = tensors["conv_in.weight"][:4].clone()
        tensors["conv_out.bias"].fill_(float("nan"))

    edit_tensors(folder, spoil)
    message = refused(folder)
    assert all(name in message for name in ("conv_in.bias", "conv_in.weight", "conv_out.bias"))


def test_the_hash_changes_with_a_weight_and_with_the_schedule_alone(
    saved: tuple[UNet, Path], folder: Path
) -> None:
    original = load_model(str(saved[1])).model_hash
    assert len(original) == 64
    assert load_model(str(folder)).model_hash == original
    (folder / "README.md").write_text("another card")
    edit(folder / CONFIG, _diffusers_version="0.1")
    assert load_model(str(folder)).model_hash == original
    edit(folder / SCHEDULER, beta_end=0.4)
    other_schedule = load_model(str(folder)).model_hash
    edit(folder / SCHEDULER, beta_end=0.5)
    assert load_model(str(folder)).model_hash == original
    edit_tensors(folder, lambda tensors: tensors["conv_out.bias"].add_(1e-3))
    other_weights = load_model(str(folder)).model_hash
    assert len({original, other_schedule, other_weights}) == 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_folder_of_halves_loads_as_float32(
    dtype: torch.dtype, saved: tuple[UNet, Path], tmp_path: Path
) -> None:
    unet, whole = saved
    save_model(unet, SHORT, 16, str(tmp_path), dtype=dtype)
    model = load_model(str(tmp_path))
    for key, value in model.unet.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, unet.state_dict()[key].to(dtype).float())
    assert (tmp_path / WEIGHTS).stat().st_size < 0.7 * (whole / WEIGHTS).stat().st_size
    assert model.model_hash != load_model(str(whole)).model_hash


def test_a_model_is_saved_anywhere_and_over_an_older_one(saved: tuple[UNet, Path]) -> None:
    unet, folder = saved
    url = "memory://test-checkpoints/model"
    save_model(UNet(SHAPE), SHORT, 16, url)
    save_model(unet, SHORT, 16, url)
    assert load_model(url).model_hash == load_model(str(folder)).model_hash


def test_the_old_names_of_attentions_tensors_are_read(tmp_path, tiny_models) -> None:
    new = load_model(tiny_models["ddpm_url"])
    folder = tmp_path / "old"
    shutil.copytree(tiny_models["ddpm_url"], folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    renamed = {}
    for key, value in load_file(weights).items():
        for name, old_name in old.items():
            key = key.replace(name, old_name)
        renamed[key] = value
    assert any(".proj_attn." in key for key in renamed)
    save_file(renamed, weights)
    x_t, t = torch.randn(1, 3, 16, 16), torch.tensor([7])
    assert torch.equal(load_model(str(folder)).unet(x_t, t), new.unet(x_t, t))


def test_two_equal_numbers_are_a_square_images_size(saved: tuple[UNet, Path], folder: Path) -> None:
    edit(folder / CONFIG, sample_size=[16, 16])
    model = load_model(str(folder))
    assert model.image_size == 16
    assert model.model_hash == load_model(str(saved[1])).model_hash


def test_problems_of_network_scheduler_and_pipeline_are_told_at_once(folder: Path) -> None:
    edit(folder / CONFIG, freq_shift=2, act_fn="elu")
    edit(folder / SCHEDULER, _class_name="EDMEulerScheduler")
    edit(folder / "model_index.json", vqvae=["diffusers", "VQModel"])
    message = refused(folder)
    assert len(message.splitlines()) == 4
    assert "EDMEulerScheduler" in message and "has vqvae beside unet and scheduler" in message


def test_a_pipeline_of_more_than_network_and_scheduler_is_refused(folder: Path) -> None:
    edit(folder / "model_index.json", safety_checker=[None, None])
    load_model(str(folder))
    edit(folder / "model_index.json", text_encoder=["transformers", "CLIPTextModel"])
    assert "has text_encoder beside" in refused(folder)
