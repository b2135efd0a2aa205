"""Claims about factory.labeling.commands: `factory probe`, `factory fit`, `factory evaluate`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.config import load_config
from factory.data.toy import faces
from factory.diffusion.checkpoints import load_model
from factory.errors import UserError
from factory.labeling import commands
from factory.labeling.ensemble import EnsembleConfig
from factory.labeling.heads import load_head
from factory.values import block_word

QUICK = {"num_members": 2, "hidden": [8, 4], "num_steps": 3, "pixels_per_step": 64}
FEATURES = {"timesteps": [10, 40], "blocks": [1, 2]}


def data(labelled_seed: int = 2, test_seed: int = 3) -> dict[str, object]:
    return {
        "image_size": 16,
        "labelled": {"kind": "toy", "num": 3, "seed": labelled_seed},
        "test": {"kind": "toy", "num": 4, "seed": test_seed},
    }


@pytest.fixture
def make(tiny_config, tiny_models, tmp_path: Path):
    """A config of quick sections; its ensemble is new, its evaluation below tmp_path."""

    def config(ensemble_url: str | None = str(tmp_path / "ensemble"), **sections: object):
        models = {"ddpm_url": tiny_models["ddpm_url"], "ensemble_url": ensemble_url}
        return tiny_config(
            **{
                "data": data(),
                "models": models,
                "fit": QUICK,
                "evaluate": {"url": str(tmp_path / "evaluation")},
                **sections,
            }
        )

    return config


@pytest.fixture
def pairs(tmp_path: Path) -> dict[str, object]:
    """A source of labelled images of two other classes."""
    folder = tmp_path / "pairs"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(folder / "images" / "a.png")
    Image.fromarray(np.eye(16, dtype=np.uint8)).save(folder / "masks" / "a.png")
    (folder / "classes.json").write_text('["nothing", "cell"]')
    return {
        "kind": "pairs",
        "url": str(folder),
        "classes_url": str(folder / "classes.json"),
    }


@pytest.mark.slow
def test_fit_writes_an_ensemble_that_evaluate_measures(make, tiny_models, tmp_path, capsys) -> None:
    config = make()
    assert commands.fit(config) == str(tmp_path / "ensemble")
    assert "fit | warning: no pixel of hat, which can never be learned" in capsys.readouterr().out
    model = load_model(tiny_models["ddpm_url"])
    ensemble, _ = load_head(str(tmp_path / "ensemble"), model.model_hash)
    assert ensemble.config.class_names == faces.CLASSES
    assert isinstance(ensemble.config, EnsembleConfig) and ensemble.config.num_members == 2

    lines = commands.evaluate(config)
    assert lines[-1] == str(tmp_path / "evaluation")
    assert all(any(line.startswith(name) for line in lines) for name in faces.CLASSES)
    metrics = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert metrics["num_images"] == 4
    assert (tmp_path / "evaluation" / "sheet.png").stat().st_size > 1000


def test_a_probe_writes_what_it_found_and_a_config_that_fit_takes(
    make, tmp_path: Path, capsys
) -> None:
    settings = {"timesteps": [5, 60], "pixels_per_image": 64, "url": str(tmp_path / "probe")}
    config = make(probe=settings, fit={"timesteps": [10]})
    lines = commands.probe(config)
    assert "3 images, 192 pixels | 3 timesteps x 5 blocks" in capsys.readouterr().out
    folder = tmp_path / "probe"
    assert lines[-1] == str(folder) and "cross-validated in 3 parts" in lines[0]
    found = json.loads((folder / "probe.json").read_text())
    assert found["timesteps"] == [5, 10, 60] and found["blocks"] == ["middle", 0, 1, 2, 3]
    assert np.shape(found["mean_iou_alone"]) == (3, 5) and np.min(found["mean_iou_alone"]) > 0
    assert found["present"]["timesteps"] == [10] and set(found["chosen"]["iou"]) == {*faces.CLASSES}
    assert Image.open(folder / "probe.png").size == (6 * 48, 4 * 28)

    chosen = load_config(config.probe.config_url)
    assert list(chosen.fit.timesteps) == found["chosen"]["timesteps"]
    assert chosen.fit.blocks is not None
    assert list(map(block_word, chosen.fit.blocks)) == found["chosen"]["blocks"]
    same = {"timesteps": config.fit.timesteps, "blocks": config.fit.blocks}
    assert chosen.model_copy(update={"fit": chosen.fit.model_copy(update=same)}) == config
    commands.check_fit(chosen)


def test_a_refused_probe_writes_nothing(make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for settings, about in (
        ({"timesteps": [500]}, r"probe\.timesteps: 500 is not below the model's 100 timesteps"),
        ({"timesteps": [5], "url": str(tmp_path / "file" / "probe")}, "cannot be written"),
    ):
        config = make(probe={"url": str(tmp_path / "probe"), **settings}, fit={"timesteps": [10]})
        with pytest.raises(UserError, match=about):
            commands.probe(config)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_probe_replaces_no_config_but_its_own(make, tmp_path: Path) -> None:
    settings = {"timesteps": [5], "num_passes": 1, "url": str(tmp_path / "probe")}
    config = make(probe={**settings, "pixels_per_image": 20}, fit={"timesteps": [10]})
    file = tmp_path / "probe" / "probe.yaml"
    file.parent.mkdir()
    file.write_text("preset: toy")
    with pytest.raises(UserError, match=r"probe\.yaml: is none that `factory probe` wrote"):
        commands.probe(config)
    assert file.read_text() == "preset: toy"
    file.unlink()
    commands.probe(config)
    first = file.read_bytes()
    commands.probe(config)
    assert file.read_bytes() == first


def test_a_probe_of_one_labelled_image_is_refused(make, pairs) -> None:
    config = make(data={"image_size": 16, "labelled": pairs}, probe={"timesteps": [5]})
    with pytest.raises(UserError, match=r"data\.labelled: 1 image of 1 with.*at least 2"):
        commands.check_probe(config)


def test_fitting_without_a_place_for_the_ensemble_is_refused(make) -> None:
    with pytest.raises(UserError, match=r"models\.ensemble_url is not set.*--out"):
        commands.fit(make(ensemble_url=None))


def test_a_refused_fit_writes_nothing(make, tmp_path: Path) -> None:
    config = make(fit={"timesteps": [10], "blocks": [9]})
    with pytest.raises(UserError, match=r"fit\.blocks: 9"):
        commands.fit(config)
    missing = make(data={**data(), "labelled": {"kind": "folder", "url": str(tmp_path / "no")}})
    with pytest.raises(UserError):
        commands.fit(missing)
    assert list(tmp_path.iterdir()) == []


def test_checking_a_fit_leaves_no_trace(make, tmp_path: Path) -> None:
    model, labelled, url = commands.check_fit(make())
    assert model.image_size == 16 and len(labelled) == 3
    assert url == str(tmp_path / "ensemble") and list(tmp_path.iterdir()) == []


def test_the_place_of_the_ensemble_must_be_writable(make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot be written"):
        commands.fit(make(ensemble_url=str(tmp_path / "file" / "ensemble")))


def test_a_test_set_of_other_classes_is_refused(make, tiny_models, pairs, tmp_path: Path) -> None:
    config = make(ensemble_url=tiny_models["ensemble_url"], data={**data(), "test": pairs})
    with pytest.raises(UserError, match=r"data\.test.*cell"):
        commands.evaluate(config)
    assert not (tmp_path / "evaluation").exists()


def test_training_images_among_the_test_images_are_named_in_one_message(
    make, tiny_models, tmp_path: Path
) -> None:
    config = make(ensemble_url=tiny_models["ensemble_url"], data=data(2, 2))
    with pytest.raises(UserError) as refusal:
        commands.evaluate(config)
    (problem,) = refusal.value.problems
    assert "3 of its 4 images" in problem
    assert all(f"toy-2-{i:06d}" in problem for i in range(3))
    assert not (tmp_path / "evaluation").exists()


def test_what_is_lost_of_masks_is_told_by_fit_and_by_evaluate(
    make, tiny_models, pairs, tmp_path: Path, capsys
) -> None:
    folder = Path(str(pairs["url"]))
    wide = np.zeros((32, 96), np.uint8)
    wide[:, :20] = 1
    wide[1::2, 33:64:2] = 1  # a dot in each pixel of the square, one of which the ground keeps
    Image.fromarray(np.full((32, 96, 3), 90, np.uint8)).save(folder / "images" / "a.png")
    Image.fromarray(wide).save(folder / "masks" / "a.png")
    lost = (
        "class cell: 71.43% of its pixels lie outside the centred square.",
        "class cell: 1 of 256 connected regions vanish when they are scaled to 16 px.",
    )
    config = make(data={"image_size": 16, "labelled": pairs})
    commands.fit(config)
    output = capsys.readouterr().out
    assert all(f"fit | data.labelled: {line}" in output for line in lost)
    config = make(data={"image_size": 16, "test": pairs})
    commands.evaluate(config)
    output = capsys.readouterr().out
    assert all(f"evaluate | data.test: {line}" in output for line in lost)
    assert "data.labelled is not set: training images among data.test go unseen" in output


def test_an_ensemble_of_another_ddpm_is_refused(make, tiny_models, tmp_path: Path) -> None:
    folder = tmp_path / "ensemble"
    folder.mkdir()
    for file in Path(tiny_models["ensemble_url"]).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**content, "ddpm_hash": "0" * 64}))
    with pytest.raises(UserError, match="another DDPM"):
        commands.evaluate(make())
    assert not (tmp_path / "evaluation").exists()
