"""Claims about what the scores of trainings are said to mean."""

import numpy as np
import pytest

from factory import storage
from factory.classes import Classes
from factory.proving.conditions import BOTH, ENSEMBLE, PSEUDO_BOTH, REAL, SYNTHETIC, TRAINED
from factory.proving.proof import Proof, read_proof
from factory.scores import Score
from factory.shards.layout import PROOF

CLASSES = Classes(("sky", "tree"), ((0, 0, 255), (0, 255, 0)))


def score(*ious: float) -> Score:
    """A score of which the classes have these IoUs."""
    hits = np.array([round(1000 * iou) for iou in ious])
    truth = np.array([1000 for _ in ious])
    return Score(hits, truth, hits.copy())


def proof_of(**scores: tuple[Score, ...]) -> Proof:
    """A proof in which all that is not named has IoU 0.5 in each class and seed."""
    even = (score(0.5, 0.5),) * 3
    others = {kind: even for kind in TRAINED}
    return Proof(
        dataset="root",
        classes=CLASSES,
        num_real=20,
        num_synthetic=1000,
        num_pseudo=900,
        num_test=50,
        num_steps=100,
        scores={**others, ENSEMBLE: (score(0.6, 0.7),), **scores},
    )


def seeds(*means: float) -> tuple[Score, ...]:
    return tuple(score(mean - 0.1, mean + 0.1) for mean in means)


def test_a_gain_that_all_seeds_have_is_told_with_its_error() -> None:
    proof = proof_of(**{REAL: seeds(0.50, 0.52, 0.51), BOTH: seeds(0.56, 0.59, 0.57)})
    gain = proof.difference(BOTH, REAL)
    assert (gain.mean, gain.error) == pytest.approx((6.333, 0.333), abs=1e-3) and gain.is_told
    assert proof.verdict()[0] == (
        "Synthetic pairs help: +6.3 ± 0.3 points of mean IoU beside 20 real pairs, over 3 seeds."
    )


def test_a_gain_that_chance_makes_is_not_called_one() -> None:
    proof = proof_of(**{REAL: seeds(0.50, 0.60, 0.55), BOTH: seeds(0.58, 0.59, 0.56)})
    assert "cannot be told: +2.7 ± 2.7 points" in proof.verdict()[0]


def test_a_loss_is_told_as_one() -> None:
    proof = proof_of(**{REAL: seeds(0.60, 0.61, 0.62), BOTH: seeds(0.55, 0.56, 0.57)})
    assert "do not help: -5.0 ± 0.0" in proof.verdict()[0]


def test_the_ensemble_and_the_control_stand_in_the_verdict() -> None:
    proof = proof_of(
        **{
            SYNTHETIC: seeds(0.60, 0.61, 0.62),
            BOTH: seeds(0.60, 0.61, 0.62),
            PSEUDO_BOTH: seeds(0.64, 0.65, 0.66),
        }
    )
    _, alone, control, _ = proof.verdict()
    assert "61.0, 4.0 points below the ensemble" in alone
    assert "worse: -4.0 ± 0.0 points" in control


def test_classes_that_gain_and_lose_are_named() -> None:
    proof = proof_of(**{BOTH: (score(0.6, 0.3),) * 3})
    assert proof.verdict()[3] == ("Of the classes gain most: sky +10.0; lose most: tree -20.0.")


def test_a_class_that_no_image_shows_is_not_counted() -> None:
    nowhere = Score(*(np.array([500, 0]), np.array([1000, 0]), np.array([500, 0])))
    proof = proof_of(**{BOTH: (nowhere,) * 3, REAL: (nowhere,) * 3})
    assert proof.verdict()[3] == "No class gains or loses."


def test_every_kind_has_a_row_with_its_spread(tmp_path) -> None:
    lines = proof_of(**{BOTH: seeds(0.56, 0.59, 0.57)}).table()
    assert len(lines) == 7 and "57.3 ± 1.5" in lines[3] and lines[6].endswith("65.0         65.0")


def test_a_proof_of_another_dataset_or_a_damaged_one_is_none(tmp_path) -> None:
    import json

    proof, url = proof_of(), str(tmp_path / PROOF)
    assert read_proof(str(tmp_path), "root") is None
    storage.write(url, json.dumps(proof.as_json()).encode())
    again = read_proof(str(tmp_path), "root")
    assert again is not None and again.as_json() == proof.as_json()
    assert read_proof(str(tmp_path), "another") is None
    storage.write(url, b'{"dataset": "root"}')
    assert read_proof(str(tmp_path), "root") is None
