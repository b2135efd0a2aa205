"""Claims about `factory prove`, on tiny models."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from factory.config import Config, config_tree, parse_config
from factory.errors import UserError
from factory.proving import runs
from factory.proving.command import check, prove
from factory.proving.conditions import TRAINED
from factory.proving.proof import read_proof
from factory.report import write_report
from factory.shards.reading import read_manifest
from factory.shards.verification import verify


@pytest.fixture
def proving(tiny_config: Callable[..., Config], pairs_url: str, tmp_path: Path):
    """A config of ten trainings of two steps; keywords are keys of prove."""

    def make(**keys: object) -> Config:
        tree = config_tree(tiny_config(generate={"workers": "here", "url": pairs_url}))
        data = {
            **tree["data"],
            "unlabelled": {"kind": "toy", "num": 12},
            "labelled": {"kind": "toy", "num": 6, "seed": 2},
            "test": {"kind": "toy", "num": 5, "seed": 3},
        }
        prove = {"url": str(tmp_path / "proof"), "dataset_url": pairs_url, "workers": "here"}
        steps = {"num_steps": 2, "num_seeds": 2}
        segment = {"widths": [8], "batch_size": 2, "precision": "fp32"}
        return parse_config(
            {**tree, "data": data, "segment": segment, "prove": {**prove, **steps, **keys}}
        )

    return make


def test_a_proof_is_written_and_shown_and_no_file_of_the_dataset_is_changed(
    proving, pairs_url
) -> None:
    lines = prove(proving())
    proof = read_proof(pairs_url, read_manifest(pairs_url).root)
    assert proof is not None and set(proof.verdict()) <= set(lines)
    assert (proof.num_real, proof.num_synthetic, proof.num_pseudo, proof.num_test) == (6, 30, 12, 5)
    assert all(len(proof.scores[kind]) == 2 for kind in TRAINED)
    page = Path(write_report(pairs_url)).read_text()
    assert "Worth training on?" in page and proof.verdict()[0].partition(":")[0] in page
    assert not verify(pairs_url).findings


def test_what_is_finished_is_not_trained_again(proving, monkeypatch) -> None:
    config = proving()
    lines = prove(config)
    killed = Path(config.prove.url) / "runs" / "pseudo-1.json"
    killed.write_text(killed.read_text()[:20])
    made = list[str]()
    score = runs.score

    def recorded(settings, material, device):
        made.append(f"{settings.seed} {material.real is None}")
        return score(settings, material, device)

    monkeypatch.setattr(runs, "score", recorded)
    assert prove(config) == lines and made == ["1 True"]
    prove(proving(num_seeds=3))
    assert len(made) == 1 + len(TRAINED)
    made.clear()
    prove(proving(num_steps=3))
    assert len(made) == 2 * len(TRAINED)


@pytest.mark.ray
def test_trainings_side_by_side_have_the_same_scores(proving, ray_session, tmp_path) -> None:
    prove(proving())
    there = proving(url=str(tmp_path / "there"), workers="ray")
    prove(there)
    files = [tmp_path / place / "proof.json" for place in ("proof", "there")]
    here, side_by_side = (json.loads(file.read_text())["scores"] for file in files)
    assert here == side_by_side


def test_a_dataset_of_another_ensemble_is_refused(proving, tmp_path) -> None:
    from tests import tiny

    other = tiny.save_models(tmp_path / "other", seed=1)
    tree = config_tree(proving())
    with pytest.raises(UserError, match="another ensemble"):
        check(parse_config({**tree, "models": other}))


def test_all_that_is_missing_is_named_at_once(tmp_path) -> None:
    with pytest.raises(UserError) as refused:
        check(
            parse_config({"preset": "64px", "data": {"unlabelled": {"kind": "folder", "url": "x"}}})
        )
    for key in ("data.labelled", "data.test", "models.ddpm_url", "models.ensemble_url"):
        assert f"{key} is not set" in str(refused.value)
