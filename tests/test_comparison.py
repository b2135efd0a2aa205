import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factory.classes import Classes
from factory.comparison import Comparison, compare, evenly
from factory.config import Config, load_config
from factory.data.loading import read_labelled
from factory.data.toy import drawing, faces
from factory.errors import UserError
from factory.images import UInt8
from factory.labeling.curve_gain import Gain
from factory.labeling.curve_outcome import Curve, write_curve
from factory.png import encode_png
from factory.report import write_report
from factory.shards.ledger import Ledger
from factory.shards.plan import Plan
from factory.shards.reading import read_manifest
from factory.shards.receipts import Circumstances
from factory.shards.schema import Sample, sample_key

pytestmark = pytest.mark.slow
SIZE, NUM = 16, 24
CLASSES = Classes(faces.CLASSES, faces.PALETTE)


def training_image(index: int) -> UInt8:
    return drawing.draw(1, index, SIZE)[0]


def image_of(index: int) -> UInt8:
    """The first image of the dataset is a mirrored training image; all others are drawn anew."""
    image = training_image(7)[:, ::-1] if index == 0 else drawing.draw(2, index, SIZE)[0]
    return np.ascontiguousarray(image)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = str(tmp_path_factory.mktemp("dataset"))
    plan = Plan(
        num=NUM,
        samples_per_shard=6,
        format="parquet",
        class_names=CLASSES.names,
        palette=CLASSES.palette,
        recipe={"seed": 0, "ensemble_sha256": "0a1b", "ddpm_sha256": "0d" * 32},
    )
    Ledger(url, plan).start("", {})
    for spec in plan.shards():
        masks = [drawing.draw(2, i, SIZE)[1] for i in range(spec.start, spec.stop)]
        samples = [
            Sample(sample_key(i), image_of(i), mask, i, 0.1, "abc")
            for i, mask in enumerate(masks, start=spec.start)
        ]
        data = plan.encode(samples)
        Ledger(url, plan).publish(spec, {spec.path: data}, Circumstances(seconds=1.0, host="here"))
    Ledger(url, plan).finish("A test.", "cc0-1.0")
    return url


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for index in range(NUM):
        Image.fromarray(training_image(index)).save(folder / f"{index}.png")
    return folder


def config(images: Path) -> Config:
    labelled = {"kind": "toy", "num": 20, "seed": 3}
    unlabelled = {"kind": "folder", "url": str(images)}
    return load_config(None, [("data.unlabelled", unlabelled), ("data.labelled", labelled)])


def compared(dataset: str, config: Config) -> Comparison:
    return compare(dataset, read_manifest(dataset), config)


def test_a_copy_of_a_training_image_is_found_though_it_is_mirrored(
    dataset: str, images: Path
) -> None:
    likeness = compared(dataset, config(images)).likeness
    assert likeness is not None and likeness.num_nearly_same == 1
    closest = likeness.closest[0]
    assert (closest.key, closest.name) == (sample_key(0), "7.png")
    assert np.array_equal(closest.image, closest.training_image[:, ::-1])
    assert [each.distance for each in likeness.closest] == sorted(
        each.distance for each in likeness.closest
    )


def test_colours_are_those_of_the_pixels(dataset: str, images: Path) -> None:
    likeness = compared(dataset, config(images)).likeness
    assert likeness is not None
    # Images of 16 px are enlarged, and their borders with them: the means of images remain.
    means = np.stack([training_image(i).mean(axis=(0, 1)) for i in range(NUM)])
    apart = means - means.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(likeness.training_colours.means, apart.mean(axis=0), atol=0.5)
    np.testing.assert_allclose(likeness.training_colours.deviations, apart.std(axis=0), atol=0.5)


def test_the_page_tells_what_was_compared(dataset: str, images: Path) -> None:
    page = Path(write_report(dataset, 4, config(images))).read_text()
    assert f"{NUM} of the dataset with {NUM} training images" in page
    assert f"1 of {NUM}: closer" in page
    assert "Beside the labelled images" in page and "7.png" in page
    alone = Path(write_report(dataset, 4)).read_text()
    assert "Beside the" not in alone and "7.png" not in alone


@pytest.mark.parametrize(("measured", "is_shown"), [("0a1b", True), ("another", False)])
def test_the_page_shows_mistakes_of_the_ensemble_that_labelled_it_alone(
    dataset: str, images: Path, tmp_path: Path, measured: str, is_shown: bool
) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"ensemble_sha256": measured}))
    (tmp_path / "mistakes.png").write_bytes(encode_png(training_image(3)))
    seen = config(images)
    evaluate = seen.evaluate.model_copy(update={"url": str(tmp_path)})
    page = write_report(dataset, 4, seen.model_copy(update={"evaluate": evaluate}))
    assert ("Mistakes in test images" in Path(page).read_text()) == is_shown


def probed(folder: Path, ddpm_hash: str) -> None:
    """Writes what a finished probe leaves in a folder."""
    chosen = {"timesteps": [5, 50], "blocks": ["middle", 2], "mean_iou": 0.612}
    present = {"timesteps": [5], "blocks": [1, 2], "mean_iou": 0.5}
    numbers = {"num_images": 1, "num_pixels": 1200, "chosen": chosen, "present": present}
    (folder / "probe.json").write_text(json.dumps({"ddpm_hash": ddpm_hash, **numbers}))
    (folder / "probe.png").write_bytes(encode_png(training_image(5)))
    (folder / "probe.yaml").write_text("")


