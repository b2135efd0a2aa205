"""Claims about factory.labeling.mistakes."""

import numpy as np
import pytest

from factory.classes import IGNORE_ID, Classes
from factory.data.loading import Labelled
from factory.images import UInt8
from factory.labeling.mistakes import (
    COLUMNS,
    OF_LABELLED,
    Mistake,
    as_json,
    mistakes_in,
    most_costly,
    picture,
    similar_labelled,
)
from factory.scores import Score, confusion_matrix
from tests.drawings import draw_many

SIZE = 16
CLASSES = Classes.named(("ground", "cat", "dog"))
FLAT = np.zeros((SIZE, SIZE), np.float32)


@pytest.fixture(scope="module")
def test_set() -> Labelled:
    images, _ = draw_many(3, 4, SIZE)
    masks = np.zeros((4, SIZE, SIZE), np.uint8)
    masks[:, 4:8, 4:8] = 1
    return Labelled(images, masks, tuple("abcd"), CLASSES)


def found_in(image: int, truth: UInt8, prediction: UInt8) -> list[Mistake]:
    return mistakes_in(image, confusion_matrix(truth, prediction, 3), prediction, FLAT)


def test_the_image_with_most_wrong_pixels_of_a_class_costs_it_most(test_set: Labelled) -> None:
    guesses = test_set.masks.copy()
    guesses[1, 4, 4] = 0
    guesses[2, 4:6, 4:8] = 2
    mistakes = [m for i in range(4) for m in found_in(i, test_set.masks[i], guesses[i])]
    worst = most_costly(mistakes)
    assert [(m.class_id, m.image, m.num_wrong, m.num_either) for m in worst] == [
        (0, 1, 1, SIZE**2 - 15),
        (1, 2, 8, 16),
        (2, 2, 8, 8),
    ]
    assert worst[1].iou == 0.5 and worst[2].iou == 0


def test_ignored_pixels_are_no_mistakes(test_set: Labelled) -> None:
    truth = test_set.masks[0].copy()
    truth[0] = IGNORE_ID
    guess = test_set.masks[0].copy()
    guess[0] = 2
    assert found_in(0, truth, guess) == []


def test_the_most_similar_labelled_image_may_be_mirrored(test_set: Labelled) -> None:
    others, masks = draw_many(9, 6, SIZE)
    images = np.concatenate([others, test_set.images[2:3, :, ::-1]])
    labelled = Labelled(images, np.zeros((7, SIZE, SIZE), np.uint8), tuple("0123456"), CLASSES)
    mistakes = found_in(2, test_set.masks[2], np.zeros_like(masks[0]) + 2)
    similar = similar_labelled(mistakes, test_set, labelled)
    assert similar == [6] * len(mistakes)
    told = as_json(mistakes, similar, test_set, labelled)
    assert told[1] == {
        "class": "cat",
        "image": "c",
        "iou": 0.0,
        "num_wrong": 16,
        "most_similar_labelled": "6",
    }
    assert similar_labelled(mistakes, test_set, None) == [None] * len(mistakes)


def test_the_picture_has_a_row_for_each_class_that_the_truth_has(test_set: Labelled) -> None:
    guess = np.full((SIZE, SIZE), 2, np.uint8)
    mistakes = found_in(0, test_set.masks[0], guess)
    assert [m.class_id for m in mistakes] == [0, 1, 2]
    score = Score.of(confusion_matrix(test_set.masks[0], guess, 3))
    cell, rows = SIZE * 8 + 2, 2
    for labelled, columns in ((None, COLUMNS), (test_set, COLUMNS + OF_LABELLED)):
        similar = similar_labelled(mistakes, test_set, labelled)
        drawn = picture(mistakes, similar, score, test_set, labelled)
        assert drawn is not None
        assert drawn.shape == (16 + rows * (16 + 2 + cell), len(columns) * cell + 2, 3)
        first = drawn[32 + 2 :][:128:8, 2:130:8]
        assert np.array_equal(first, test_set.images[0])
    assert picture([], [], score, test_set, None) is None
