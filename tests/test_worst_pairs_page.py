"""Claims about factory.worst_pairs_page, and about what a dataset's page shows of it."""

import base64
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.classes import Classes
from factory.config import Config, load_config
from factory.data.toy import faces
from factory.generation.command import generate, label
from factory.images import UInt8
from factory.pictures import colorize, marked, overlay
from factory.report import write_report
from factory.shards.reader import ShardIndex
from factory.shards.reading import read_manifest
from factory.worst_pairs_page import Pane, WorstSection, worst_section
from tests.generation.conftest import put_images
from tests.test_report import HOSTILE, Page
from tests.test_worst_pairs import SIZE, found_in, mask_of, numbers, write

NAMES = ("ground", "cat", HOSTILE, "owl")
MASKS = [mask_of({1: 20 + i, 2: 40}) for i in range(4)]
IOUS = [{1: 0.8 - i / 10, 2: 0.3 + i / 10} for i in range(4)]
OLDER = Path(__file__).parent / "shards" / "version_0_1"


def pixels_of(pane: Pane | None) -> UInt8:
    assert pane is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(pane.picture))))


def label_photos(tiny_config: Callable[..., Config], folder: Path, **keys: str) -> Config:
    """Labels five images with tiny models, and returns the config."""
    put_images(folder / "photos", *(f"p{i}.png" for i in range(5)))
    source = {"kind": "folder", "url": str(folder / "photos")}
    place = {"url": str(folder / "labels"), "source": source, "workers": "here"}
    made = tiny_config(label={**place, **keys})
    label(made)
    return made


def section_of(url: str, config: Config | None = None) -> WorstSection:
    found = worst_section(url, read_manifest(url), config, None)
    assert found is not None
    return found


@pytest.fixture
def labelled(tmp_path: Path) -> Config:
    """A config of labelled images: other ones, and the mirrored last pair of the dataset."""
    for name in ("images", "masks"):
        (tmp_path / "labelled" / name).mkdir(parents=True)
    for i in range(5):
        image = np.random.default_rng(50 + i).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        if i == 2:
            image = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3), np.uint8)[:, ::-1]
        Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / f"labelled/images/{i}&.png")
        Image.fromarray(mask_of({1: 100 + i})).save(tmp_path / f"labelled/masks/{i}&.png")
    (tmp_path / "classes.json").write_text(json.dumps(NAMES))
    source = {
        "kind": "pairs",
        "url": str(tmp_path / "labelled"),
        "classes_url": str(tmp_path / "classes.json"),
    }
    return load_config(None, [("data.labelled", source), ("data.unlabelled", None)])


@pytest.mark.parametrize("channels", [3, 1])
def test_a_row_shows_the_pair_its_mask_and_the_class_alone(tmp_path: Path, channels: int) -> None:
    url = write(str(tmp_path / "out"), MASKS, IOUS, NAMES, channels=channels)
    found, classes = section_of(url), Classes.named(NAMES)
    assert found.columns == ["image", "mask over it", "the class alone"]
    shown = numbers(found_in(url))
    assert shown == {2: 0, 1: 3, 0: 0}
    for row, (class_id, number) in zip(found.rows, shown.items(), strict=True):
        sample = ShardIndex(url, columns=["key"])[number]
        assert row.key == sample["key"] and row.of_class.name == NAMES[class_id]
        image = np.asarray(sample["image"]).transpose(1, 2, 0)
        drawn = [pixels_of(pane) for pane in row.panes]
        assert np.array_equal(drawn[0], np.broadcast_to(image, (SIZE, SIZE, 3)))
        assert np.array_equal(drawn[1], overlay(image, MASKS[number], classes))
        assert np.array_equal(drawn[2], marked(image, MASKS[number] == class_id))
    assert [(row.of_class.mean, row.certainty) for row in found.rows] == [
        ("0.45", "0.30"),
        ("0.65", "0.50"),
        ("0.90", "0.90"),
    ]
    assert "With --config FILE" in found.note
    assert "The rows show 2 pairs: 000000000 (2 classes), 000000003 (1 class)." in found.note


def test_beside_a_pair_stands_the_labelled_image_that_is_most_like_it(
    tmp_path: Path, labelled: Config
) -> None:
    url = write(str(tmp_path / "out"), MASKS, IOUS, NAMES)
    html = Path(write_report(url, config=labelled)).read_text()
    page = Page(html)
    texts = [text for text in page.text.split("\n") if "000000003" in text and "cat" in text]
    assert any("2&.png" in text for text in texts), "the mirrored image of pair 3"
    assert "worth labelling next" in page.text and "its mask" in page.text
    (mask,) = [
        each["src"] for each in page.all("img") if each["alt"] == "its mask of 000000003, cat"
    ]
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(str(mask).split(",")[1]))))
    assert np.array_equal(drawn, colorize(mask_of({1: 102}), Classes.named(NAMES)))
    assert "members of the ensemble disagree is not shown: models.ddpm_url" in page.text


