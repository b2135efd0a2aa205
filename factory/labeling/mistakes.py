"""The test image that costs each class most, beside the labelled image that is most like it.

If the most similar labelled image shows the same thing, the mistake is the ensemble's; if it shows
something else, an image like this one is worth labelling next.

Shapes: S image size, C classes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.classes import IGNORE_ID
from factory.data.loading import Labelled
from factory.errors import counted
from factory.images import UInt8
from factory.likeness.feature_space import features
from factory.likeness.similar import most_similar
from factory.pictures import captioned, colorize, heat, tile
from factory.scores import Counts, Score

COLUMNS = ("image", "truth", "prediction", "wrong", "uncertainty")
OF_LABELLED = ("most similar labelled", "its mask")
MAX_CLASSES = 24
"""A picture shows so many classes at most, those of the least IoU."""


@dataclass(frozen=True)
class Mistake:
    """The pixels of a class that a test image has wrong."""

    class_id: int
    image: int
    """The index of the test image."""
    num_wrong: int
    """The pixels of which either the truth or the prediction alone has the class."""
    num_either: int
    """The pixels of which the truth or the prediction has the class."""
    prediction: UInt8
    """(S, S) class ids."""
    uncertainty: npt.NDArray[np.float32]
    """(S, S) nats."""

    @property
    def iou(self) -> float:
        """The IoU of the class in this image."""
        return 1 - self.num_wrong / self.num_either


def mistakes_in(
    image: int, confusion: Counts, prediction: UInt8, uncertainty: npt.NDArray[np.float32]
) -> list[Mistake]:
    """One for each class of which the image has wrong pixels; confusion (C, C) is that of the
    prediction."""
    score = Score.of(confusion)
    either = score.truth + score.predicted - score.hits
    wrong = either - score.hits
    return [
        Mistake(i, image, int(wrong[i]), int(either[i]), prediction, uncertainty)
        for i in np.flatnonzero(wrong).tolist()
    ]


def most_costly(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """The one of each class with most wrong pixels, by class; the first of several such."""
    worst: dict[int, Mistake] = {}
    for mistake in mistakes:
        known = worst.get(mistake.class_id)
        if known is None or mistake.num_wrong > known.num_wrong:
            worst[mistake.class_id] = mistake
    return [worst[i] for i in sorted(worst)]


def similar_labelled(
    mistakes: Sequence[Mistake], test: Labelled, labelled: Labelled | None
) -> list[int | None]:
    """For each mistake the index of the labelled image that is most like its image, as
    `most_similar` tells it; None without labelled images."""
    if labelled is None or not mistakes:
        return [None] * len(mistakes)
    images = [test.images[mistake.image] for mistake in mistakes]
    return list(most_similar(images, features(labelled.images).layout))


def picture(
    mistakes: Sequence[Mistake],
    similar: Sequence[int | None],
    score: Score,
    test: Labelled,
    labelled: Labelled | None,
) -> UInt8 | None:
    """(H, W, 3) a row a class, the least IoU of the whole test set first; None without mistakes."""
    both = [(m, i) for m, i in zip(mistakes, similar, strict=True) if score.truth[m.class_id]]
    both.sort(key=lambda pair: (score.iou[pair[0].class_id], pair[0].class_id))
    rows = [_row(mistake, i, test, labelled) for mistake, i in both[:MAX_CLASSES]]
    if not rows:
        return None
    columns = list(COLUMNS if labelled is None else COLUMNS + OF_LABELLED)
    return captioned(np.concatenate(rows), columns)


def _row(mistake: Mistake, similar: int | None, test: Labelled, labelled: Labelled | None) -> UInt8:
    """The pictures of a mistake side by side, under a line of words."""
    image, truth = test.images[mistake.image], test.masks[mistake.image]
    wrong = (truth == mistake.class_id) != (mistake.prediction == mistake.class_id)
    panes = [
        image,
        colorize(truth, test.classes),
        colorize(mistake.prediction, test.classes),
        heat(wrong & (truth != IGNORE_ID), 1.0),
        heat(mistake.uncertainty, float(np.log(2))),
    ]
    if labelled is not None and similar is not None:
        mask = colorize(labelled.masks[similar], labelled.classes)
        panes += [labelled.images[similar], mask]
    name = test.classes.names[mistake.class_id]
    words = (
        f"{name}: IoU {mistake.iou:.2f} in {test.names[mistake.image]}, "
        f"{counted(mistake.num_wrong, 'wrong pixel')}"
    )
    return captioned(tile([panes], scale=max(1, 128 // len(truth))), [words])


def as_json(
    mistakes: Sequence[Mistake],
    similar: Sequence[int | None],
    test: Labelled,
    labelled: Labelled | None,
) -> list[dict[str, Any]]:
    """The mistakes with the names of their images."""
    return [
        {
            "class": test.classes.names[mistake.class_id],
            "image": test.names[mistake.image],
            "iou": mistake.iou,
            "num_wrong": mistake.num_wrong,
            "most_similar_labelled": None if labelled is None or i is None else labelled.names[i],
        }
        for mistake, i in zip(mistakes, similar, strict=True)
    ]