def reported(dataset: str, config: Config, probe: Path) -> str:
    section = config.probe.model_copy(update={"url": str(probe)})
    page = write_report(dataset, 4, config.model_copy(update={"probe": section}))
    return Path(page).read_text()


def test_the_page_shows_the_heat_map_and_the_choice_of_a_probe_of_its_ddpm(
    dataset: str, images: Path, tmp_path: Path
) -> None:
    ddpm_hash = read_manifest(dataset).plan.recipe["ddpm_sha256"]
    probed(tmp_path, ddpm_hash)
    page = reported(dataset, config(images), tmp_path)
    assert "Features that carry the labels" in page
    assert base64.b64encode(encode_png(training_image(5))).decode() in page
    assert "1,200 pixels of 1 labelled image:" in page
    assert "Chosen are timesteps 5, 50 and blocks middle, 2 (mean IoU 0.612)." in page
    assert "The config then had timesteps 5 and blocks 1, 2 (mean IoU 0.500)." in page


def test_the_page_tells_of_a_probe_of_another_ddpm_whose_it_is_and_does_not_show_it(
    dataset: str, images: Path, tmp_path: Path
) -> None:
    ours = read_manifest(dataset).plan.recipe["ddpm_sha256"]
    probed(tmp_path, "f" * 64)
    page = reported(dataset, config(images), tmp_path)
    assert f"is of another DDPM ({'f' * 12}) than this dataset ({ours[:12]})" in page
    assert base64.b64encode(encode_png(training_image(5))).decode() not in page


@pytest.mark.parametrize("lost", ["probe.json", "probe.png", "probe.yaml"])
def test_the_page_tells_nothing_of_a_probe_that_is_not_finished(
    dataset: str, images: Path, tmp_path: Path, lost: str
) -> None:
    probed(tmp_path, read_manifest(dataset).plan.recipe["ddpm_sha256"])
    (tmp_path / lost).unlink()
    assert "Features that carry" not in reported(dataset, config(images), tmp_path)


def test_the_page_shows_a_curve_of_its_ddpm_and_its_labelled_images_alone(
    dataset: str, images: Path, tmp_path: Path
) -> None:
    seen, plan = config(images), read_manifest(dataset).plan
    assert seen.data.labelled is not None
    digest = read_labelled(seen.data.labelled, SIZE, 3).digest()
    curve = Curve(
        *(plan.recipe["ddpm_sha256"], SIZE, digest, "data.test", 4, (10, 20), 3),
        *((0.5, 0.6), (0.02, 0.01), {name: (0.5, 0.6) for name in plan.class_names}),
        *(Gain(0.02, 0.01), None, {}),
    )
    section = seen.curve.model_copy(update={"url": str(tmp_path)})
    seen = seen.model_copy(update={"curve": section})
    changes: list[tuple[dict[str, Any], bool]] = [
        ({"num_test": 5}, True),
        ({"ddpm_hash": "f" * 64}, False),
        ({"labelled_hash": "f" * 64}, False),
    ]
    for change, is_shown in changes:
        write_curve(seen, replace(curve, **change), "")
        page = Path(write_report(dataset, 4, seen)).read_text()
        assert ("What more labelled images are worth" in page) == is_shown
        assert (
            ("worth about +2.0 ± 1.0 points" in page)
            == is_shown
            == ("20 labelled images: 0.6" in page)
        )


def test_shares_of_the_labelled_images_are_of_all_their_pixels(dataset: str, images: Path) -> None:
    found = compared(dataset, config(images)).labelled
    labelled = [drawing.draw(3, index, 64)[1] for index in range(20)]
    counts = np.bincount(np.concatenate(labelled).ravel(), minlength=len(CLASSES))
    assert found is not None and found.pixels == tuple(counts.tolist())


def test_a_config_without_images_is_refused(dataset: str) -> None:
    with pytest.raises(UserError, match="neither is set"):
        compared(dataset, load_config(None, [("data.unlabelled", None), ("data.labelled", None)]))


def test_too_few_images_are_refused(dataset: str, tmp_path: Path) -> None:
    Image.fromarray(training_image(0)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"too few to compare; it takes 8 of both"):
        compared(dataset, config(tmp_path))


def test_unreadable_images_are_named(dataset: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes((images / "1.png").read_bytes()[:60])
    with pytest.raises(UserError, match=r"torn\.png"):
        compared(dataset, config(tmp_path))


def test_other_classes_are_refused(dataset: str, tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for index in range(8):
        Image.fromarray(training_image(index)).save(tmp_path / "images" / f"{index}.png")
        Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(tmp_path / "masks" / f"{index}.png")
    (tmp_path / "classes.json").write_text('["ground", "cat"]')
    pairs = {"kind": "pairs", "url": str(tmp_path), "classes_url": str(tmp_path / "classes.json")}
    with pytest.raises(UserError, match="its classes are ground, cat; those of the dataset are"):
        compared(dataset, load_config(None, [("data.labelled", pairs)]))


@pytest.mark.parametrize(("num", "count"), [(5, 5), (100, 7), (1, 1)])
def test_spread_positions_differ_and_lie_within(num: int, count: int) -> None:
    positions = evenly(num, count)
    assert len({*positions}) == count and min(positions) >= 0 and max(positions) < num