def test_names_are_shown_as_text(tmp_path: Path, labelled: Config) -> None:
    html = Path(write_report(write(str(tmp_path / "out"), MASKS, IOUS, NAMES), config=labelled))
    assert HOSTILE not in html.read_text() and HOSTILE in Page(html.read_text()).text
    assert "2&amp;.png" in html.read_text()


def test_where_members_disagree_is_shown_with_the_models_that_labelled_it(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    made = tiny_config(generate={"num": 6, "workers": "here"})
    generate(made)
    found = section_of(made.generate.url, made)
    assert found.columns[-1] == "disagreement"
    assert all(pixels_of(row.panes[-1]).max() > 0 for row in found.rows)
    shutil.copytree(made.models.ensemble_url or "", tmp_path / "other")
    config = tmp_path / "other" / "config.json"
    config.write_text(config.read_text().replace('"noise_seed": 0', '"noise_seed": 1'))
    other = made.models.model_copy(update={"ensemble_url": str(tmp_path / "other")})
    found = section_of(made.generate.url, made.model_copy(update={"models": other}))
    assert found.columns[-1] == "the class alone"
    assert "models.ensemble_url: not the models that the dataset was made with" in found.note


def test_of_images_of_another_size_disagreement_is_left_out_and_told(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    made = label_photos(tiny_config, tmp_path, at="original")
    found = section_of(made.label.url, made)
    assert found.columns[-1] == "the class alone"
    assert "told of images of 16 pixels alone" in found.note
    assert {pane is not None for row in found.rows for pane in row.panes} == {True}


def test_of_images_that_are_gone_the_mask_is_shown_and_the_reason_told(
    tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    made = label_photos(tiny_config, tmp_path, format="png")
    whole = section_of(made.label.url, made)
    assert whole.rows[0].panes[0] is not None and whole.columns[-1] == "disagreement"
    shutil.rmtree(tmp_path / "photos")
    put_images(tmp_path / "photos", "other.png")
    bare = section_of(made.label.url, made)
    assert [row.key for row in bare.rows] == [row.key for row in whole.rows]
    assert all(row.panes[0] is None and row.panes[1] is not None for row in bare.rows)
    assert "only the mask is shown" in bare.note and "pixels alone" not in bare.note


def test_classes_without_a_row_are_named(tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(200)]
    masks = [mask_of(dict.fromkeys(range(1 + 12 * i, 13 + 12 * i), 20)) for i in range(16)]
    ious = [{c: c / 200 for c in range(1, 200)} for _ in masks]
    page = Page(Path(write_report(write(str(tmp_path / "out"), masks, ious, names))).read_text())
    assert "181 further classes" in page.text
    assert "c192: mean 0.96 over 1 pair" in page.text
    assert len([each for each in page.all("img") if "c12" in str(each["alt"])]) == 3


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_datasets_of_version_0_1_show_their_most_uncertain_pairs(format: str) -> None:
    found = section_of(str(OLDER / format))
    assert found.measure == "uncertainty in nats" and found.rows
    assert len({row.key for row in found.rows}) > 1
    assert "fit.calibration_folds" in found.note


def test_masks_without_any_class_have_no_section(tmp_path: Path) -> None:
    ignored = [np.full((SIZE, SIZE), 255, np.uint8)] * 3
    url = write(str(tmp_path / "out"), ignored, None)
    assert worst_section(url, read_manifest(url), None, None) is None
    assert "Least certain" not in Path(write_report(url)).read_text()


def test_pairs_that_were_chosen_are_found_by_their_keys(
    tiny_config: Callable[..., Config],
) -> None:
    chosen = {"num": 6, "workers": "here", "select": {"at_least": {faces.CLASSES[0]: 2}}}
    made = tiny_config(generate=chosen)
    generate(made)
    found, index = section_of(made.generate.url), ShardIndex(made.generate.url, columns=["key"])
    for row in found.rows:
        sample = index[int(row.key)]
        image = np.asarray(sample["image"]).transpose(1, 2, 0)
        assert sample["key"] == row.key and np.array_equal(pixels_of(row.panes[0]), image)
