"""Claims about factory.labeling.evaluation."""

import io
import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from factory.classes import IGNORE_ID, Classes
from factory.data.loading import Labelled
from factory.data.toy import faces
from factory.diffusion.checkpoints import load_model
from factory.errors import UserError
from factory.labeling.evaluation import (
    SHEET_COLUMNS,
    check_classes,
    evaluate,
    table,
    write_evaluation,
)
from factory.labeling.fitting import image_maps
from factory.labeling.heads import load_head
from factory.scores import Score, confusion_matrix
from tests.drawings import draw_many


@pytest.fixture
def model(tiny_models):
    return load_model(tiny_models["ddpm_url"])


@pytest.fixture
def ensemble(tiny_models, model):
    return load_head(tiny_models["ensemble_url"], model.model_hash)[0]


@pytest.fixture(scope="module")
def test_set() -> Labelled:
    images, masks = draw_many(3, 5, 16)
    masks[0, :4] = IGNORE_ID
    classes = Classes.named(faces.CLASSES, faces.PALETTE)
    return Labelled(images, masks, tuple("abcde"), classes)


@pytest.mark.parametrize("batch_size", [2, 16])
def test_the_scores_are_those_of_the_masks_of_all_images(
    model, ensemble, test_set, tiny_config, batch_size: int
) -> None:
    config = tiny_config(evaluate={"batch_size": batch_size})
    found = evaluate(model, ensemble, test_set, config)
    maps = image_maps(model, ensemble.config, test_set.images)
    votes: list[tuple[Literal["soft", "hard"], Score]]
    votes = [("soft", found.soft), ("hard", found.hard)]
    for vote, score in votes:
        masks = ensemble.label(maps, 16).masks(vote).numpy()
        wanted = confusion_matrix(test_set.masks, masks, len(faces.CLASSES))
        assert score.confusion is not None
        assert np.abs(score.confusion - wanted).sum() <= 4  # a pixel may flip by rounding
        assert score.confusion.sum() == (test_set.masks != IGNORE_ID).sum()
    assert found.num_images == 5
    assert found.images_with_class == tuple(
        sum(bool((mask == i).any()) for mask in test_set.masks) for i in range(len(faces.CLASSES))
    )


def test_it_writes_the_metrics_and_a_sheet(
    model, ensemble, test_set, tiny_config, tmp_path: Path
) -> None:
    url = tmp_path / "evaluation"
    config = tiny_config(evaluate={"url": str(url), "num_pictures": 3})
    found = evaluate(model, ensemble, test_set, config)
    write_evaluation(found, "0a1b", test_set, None, config)
    files = {"metrics.json", "sheet.png", "certainty.svg", "mistakes.png"}
    assert {p.name for p in url.iterdir()} == files

    metrics = json.loads((url / "metrics.json").read_text())
    assert metrics["ensemble_sha256"] == "0a1b"
    assert metrics["num_images"] == 5 and metrics["vote"] == "soft"
    assert metrics["soft"]["mean_iou"] == round(found.soft.mean_iou, 4)
    assert metrics["hard"]["pixel_accuracy"] == round(found.hard.pixel_accuracy, 4)
    assert list(metrics["soft"]["iou"]) == list(faces.CLASSES) == list(metrics["images_with_class"])
    assert metrics["confusion_soft"] == found.soft.confusion.tolist()
    worst = {m["class"]: m for m in metrics["mistakes"]}
    assert worst and all(m["image"] in "abcde" and m["num_wrong"] > 0 for m in worst.values())
    assert {m["most_similar_labelled"] for m in worst.values()} == {None}

    # Pictures of 16 pixels at scale 8, gaps of 2, captions of 16.
    picture = Image.open(io.BytesIO((url / "sheet.png").read_bytes()))
    columns, cell = len(SHEET_COLUMNS), 16 * 8 + 2
    assert picture.size == (columns * cell + 2, 3 * cell + 2 + 16)
    pixels = np.asarray(picture.convert("RGB"))
    for row in range(3):
        shown = pixels[16 + 2 + row * cell :][:128:8, 2:130:8]
        assert np.array_equal(shown, test_set.images[row])


def test_the_table_names_every_class_and_the_means(model, ensemble, test_set, tiny_config) -> None:
    found = evaluate(model, ensemble, test_set, tiny_config())
    lines = table(found, test_set)
    named = {line[:16].strip(): line.split() for line in lines[1:]}
    assert set(named) == {*faces.CLASSES, "mean IoU", "pixel accuracy"}
    for i, name in enumerate(faces.CLASSES):
        assert named[name][1:] == [
            str(found.images_with_class[i]),
            f"{found.soft.iou[i]:.3f}",
            f"{found.hard.iou[i]:.3f}",
        ]
    assert named["mean IoU"][-2:] == [f"{found.soft.mean_iou:.3f}", f"{found.hard.mean_iou:.3f}"]
    assert named["pixel accuracy"][-2] == f"{found.soft.pixel_accuracy:.3f}"


def test_a_test_set_of_other_classes_is_refused(ensemble, test_set) -> None:
    other = Classes.named([*faces.CLASSES[:-1], "crown"])
    strange = Labelled(test_set.images, test_set.masks, test_set.names, other)
    with pytest.raises(UserError, match=r"data\.test: its classes .*crown.*hat"):
        check_classes(ensemble, strange)
