"""Claims about images of one channel, from their files to the readers of a dataset of them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet

import factory
from factory import UserError
from factory.config import Config, parse_config
from factory.data import inspection
from factory.data.cache.decoded import cached_images, find
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.toy import ToySource
from factory.data.loading import read_images
from factory.data.toy import faces
from factory.diffusion.checkpoints import Model
from factory.diffusion.run_identity import begin_run, check_run
from factory.generation.recipe import load_models, make_plan
from factory.labeling import commands
from factory.report import write_report
from factory.shards.reading import read_plan
from factory.shards.verification import verify
from tests import tiny
from tests.drawings import draw_many
from tests.test_images import noise

FEW = {"num_members": 2, "hidden": (8, 4), "num_steps": 5, "pixels_per_step": 16}
FAST = {"num_sampling_steps": 4, "batch_size": 2, "precision": "fp32", "samples_per_shard": 3}


@pytest.fixture(scope="module")
def urls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return tiny.save_models(tmp_path_factory.mktemp("grey"), channels=1)


@pytest.fixture(scope="module")
def ddpm(urls: dict[str, str]) -> Model:
    return factory.load_ddpm(urls["ddpm_url"])


@pytest.fixture(scope="module")
def dataset(urls: dict[str, str], ddpm: Model, tmp_path_factory: pytest.TempPathFactory) -> str:
    segmenter = factory.load_segmenter(urls["ensemble_url"], ddpm)
    out = str(tmp_path_factory.mktemp("pairs") / "pairs")
    factory.generate(segmenter, 5, out, workers="here", **FAST)
    return out


@pytest.fixture
def photos(tmp_path: Path) -> FolderSource:
    """A colour image, and grey ones of 8 and 16 bits and with alpha."""
    folder = tmp_path / "photos"
    folder.mkdir()
    grey = Image.fromarray(noise(16, 16)[..., 0])
    Image.fromarray(noise(16, 16)).save(folder / "a-colours.png")
    grey.save(folder / "b-grey.png")
    Image.fromarray(np.asarray(grey, np.uint16) * 257).save(folder / "c-deep.png")
    grey.convert("LA").save(folder / "d-alpha.png")
    return FolderSource(url=str(folder))


def config_of(photos: FolderSource, channels: int | None, **train: object) -> Config:
    data = {"image_size": 16, "channels": channels, "unlabelled": photos.model_dump()}
    return parse_config({"data": data, "train": {**tiny.TREE["train"], **train}})


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refused:
        work()
    return str(refused.value)


def test_grey_stays_as_it_is_and_colours_become_pillows_luma(photos: FolderSource) -> None:
    images = read_images(photos, 16, channels=1)
    assert images.shape == (4, 16, 16, 1)
    luma = Image.open(Path(photos.url) / "a-colours.png").convert("L")
    assert np.array_equal(images[0, ..., 0], np.asarray(luma))
    for image in images[1:]:
        assert np.array_equal(image[..., 0], noise(16, 16)[..., 0])


def test_every_grey_value_survives_being_read_as_one_channel(tmp_path: Path) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(every).save(tmp_path / "every.png")
    (image,) = read_images(FolderSource(url=str(tmp_path)), 16, channels=1)
    assert np.array_equal(image[..., 0], every)


@pytest.mark.parametrize("size", [7, 40])
def test_a_grey_image_is_scaled_as_each_channel_of_its_rgb_copy_is(
    photos: FolderSource, size: int
) -> None:
    grey, rgb = (read_images(photos, size, channels=channels) for channels in (1, 3))
    assert np.array_equal(np.repeat(grey[1:], 3, axis=-1), rgb[1:])


def test_inspect_says_which_colours_become_grey_and_nothing_of_grey(photos: FolderSource) -> None:
    notes = inspection.inspect(photos, 16, labelled=False, channels=1).notes
    told = "1 image of mode RGB: colours are converted to grey (ITU-R 601-2)"
    assert any(note.startswith(told) for note in notes)
    assert not any("replicated" in note or "mode L:" in note for note in notes)
    notes = inspection.inspect(photos, 16, labelled=False).notes
    assert any("of mode L: grey is replicated to RGB" in note for note in notes)


def test_decoded_grey_images_are_an_entry_of_their_own_and_others_keep_theirs(
    photos: FolderSource, tmp_path: Path
) -> None:
    assert find(photos, 16, 3).key == find(photos, 16).key != find(photos, 16, 1).key
    data = config_of(photos, 1).data.model_copy(update={"cache_dir": str(tmp_path / "cache")})
    cached = cached_images(data, photos)
    assert cached.images.shape == (4, 16, 16, 1)
    assert np.array_equal(cached.images, read_images(photos, 16, channels=1))
    assert cached_images(data, photos).digest == cached.digest
    rgb = cached_images(data.model_copy(update={"channels": None}), photos)
    assert rgb.images.shape == (4, 16, 16, 3)


def test_a_run_of_other_channels_is_refused_by_their_name(
    photos: FolderSource, tmp_path: Path
) -> None:
    rgb, grey = (config_of(photos, channels, url=str(tmp_path / "run")) for channels in (3, 1))
    begin_run(rgb)
    assert "channels" not in json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    check_run(config_of(photos, None, url=str(tmp_path / "run")), {})
    assert "data.channels: there nothing, here 1" in refusal(lambda: check_run(grey, {}))
    shutil.rmtree(tmp_path / "run")
    begin_run(grey)
    check_run(grey, {})
    assert "data.channels: there 1, here nothing" in refusal(lambda: check_run(rgb, {}))


def test_a_model_of_other_channels_than_the_config_says_is_refused(urls: dict[str, str]) -> None:
    for channels in (None, 1):
        config = parse_config({"data": {"channels": channels}, "models": urls})
        assert commands.load_ddpm(config).channels == 1
    config = parse_config({"data": {"channels": 3}, "models": urls})
    message = refusal(lambda: commands.load_ddpm(config))
    assert "data.channels: is 3" in message and "have 1 channel. Set it to 1" in message
    assert "data.channels: is 1" in refusal(
        lambda: commands.load_ddpm(parse_config({"data": {"channels": 1}}))
    )


def test_a_model_of_other_channels_is_nothing_to_start_a_training_from(
    urls: dict[str, str], photos: FolderSource, tmp_path: Path
) -> None:
    from factory.diffusion import training

    keys = {"url": str(tmp_path / "run"), "initial_model_url": urls["ddpm_url"]}
    training.check_settings(config_of(photos, 1, **keys))
    message = refusal(lambda: training.check_settings(config_of(photos, None, **keys)))
    assert "has another shape: data.channels: there 1, here 3" in message


def test_plans_say_channels_where_there_is_one_and_else_keep_their_words(
    urls: dict[str, str], tiny_config: Callable[..., Config]
) -> None:
    rgb = tiny_config()
    assert "channels" not in make_plan(rgb, load_models(rgb)).recipe
    grey = rgb.model_copy(update={"models": parse_config({"models": urls}).models})
    plan = make_plan(grey, load_models(grey))
    assert plan.recipe["channels"] == plan.channels == 1


@pytest.mark.slow
@pytest.mark.parametrize("with_axis", [True, False])
def test_grey_arrays_are_fitted_segmented_and_scored(ddpm: Model, with_axis: bool) -> None:
    images, masks = draw_many(3, 4, 16)
    grey = images[..., :1] if with_axis else images[..., 0]
    labelled = factory.labelled_arrays(grey, masks, faces.CLASSES)
    assert labelled.images.shape == (4, 16, 16, 1)
    segmenter = factory.fit(ddpm, labelled, timesteps=(10, 40), blocks=(1, 2), **FEW)
    assert segmenter.segment(grey).masks.shape == (4, 16, 16)
    assert segmenter.evaluate(labelled).soft.confusion.sum() > 0
    assert "must be uint8 of shape grey (N, 16, 16)" in refusal(lambda: segmenter.segment(images))
    rgb = factory.labelled_arrays(images, masks, faces.CLASSES)
    assert "got uint8 of shape (4, 16, 16, 3)" in refusal(lambda: factory.fit(ddpm, rgb))


@pytest.mark.slow
def test_a_grey_dataset_is_whole_and_its_samples_are_one_channel(dataset: str) -> None:
    assert read_plan(dataset).channels == 1
    assert not verify(dataset, "decode").findings
    for sample in factory.open_dataset(dataset):
        assert sample["image"].shape == (1, 16, 16) and sample["image"].dtype == torch.uint8
    one = factory.open_dataset(dataset, random_access=True)[3]["image"]
    assert one.shape == (1, 16, 16)
    assert "8-bit grey picture, PNG" in (Path(dataset) / "README.md").read_text()


def test_others_read_a_grey_dataset_as_pictures_of_mode_l(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    from datasets import load_dataset

    rows = load_dataset(dataset, split="train", cache_dir=str(tmp_path / "cache"))
    ours = {sample["key"]: sample["image"] for sample in factory.open_dataset(dataset)}
    assert len(rows) == len(ours) == 5
    for row in rows:
        assert row["image"].mode == row["mask"].mode == "L"
        assert np.array_equal(np.asarray(row["image"]), ours[row["key"]][0].numpy())


def test_a_grey_dataset_is_repaired_to_the_byte(dataset: str, tmp_path: Path) -> None:
    from factory.generation.repair import repair

    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    (shard,) = copy.glob("data/*00001.parquet")
    before = shard.read_bytes()
    shard.write_bytes(before[:-1])
    assert not repair(str(copy)).findings
    assert shard.read_bytes() == before


def test_reports_and_pictures_show_grey_images(dataset: str) -> None:
    assert Path(write_report(dataset)).exists()
    picture = factory.show(factory.open_dataset(dataset), num=2, scale=1)
    top = np.asarray(picture)[2:18, 2:18]
    assert (top == top[..., :1]).all() and len(np.unique(top)) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "form", ["folder", "imagefolder", "coco", "yolo", "voc", "cityscapes", "webdataset"]
)
def test_exports_of_a_grey_dataset_hold_its_very_pictures(
    dataset: str, tmp_path: Path, form: str
) -> None:
    factory.export(dataset, form, str(tmp_path / form))
    files = [file.read_bytes() for file in (tmp_path / form).rglob("*") if file.is_file()]
    for image in _image_files(dataset):
        assert any(image in file for file in files)


def test_an_export_to_parquet_has_the_pictures_in_its_rows(dataset: str, tmp_path: Path) -> None:
    factory.export(dataset, "parquet", str(tmp_path / "out"))
    assert _image_files(tmp_path / "out") == _image_files(dataset)


def test_an_export_as_jpeg_has_one_channel(dataset: str, tmp_path: Path) -> None:
    factory.export(dataset, "voc", str(tmp_path / "out"), jpeg=True)
    photographs = [Image.open(file) for file in (tmp_path / "out").rglob("*.jpg")]
    assert [photograph.mode for photograph in photographs] == ["L"] * 5


def _image_files(dataset: str | Path) -> list[bytes]:
    """The PNGs of the images of a dataset's Parquet files, in order."""
    rows = [parquet.read_table(file) for file in sorted(Path(dataset).rglob("*.parquet"))]
    return [row["bytes"] for table in rows for row in table["image"].to_pylist()]


