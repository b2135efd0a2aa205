"""Claims about masks that are compared with those of the source, and the scores of a dataset."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import factory
from factory.classes import IGNORE_ID
from factory.cli import main
from factory.config import Config
from factory.data.loading import read_labelled
from factory.data.toy.faces import CLASSES
from factory.errors import GenerationFailed, UserError
from factory.generation import label_listing, planning
from factory.generation.command import label
from factory.generation.recipe import load_models
from factory.generation.repair import repair
from factory.png import encode_png
from factory.report import write_report
from factory.scores import Score, confusion_matrix
from factory.shards.columns import SCORE_COLUMNS
from factory.shards.reader import ShardDataset
from factory.shards.schema import Sample
from factory.shards.verification import verify
from tests.folders import contents
from tests.generation.conftest import LabelConfig, put_images
from tests.generation.test_labelling import samples_of

SCORES, LISTING = "scores.json", "_factory/source.parquet"

pytestmark = pytest.mark.slow


def put_masks(folder: Path, *names: str, seed: int = 0) -> None:
    """Writes masks of random ids, some of them ignored, for `put_images` of the same names."""
    for i, name in enumerate(names):
        rng = np.random.default_rng([seed, i, 1])
        ids = rng.integers(0, len(CLASSES), (20 + i, 24)).astype(np.uint8)
        ids[rng.random(ids.shape) < 0.1] = IGNORE_ID
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode_png(ids))


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder of seven images and their masks."""
    names = [f"p{i}.png" for i in range(7)]
    put_images(tmp_path / "pairs" / "images", *names)
    put_masks(tmp_path / "pairs" / "masks", *names)
    return tmp_path / "pairs"


def source_of(folder: Path, **keys: object) -> dict[str, object]:
    return {"kind": "pairs", "url": str(folder), "classes": list(CLASSES), **keys}


def score_of(url: str) -> Score:
    """The scores of a finished dataset."""
    score = ShardDataset(url).score
    assert score is not None
    return score


def by_hand(truths: list[Any], samples: list[Sample]) -> Score:
    """The scores that follow from the masks of a dataset."""
    pairs = zip(truths, samples, strict=True)
    return Score.of(sum(confusion_matrix(t, s.mask, len(CLASSES)) for t, s in pairs))  # type: ignore[arg-type]


