"""Measures an ensemble on labelled images that it has not seen, and shows what it does."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factory import storage
from factory.certainty import Certainty, Known, certainty_of
from factory.certainty_picture import picture
from factory.classes import IGNORE_ID, Classes
from factory.config import Config
from factory.data.loading import Labelled
from factory.diffusion.checkpoints import Model
from factory.errors import UserError, counted
from factory.images import UInt8
from factory.labeling import mistakes
from factory.labeling.fitting import label_in_batches
from factory.labeling.head import Head
from factory.labeling.mistakes import Mistake, mistakes_in, most_costly, similar_labelled
from factory.pictures import captioned, colorize, heat, tile
from factory.png import encode_png
from factory.progress import tracked
from factory.scores import Counts, Score, confusion_matrix

METRICS, MISTAKES = "metrics.json", "mistakes.png"
"""Files of an evaluation."""
ENSEMBLE = "ensemble_sha256"
"""The key of the metrics that tells which ensemble was measured."""
SHEET_COLUMNS = ("image", "truth", "prediction", "uncertainty")


@dataclass(frozen=True)
class Evaluation:
    """Scores of both votes over the whole test set, and its most telling pictures."""

    soft: Score
    hard: Score
    sheet: UInt8
    num_images: int
    images_with_class: tuple[int, ...]
    """The number of test images in which each class occurs."""
    certainty: Certainty | None = None
    """Whether the soft vote is as right as it is certain; None if every pixel is ignored."""
    mistakes: tuple[Mistake, ...] = ()
    """For each class with wrong pixels the test image that has most of them."""

    def __repr__(self) -> str:
        return (
            f"Evaluation({counted(self.num_images, 'image')}, soft={self.soft}, hard={self.hard})"
        )


def evaluate(model: Model, ensemble: Head, test: Labelled, config: Config) -> Evaluation:
    """Labels the test images, whose classes must be the ensemble's."""
    num_classes = len(test.classes)
    soft = hard = np.zeros((num_classes, num_classes), np.int64)
    rows: list[Sequence[UInt8]] = []
    images, worst = list[Known](), list[Mistake]()
    size, step = ensemble.config.image_size, config.evaluate.batch_size
    batches = label_in_batches(model, ensemble, test.images, step, test.masks != IGNORE_ID)
    known = zip(test.images, test.masks, strict=True)
    for labels in tracked(batches, "evaluate", -(-len(test) // step), "batches"):
        parts = (labels.soft, labels.hard, labels.uncertainty, labels.soft_overlaps)
        found = (part.cpu().numpy() for part in (labels.image_uncertainty(), *parts))
        for of_image, by_soft, by_hard, uncertainty, overlap in zip(*found, strict=True):
            image, mask = next(known)
            confusion = confusion_matrix(mask, by_soft, num_classes)
            images.append(_known(float(of_image), overlap, confusion, ensemble))
            soft = soft + confusion
            hard = hard + confusion_matrix(mask, by_hard, num_classes)
            mistaken = mistakes_in(len(images) - 1, confusion, by_soft, uncertainty)
            worst = most_costly([*worst, *mistaken])
            if len(rows) < config.evaluate.num_pictures:
                shown = by_soft if config.evaluate.vote == "soft" else by_hard
                rows.append(_row(image, mask, shown, uncertainty, test.classes))
    occurring = tuple(int((test.masks == i).any(axis=(1, 2)).sum()) for i in range(num_classes))
    sheet = captioned(tile(rows, scale=max(1, 128 // size)), list(SHEET_COLUMNS))
    certainty = certainty_of(images)
    return Evaluation(
        Score.of(soft), Score.of(hard), sheet, len(test), occurring, certainty, tuple(worst)
    )


def _known(uncertainty: float, overlap: Counts, confusion: Counts, ensemble: Head) -> Known:
    """What is known of an image; overlap: see `Calibration.expected`."""
    score, calibration = Score.of(confusion), ensemble.config.calibration
    if calibration is None:
        return Known(uncertainty, score.mean_iou)
    expected = calibration.expected(uncertainty, overlap)
    class_ious = score.iou.tolist()
    return Known(uncertainty, score.mean_iou, expected.iou, class_ious, expected.class_ious)


def _row(
    image: UInt8,
    truth: UInt8,
    prediction: UInt8,
    uncertainty: npt.NDArray[np.float32],
    classes: Classes,
) -> list[UInt8]:
    """The pictures of `SHEET_COLUMNS`."""
    masks = [colorize(mask, classes) for mask in (truth, prediction)]
    return [image, *masks, heat(uncertainty, float(np.log(2)))]


def check_classes(ensemble: Head, test: Labelled, name: str = "data.test") -> None:
    """Raises UserError where the test set's classes are not those of the ensemble.

    name: the key or the argument that the test set is.
    """
    if test.classes.names != ensemble.config.class_names:
        raise UserError(
            f"{name}: its classes {list(test.classes.names)} are not those that the ensemble "
            f"was fitted on, {list(ensemble.config.class_names)}. Name the matching ensemble."
        )


def write_evaluation(
    evaluation: Evaluation,
    ensemble_hash: str,
    test: Labelled,
    labelled: Labelled | None,
    config: Config,
) -> None:
    """Writes metrics.json, sheet.png and, where there is anything to show, certainty.svg and
    mistakes.png to evaluate.url.

    labelled: the images that the ensemble learned from, if they are known.
    """
    similar = similar_labelled(evaluation.mistakes, test, labelled)
    occurring = dict(zip(test.classes.names, evaluation.images_with_class, strict=True))
    metrics = {
        ENSEMBLE: ensemble_hash,
        "num_images": evaluation.num_images,
        "vote": config.evaluate.vote,
        "soft": evaluation.soft.as_json(test.classes),
        "hard": evaluation.hard.as_json(test.classes),
        "images_with_class": occurring,
        "confusion_soft": _rows(evaluation.soft),
        "confusion_hard": _rows(evaluation.hard),
        "certainty": evaluation.certainty and evaluation.certainty.as_json(test.classes),
        "mistakes": mistakes.as_json(evaluation.mistakes, similar, test, labelled),
    }
    url = config.evaluate.url
    storage.write(storage.join(url, METRICS), (json.dumps(metrics, indent=1) + "\n").encode())
    storage.write(storage.join(url, "sheet.png"), encode_png(evaluation.sheet))
    if evaluation.certainty is not None:
        drawn = picture(evaluation.certainty, test.classes, in_page=False)
        storage.write(storage.join(url, "certainty.svg"), drawn.encode())
    shown = mistakes.picture(evaluation.mistakes, similar, evaluation.soft, test, labelled)
    if shown is not None:
        storage.write(storage.join(url, MISTAKES), encode_png(shown))


def _rows(score: Score) -> list[list[int]]:
    """The rows of a score's confusion matrix."""
    assert score.confusion is not None, "the scores of an evaluation are made of it"
    rows: list[list[int]] = score.confusion.tolist()
    return rows


def table(evaluation: Evaluation, test: Labelled) -> list[str]:
    """The scores as lines of text: one a class, then the means."""
    lines = [f"{'class':<16} {'images':>6} {'IoU soft':>9} {'IoU hard':>9}"]
    rows = zip(
        test.classes.names,
        evaluation.images_with_class,
        evaluation.soft.iou,
        evaluation.hard.iou,
        strict=True,
    )
    lines += [f"{name:<16} {num:>6} {soft:>9.3f} {hard:>9.3f}" for name, num, soft, hard in rows]
    soft, hard = evaluation.soft, evaluation.hard
    images = evaluation.num_images
    lines.append(f"{'mean IoU':<16} {images:>6} {soft.mean_iou:>9.3f} {hard.mean_iou:>9.3f}")
    lines.append(
        f"{'pixel accuracy':<16} {images:>6} {soft.pixel_accuracy:>9.3f} "
        f"{hard.pixel_accuracy:>9.3f}"
    )
    return lines