def test_images_of_a_grey_ddpm_are_drawn_without_an_ensemble(
    urls: dict[str, str], ddpm: Model, dataset: str, tmp_path: Path
) -> None:
    from factory.generation import sampling

    tree = {
        "models": urls,
        "fit": tiny.TREE["fit"],
        "sample": {"url": str(tmp_path / "images"), "num": 5},
        "generate": FAST,
    }
    sampling.sample(parse_config(tree))
    drawn = [file.read_bytes() for file in sorted((tmp_path / "images").glob("0*.png"))]
    assert drawn == _image_files(dataset)
    settings = {key: value for key, value in FAST.items() if key != "samples_per_shard"}
    assert factory.sample(ddpm, 2, timesteps=(10, 40), **settings).shape == (2, 16, 16, 1)


@pytest.mark.parametrize("at", ["model", "original"])
def test_colour_photographs_are_labelled_as_grey_by_a_grey_model(
    urls: dict[str, str], ddpm: Model, photos: FolderSource, tmp_path: Path, at: str
) -> None:
    segmenter = factory.load_segmenter(urls["ensemble_url"], ddpm)
    settings: dict[str, Any] = {"batch_size": 2, "precision": "fp32", "at": at}
    found = factory.label(segmenter, photos.url, str(tmp_path / "out"), workers="here", **settings)
    shapes = [sample["image"].numpy() for sample in found]
    expected = read_images(photos, 16, channels=1).transpose(0, 3, 1, 2)
    assert np.array_equal(np.stack(shapes), expected)