def assert_equal(found: Score, wanted: Score) -> None:
    for name in ("hits", "truth", "predicted"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@pytest.mark.parametrize("format", ["parquet", "webdataset", "png"])
def test_masks_are_compared_with_those_of_the_source_as_evaluate_does(
    label_config: LabelConfig, pairs: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = label_config(source=source_of(pairs), format=format)
    url = config.label.url
    label(config)
    assert verify(url, "decode").findings == []
    assert config.label.source is not None
    test = read_labelled(config.label.source, 16)
    rows_url = str(Path(url).parent / "rows")
    label(label_config(source=source_of(pairs), url=rows_url))
    score = by_hand(list(test.masks), samples_of(rows_url))
    assert_equal(score_of(rows_url), score)
    told = json.loads((Path(url) / SCORES).read_text())
    counts = {"num_images": 7, "num_pixels": int((test.masks != IGNORE_ID).sum())}
    assert told == {**counts, **score.as_json(test.classes)}
    lines = [f"label | {line}" for line in score.lines(test.classes)]
    assert set(lines) <= set(capsys.readouterr().out.splitlines())


def test_at_original_masks_are_compared_at_the_size_of_their_images(
    label_config: LabelConfig, pairs: Path
) -> None:
    config = label_config(source=source_of(pairs), at="original")
    label(config)
    samples = samples_of(config.label.url)
    truths = [np.asarray(Image.open(pairs / "masks" / each.source)) for each in samples]
    score = score_of(config.label.url)
    assert_equal(score, by_hand(truths, samples))
    known = [truth != IGNORE_ID for truth in truths]
    seen = [sample.mask != IGNORE_ID for sample in samples]
    counted = sum(int((k & s).sum()) for k, s in zip(known, seen, strict=True))
    assert score.num_pixels == counted < sum(int(k.sum()) for k in known)


def test_tiles_are_compared_one_by_one_or_put_together(
    label_config: LabelConfig, tmp_path: Path
) -> None:
    put_images(tmp_path / "wide" / "images", "w.png")
    put_masks(tmp_path / "wide" / "masks", "w.png")
    source = source_of(tmp_path / "wide", fit="tile", tile_size=16)
    label(label_config(source=source))
    tiles = ShardDataset(label_config().label.url, columns=["source", *SCORE_COLUMNS])
    assert [row["source"] for row in tiles] == [f"w.png@{x},{y}" for y in (0, 4) for x in (0, 8)]
    whole_url = str(tmp_path / "whole")
    label(label_config(source=source, at="original", url=whole_url))
    truth = np.asarray(Image.open(tmp_path / "wide" / "masks" / "w.png"))
    assert_equal(score_of(whole_url), by_hand([truth], samples_of(whole_url)))


def test_each_row_has_its_own_counts_which_add_up_to_those_of_the_dataset(
    label_config: LabelConfig, pairs: Path
) -> None:
    config = label_config(source=source_of(pairs), format="png")
    label(config)
    table = pq.read_table(Path(config.label.url) / "data").to_pydict()
    score = json.loads((Path(config.label.url) / SCORES).read_text())
    assert np.sum(table["truth_pixels"]) == np.sum(table["predicted_pixels"]) == score["num_pixels"]
    assert {len(counts) for name in SCORE_COLUMNS for counts in table[name]} == {len(CLASSES)}
    accuracy = np.sum(table["hit_pixels"]) / score["num_pixels"]
    assert score["pixel_accuracy"] == pytest.approx(accuracy, abs=1e-4)


def test_status_report_and_card_tell_the_scores(
    label_config: LabelConfig, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = label_config(source=source_of(pairs))
    label(config)
    url = config.label.url
    means, per_class = score_of(url).lines(factory.Classes.named(CLASSES))
    capsys.readouterr()
    assert main(["status", url]) == 0
    out = capsys.readouterr().out.splitlines()
    assert {f"scores   {means}", f"scores   {per_class}"} <= set(out)
    assert f"Against the masks of the source: {means}" in Path(write_report(url)).read_text()
    assert "| mean IoU |" in (Path(url) / "README.md").read_text()


def test_without_masks_to_compare_nothing_is_told_of_scores(
    label_config: LabelConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    label(label_config())
    url = label_config().label.url
    assert ShardDataset(url).score is None and not (Path(url) / SCORES).exists()
    assert main(["status", url]) == 0
    assert "scores" not in capsys.readouterr().out
    assert "Against the masks" not in Path(write_report(url)).read_text()


# Going on, checking and mending


def test_a_job_that_goes_on_ends_with_the_scores_of_all_images(
    label_config: LabelConfig,
    pairs: Path,
    tmp_path: Path,
    shards_made: list[list[int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = label_config(source=source_of(pairs))
    label(config)
    folder, whole = Path(config.label.url), contents(Path(config.label.url))
    gone = ["data/train-00001.parquet", "_factory/shards/00001.json", "_SUCCESS", SCORES]
    for name in gone:
        (folder / name).unlink()
    capsys.readouterr()
    assert main(["status", str(folder)]) == 3
    assert "scores   mean IoU" in capsys.readouterr().out, "of the pairs that are done"
    label(config)
    assert shards_made == [[0, 1, 2], [1]]
    assert contents(folder)[SCORES] == whole[SCORES]
    (folder / SCORES).write_bytes(b"{}")
    assert [each.name for each in verify(str(folder)).findings] == [SCORES]
    assert repair(str(folder)).findings == []
    assert contents(folder)[SCORES] == whole[SCORES]


def test_masks_that_changed_are_named_and_nothing_is_made(
    label_config: LabelConfig, pairs: Path
) -> None:
    config = label_config(source=source_of(pairs))
    label(config)
    before = contents(Path(config.label.url))
    put_masks(pairs / "masks", "p0.png", seed=1)
    (problem,) = refusal(config)
    assert problem.startswith(f"{pairs}/masks/p0.png: has changed since {config.label.url} was")
    assert contents(Path(config.label.url)) == before


def test_a_mask_that_changes_after_the_start_fails_its_shard_alone_and_is_named(
    label_config: LabelConfig, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = label_listing.list_source

    def changing(*arguments: Any) -> Any:
        listed = make(*arguments)
        put_masks(pairs / "masks", "p0.png", seed=1)
        return listed

    monkeypatch.setattr(planning, "list_source", changing)
    with pytest.raises(
        GenerationFailed, match=r"1 of 3 shards failed:\n.*masks/p0\.png: has changed"
    ):
        label(label_config(source=source_of(pairs)))


def test_other_masks_make_another_plan(label_config: LabelConfig, pairs: Path) -> None:
    models, config = load_models(label_config()), label_config(source=source_of(pairs))
    first = label_listing.list_source(config, models, None).listing.digest
    put_masks(pairs / "masks", "p0.png", seed=1)
    assert label_listing.list_source(config, models, None).listing.digest != first


# What cannot be compared


def refusal(config: Config) -> tuple[str, ...]:
    with pytest.raises(UserError) as refused:
        label(config)
    assert not (Path(config.label.url) / "data").exists() or verify(config.label.url)
    return refused.value.problems


def test_score_false_labels_what_cannot_be_compared(label_config: LabelConfig, pairs: Path) -> None:
    (pairs / "masks" / "p3.png").write_bytes(b"torn")
    source = source_of(pairs)
    problem, *remedies = refusal(label_config(source=source))
    assert problem.startswith(f"{pairs}/masks/p3.png: ")
    assert "label.unreadable: skip" in remedies[0] and "label.score: false" in remedies[1]
    config = label_config(source=source, score=False)
    assert label(config).rows == 7
    assert ShardDataset(config.label.url).score is None


def test_classes_of_others_are_refused_with_both_lists(
    label_config: LabelConfig, pairs: Path
) -> None:
    (problem,) = refusal(label_config(source=source_of(pairs, classes=["sky", "sea"])))
    assert "['sky', 'sea']" in problem and str(list(CLASSES)) in problem
    assert "set label.score: false" in problem


def test_masks_whose_values_are_of_no_class_are_refused_as_evaluate_does(
    label_config: LabelConfig, pairs: Path
) -> None:
    (pairs / "masks" / "p3.png").write_bytes(encode_png(np.full((23, 24), 77, np.uint8)))
    *problems, remedy = refusal(label_config(source=source_of(pairs)))
    assert "77" in problems[0] and "label.score: false" in remedy


def test_images_without_masks_are_refused_with_the_way_to_label_them(
    label_config: LabelConfig, pairs: Path
) -> None:
    (pairs / "masks" / "p3.png").unlink()
    *_, remedy = refusal(label_config(source=source_of(pairs)))
    assert "label.score: false" in remedy
    assert label(label_config(source=source_of(pairs), score=False)).rows == 7


@pytest.mark.parametrize(
    ("keys", "missing"),
    [({"kind": "auto"}, "known as their masks"), ({"kind": "folder"}, "kind folder has no masks")],
)
def test_where_there_are_no_masks_true_is_refused_and_auto_says_so(
    label_config: LabelConfig,
    photos: Path,
    keys: dict[str, str],
    missing: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = {**keys, "url": str(photos)}
    problem, remedy = refusal(label_config(source=source, score=True))
    assert missing in problem and "label.score: false" in remedy
    assert label(label_config(source=source)).rows == 7
    told = "masks are not compared" in capsys.readouterr().out
    assert told == (keys["kind"] == "auto"), "a folder never has masks"


# Programs


def test_programs_name_any_source_and_read_the_scores(
    tiny_models: dict[str, str], pairs: Path, tmp_path: Path
) -> None:
    ddpm = factory.load_ddpm(tiny_models["ddpm_url"])
    segmenter = factory.load_segmenter(tiny_models["ensemble_url"], ddpm)
    rows = factory.label(
        segmenter, source_of(pairs), tmp_path / "out", workers="here", precision="fp32"
    )
    assert rows.score is not None and 0 < rows.score.mean_iou < 1
    assert repr(rows.score).startswith("Score(mean_iou=0.")
    index = factory.open_dataset(tmp_path / "out", random_access=True, columns=["hit_pixels"])
    assert index.score is not None
    np.testing.assert_array_equal(index.score.hits, rows.score.hits)
    total = sum(index[i]["hit_pixels"].numpy() for i in range(len(index)))
    np.testing.assert_array_equal(total, rows.score.hits)


def test_auto_goes_on_with_a_dataset_that_was_begun_without_scores_whatever_is_lost(
    label_config: LabelConfig, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = label_config(source=source_of(pairs), score=False)
    label(config)
    folder = Path(config.label.url)
    before = contents(folder / "data")
    for path in (folder / LISTING, folder / "data" / "train-00001.parquet"):
        path.unlink()
    (pairs / "masks" / "p1.png").unlink()
    label(label_config(source=source_of(pairs)))
    assert contents(folder / "data") == before
    assert "masks are not compared, as the dataset was begun without" in capsys.readouterr().out


@pytest.mark.parametrize(("begun", "asked"), [(False, True), (True, False)])
def test_a_dataset_that_was_begun_otherwise_names_label_score(
    label_config: LabelConfig, pairs: Path, begun: bool, asked: bool
) -> None:
    label(label_config(source=source_of(pairs), score=begun))
    with pytest.raises(UserError) as refused:
        label(label_config(source=source_of(pairs), score=asked))
    (line,) = refused.value.problems
    how = "with" if begun else "without"
    assert f"was begun {how} comparing masks. Set label.score: {str(begun).lower()} to" in line
