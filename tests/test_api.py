"""Claims about `import factory`: what programs and notebooks call."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import factory
from factory import UserError, api
from factory.config import Config, parse_config
from factory.data.loading import Labelled
from factory.data.toy import faces
from factory.diffusion import training
from factory.diffusion.checkpoints import Model, save_model
from factory.diffusion.families.unet2d import UNet
from factory.labeling.heads import save_head
from factory.png import encode_png
from tests import tiny
from tests.drawings import draw_many
from tests.exporting import made

FEATURES = {"timesteps": (10, 40), "blocks": (1, 2)}
FEW = {"num_members": 2, "hidden": (8, 4), "num_steps": 5, "pixels_per_step": 16}
FAST = {"num_sampling_steps": 4, "batch_size": 2, "precision": "fp32"}


@pytest.fixture
def ddpm(tiny_models: dict[str, str]) -> Model:
    return factory.load_ddpm(tiny_models["ddpm_url"])


@pytest.fixture
def labelled() -> Labelled:
    return factory.labelled_arrays(*draw_many(3, 4, 16), faces.CLASSES)


@pytest.fixture
def segmenter(tiny_models: dict[str, str], ddpm: Model) -> factory.Segmenter:
    return factory.load_segmenter(tiny_models["ensemble_url"], ddpm)


def test_all_that_is_exported_is_there_and_documented() -> None:
    assert factory.__all__ == sorted(factory.__all__)
    for name in factory.__all__:
        member = getattr(factory, name)
        assert name == "__version__" or inspect.getdoc(member), name
    assert set(factory.__all__) <= set(dir(factory))
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        _ = factory.segment


def test_every_public_function_and_class_of_the_api_is_exported() -> None:
    ours = {
        name
        for name, member in vars(api).items()
        if getattr(member, "__module__", "") == api.__name__ and not name.startswith("_")
    }
    assert ours <= set(factory.__all__)


def test_to_import_the_package_is_to_import_neither_torch_nor_ray() -> None:
    code = "import factory, sys; print(sorted({'torch', 'ray', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("blocks", [(1, 2), ("middle", 1), ("middle",)])
def test_a_fitted_segmenter_labels_images_the_same_after_it_was_saved(
    ddpm: Model, labelled: Labelled, tmp_path: Path, blocks: tuple[int | str, ...]
) -> None:
    segmenter = factory.fit(ddpm, labelled, timesteps=(10, 40), blocks=blocks, **FEW)
    assert (segmenter.url, segmenter.image_size) == (None, 16)
    assert segmenter.classes == labelled.classes
    found = segmenter.segment(labelled.images)
    assert found.masks.shape == found.uncertainty.shape == (4, 16, 16)
    assert found.masks.dtype == np.uint8 and found.uncertainty.dtype == np.float32
    others = factory.labelled_arrays(labelled.images, labelled.masks * 0, ["one", "two"])
    with pytest.raises(UserError, match=r"^labelled: its classes \['one', 'two'\] are not those"):
        segmenter.evaluate(others)
    scores = segmenter.evaluate(labelled, num_pictures=1)
    assert scores.num_images == 4
    assert scores.soft.pixel_accuracy == (found.masks == labelled.masks).mean()
    [unsaved] = factory.sample(segmenter, 1, **FAST)
    segmenter.save(tmp_path / "segmenter")
    again = factory.load_segmenter(tmp_path / "segmenter", ddpm)
    assert np.array_equal(again.segment(labelled.images).masks, found.masks)
    [saved] = factory.sample(again, 1, **FAST)
    assert saved.model_id == unsaved.model_id and np.array_equal(saved.mask, unsaved.mask)


@pytest.mark.slow
def test_a_dataset_holds_the_pairs_that_are_sampled_in_memory(
    segmenter: factory.Segmenter, tmp_path: Path
) -> None:
    pairs = factory.sample(segmenter, 5, seed=3, **FAST)
    out = tmp_path / "pairs"
    dataset = factory.generate(segmenter, 5, out, workers="here", seed=3, **FAST)
    stored = list(dataset)
    assert [row["key"] for row in stored] == [pair.key for pair in pairs]
    for row, pair in zip(stored, pairs, strict=True):
        assert np.array_equal(row["image"].permute(1, 2, 0).numpy(), pair.image)
        assert np.array_equal(row["mask"].numpy(), pair.mask)
    assert len(list(factory.open_dataset(out, keep=0.4))) == 2
    picture = factory.show(pairs, segmenter.classes, scale=1)
    assert picture.size == (2 + 5 * 18, 2 + 3 * 18)
    assert np.array_equal(np.asarray(picture)[2:18, 2:18], pairs[0].image)
    assert factory.show(dataset, scale=1) == picture, "which knows its classes"
    assert factory.show(dataset, num=2, scale=1).size == (2 + 2 * 18, 2 + 3 * 18)
    assert factory.show(pairs[0], segmenter.classes, scale=1).size == (2 + 18, 2 + 3 * 18)
    images, masks = [pair.image for pair in pairs], [pair.mask for pair in pairs]
    labelled = factory.labelled_arrays(images, masks, segmenter.classes.names)
    assert factory.show(labelled, segmenter.classes, scale=1) == picture
    assert factory.show(labelled, scale=1).size == picture.size, "which know theirs, too"
    # A notebook shows what has this method.
    assert picture._repr_png_().startswith(b"\x89PNG")


def test_images_of_any_size_are_shown(tmp_path: Path) -> None:
    url = str(tmp_path / "dataset")
    made.write(url, num=2, size=(None, None))
    dataset = factory.open_dataset(url)
    whole = factory.show(dataset, scale=1)
    assert whole == factory.show(factory.open_dataset(url, random_access=True), scale=1)
    assert whole.size == (2 + 2 * 20, 2 + 3 * 16), "13 and 14 high, 17 and 18 wide"
    large = factory.Sample(
        "0", np.zeros((600, 900, 3), np.uint8), np.zeros((600, 900), np.uint8), 0, 0, ""
    )
    assert factory.show(large, made.CLASSES).size == (2 + 302, 2 + 3 * 202)


@pytest.mark.slow
def test_labels_of_a_folder_are_those_that_the_segmenter_gives(
    segmenter: factory.Segmenter, labelled: Labelled, tmp_path: Path
) -> None:
    images, out = as_files(labelled, tmp_path / "images"), tmp_path / "labels"
    dataset = factory.label(segmenter, images, out, workers="here", precision="fp32")
    masks = np.array([row["mask"].numpy() for row in dataset])
    assert np.mean(masks == segmenter.segment(labelled.images).masks) > 0.99
    with pytest.raises(factory.UserError, match="`images` says which images are labelled"):
        factory.label(segmenter, images, out, workers="here", source={})


def as_files(labelled: Labelled, folder: Path) -> Path:
    """The folder, in which the images lie as files then."""
    folder.mkdir()
    for i, image in enumerate(labelled.images):
        (folder / f"{i}.png").write_bytes(encode_png(image))
    return folder


@pytest.mark.slow
def test_an_ensemble_on_the_middle_block_generates_and_labels_from_its_folder_as_in_memory(
    ddpm: Model, labelled: Labelled, tmp_path: Path
) -> None:
    fitted = factory.fit(ddpm, labelled, timesteps=(10, 40), blocks=("middle", 1), **FEW)
    fitted.save(tmp_path / "segmenter")
    loaded = factory.load_segmenter(tmp_path / "segmenter", ddpm)
    pairs = factory.sample(fitted, 3, **FAST)
    stored = list(factory.generate(loaded, 3, tmp_path / "pairs", workers="here", **FAST))
    for row, pair in zip(stored, pairs, strict=True):
        assert np.array_equal(row["mask"].numpy(), pair.mask)
    images, labels = as_files(labelled, tmp_path / "images"), tmp_path / "labels"
    dataset = factory.label(loaded, images, labels, workers="here", precision="fp32")
    masks = np.array([row["mask"].numpy() for row in dataset])
    assert np.mean(masks == fitted.segment(labelled.images).masks) > 0.99


@pytest.mark.slow
def test_objects_describe_themselves_in_one_short_line(
    segmenter: factory.Segmenter, labelled: Labelled, tmp_path: Path
) -> None:
    dataset = factory.generate(segmenter, 2, tmp_path / "pairs", workers="here", **FAST)
    described: list[tuple[object, str]] = [
        (dataset, "2 samples"),
        (segmenter.evaluate(labelled), "soft=Score(mean_iou=0."),
        (factory.sample(segmenter, 1, **FAST)[0], "Sample(000000000, 16x16 px"),
        (labelled, "4 images of 16 px"),
        (segmenter, "Segmenter(url='"),
        (segmenter.ddpm, "Model(url='"),
        (segmenter.segment(labelled.images), "4 images of 16 px"),
    ]
    for thing, words in described:
        assert words in repr(thing) and "\n" not in repr(thing) and len(repr(thing)) < 250


@pytest.mark.ray
def test_a_training_on_arrays_gives_a_ddpm_and_mixes_no_others_in(
    ray_session: str, tmp_path: Path
) -> None:
    images, _ = draw_many(1, 6, 16)
    shape = {**tiny.TREE["train"]["unet"]}
    settings = {"batch_size": 2, "checkpoint_steps": 2, "sample_steps": 100, "use_gpu": False}
    ddpm = factory.train(images, tmp_path / "run", unet=shape, num_steps=2, **settings)
    assert ddpm.image_size == 16 and ddpm.url == str(tmp_path / "run" / "model")
    before = contents(tmp_path / "run" / "images")
    for others in (images[:5], 255 - images, np.concatenate([images, images])):
        with pytest.raises(UserError, match="holds images of another training"):
            factory.train(others, tmp_path / "run", unet=shape, num_steps=2, **settings)
    assert contents(tmp_path / "run" / "images") == before


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of all files below a folder by relative name."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.slow
def test_a_segmenter_whose_folder_holds_another_ensemble_by_now_makes_no_dataset(
    segmenter: factory.Segmenter, labelled: Labelled, tmp_path: Path
) -> None:
    first = factory.fit(segmenter.ddpm, labelled, **FEATURES, **FEW)
    second = factory.fit(segmenter.ddpm, labelled, **FEATURES, **FEW, seed=1)
    first.save(tmp_path / "x")
    second.save(tmp_path / "x")
    with pytest.raises(UserError, match=r"x: holds another ensemble .* at another folder"):
        factory.generate(first, 2, tmp_path / "pairs", workers="here", **FAST)
    assert not (tmp_path / "pairs").exists()
    assert len(list(factory.generate(second, 2, tmp_path / "pairs", workers="here", **FAST))) == 2


def test_a_segmenter_whose_ddpm_was_replaced_in_its_folder_makes_no_dataset(
    tiny_models: dict[str, str], segmenter: factory.Segmenter, tmp_path: Path
) -> None:
    shutil.copytree(tiny_models["ddpm_url"], tmp_path / "ddpm")
    ddpm = factory.load_ddpm(tmp_path / "ddpm")
    mine = factory.load_segmenter(tiny_models["ensemble_url"], ddpm)
    save_model(UNet(parse_config(tiny.TREE).train.unet), ddpm.diffusion, 16, ddpm.url)
    with pytest.raises(UserError, match="ddpm: holds another DDPM than the segmenter's"):
        factory.generate(mine, 2, tmp_path / "pairs", workers="here", **FAST)
    assert not (tmp_path / "pairs").exists()


def test_an_ensemble_stored_in_bfloat16_is_known_to_be_the_one_in_its_folder(
    segmenter: factory.Segmenter, tmp_path: Path
) -> None:
    save_head(segmenter.ensemble, str(tmp_path / "half"), torch.bfloat16)
    half = factory.load_segmenter(tmp_path / "half", segmenter.ddpm)
    assert len(list(factory.generate(half, 1, tmp_path / "pairs", workers="here", **FAST))) == 1


def test_arrays_are_written_only_where_settings_fit_and_no_other_images_lie(
    labelled: Labelled, tmp_path: Path
) -> None:
    images = labelled.images
    with pytest.raises(UserError, match=r"train.num_stepps: unknown key"):
        factory.train(images, tmp_path / "run", num_stepps=2)
    with pytest.raises(UserError, match=r"data.image_size: .* got .0"):
        factory.train(images, tmp_path / "run", image_size=0)
    for other in ({"image_size": 64}, {"channels": 1}):
        with pytest.raises(UserError, match=r"images: must be uint8 of shape .*load_images"):
            factory.train(images, tmp_path / "run", **other)
    with pytest.raises(UserError, match="none: no model folder"):
        factory.train(images, tmp_path / "run", initial_model_url=tmp_path / "none")
    with pytest.raises(UserError, match="out: memory://a/b: memory:// is gone"):
        factory.train(images, "memory://a/b")
    assert list(tmp_path.iterdir()) == []
    lying = tmp_path / "run" / "images" / "0000000.png"
    lying.parent.mkdir(parents=True)
    lying.write_bytes(encode_png(images[1]))
    before = contents(tmp_path)
    with pytest.raises(UserError, match="images: holds images of another training"):
        factory.train(images, tmp_path / "run")
    assert contents(tmp_path) == before


def test_a_training_checks_its_settings_once_and_before_arrays_are_written(
    ddpm: Model, labelled: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, written, check_settings = tmp_path / "run", [], training.check_settings

    def checked(config: Config) -> None:
        written.append((run / "images").exists())
        check_settings(config)

    def trained(config: Config) -> str:
        written.append((run / "images").exists())
        return ddpm.url

    monkeypatch.setattr(training, "check_settings", checked)
    monkeypatch.setattr(training, "train_checked", trained)
    assert factory.train(labelled.images, run, batch_size=2).model_hash == ddpm.model_hash
    assert written == [False, True]


def test_what_does_not_fit_is_refused_with_what_is_wanted(
    ddpm: Model, segmenter: factory.Segmenter, labelled: Labelled, tmp_path: Path
) -> None:
    images, masks = labelled.images, labelled.masks
    with pytest.raises(UserError, match=r"shape \(N, 16, 16, 3\), got float64"):
        segmenter.segment(images / 255)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"got uint8 of shape \(4, 8, 8, 3\). `factory.load_images"):
        segmenter.segment(images[:, :8, :8])
    with pytest.raises(UserError, match=r"must be uint8 or uint16 of shape \(4, 16, 16\)"):
        factory.labelled_arrays(images, masks[:3], faces.CLASSES)
    with pytest.raises(UserError, match=r"masks\[0\]: ids .* are not classes: classes are 0..1"):
        factory.labelled_arrays(images, masks, faces.CLASSES[:2])
    with pytest.raises(UserError, match=r"factory.fit: fit.num_member: unknown key. Did you"):
        factory.fit(ddpm, labelled, num_member=3)
    with pytest.raises(UserError, match=r"fit.blocks: \(1, 1\) has a value twice"):
        factory.fit(ddpm, labelled, blocks=(1, 1))
    with pytest.raises(UserError, match="images: are none"):
        segmenter.segment(images[:0])
    with pytest.raises(UserError, match="images: differ in shape"):
        segmenter.segment([images[0], images[1][:8]])
    with pytest.raises(UserError, match="vote: must be 'soft' or 'hard', got 'maybe'"):
        segmenter.segment(images, vote="maybe")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="class_names: must be a list of names"):
        factory.labelled_arrays(images, masks, "abc")
    with pytest.raises(UserError, match="class_names: a is the name of several ids"):
        factory.labelled_arrays(images, masks, ["a", "a", "b"])
    with pytest.raises(UserError, match="pairs: is empty"):
        factory.show([], segmenter.classes)
    with pytest.raises(UserError, match="classes: are missing"):
        factory.show([])
    with pytest.raises(UserError, match="scale: must be at least 1, got 0"):
        factory.show([], segmenter.classes, scale=0)
    unsaved = factory.Segmenter(ddpm, segmenter.ensemble)
    with pytest.raises(UserError, match=r"Call segmenter.save\(FOLDER\) first"):
        factory.generate(unsaved, 4, tmp_path / "pairs", workers="here")
    assert not (tmp_path / "pairs").exists()


def test_settings_that_a_function_decides_itself_are_refused_and_all_told(
    segmenter: factory.Segmenter, labelled: Labelled, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as refused:
        factory.sample(segmenter, 1, url="x", workers="ray")
    assert list(refused.value.problems) == [
        "factory.sample: url: is no setting here: pairs are kept in memory. Leave it out.",
        "factory.sample: workers: is no setting here: pairs are made in this process. "
        "Leave it out.",
    ]
    with pytest.raises(UserError, match="`out` says where the dataset lies"):
        factory.generate(segmenter, 1, tmp_path / "pairs", workers="here", url="x")
    with pytest.raises(UserError, match="`out` says where the run lies"):
        factory.train(labelled.images, tmp_path / "run", url="x")
    with pytest.raises(UserError, match="the scores are returned"):
        segmenter.evaluate(labelled, url="x")
    assert list(tmp_path.iterdir()) == []


def test_settings_without_effect_are_refused_by_name_all_at_once(
    ddpm: Model, segmenter: factory.Segmenter, labelled: Labelled
) -> None:
    with pytest.raises(UserError) as refused:
        factory.sample(segmenter, 1, extend=True, format="parquet", min_actors=2, license="mit")
    keys = [line.split(": ")[1] for line in refused.value.problems]
    assert keys == ["extend", "format", "license", "min_actors"]
    with pytest.raises(UserError, match="weights_dtype: is no setting here"):
        factory.fit(ddpm, labelled, weights_dtype="bf16")


def test_a_segmenter_is_not_saved_among_foreign_files(
    segmenter: factory.Segmenter, labelled: Labelled, tmp_path: Path
) -> None:
    save_pairs(tmp_path, labelled)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"images: holds other files: 0.png, 1.png"):
        segmenter.save(tmp_path / "images")
    with pytest.raises(UserError, match=r"0.png: is a file"):
        segmenter.save(tmp_path / "images" / "0.png")
    assert contents(tmp_path) == before
    for _ in range(2):
        segmenter.save(tmp_path / "mine")
    (tmp_path / "mine" / "config.json").unlink()
    segmenter.save(tmp_path / "mine")


def test_values_of_another_type_are_refused_by_the_name_of_the_argument(
    ddpm: Model, segmenter: factory.Segmenter, labelled: Labelled, tmp_path: Path
) -> None:
    save_pairs(tmp_path, labelled)
    files, classes, images = tmp_path / "images", tmp_path / "classes.json", labelled.images
    any_pair: Any = [1]
    refused: dict[str, Callable[[], object]] = {
        "url: must be of type str or PathLike, got NoneType": lambda: factory.load_ddpm(
            untyped(None)
        ),
        "ddpm: must be of type Model, got str": lambda: factory.load_segmenter(
            "toy", untyped("toy")
        ),
        "ddpm: must be of type Model, got str.": lambda: factory.fit(untyped("toy"), labelled),
        "labelled: must be of type Labelled": lambda: factory.fit(ddpm, untyped(images)),
        "labelled: must be of type Labelled, got": lambda: segmenter.evaluate(untyped(images)),
        "model: must be of type Segmenter or Model": lambda: factory.sample(untyped("toy"), 1),
        "class_names: must be a list of names, got None": lambda: factory.labelled_arrays(
            images, labelled.masks, untyped(None)
        ),
        "pairs: a value of type int is no pair": lambda: factory.show(any_pair, segmenter.classes),
        "pairs: a value of type str is no pair": lambda: factory.show(
            untyped({"image": 1}), segmenter.classes
        ),
        "num: must be a whole number, got 2.5": lambda: factory.show(
            any_pair, segmenter.classes, num=untyped(2.5)
        ),
        "random_access = 'no': must be True or False": lambda: factory.open_dataset(
            tmp_path, random_access=untyped("no")
        ),
        "kepp: is no option. Did you mean keep?": lambda: factory.open_dataset(tmp_path, kepp=1),
        "scale: must be a whole number, got True": lambda: factory.show(
            any_pair, segmenter.classes, scale=True
        ),
        "url: must be of type str or PathLike, got ndarray": lambda: factory.load_segmenter(
            untyped(images), ddpm
        ),
        "url: must be of type str or PathLike, got int": lambda: factory.ShardDataset(untyped(1)),
        "url: must be of type str or PathLike, got list": lambda: factory.ShardIndex(untyped([])),
        "url: must be of type str or PathLike, got bool": lambda: factory.read_dataset(
            untyped(True)
        ),
        "images: are none": lambda: segmenter.segment([]),
        "factory.read_labelled: foo: unknown key": lambda: factory.read_labelled(
            tmp_path, classes, 16, foo=1
        ),
    }
    for message, call in refused.items():
        with pytest.raises(UserError, match=re.escape(message)):
            call()
    for model in (segmenter, ddpm):
        with pytest.raises(UserError, match=r"^factory.sample: generate.num: [^\n]*$"):
            factory.sample(model, 0)
    for size in (0, -3, 10**6, 32.5, None):
        with pytest.raises(UserError, match=r"^factory.load_images: image_size: "):
            factory.load_images(files, untyped(size))
    assert factory.load_images(files, 17).shape == (4, 17, 17, 3)


def untyped(value: Any) -> Any:
    """The value as a program without type checks hands it over."""
    return value


@pytest.mark.slow
def test_many_images_are_labelled_a_few_at_a_time_as_one_by_one(
    segmenter: factory.Segmenter,
) -> None:
    images, _ = draw_many(1, 21, 16)
    found = segmenter.segment(list(images))
    alone = np.concatenate([segmenter.segment(images[i : i + 1]).masks for i in range(21)])
    assert found.masks.shape == (21, 16, 16)
    assert (found.masks == alone).mean() > 0.99


@pytest.mark.slow
def test_the_embedded_models_are_named_as_such_in_a_dataset(tmp_path: Path) -> None:
    settings = {**FAST, "samples_per_shard": 1, "batch_size": 1}
    segmenter = factory.load_segmenter()
    factory.generate(segmenter, 1, tmp_path / "pairs", workers="here", **settings)
    config = (tmp_path / "pairs" / "_factory" / "config.yaml").read_text()
    assert "ddpm_url: toy" in config and "ensemble_url: toy" in config


def test_a_relative_url_of_a_segmenter_holds_wherever_the_process_goes(
    segmenter: factory.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    segmenter.save("mine")
    assert factory.load_segmenter("mine", segmenter.ddpm).url == str(tmp_path / "mine")


def save_pairs(folder: Path, labelled: Labelled) -> None:
    """As people have them: images/, masks/ and classes.json."""
    for part, pictures in (("images", labelled.images), ("masks", labelled.masks)):
        (folder / part).mkdir(parents=True)
        for i, picture in enumerate(pictures):
            (folder / part / f"{i}.png").write_bytes(encode_png(picture))
    (folder / "classes.json").write_text(json.dumps(labelled.classes.names))


def test_folders_are_read_at_the_size_that_is_asked_for(labelled: Labelled, tmp_path: Path) -> None:
    save_pairs(tmp_path, labelled)
    found = factory.read_labelled(tmp_path, tmp_path / "classes.json", 16, num=3)
    assert np.array_equal(found.images, labelled.images[:3])
    assert np.array_equal(found.masks, labelled.masks[:3])
    assert factory.load_images(tmp_path / "images", 8, num=2).shape == (2, 8, 8, 3)


def test_images_are_read_by_the_keys_of_a_source(tmp_path: Path) -> None:
    pixels = np.full((8, 16, 3), 100, np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    assert (factory.load_images(tmp_path, 8) == 100).all()
    padded = factory.load_images(tmp_path, 8, fit="pad", intensity=[0, 200])
    assert set(np.unique(padded)) == {0, 128} or set(np.unique(padded)) == {0, 127}
    with pytest.raises(UserError, match=r"load_images: fit: input should be"):
        factory.load_images(tmp_path, 8, fit="shrink")
    with pytest.raises(UserError, match="masks"):
        factory.load_images(tmp_path, 8, masks="x")
