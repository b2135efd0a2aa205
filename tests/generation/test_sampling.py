"""Claims about images that are drawn of a DDPM alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import factory
from factory import png
from factory.cli import main
from factory.config import Config, parse_config
from factory.data import loading
from factory.errors import GenerationFailed, UserError
from factory.generation import sampling
from factory.generation.image_sampler import ImageSampler
from factory.generation.recipe import load_models, make_plan
from factory.generation.synthesizer import Synthesizer
from factory.shards.schema import Sample

SampleConfig = Callable[..., Config]
NUM = 6


@pytest.fixture
def config(tiny_config: Callable[..., Config], tmp_path: Path) -> SampleConfig:
    """Six images in shards of four and batches of two; keyword arguments are sections."""

    def make(num: int = NUM, **sections: Any) -> Config:
        return tiny_config(sample={"url": str(tmp_path / "images"), "num": num}, **sections)

    return make


def pairs_of(config: Config) -> list[Sample]:
    """The pairs that `generate` makes with the same settings."""
    models = load_models(config)
    plan = make_plan(config, models)
    synthesizer = Synthesizer(models, plan)
    return [each for spec in plan.shards() for each in synthesizer.samples(spec)]


def images_in(folder: Path) -> dict[str, np.ndarray]:
    """The images in a folder, by key."""
    return {
        path.stem: png.decode_png(path.read_bytes())
        for path in sorted(folder.glob("*.png"))
        if path.name != "samples.sheet.png"
    }


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["sde_dpm_solver", "unipc", "ddim", "ddpm"])
def test_the_images_are_those_of_the_pairs_that_generate_makes(config, tmp_path, sampler):
    asked = config(generate={"sampler": sampler, "num": NUM + 3})
    sampling.sample(asked)
    images = images_in(tmp_path / "images")
    pairs = {pair.key: pair.image for pair in pairs_of(asked)}
    assert list(images) == list(pairs)[:NUM]
    assert all(np.array_equal(image, pairs[key]) for key, image in images.items())


@pytest.mark.slow
def test_the_same_command_goes_on_and_makes_only_what_is_missing(
    config, tmp_path, monkeypatch, told
):
    sampling.sample(config())
    folder = tmp_path / "images"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    drawn: list[int] = []
    original = ImageSampler.drawn

    def noted(self: Any, start: int, stop: int) -> Any:
        drawn.append(start)
        return original(self, start, stop)

    monkeypatch.setattr(ImageSampler, "drawn", noted)
    (folder / "000000003.png").unlink()
    (folder / "samples.sheet.png").unlink()
    sampling.sample(config())
    assert drawn == [2]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    sampling.sample(config(num=NUM + 1))
    assert drawn == [2, 6]
    counts = [line.split(" | ")[1] for line in told if "are there" in line]
    assert counts == [f"{n} of {m} images are there" for n, m in ((0, 6), (5, 6), (6, 7))]
    grown = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert all(grown[name] == data for name, data in whole.items() if name != "samples.sheet.png")
    assert set(grown) - set(whole) == {"000000006.png"}


def test_images_of_other_settings_are_never_mixed(config, tmp_path):
    sampling.sample(config())
    with pytest.raises(UserError, match=r"images of other settings(.|\n)*seed: there 0, here 1"):
        sampling.check(config(generate={"seed": 1}))
    (tmp_path / "images" / "samples.recipe.json").write_text("{")
    with pytest.raises(UserError, match=r"samples\.recipe\.json: is damaged"):
        sampling.check(config())
    (tmp_path / "images" / "samples.recipe.json").unlink()
    with pytest.raises(UserError, match=r"holds other files \(000000000\.png"):
        sampling.check(config())


def test_files_of_systems_and_of_a_killed_process_are_not_in_the_way(config, tmp_path):
    (tmp_path / "images").mkdir()
    half = f".samples.recipe.json.{'0' * 32}.tmp"
    for name in (".DS_Store", half, f"probe-{'0' * 32}"):
        (tmp_path / "images" / name).write_bytes(b"x")
    sampling.sample(config())
    assert not (tmp_path / "images" / half).exists()
    assert len(images_in(tmp_path / "images")) == NUM


def test_a_source_of_the_folder_is_of_the_images_alone(config, tmp_path):
    sampling.sample(config())
    source = {"kind": "auto", "url": str(tmp_path / "images")}
    asked = parse_config({"data": {"image_size": 16, "unlabelled": source}}).data.unlabelled
    assert asked is not None
    found = loading.load(asked, 16, labelled=False)
    assert found.names == tuple(f"{key}.png" for key in images_in(tmp_path / "images"))
    assert not found.problems


def test_the_sheet_shows_the_images_in_their_order(config, tmp_path):
    url = sampling.sample(config())
    sheet = png.decode_png(Path(url).read_bytes())
    # Three columns of images that are enlarged from 16 to 128 px, with gaps of 2 px.
    assert sheet.shape == (2 * 130 + 2, 3 * 130 + 2, 3)
    images = list(images_in(tmp_path / "images").values())
    for i, image in enumerate(images):
        top, left = 2 + i // 3 * 130, 2 + i % 3 * 130
        assert np.array_equal(sheet[top : top + 128 : 8, left : left + 128 : 8], image)


def test_an_image_that_was_damaged_since_is_named(config, tmp_path):
    sampling.sample(config())
    (tmp_path / "images" / "000000001.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"000000001\.png: .*Delete it"):
        sampling.sample(config())


def test_settings_that_no_ensemble_could_have_are_refused(config):
    with pytest.raises(UserError, match=r"fit\.timesteps: 500 is not below the model's 100"):
        sampling.check(config(fit={"timesteps": [10, 500]}))
    with pytest.raises(UserError, match=r"generate\.num_sampling_steps: 2 must be more than 2"):
        sampling.check(config(generate={"num_sampling_steps": 2}))


def test_images_that_are_not_finite_end_the_command_and_what_is_there_stays(config, monkeypatch):
    def broken(self: Any, draws: Any, x_t: Any) -> list[None]:
        return [None] * len(draws.indices)

    monkeypatch.setattr(ImageSampler, "made", broken)
    with pytest.raises(GenerationFailed, match=r"000000000 is not finite.*are kept"):
        sampling.sample(config())


@pytest.mark.slow
def test_the_command_writes_files_by_key_without_an_ensemble(tiny_models, tmp_path, capsys):
    words = ["sample", "--ddpm", tiny_models["ddpm_url"], "--num", "2", "--seed", "3"]
    words += ["--out", str(tmp_path / "x"), "--set", "fit.timesteps=[10,40]"]
    words += ["--set", "generate.num_sampling_steps=4", "--set", "models.ensemble_url=/nowhere"]
    assert main([*words, "--dry-run"]) == 0 and not (tmp_path / "x").exists()
    assert main(words) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path}/x/samples.sheet.png\n")
    names = sorted(path.name for path in (tmp_path / "x").iterdir())
    assert names == ["000000000.png", "000000001.png", "samples.recipe.json", "samples.sheet.png"]


@pytest.mark.slow
def test_images_that_were_drawn_and_labelled_by_hand_are_fitted_without_editing_a_config(
    tiny_models, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    ddpm = ["--ddpm", tiny_models["ddpm_url"]]
    drawn = ["--set", "generate.num_sampling_steps=2", "--set", "fit.timesteps=[10]"]
    assert main(["sample", *ddpm, "--num", "10", "--out", "drawn", *drawn]) == 0
    for folder in ("images", "masks"):
        (tmp_path / "labelled" / folder).mkdir(parents=True)
    for key, image in images_in(tmp_path / "drawn").items():
        mask = (image[..., 0] > np.median(image[..., 0])).astype(np.uint8)
        (tmp_path / "labelled" / "images" / f"{key}.png").write_bytes(png.encode_png(image))
        (tmp_path / "labelled" / "masks" / f"{key}.png").write_bytes(png.encode_png(mask))
    assert main(["init", "labelled", "--out", "my.yaml"]) == 0
    few = ["--set", "fit.num_steps=2", "--set", "fit.timesteps=[10]", "--set", "fit.blocks=[1]"]
    assert main(["fit", "--config", "my.yaml", *ddpm, *few]) == 0
    capsys.readouterr()
    assert main(["evaluate", "--config", "my.yaml", *ddpm]) == 0
    assert "mean IoU" in capsys.readouterr().out


def test_in_python_a_ddpm_gives_the_images_of_its_segmenter(tiny_models):
    ddpm = factory.load_ddpm(tiny_models["ddpm_url"])
    segmenter = factory.load_segmenter(tiny_models["ensemble_url"], ddpm)
    settings: dict[str, Any] = {"num_sampling_steps": 5, "seed": 2, "precision": "fp32"}
    images = factory.sample(ddpm, 3, timesteps=(10, 40), **settings)
    assert images.shape == (3, 16, 16, 3) and images.dtype == np.uint8
    pairs = factory.sample(segmenter, 3, **settings)
    assert np.array_equal(images, [pair.image for pair in pairs])
    with pytest.raises(UserError, match="vote: is no setting here: no masks"):
        factory.sample(ddpm, 3, vote="hard")
