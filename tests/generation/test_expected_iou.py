"""Claims about datasets of ensembles that know what uncertainty means: column, filters, masks."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import factory
from factory.calibration import Calibration
from factory.classes import IGNORE_ID
from factory.config import Config
from factory.diffusion.checkpoints import load_model
from factory.errors import UserError
from factory.generation.command import generate, label
from factory.generation.recipe import load_models, make_plan
from factory.generation.repair import repair
from factory.labeling.heads import load_head, save_head, with_calibration
from factory.report import write_report
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_manifest, read_plan
from factory.shards.schema import Sample
from factory.shards.verification import verify
from tests.folders import contents
from tests.generation.conftest import LabelConfig, put_images
from tests.generation.test_label_scores import put_masks, source_of
from tests.generation.test_labelling import samples_of

CALIBRATION = Calibration(intercept=0.9, slope=-0.4, error=0.1, wrong_above=0.1, num_images=20)
MakeConfig = Callable[..., Config]


@pytest.fixture
def calibrated_models(tiny_models, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The tiny models, whose ensemble has a calibration."""

    def make(calibration: Calibration = CALIBRATION) -> dict[str, str]:
        model = load_model(tiny_models["ddpm_url"])
        head, _ = load_head(tiny_models["ensemble_url"], model.model_hash)
        url = str(tmp_path / "calibrated")
        save_head(with_calibration(head, calibration), url)
        return {**tiny_models, "ensemble_url": url}

    return make


@pytest.fixture
def config(tiny_config: MakeConfig, calibrated_models) -> Callable[..., Config]:
    def make(**keys: Any) -> Config:
        settings = {"num": 12, "samples_per_shard": 5, "workers": "here", **keys}
        return tiny_config(models=calibrated_models(), generate=settings)

    return make


@pytest.fixture
def url(config) -> str:
    """A finished dataset of twelve pairs."""
    made = config()
    generate(made)
    return made.generate.url


def expected_of(sample: Sample) -> float:
    return float(np.float32(CALIBRATION.expected_iou(sample.uncertainty)))


def told(config: Config) -> tuple[str, ...]:
    with pytest.raises(UserError) as refused:
        make_plan(config, load_models(config))
    return refused.value.problems


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_each_pair_has_the_iou_that_its_uncertainty_means(config, format: str) -> None:
    made = config(format=format)
    generate(made)
    url = made.generate.url
    for sample in samples_of(url):
        assert sample.expected_iou == expected_of(sample)
    tables = "data" if format == "parquet" else "metadata"
    table = pq.read_table(Path(url) / tables)
    assert table.column_names.index("expected_iou") > table.column_names.index("uncertainty")
    card = (Path(url) / "README.md").read_text()
    assert "| `expected_iou` | mean IoU" in card
    assert r"recipe.calibration.slope | \-0.4" in card
    assert verify(url, "decode").findings == []


@pytest.mark.slow
def test_a_damaged_shard_is_made_again_with_the_column(config) -> None:
    made = config()
    generate(made)
    url = Path(made.generate.url)
    before = contents(url)
    shard = next((url / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-50])
    repair(str(url), "decode")
    assert contents(url) == before


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "png"])
def test_labels_of_own_images_have_it_too(
    label_config: LabelConfig, calibrated_models, format: str
) -> None:
    made = label_config(format=format).model_copy(
        update={"models": label_config().models.model_copy(update=calibrated_models())}
    )
    label(made)
    rows = pq.read_table(Path(made.label.url) / "data").to_pylist()
    assert len(rows) == 7
    for row in rows:
        expected = CALIBRATION.expected_iou(row["uncertainty"])
        assert row["expected_iou"] == float(np.float32(expected))
    assert verify(made.label.url, "decode").findings == []


@pytest.mark.slow
def test_the_report_shows_whether_certain_masks_are_right_where_true_ones_are_known(
    label_config: LabelConfig, calibrated_models, tmp_path: Path
) -> None:
    names = [f"p{i}.png" for i in range(12)]
    put_images(tmp_path / "pairs" / "images", *names)
    put_masks(tmp_path / "pairs" / "masks", *names)
    made = label_config(source=source_of(tmp_path / "pairs"))
    models = made.models.model_copy(update=calibrated_models())
    label(made.model_copy(update={"models": models}))
    page = Path(write_report(made.label.url)).read_text()
    assert "By 20 labelled images an IoU of 0." in page
    assert "without the least certain fifth" in page and "off on average over tenths" in page
    assert page.count("<circle") == 20


@pytest.mark.slow
def test_the_report_of_pairs_without_true_masks_tells_what_is_expected_alone(url: str) -> None:
    page = Path(write_report(url)).read_text()
    assert "By 20 labelled images an IoU of 0." in page and "have 0.8 or more" in page
    assert "<circle" not in page


def test_plans_of_ensembles_without_calibration_do_not_tell_it(tiny_config: MakeConfig) -> None:
    config = tiny_config()
    plan = make_plan(config, load_models(config))
    assert not {"calibration", "ignored_above"} & plan.recipe.keys()
    assert plan.calibration is None
    assert "expected_iou" not in [column.name for column in plan.columns]