def test_masks_of_a_grey_model_may_be_files(
    urls: dict[str, str], photos: FolderSource, tmp_path: Path
) -> None:
    from factory.generation import command

    url = str(tmp_path / "masks")
    keys = {"source": photos.model_dump(), "url": url, "workers": "here", "batch_size": 2}
    config = parse_config({"models": urls, "label": {**keys, "precision": "fp32", "format": "png"}})
    command.label(config)
    assert len(list(Path(url).glob("masks/*.png"))) == 4
    assert not verify(url, "decode").findings


def test_a_grey_dataset_is_labelled_anew(
    urls: dict[str, str], ddpm: Model, dataset: str, tmp_path: Path
) -> None:
    segmenter = factory.load_segmenter(urls["ensemble_url"], ddpm)
    anew = factory.label(
        segmenter, dataset, str(tmp_path / "anew"), workers="here", batch_size=2, precision="fp32"
    )
    for new, old in zip(anew, factory.open_dataset(dataset), strict=True):
        assert torch.equal(new["image"], old["image"])


@pytest.mark.slow
def test_grey_drawings_are_trained_fitted_evaluated_and_generated(
    ray_session: str, tmp_path: Path
) -> None:
    diffusers = pytest.importorskip("diffusers")
    from factory.diffusion import training
    from factory.generation import command

    toy = ToySource(kind="toy", num=12, seed=5).model_dump()
    tree = {
        "data": {
            **{name: {**toy, "seed": seed} for seed, name in enumerate(("labelled", "test"))},
            "unlabelled": toy,
            "image_size": 16,
            "channels": 1,
            "cache_dir": str(tmp_path / "cache"),
        },
        "train": {
            **tiny.TREE["train"],
            "url": str(tmp_path / "run"),
            "num_steps": 4,
            "batch_size": 4,
            "sample_steps": 2,
        },
        "models": {"ddpm_url": str(tmp_path / "run/model"), "ensemble_url": str(tmp_path / "fit")},
        "fit": {**tiny.TREE["fit"], **FEW},
        "evaluate": {"url": str(tmp_path / "evaluation")},
        "generate": {"url": str(tmp_path / "pairs"), "num": 4, "workers": "here", **FAST},
    }
    config = parse_config(tree)
    model_url = training.train(config)
    pipeline = diffusers.DDPMPipeline.from_pretrained(model_url)
    assert pipeline.unet.config.in_channels == pipeline.unet.config.out_channels == 1
    assert len(list((tmp_path / "run/samples").iterdir())) == 2
    commands.fit(config)
    commands.evaluate(config)
    command.generate(config)
    assert {tuple(s["image"].shape) for s in factory.open_dataset(tree["generate"]["url"])} == {
        (1, 16, 16)
    }
