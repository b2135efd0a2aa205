"""Claims about factory.scores."""

import json
import math

import numpy as np
import pytest

from factory.classes import IGNORE_ID, Classes
from factory.scores import Score, confusion_matrix


def score(truth: object, prediction: object, num_classes: int) -> Score:
    return Score.of(
        confusion_matrix(np.array(truth, np.uint8), np.array(prediction, np.uint8), num_classes)
    )


def random_masks(num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(num_classes)
    truth = rng.integers(0, num_classes, (4, 9, 7)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = IGNORE_ID
    return truth, rng.integers(0, num_classes, truth.shape).astype(np.uint8)


def test_the_confusion_matrix_counts_pixel_pairs_without_the_ignored_ones() -> None:
    truth, prediction = random_masks(5)
    counted = np.zeros((5, 5), np.int64)
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if t != IGNORE_ID:
            counted[t, p] += 1
    confusion = confusion_matrix(truth, prediction, 5)
    assert np.array_equal(confusion, counted)
    assert confusion.sum() == (truth != IGNORE_ID).sum() < truth.size


def test_ids_up_to_254_are_counted_apart() -> None:
    confusion = confusion_matrix(
        np.array([254, 0, 253], np.uint8), np.array([254, 254, 0], np.uint8), 255
    )
    assert (
        confusion[254, 254] == confusion[0, 254] == confusion[253, 0] == 1 and confusion.sum() == 3
    )


def test_confusion_matrices_of_parts_add_up() -> None:
    truth, prediction = random_masks(6)
    parts = sum(confusion_matrix(t, p, 6) for t, p in zip(truth, prediction, strict=True))
    assert np.array_equal(parts, confusion_matrix(truth, prediction, 6))


def test_iou_of_an_example_by_hand() -> None:
    found = score([[0, 0, 1], [1, 1, 255]], [[0, 1, 1], [1, 0, 0]], 2)
    # class 0: 1 hit of 3 in the union; class 1: 2 of 4.
    assert found.iou.tolist() == pytest.approx([1 / 3, 2 / 4])
    assert found.mean_iou == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found.pixel_accuracy == pytest.approx(3 / 5)


def test_a_class_in_neither_is_left_out_of_the_mean() -> None:
    found = score([0, 0, 1, 1], [0, 0, 1, 0], 4)
    assert np.isnan(found.iou).tolist() == [False, False, True, True]
    assert found.mean_iou == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_a_class_only_predicted_or_never_found_counts_as_zero() -> None:
    found = score([0, 0, 1], [0, 2, 0], 3)
    assert found.iou.tolist() == pytest.approx([1 / 3, 0, 0])
    assert found.mean_iou == pytest.approx(1 / 9)


@pytest.mark.parametrize("num_classes", [2, 5, 11])
def test_iou_agrees_with_brute_force_on_masks(num_classes: int) -> None:
    truth, prediction = random_masks(num_classes)
    kept = truth != IGNORE_ID
    wanted = [
        (kept & (truth == c) & (prediction == c)).sum()
        / (kept & ((truth == c) | (prediction == c))).sum()
        for c in range(num_classes)
    ]
    found = score(truth, prediction, num_classes)
    np.testing.assert_allclose(found.iou, wanted, rtol=1e-12)
    assert found.mean_iou == pytest.approx(np.mean(wanted))
    assert found.pixel_accuracy == pytest.approx((truth == prediction)[kept].mean())


def test_nothing_counted_is_not_a_number_and_no_warning() -> None:
    found = score([255, 255], [0, 1], 2)
    assert math.isnan(found.mean_iou) and np.isnan(found.iou).all()


def test_json_names_every_class_and_is_null_where_undefined() -> None:
    metrics = score([0, 0, 1], [0, 0, 0], 3).as_json(Classes.named(["sky", "sea", "land"]))
    assert metrics["iou"] == {"sky": 0.6667, "sea": 0.0, "land": None}
    assert metrics["mean_iou"] == 0.3333 and metrics["pixel_accuracy"] == 0.6667
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