@pytest.mark.slow
def test_readers_keep_the_masks_of_which_the_iou_is_expected(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = samples_of(url)
    ious = sorted(expected_of(sample) for sample in samples)
    wanted = (ious[5] + ious[6]) / 2
    kept = {sample.key for sample in samples if expected_of(sample) >= wanted}
    capsys.readouterr()
    read = factory.open_dataset(url, min_expected_iou=wanted, columns=["key", "expected_iou"])
    assert re.search(r"keeps about 6 of 12 pairs, 50 %, those of at most", capsys.readouterr().out)
    rows = list(read)
    assert {row["key"] for row in rows} == kept and len(kept) == 6
    assert all(row["expected_iou"] >= wanted for row in rows)


@pytest.mark.slow
def test_exports_keep_the_same(url: str, tmp_path: Path, capsys) -> None:
    ious = sorted(expected_of(sample) for sample in samples_of(url))
    wanted = (ious[3] + ious[4]) / 2
    capsys.readouterr()
    num = factory.export(url, "imagefolder", tmp_path / "out", min_expected_iou=wanted)
    assert num == {"train": 8}
    assert "keeps about 8 of 12 pairs, 67 %" in capsys.readouterr().out
    assert '"expected_iou"' in (tmp_path / "out" / "train" / "metadata.jsonl").read_text()
    with pytest.raises(UserError, match="keep, min_expected_iou: are two ways"):
        factory.export(url, "folder", tmp_path / "other", min_expected_iou=0.5, keep=0.5)
    with pytest.raises(UserError, match="min_expected_iou = '2': must be an IoU above 0"):
        factory.export(url, "folder", tmp_path / "other", min_expected_iou="2")


@pytest.mark.slow
def test_what_keeps_nothing_or_everything_is_told(url: str) -> None:
    with pytest.raises(UserError, match=r"keeps none of 12 pairs: of these 0\.\d+ to 0\.\d+ is"):
        ShardDataset(url, min_expected_iou=0.95)
    assert ShardDataset(url, min_expected_iou=0.01).limit is None
    assert len(ShardDataset(url, min_expected_iou=0.01)) == 12
    with pytest.raises(UserError, match="above 0 and at most 1"):
        ShardDataset(url, min_expected_iou=80)
    with pytest.raises(UserError, match="keep and min_expected_iou are two ways"):
        ShardDataset(url, min_expected_iou=0.5, keep=0.5)


@pytest.mark.slow
def test_a_dataset_without_the_column_says_what_would_give_it(tiny_config: MakeConfig) -> None:
    config = tiny_config(generate={"num": 2, "workers": "here"})
    generate(config)
    with pytest.raises(
        UserError, match=r"has no expected_iou.*fit\.calibration_folds=3.*keep=0\.8"
    ):
        ShardDataset(config.generate.url, min_expected_iou=0.5)


@pytest.mark.slow
def test_uncertain_pixels_are_ignored_and_all_others_are_the_same(config, tmp_path: Path) -> None:
    for url, ignored in (("all", None), ("some", "wrong")):
        generate(config(url=str(tmp_path / url), ignore_uncertainty=ignored))
    plan = read_plan(str(tmp_path / "some"))
    assert plan.recipe["ignored_above"] == CALIBRATION.wrong_above
    assert "ignored_above" not in read_plan(str(tmp_path / "all")).recipe
    num_ignored = 0
    pairs = zip(*(samples_of(str(tmp_path / url)) for url in ("all", "some")), strict=True)
    for plain, sparse in pairs:
        ignored = sparse.mask == IGNORE_ID
        num_ignored += int(ignored.sum())
        assert (plain.mask != IGNORE_ID).all()
        assert (plain.mask == sparse.mask)[~ignored].all()
        assert (plain.image == sparse.image).all()
        assert plain.uncertainty == sparse.uncertainty
    total = sum(sum(r.class_pixels) for r in read_manifest(str(tmp_path / "some")).receipts)
    assert total == 12 * 16 * 16 - num_ignored < 12 * 16 * 16
    assert verify(str(tmp_path / "some"), "decode").findings == []


def test_the_pixels_that_are_ignored_are_those_above_the_bound(calibrated_models) -> None:
    models = calibrated_models()
    segmenter = factory.load_segmenter(
        models["ensemble_url"], factory.load_ddpm(models["ddpm_url"])
    )
    samples = factory.sample(segmenter, 3, precision="fp32", ignore_uncertainty=0.1)
    images = np.stack([sample.image for sample in samples])
    uncertainty = segmenter.segment(images).uncertainty
    masks = np.stack([sample.mask for sample in samples])
    # Sampling computes in batches, which round a little otherwise.
    clear = abs(uncertainty - 0.1) > 1e-3
    assert ((masks == IGNORE_ID) == (uncertainty > 0.1))[clear].all()
    assert 0 < (masks == IGNORE_ID).mean() < 1


def test_wrong_needs_a_calibration_and_a_number_must_ignore_something(
    tiny_config: MakeConfig,
) -> None:
    (problem,) = told(tiny_config(generate={"ignore_uncertainty": "wrong"}))
    assert problem.startswith("generate.ignore_uncertainty: the ensemble does not know")
    assert "fit.calibration_folds=3" in problem
    (problem,) = told(tiny_config(generate={"ignore_uncertainty": 3}))
    assert problem.startswith(
        "generate.ignore_uncertainty: 3 ignores no pixel: 11 classes have 2.4"
    )


def test_where_no_pixels_are_wrong_more_often_than_right_none_is_ignored_and_that_is_told(
    tiny_config: MakeConfig, calibrated_models, capsys: pytest.CaptureFixture[str]
) -> None:
    models = calibrated_models(CALIBRATION.model_copy(update={"wrong_above": None}))
    config = tiny_config(models=models, generate={"ignore_uncertainty": "wrong"})
    plan = make_plan(config, load_models(config))
    assert "ignored_above" not in plan.recipe
    assert "none is ignored" in capsys.readouterr().out
