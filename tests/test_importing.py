"""Claims about `factory import`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from factory.cli import main
from factory.config import Config
from factory.diffusion.checkpoints import load_model
from factory.diffusion.families.diffuseseg import DiffuseSegUNet, Shape
from factory.errors import UserError
from factory.importing import import_weights
from factory.labeling.diffuseseg_mlps import CLASSES, DESCRIPTOR_DIM, FILES, HIDDEN
from factory.labeling.ensemble import EnsembleConfig
from factory.labeling.heads import load_head
from factory.shards.reader import ShardDataset

TINY = Shape(
    down_channels=(8, 16, 32, 32),
    mid_channels=(32, 32),
    last_channels=8,
    time_channels=16,
    num_down_layers=1,
    num_mid_layers=1,
    num_up_layers=1,
)


WIDE = TINY.model_copy(
    update={
        "down_channels": (64, 128, 128, 128),
        "mid_channels": (128, 128),
        "last_channels": 16,
    }
)
"""Its maps are as wide as the published network's: 128, 64 and 16."""


def save_network(shape: Shape, path: Path) -> Path:
    """A file of random weights as DiffuseSeg publishes them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(DiffuseSegUNet(shape).state_dict(), path)
    return path


def save_mlps(folder: Path) -> Path:
    """The ten files of random pixel classifiers as DiffuseSeg publishes them."""
    folder.mkdir()
    for name in FILES:
        parts = {
            "fc1": nn.Linear(DESCRIPTOR_DIM, HIDDEN[0]),
            "bn1": nn.BatchNorm1d(HIDDEN[0]),
            "fc2": nn.Linear(*HIDDEN),
            "bn2": nn.BatchNorm1d(HIDDEN[1]),
            "fc_out": nn.Linear(HIDDEN[1], len(CLASSES)),
        }
        torch.save(nn.ModuleDict(parts).state_dict(), folder / name)
    return folder


@pytest.fixture
def pth(tmp_path: Path) -> Path:
    """The file of a tiny network."""
    return save_network(TINY, tmp_path / "DDPM_Celeb_151.pth")


@pytest.mark.slow
def test_an_imported_network_is_fitted_and_makes_pairs(
    pth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ddpm, ensemble, pairs = (str(tmp_path / name) for name in ("ddpm", "ensemble", "pairs"))
    assert main(["import", str(pth), "--out", ddpm]) == 0
    assert capsys.readouterr().out.strip() == ddpm
    few = ["--set", "data.labelled={kind: toy, num: 2}", "--set", "fit.num_steps=5"]
    few += ["--num-members", "2", "--set", "fit.hidden=[8, 4]"]
    assert main(["fit", "--ddpm", ddpm, "--out", ensemble, *few]) == 0
    models = ["--ddpm", ddpm, "--ensemble", ensemble]
    test = ["--set", "data.test={kind: toy, num: 1, seed: 9}", "--out", str(tmp_path / "scores")]
    assert main(["evaluate", *models, *test]) == 0
    made = ["--num", "1", "--out", pairs, "--workers", "here"]
    made += ["--set", "generate.num_sampling_steps=4", "--set", "generate.batch_size=1"]
    assert main(["generate", *models, *made]) == 0
    samples = list(ShardDataset(pairs))
    assert [sample["image"].shape for sample in samples] == [(3, 64, 64)]
    assert main(["verify", pairs]) == 0


@pytest.mark.slow
def test_the_folder_names_its_family_and_loads_to_the_same_numbers(
    pth: Path, tmp_path: Path
) -> None:
    folder = Path(import_weights(str(pth), str(tmp_path / "ddpm"), None))
    config = json.loads((folder / "unet" / "config.json").read_text())
    assert config["_class_name"] == "DiffuseSegUNet" and config["sample_size"] == 64
    model, tensors = load_model(str(folder)), torch.load(pth, weights_only=True)
    assert {key: value.tolist() for key, value in model.unet.state_dict().items()} == {
        key: value.tolist() for key, value in tensors.items()
    }
    assert model.url == str(folder) and model.clip == 1.0
    assert (model.diffusion.num_timesteps, model.image_size) == (1000, 64)


@pytest.mark.slow
def test_ten_mlps_become_an_ensemble_on_the_imported_network(tmp_path: Path) -> None:
    pth = save_network(WIDE, tmp_path / "wide.pth")
    ddpm = import_weights(str(pth), str(tmp_path / "ddpm"), None)
    mlps, out = save_mlps(tmp_path / "mlps"), str(tmp_path / "ensemble")
    assert main(["import", str(mlps), "--ddpm", ddpm, "--out", out]) == 0
    ensemble, _ = load_head(out, load_model(ddpm).model_hash)
    assert ensemble.config.classes.names == CLASSES.names
    assert isinstance(ensemble.config, EnsembleConfig) and ensemble.config.num_members == 10


def test_a_dry_run_reads_everything_and_writes_nothing(
    pth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert main(["import", str(pth), "--out", str(tmp_path / "ddpm"), "--dry-run"]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    pth.write_bytes(pth.read_bytes()[:1000])
    assert main(["import", str(pth), "--out", str(tmp_path / "ddpm"), "--dry-run"]) == 2
    assert "damaged" in capsys.readouterr().err


def test_what_cannot_be_imported_is_refused_with_what_to_do(pth: Path, tmp_path: Path) -> None:
    other, taken = tmp_path / "other.pth", tmp_path / "taken"
    torch.save(nn.Linear(2, 2).state_dict(), other)
    taken.mkdir()
    (taken / "notes.txt").write_text("mine")
    mlps, ddpm = save_mlps(tmp_path / "mlps"), import_weights(str(pth), str(tmp_path / "d"), None)
    new = str(tmp_path / "new")
    for source, out, ddpm_url, problem in (
        (other, new, None, "is no U-Net of DiffuseSeg's"),
        (pth, str(taken), None, "holds files already, such as notes.txt"),
        (pth, ddpm, None, "holds files already"),
        (tmp_path / "none", new, None, "is missing"),
        (mlps, new, None, "name its folder with --ddpm"),
        (mlps, new, "toy", "--ddpm: toy is not DiffuseSeg's network, .* Import that first"),
        (mlps, new, ddpm, "descriptor_dim = 624, these blocks give 96. Name the network"),
        (pth, new, ddpm, "leave --ddpm out"),
    ):
        with pytest.raises(UserError, match=problem):
            import_weights(str(source), out, ddpm_url)
        assert not Path(new).exists() and (taken / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"_class_name": "NoSuchUNet"}, "another network than UNet2DModel or DiffuseSegUNet"),
        ({"down_channels": [8, 12, 32, 32]}, "8 must divide each"),
        ({"down_channel": [8]}, "down_channel = .* If down_channels is meant, write that"),
        ({"mid_channels": [32]}, "mid_channels"),
        ({"sample_size": 60}, "sample_size = 60 must be a whole number divisible by 8"),
        ({"last_channels": 10**12}, "last_channels"),
        ({"num_up_layers": 2}, "is missing"),
    ],
)
def test_a_folder_that_says_something_else_is_refused(
    change: dict[str, object], problem: str, pth: Path, tmp_path: Path
) -> None:
    folder = Path(import_weights(str(pth), str(tmp_path / "ddpm"), None))
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    with pytest.raises(UserError, match=problem):
        load_model(str(folder))


def test_a_training_does_not_start_from_an_imported_network(
    pth: Path, tmp_path: Path, tiny_config: Callable[..., Config]
) -> None:
    from factory.diffusion import training

    folder = import_weights(str(pth), str(tmp_path / "ddpm"), None)
    config = tiny_config(train={"initial_model_url": folder, "url": str(tmp_path / "run")})
    with pytest.raises(UserError, match="holds a DiffuseSegUNet, which is not trained here"):
        training._check_initial_model(config)
