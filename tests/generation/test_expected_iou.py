"""Claims about datasets of ensembles that know what votes mean: columns, filters, masks."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import factory
from factory.calibration import NOT_THERE, Calibration, ClassLines
from factory.classes import IGNORE_ID
from factory.config import Config
from factory.diffusion.checkpoints import load_model
from factory.errors import DamagedShard, UserError
from factory.generation.command import generate, label
from factory.generation.recipe import load_models, make_plan
from factory.generation.repair import repair
from factory.labeling.fitting import image_maps
from factory.labeling.heads import load_head, save_head, with_calibration
from factory.report import write_report
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_manifest, read_plan
from factory.shards.schema import Sample, check_sample
from factory.shards.verification import verify
from tests.folders import contents
from tests.generation.conftest import LabelConfig, put_images
from tests.generation.test_label_scores import put_masks, source_of
from tests.generation.test_labelling import samples_of

CALIBRATION = Calibration(
    intercept=0.1,
    slope=0.8,
    error=0.1,
    wrong_above=0.1,
    num_images=20,
    classes=ClassLines(slope=1.2, intercepts=tuple(i / 50 for i in range(11)), error=0.1),
)
OLD = Calibration(intercept=0.9, slope=-0.4, error=0.1, wrong_above=0.1, num_images=20)
"""As an older version learned it, over the uncertainty."""
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
    def make(calibration: Calibration = CALIBRATION, **keys: Any) -> Config:
        settings = {"num": 12, "samples_per_shard": 5, "workers": "here", **keys}
        return tiny_config(models=calibrated_models(calibration), generate=settings)

    return make


@pytest.fixture(params=[CALIBRATION, OLD], ids=["votes", "uncertainty"])
def url(config, request: pytest.FixtureRequest) -> str:
    """A finished dataset of twelve pairs."""
    made = config(request.param)
    generate(made)
    return made.generate.url


def is_of_votes(url: str) -> bool:
    return read_plan(url).expects_by_votes


def expected_of(sample: Sample) -> float:
    assert sample.expected_iou is not None
    return sample.expected_iou


def told(config: Config) -> tuple[str, ...]:
    with pytest.raises(UserError) as refused:
        make_plan(config, load_models(config))
    return refused.value.problems


@pytest.mark.slow
@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_each_pair_has_the_iou_that_its_votes_mean(config, format: str) -> None:
    made = config(format=format)
    generate(made)
    url = made.generate.url
    for sample in samples_of(url):
        there = [i for i, iou in enumerate(sample.expected_class_iou) if iou != NOT_THERE]
        assert there == sample.labels
        expected = CALIBRATION.iou_of_classes(sample.expected_class_iou)
        assert sample.expected_iou == float(np.float32(expected))
    tables = "data" if format == "parquet" else "metadata"
    names = pq.read_table(Path(url) / tables).column_names
    assert names.index("expected_class_iou") == names.index("expected_iou") + 1
    assert names.index("expected_iou") > names.index("uncertainty")
    card = (Path(url) / "README.md").read_text()
    assert "| `expected_iou` | mean IoU" in card and "| `expected_class_iou` | IoU" in card
    assert "recipe.calibration.classes.slope | 1.2" in card
    assert verify(url, "decode").findings == []


@pytest.mark.slow
def test_the_iou_is_that_of_the_ensembles_votes_on_the_image(config) -> None:
    made = config()
    generate(made)
    samples, models = samples_of(made.generate.url), load_models(made)
    images = np.stack([sample.image for sample in samples])
    with torch.inference_mode():
        maps = image_maps(models.ddpm, models.ensemble.config, images)
        overlaps = models.ensemble.label(maps, 16).soft_overlaps.numpy()
    for sample, overlap in zip(samples, overlaps, strict=True):
        expected = CALIBRATION.expected(sample.uncertainty, overlap)
        assert sample.expected_class_iou == pytest.approx(expected.class_ious, abs=0.02)
    assert len({sample.expected_class_iou for sample in samples}) == 12


def test_a_segmenter_tells_it_where_its_ensemble_is_calibrated(
    tiny_models: dict[str, str], calibrated_models
) -> None:
    ddpm = factory.load_ddpm(tiny_models["ddpm_url"])
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    calibrated = factory.load_segmenter(calibrated_models()["ensemble_url"], ddpm)
    found = calibrated.segment(images, "hard")
    for mask, expected in zip(found.masks, found.expected, strict=True):
        there = [i for i, iou in enumerate(expected.class_ious) if iou != NOT_THERE]
        assert there == np.unique(mask).tolist()
        assert expected.iou == CALIBRATION.iou_of_classes(expected.class_ious)
    plain = factory.load_segmenter(tiny_models["ensemble_url"], ddpm)
    assert plain.segment(images).expected == ()


@pytest.mark.slow
def test_an_ensemble_of_an_older_version_goes_on_to_tell_it_by_uncertainty(config) -> None:
    made = config(OLD)
    generate(made)
    plan = read_plan(made.generate.url)
    assert list(plan.recipe["calibration"]) == sorted(OLD.model_dump())
    assert "expected_class_iou" not in [column.name for column in plan.columns]
    for sample in samples_of(made.generate.url):
        expected = OLD.iou_of_uncertainty(sample.uncertainty)
        assert sample.expected_iou == float(np.float32(expected))
        assert sample.expected_class_iou == ()
    (receipt, *_) = read_manifest(made.generate.url).receipts
    assert receipt.expected_iou_quantiles is None
    assert verify(made.generate.url, "decode").findings == []


@pytest.mark.slow
def test_receipts_tell_how_the_expected_iou_is_distributed(config) -> None:
    made = config(val_fraction=0.4)
    generate(made)
    samples = samples_of(made.generate.url)
    (first, *_) = receipts = read_manifest(made.generate.url).receipts
    ious = sorted(expected_of(sample) for sample in samples[:5])
    assert first.expected_iou_quantiles == ious
    assert (first.expected_iou_min, first.expected_iou_max) == (ious[0], ious[-1])
    assert first.expected_iou_mean == pytest.approx(np.mean(ious))
    parts = [part.of_split(split) for part in receipts for split in ("train", "validation")]
    known = [part.expected_iou_quantiles or [] for part in parts if part is not None]
    assert sorted(chain(*known)) == sorted(map(expected_of, samples))


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"expected_iou": 0.123},
        {"expected_class_iou": (0.5,) * 10},
        {"expected_class_iou": (0.5,) * 10 + (1.5,)},
        {"expected_class_iou": (NOT_THERE,) * 11},
        {"expected_class_iou": ()},
    ],
)
def test_what_is_not_what_the_calibration_says_is_damage(config, changes: dict[str, Any]) -> None:
    made = config()
    generate(made)
    (sample, *_) = samples_of(made.generate.url)
    check_sample(sample, 11, calibration=CALIBRATION)
    altered = replace(sample, **changes)
    if "expected_iou" not in changes:
        expected = CALIBRATION.iou_of_classes(altered.expected_class_iou)
        altered = replace(altered, expected_iou=float(np.float32(expected)))
    with pytest.raises(DamagedShard, match=r"expected_(class_)?iou is"):
        check_sample(altered, 11, calibration=CALIBRATION)


@pytest.mark.ray
def test_one_actor_two_actors_and_a_process_alone_make_the_same_bytes(
    ray_session: str, config, tmp_path: Path
) -> None:
    pools = {"one": {"min_actors": 1, "max_actors": 1}, "two": {"min_actors": 2, "max_actors": 2}}
    here = config(url=str(tmp_path / "here"), samples_per_shard=2)
    generate(here)
    for name, keys in pools.items():
        url = str(tmp_path / name)
        generate(config(url=url, samples_per_shard=2, workers="ray", **keys))
        assert read_manifest(url).root == read_manifest(here.generate.url).root
    kept = factory.read_dataset(here.generate.url, keep=8 / 12).take_all()
    assert len(kept) == 8 and kept[0]["expected_class_iou"].shape == (11,)


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
        expected = CALIBRATION.iou_of_classes(row["expected_class_iou"])
        assert row["expected_iou"] == float(np.float32(expected))
        there = [iou != NOT_THERE for iou in row["expected_class_iou"]]
        assert there == [share > 0 for share in row["class_fractions"]]
    assert verify(made.label.url, "decode").findings == []


@pytest.mark.slow
def test_new_labels_of_a_dataset_have_it_too(
    label_config: LabelConfig, calibrated_models, config, tmp_path: Path
) -> None:
    made = config()
    generate(made)
    anew = label_config(source={"kind": "folder", "url": made.generate.url})
    label(anew.model_copy(update={"models": made.models}))
    known = samples_of(made.generate.url)
    for sample, before in zip(samples_of(anew.label.url), known, strict=True):
        assert sample.expected_class_iou == pytest.approx(before.expected_class_iou, abs=0.02)


@pytest.mark.slow
def test_only_pixels_of_the_image_count_not_what_a_square_has_around_it(
    label_config: LabelConfig, calibrated_models, tmp_path: Path
) -> None:
    put_images(tmp_path / "wide", "a.png")
    for name, keys in (("padded", {"fit": "pad"}), ("stretched", {"fit": "stretch"})):
        source = {"kind": "folder", "url": str(tmp_path / "wide"), **keys}
        made = label_config(source=source, url=str(tmp_path / name))
        models = made.models.model_copy(update=calibrated_models())
        label(made.model_copy(update={"models": models}))
    (padded,), (stretched,) = (samples_of(str(tmp_path / n)) for n in ("padded", "stretched"))
    assert (padded.mask == IGNORE_ID).any() and not (stretched.mask == IGNORE_ID).any()
    there = [i for i, iou in enumerate(padded.expected_class_iou) if iou != NOT_THERE]
    assert there == padded.labels, "classes that only the padding has are none"


@pytest.mark.slow
@pytest.mark.parametrize("at", ["model", "original"])
def test_an_image_of_several_tiles_has_what_all_of_them_have(
    label_config: LabelConfig, calibrated_models, tmp_path: Path, at: str
) -> None:
    put_images(tmp_path / "wide", "a.png", "b.png")
    tiles = {"kind": "folder", "url": str(tmp_path / "wide"), "fit": "tile", "tile_size": 16}
    made = label_config(source=tiles, at=at)
    label(made.model_copy(update={"models": made.models.model_copy(update=calibrated_models())}))
    samples = samples_of(made.label.url)
    assert len(samples) == (8 if at == "model" else 2)
    for sample in samples:
        there = {i for i, iou in enumerate(sample.expected_class_iou) if iou != NOT_THERE}
        assert there >= set(sample.labels) and sample.expected_iou is not None
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
    assert "off on average over classes" in page and "of each class" in page
    assert 20 < page.count("<circle") <= 31


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
    told = capsys.readouterr().out
    assert "keeps about 6 of 12 pairs, 50 %" in told
    assert ("those of at most" in told) != is_of_votes(url), "nats are told of the older line"
    rows = list(read)
    assert {row["key"] for row in rows} == kept and len(kept) == 6
    assert all(row["expected_iou"] >= wanted for row in rows)


@pytest.mark.slow
def test_the_most_certain_share_is_that_of_the_largest_expected_iou(url: str) -> None:
    samples = samples_of(url)
    least = sorted(map(expected_of, samples))[4]
    kept = {row["key"] for row in factory.open_dataset(url, keep=8 / 12)}
    assert kept == {sample.key for sample in samples if expected_of(sample) >= least}
    assert len(kept) == 8


@pytest.mark.slow
def test_a_bound_in_nats_is_one_of_uncertainty(url: str) -> None:
    nats = sorted(sample.uncertainty for sample in samples_of(url))
    assert len(list(ShardDataset(url, max_uncertainty=nats[4]))) == 5


@pytest.mark.slow
def test_exports_keep_the_same(url: str, tmp_path: Path, capsys) -> None:
    ious = sorted(expected_of(sample) for sample in samples_of(url))
    wanted = (ious[3] + ious[4]) / 2
    capsys.readouterr()
    num = factory.export(url, "imagefolder", tmp_path / "out", min_expected_iou=wanted)
    assert num == {"train": 8}
    assert "keeps about 8 of 12 pairs, 67 %" in capsys.readouterr().out
    rows = (tmp_path / "out" / "train" / "metadata.jsonl").read_text()
    assert '"expected_iou"' in rows and ('"expected_class_iou"' in rows) == is_of_votes(url)
    with pytest.raises(UserError, match="keep, min_expected_iou: are two ways"):
        factory.export(url, "folder", tmp_path / "other", min_expected_iou=0.5, keep=0.5)
    with pytest.raises(UserError, match="min_expected_iou = '2': must be an IoU above 0"):
        factory.export(url, "folder", tmp_path / "other", min_expected_iou="2")


@pytest.mark.slow
def test_what_keeps_nothing_or_everything_is_told(url: str) -> None:
    least, *_, most = sorted(map(expected_of, samples_of(url)))
    told = f"keeps none of 12 pairs: of these {least:.3f} to {most:.3f} is"
    with pytest.raises(UserError, match=told):
        ShardDataset(url, min_expected_iou=0.95)
    assert ShardDataset(url, min_expected_iou=0.01).bound is None
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


def test_wrong_is_refused_where_it_would_ignore_all_pixels(
    tiny_config: MakeConfig, calibrated_models
) -> None:
    models = calibrated_models(CALIBRATION.model_copy(update={"wrong_above": 0.0}))
    (problem,) = told(tiny_config(models=models, generate={"ignore_uncertainty": "wrong"}))
    assert "all pixels are wrong more often than right" in problem


@pytest.mark.slow
def test_masks_whose_pixels_are_all_ignored_are_told(
    tiny_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"ignore_uncertainty": 1e-9, "workers": "here", "num": 2}
    generate(tiny_config(generate=settings))
    assert "warning: all pixels of all masks are ignored" in capsys.readouterr().out
