"""Claims about datasets of labels: masks for images of one's own."""

import json
import os
import shutil
import struct
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import ExifTags, Image

from factory import faults
from factory.cli import main
from factory.config import Config, dump_config, parse_config
from factory.data.loading import read_images
from factory.errors import GenerationFailed, UserError
from factory.generation import label_listing, source_images
from factory.generation.command import check, generate, label
from factory.generation.recipe import load_models
from factory.generation.repair import repair
from factory.labeling.fitting import image_maps
from factory.png import encode_png
from factory.report import write_report
from factory.shards.packing import merged_rows
from factory.shards.reader import ShardDataset
from factory.shards.reading import read_manifest, read_plan, read_shard
from factory.shards.schema import Sample
from factory.shards.source_listing import SourceListing, read_listing
from factory.shards.status import status
from factory.shards.verification import Level, verify
from tests.folders import contents
from tests.generation.conftest import LabelConfig, put_images

# Each labels images from the command to the files.
pytestmark = pytest.mark.slow

NAMES = [*(f"p{i}.png" for i in range(5)), "sub/a.png", "sub/b.png"]
LISTING = "_factory/source.parquet"


def samples_of(url: str) -> list[Sample]:
    """All samples of a finished dataset."""
    manifest = read_manifest(url)
    shards = [read_shard(url, receipt) for receipt in manifest.receipts]
    rows = [row for files in shards for row in merged_rows(manifest.plan, files)]
    return [row.decoded() for row in rows]


def shard_bytes(folder: Path) -> dict[str, bytes]:
    """The shards of a dataset by their names."""
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def refusal(config: Config) -> tuple[str, ...]:
    with pytest.raises(UserError) as refused:
        label(config)
    return refused.value.problems


def test_each_image_is_a_row_with_its_name_and_the_labels_of_the_ensemble(
    label_config: LabelConfig, photos: Path
) -> None:
    config = label_config()
    assert label(config).rows == 7
    samples = samples_of(config.label.url)
    assert [sample.key for sample in samples] == [f"{i:09d}" for i in range(7)]
    assert [sample.source for sample in samples] == NAMES
    source, models = config.label.source, load_models(config)
    assert source is not None
    images = read_images(source, 16)
    np.testing.assert_array_equal([sample.image for sample in samples], images)
    with torch.inference_mode():
        maps = image_maps(models.ddpm, models.ensemble.config, images)
        labels = models.ensemble.label(maps, 16)
    expected = labels.soft.numpy()
    found = np.array([sample.mask for sample in samples])
    assert np.mean(found == expected) > 0.99, "other batches round otherwise"
    scores = labels.image_uncertainty().tolist()
    assert [sample.uncertainty for sample in samples] == pytest.approx(scores, rel=1e-4)


@pytest.mark.parametrize("format", ["parquet", "webdataset"])
def test_the_dataset_is_whole_and_read_reported_and_listed_as_any_other(
    label_config: LabelConfig, format: str
) -> None:
    config = label_config(format=format)
    url = config.label.url
    label(config)
    found = verify(url, "decode")
    assert found.findings == [] and found.finished
    assert status(url).finished
    assert [row["key"] for row in ShardDataset(url)] == [f"{i:09d}" for i in range(7)]
    page = Path(write_report(url)).read_text()
    assert "An ensemble on a diffusion model" in page and "drew" not in page
    card = (Path(url) / "README.md").read_text()
    assert "`source`" in card and "drew" not in card and "tags:" not in card
    assert "Images of photos, labelled by" in card


def test_generated_datasets_have_no_column_of_sources(
    tiny_config: Callable[..., Config],
) -> None:
    config = tiny_config(generate={"num": 2, "workers": "here"})
    generate(config)
    (file,) = (Path(config.generate.url) / "data").iterdir()
    assert pq.read_schema(file).names[-1] == "model_id"


def test_an_image_has_the_same_labels_whatever_lies_beside_it_in_its_batch(
    label_config: LabelConfig, photos: Path, tmp_path: Path
) -> None:
    label(label_config())
    shutil.copytree(photos, tmp_path / "fewer")
    (tmp_path / "fewer" / "p0.png").unlink()
    fewer = {"kind": "folder", "url": str(tmp_path / "fewer")}
    label(label_config(source=fewer, url=str(tmp_path / "other")))
    masks = {sample.source: sample.mask for sample in samples_of(label_config().label.url)}
    for sample in samples_of(str(tmp_path / "other")):
        np.testing.assert_array_equal(sample.mask, masks[sample.source])


def test_a_zip_of_the_images_gives_the_same_rows(
    label_config: LabelConfig, photos: Path, tmp_path: Path
) -> None:
    label(label_config())
    shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    zipped = {"kind": "folder", "url": str(tmp_path / "photos.zip")}
    label(label_config(source=zipped, url=str(tmp_path / "zipped")))
    assert shard_bytes(tmp_path / "zipped") == shard_bytes(tmp_path / "labels")


def test_images_of_any_source_are_labelled(
    label_config: LabelConfig, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs"
    generate(tiny_config(generate={"url": str(pairs), "num": 3, "workers": "here"}))
    source = {"kind": "parquet", "url": str(pairs / "data")}
    config = label_config(source=source)
    assert label(config).rows == 3
    label(label_config(source={"kind": "toy", "num": 3}, url=str(tmp_path / "toy")))
    generated, labelled = (
        [sample.image for sample in samples_of(url)] for url in (str(pairs), config.label.url)
    )
    np.testing.assert_array_equal(generated, labelled)
    assert samples_of(str(tmp_path / "toy"))[0].source == "toy-0-000000"


# The original size


def original(label_config: LabelConfig, photos: Path, **source: object) -> list[Sample]:
    """The samples of the photos at their own size."""
    named = {"kind": "folder", "url": str(photos), **source}
    config = label_config(at="original", source=named)
    label(config)
    assert verify(config.label.url, "decode").findings == []
    return samples_of(config.label.url)


def test_at_original_images_are_whole_and_masks_are_those_of_the_square_put_back(
    label_config: LabelConfig, photos: Path, tmp_path: Path
) -> None:
    label(label_config(url=str(tmp_path / "square")))
    squares = samples_of(str(tmp_path / "square"))
    for square, whole in zip(squares, original(label_config, photos), strict=True):
        pixels = np.asarray(Image.open(photos / whole.source))
        np.testing.assert_array_equal(whole.image, pixels)
        height, width = whole.mask.shape
        assert (height, width) == pixels.shape[:2] and width == 24
        side, left = min(height, width), (width - min(height, width)) // 2
        top = (height - side) // 2
        inside = whole.mask[top : top + side, left : left + side]
        scaled = Image.fromarray(square.mask).resize((side, side), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(inside, np.asarray(scaled))
        assert (whole.mask == 255).sum() == height * width - side * side
        assert whole.uncertainty == square.uncertainty


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_at_original_every_pixel_has_a_class_where_all_of_the_image_was_seen(
    label_config: LabelConfig, photos: Path, fit: str
) -> None:
    for sample in original(label_config, photos, fit=fit):
        assert sample.mask.shape == sample.image.shape[:2] and sample.mask.max() < 255


def test_padding_belongs_to_no_class_at_the_size_of_the_model(
    label_config: LabelConfig, photos: Path
) -> None:
    source = {"kind": "folder", "url": str(photos), "fit": "pad"}
    config = label_config(source=source)
    label(config)
    first = samples_of(config.label.url)[0]
    is_bar = (first.image == 0).all(axis=(1, 2))
    assert is_bar.sum() == 3, "an image of 24x20 pixels is 16x13 in a square of 16"
    np.testing.assert_array_equal((first.mask == 255).all(axis=1), is_bar)


def test_tiles_are_put_together_at_original_and_rows_of_their_own_at_model(
    label_config: LabelConfig, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 70, 3), np.uint8)
    (tmp_path / "wide").mkdir()
    (tmp_path / "wide" / "w.png").write_bytes(encode_png(pixels))
    source = {"fit": "tile", "tile_size": 16}
    (whole,) = original(label_config, tmp_path / "wide", **source)
    assert (whole.source, whole.mask.shape) == ("w.png", (40, 70)) and whole.mask.max() < 255
    np.testing.assert_array_equal(whole.image, pixels)
    named = {"kind": "folder", "url": str(tmp_path / "wide"), **source}
    label(label_config(url=str(tmp_path / "tiles"), source=named))
    tiles = samples_of(str(tmp_path / "tiles"))
    assert len(tiles) == 3 * 5 and tiles[-1].source == "w.png@54,24"
    np.testing.assert_array_equal(tiles[-1].image, pixels[24:, 54:])
    np.testing.assert_array_equal(whole.mask[24:, 54:], tiles[-1].mask)


def test_a_turned_photograph_is_upright_and_so_is_its_mask(
    label_config: LabelConfig, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    (tmp_path / "turned").mkdir()
    Image.fromarray(pixels).save(tmp_path / "turned" / "t.png", exif=exif)
    (sample,) = original(label_config, tmp_path / "turned")
    np.testing.assert_array_equal(sample.image, np.rot90(pixels, -1))
    assert sample.mask.shape == (30, 20)


def test_readers_and_the_report_take_rows_of_different_sizes(
    label_config: LabelConfig, photos: Path
) -> None:
    original(label_config, photos)
    url = label_config().label.url
    shapes = [tuple(row["mask"].shape) for row in ShardDataset(url)]
    assert shapes == [(20 + i, 24) for i in range(7)]
    assert "24 \N{MULTIPLICATION SIGN} 26" in Path(write_report(url)).read_text()


def test_shards_of_whole_images_have_a_hundred_unless_it_is_set() -> None:
    assert parse_config({"label": {"at": "original"}}).label.samples_per_shard == 100
    assert parse_config({"label": {}}).label.samples_per_shard == 1000
    named = {"at": "original", "samples_per_shard": 7}
    assert parse_config({"label": named}).label.samples_per_shard == 7


# Mask files


def mask_files_of(label_config: LabelConfig, **keys: Any) -> tuple[Path, dict[str, Any]]:
    """The folder of a dataset of mask files, and its table as columns."""
    config = label_config(format="png", **keys)
    label(config)
    assert verify(config.label.url, "decode").findings == []
    folder = Path(config.label.url)
    return folder, pq.read_table(folder / "data").to_pydict()


def test_as_png_each_mask_is_a_file_under_the_name_of_its_image_beside_a_table(
    label_config: LabelConfig, tmp_path: Path
) -> None:
    label(label_config(url=str(tmp_path / "rows")))
    rows = samples_of(str(tmp_path / "rows"))
    folder, table = mask_files_of(label_config)
    assert table["source"] == NAMES and table["mask_path"] == [f"masks/{name}" for name in NAMES]
    assert table["uncertainty"] == pytest.approx([row.uncertainty for row in rows])
    assert "image" not in table and "mask" not in table
    for row, path, fractions in zip(
        rows, table["mask_path"], table["class_fractions"], strict=True
    ):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / path)), row.mask)
        assert fractions == row.class_fractions(len(fractions))
    written = {name for name in contents(folder) if name.startswith("masks/")}
    assert written == set(table["mask_path"])
    assert "`mask_path`" in (folder / "README.md").read_text()


def test_masks_keep_the_endings_of_their_images_where_names_would_be_shared(
    label_config: LabelConfig, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(photos / "p0.png").convert("RGB").save(photos / "p0.jpg")
    _, table = mask_files_of(label_config)
    assert table["mask_path"][:3] == ["masks/p0.jpg.png", "masks/p0.png.png", "masks/p1.png.png"]
    assert "1 name would be shared without endings" in capsys.readouterr().out


def test_masks_keep_the_endings_of_their_images_where_a_mask_would_be_a_folder_of_others(
    label_config: LabelConfig, photos: Path
) -> None:
    (photos / "p4.png").rename(photos / "p4.jpg")
    (photos / "sub").rename(photos / "p4.png")
    _, table = mask_files_of(label_config)
    assert table["mask_path"][4:] == [
        "masks/p4.jpg.png",
        "masks/p4.png/a.png.png",
        "masks/p4.png/b.png.png",
    ]


def test_masks_that_cannot_be_called_after_their_images_are_refused_before_anything_starts(
    label_config: LabelConfig, photos: Path
) -> None:
    (photos / "p0.png").rename(photos / "p0.jpg")
    (photos / "sub").rename(photos / "p0.jpg.png")
    shutil.copy(photos / "p1.png", photos / "p1.webp")
    config = label_config(format="png")
    with pytest.raises(UserError, match=r"masks/p0\.jpg\.png would .* label with --as parquet"):
        label(config)
    shutil.copy(photos / "p1.png", photos / f"{'n' * 251}.png")
    with pytest.raises(UserError, match=r"more than 255 bytes.* label with --as parquet"):
        label(config)
    assert not Path(config.label.url).exists()


def test_mask_files_are_resumed_verified_and_repaired_byte_for_byte(
    label_config: LabelConfig, shards_made: list[list[int]]
) -> None:
    config = label_config(format="png")
    folder, _ = mask_files_of(label_config)
    before = contents(folder)
    (folder / "data" / "labels-00001.parquet").unlink()
    label(config)
    assert shards_made == [[0, 1, 2], [1]]
    altered, lost = folder / "masks" / "p1.png", folder / "masks" / "sub" / "b.png"
    altered.write_bytes(b"altered")
    lost.unlink()
    (folder / "masks" / "other.png").write_bytes(b"foreign")
    levels: tuple[Level, ...] = ("size", "hash", "decode")
    for level in levels:
        found = {each.name: each for each in verify(str(folder), level).findings}
        assert set(found) == {"masks/p1.png", "masks/sub/b.png", "masks/other.png"}
        assert (found["masks/p1.png"].shard, found["masks/sub/b.png"].shard) == (0, 2)
        assert "foreign" in found["masks/other.png"].what
    assert [each.name for each in repair(str(folder)).findings] == ["masks/other.png"]
    (folder / "masks" / "other.png").unlink()
    same = {name: data for name, data in contents(folder).items() if "shards/00001" not in name}
    assert {k: same[k] for k in before if k in same and k.startswith(("masks", "data"))} == {
        k: v for k, v in before.items() if k.startswith(("masks", "data"))
    }


def test_a_mask_that_another_program_put_there_fails_the_shard_and_stays(
    label_config: LabelConfig,
) -> None:
    config = label_config(format="png")
    check(config, "label").start(dump_config(config), {})
    foreign = Path(config.label.url) / "masks" / "p1.png"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"foreign")
    with pytest.raises(GenerationFailed, match=r"shard 0: .*masks/p1\.png: holds other bytes"):
        label(config)
    assert foreign.read_bytes() == b"foreign"


def test_masks_do_not_lie_among_the_images_that_they_are_of(
    label_config: LabelConfig, photos: Path
) -> None:
    (photos.parent / "link").symlink_to(photos)
    source = {"kind": "folder", "url": str(photos.parent / "link")}
    for keys in ({}, {"source": source}):
        (problem,) = refusal(label_config(format="png", url=str(photos / "labels"), **keys))
        assert "lies among the images" in problem
    assert sorted(path.name for path in photos.iterdir()) == [*NAMES[:5], "sub"]


@pytest.mark.parametrize("format", ["parquet", "webdataset", "png"])
def test_a_dataset_is_not_mixed_with_its_images(
    label_config: LabelConfig, photos: Path, format: str
) -> None:
    (problem,) = refusal(label_config(format=format, url=str(photos)))
    assert "is the place of the images" in problem
    assert "Name a place of its own" in problem
    assert sorted(path.name for path in photos.iterdir()) == [*NAMES[:5], "sub"]


def test_a_place_that_cannot_be_written_is_refused_before_images_are_read(
    label_config: LabelConfig, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factory.generation.planning.list_source", lambda *_: pytest.fail("read"))
    (problem,) = refusal(label_config(url=str(photos / "p0.png" / "labels")))
    assert "cannot be written" in problem


def test_mask_files_of_a_dataset_that_is_labelled_anew_are_called_by_keys(
    label_config: LabelConfig, pairs: str
) -> None:
    source = {"kind": "folder", "url": pairs}
    _, table = mask_files_of(label_config, source=source)
    assert table["mask_path"][0] == "masks/000000000.png" and "source" not in table


# A finished dataset that is labelled anew


@pytest.fixture
def pairs(tiny_config: Callable[..., Config], tmp_path: Path) -> str:
    """The URL of a dataset of ten generated pairs."""
    config = tiny_config(
        generate={"url": str(tmp_path / "pairs"), "num": 10, "workers": "here", "vote": "hard"}
    )
    generate(config)
    return config.generate.url


def relabelling(label_config: LabelConfig, dataset: str, **keys: object) -> Config:
    return label_config(source={"kind": "folder", "url": dataset}, **keys)


def test_a_finished_dataset_gets_new_labels_and_keeps_its_images_keys_and_seeds(
    label_config: LabelConfig, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(Path(pairs))
    config = relabelling(label_config, pairs)
    assert label(config).rows == 10
    old, new = read_manifest(pairs), read_manifest(config.label.url)
    assert new.plan.recipe["relabels"] == old.run_id != new.run_id
    assert f"new labels for the images of run {old.run_id}" in capsys.readouterr().out
    soft = 0
    for was, now in zip(samples_of(pairs), samples_of(config.label.url), strict=True):
        assert (was.key, was.seed) == (now.key, now.seed)
        np.testing.assert_array_equal(was.image, now.image)
        soft += int((was.mask != now.mask).sum())
    assert soft > 0, "the other vote has other masks"
    assert contents(Path(pairs)) == before
    assert verify(config.label.url, "decode").findings == []
    card = (Path(config.label.url) / "README.md").read_text()
    assert "A diffusion model drew the images" in card and f"run {old.run_id}" in card
    assert "`source`" not in card


def test_labels_of_labels_keep_the_names_of_the_images(
    label_config: LabelConfig, tmp_path: Path
) -> None:
    label(label_config())
    label(relabelling(label_config, str(tmp_path / "labels"), url=str(tmp_path / "again")))
    assert [sample.source for sample in samples_of(str(tmp_path / "again"))] == NAMES
    assert "drew" not in (tmp_path / "again" / "README.md").read_text()


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_names_that_no_mask_files_can_have_are_refused_before_a_dataset_is_labelled_anew(
    label_config: LabelConfig, photos: Path, tmp_path: Path, form: str
) -> None:
    (photos / "p0.png").rename(photos / "p0.jpg")
    (photos / "sub").rename(photos / "p0.jpg.png")
    config = label_config(format=form)
    label(config)
    again = relabelling(label_config, config.label.url, url=str(tmp_path / "again"), format="png")
    (problem,) = refusal(again)
    assert "masks/p0.jpg.png would be several masks, or a mask and a folder" in problem
    assert "label with --as parquet" in problem and not Path(again.label.url).exists()
    shutil.copy(photos / "p1.png", photos / f"{'n' * 251}.png")
    longer = label_config(format=form, url=str(tmp_path / "longer"))
    label(longer)
    again = relabelling(label_config, longer.label.url, url=str(tmp_path / "again"), format="png")
    assert "more than 255 bytes" in refusal(again)[0] and not Path(again.label.url).exists()


def test_a_dataset_keeps_its_own_labels(label_config: LabelConfig, pairs: str) -> None:
    before = contents(Path(pairs))
    for url in (pairs, f"{pairs}/labels"):
        (problem,) = refusal(relabelling(label_config, pairs, url=url))
        assert "name another --out" in problem
    assert contents(Path(pairs)) == before


def test_keys_of_files_are_told_as_unused_where_a_dataset_is_labelled_anew(
    label_config: LabelConfig, pairs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {"kind": "folder", "url": pairs, "num": 1, "fit": "pad", "exif": "apply"}
    check(label_config(source=source), "label")
    out = capsys.readouterr().out
    assert "label | num, fit of label.source not used: rows are taken as they are\n" in out


def test_an_unfinished_dataset_is_not_labelled_anew(label_config: LabelConfig, pairs: str) -> None:
    (Path(pairs) / "_SUCCESS").unlink()
    assert "is unfinished" in refusal(relabelling(label_config, pairs))[0]


def test_a_shard_of_the_old_dataset_that_was_altered_fails_the_new_one_that_needs_it(
    label_config: LabelConfig, pairs: str
) -> None:
    (Path(pairs) / "data" / "train-00001.parquet").write_bytes(b"altered")
    config = relabelling(label_config, pairs, samples_per_shard=4)
    with pytest.raises(GenerationFailed, match=r"1 of 3 shards failed:\n.*its sha256 is not"):
        label(config)


def test_new_labels_are_resumed_and_repaired_byte_for_byte(
    label_config: LabelConfig, pairs: str
) -> None:
    config = relabelling(label_config, pairs)
    label(config)
    folder = Path(config.label.url)
    before = contents(folder)
    (folder / "data" / "train-00002.parquet").unlink()
    assert repair(config.label.url).findings == []
    assert contents(folder) == before
    label(config)
    assert contents(folder) == before


def test_another_dataset_at_the_old_place_is_refused(
    label_config: LabelConfig, tiny_config: Callable[..., Config], pairs: str
) -> None:
    label(relabelling(label_config, pairs))
    shutil.rmtree(pairs)
    generate(tiny_config(generate={"url": pairs, "num": 10, "workers": "here", "seed": 1}))
    assert "recipe.source_sha256" in refusal(relabelling(label_config, pairs))[0]


# Going on


def test_the_same_command_goes_on_and_makes_only_what_is_missing(
    label_config: LabelConfig, shards_made: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = label_config()
    label(config)
    folder = Path(config.label.url)
    whole = contents(folder)
    (folder / "data" / "train-00001.parquet").unlink()
    (folder / "_factory" / "shards" / "00001.json").unlink()
    (folder / "_SUCCESS").unlink()
    label(config)
    assert shards_made == [[0, 1, 2], [1]]
    receipt = "_factory/shards/00001.json"
    again = contents(folder)
    assert again["data/train-00001.parquet"] == whole["data/train-00001.parquet"]
    assert json.loads(again[receipt])["sha256"] == json.loads(whole[receipt])["sha256"]


def test_images_are_hashed_again_only_where_they_were_written_since(
    label_config: LabelConfig, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    original = label_listing._look

    def counting(file: Any, **rest: Any) -> Any:
        hashed.append(file.name)
        return original(file, **rest)

    monkeypatch.setattr(label_listing, "_look", counting)
    label(label_config())
    assert sorted(hashed) == NAMES
    hashed.clear()
    photo = photos / "p3.png"
    photo.write_bytes(photo.read_bytes())
    label(label_config())
    assert hashed == ["p3.png"]


def test_images_that_changed_are_gone_or_new_are_named_and_nothing_is_made(
    label_config: LabelConfig, photos: Path
) -> None:
    config = label_config()
    label(config)
    before = contents(Path(config.label.url))
    put_images(photos, "p1.png", seed=1)
    (problem,) = refusal(config)
    assert problem.startswith(f"{photos}/p1.png: has changed since {config.label.url} was begun.")
    assert "another --out" in problem
    (photos / "p2.png").rename(photos / "p9.png")
    gone, new = refusal(config)
    assert gone.startswith(f"{photos}/p2.png: is gone") and new.startswith("p9.png: is new")
    assert contents(Path(config.label.url)) == before


def test_an_image_that_changes_after_the_start_fails_its_shard_alone_and_is_named(
    label_config: LabelConfig, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = label_config()
    ledger = check(config, "label")
    listing = label_listing.list_source(config, load_models(config), None).listing
    ledger.start(dump_config(config), {})
    (Path(config.label.url) / LISTING).write_bytes(listing.to_bytes())
    versions = listing.versions
    put_images(photos, "p4.png", seed=1)
    # As if it had been written while the driver looked elsewhere.
    monkeypatch.setattr(type(config.label.source), "versions", lambda self, items: versions)
    with pytest.raises(GenerationFailed, match=r"1 of 3 shards failed:\n.*p4\.png: has changed"):
        label(config)
    assert sorted(shard_bytes(Path(config.label.url))) == [
        "train-00000.parquet",
        "train-00002.parquet",
    ]


@pytest.mark.parametrize("becomes", ["a folder", "a pipe", "gone"])
def test_an_image_that_is_no_file_any_more_when_its_turn_comes_is_named(
    label_config: LabelConfig, photos: Path, monkeypatch: pytest.MonkeyPatch, becomes: str
) -> None:
    config, image = label_config(), photos / "p4.png"

    def changing(*_: object) -> None:
        image.unlink()
        if becomes == "a folder":
            image.mkdir()
        elif becomes == "a pipe":
            os.mkfifo(image)

    # The worker has listed the images then, and none is read.
    monkeypatch.setattr(source_images, "check_names", changing)
    words = "is gone" if becomes == "gone" else "has changed since the dataset was begun"
    with pytest.raises(GenerationFailed, match=rf"{image}: {words}\. Put back what was there"):
        label(config)


def test_another_plan_at_the_same_place_is_refused_with_the_difference(
    label_config: LabelConfig, tiny_config: Callable[..., Config], tmp_path: Path
) -> None:
    label(label_config())
    assert 'recipe.vote: there "soft", here "hard"' in refusal(label_config(vote="hard"))[0]
    generated = {"url": str(tmp_path / "pairs"), "num": 2, "workers": "here"}
    generate(tiny_config(generate=generated))
    assert "holds a dataset of another plan" in refusal(label_config(url=generated["url"]))[0]


def test_an_interrupted_job_is_finished_by_the_same_command(
    label_config: LabelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(label_config(url=str(tmp_path / "whole")))

    def interrupt(point: str) -> None:
        if point == "shard.written":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(faults, "hit", interrupt)
        with pytest.raises(KeyboardInterrupt):
            label(label_config())
    label(label_config())
    assert shard_bytes(tmp_path / "labels") == shard_bytes(tmp_path / "whole")


# Checking and mending


def test_a_shard_that_was_altered_is_made_again_byte_for_byte(label_config: LabelConfig) -> None:
    config = label_config()
    label(config)
    url, before = config.label.url, contents(Path(config.label.url))
    shard = Path(url) / "data" / "train-00001.parquet"
    shard.write_bytes(b"altered")
    assert [finding.name for finding in verify(url).findings] == ["data/train-00001.parquet"]
    assert repair(url).findings == []
    assert contents(Path(url)) == before


@pytest.mark.parametrize("damage", ["lost", "altered", "of another place"])
def test_the_listing_of_the_images_is_checked_and_made_again(
    label_config: LabelConfig, damage: str
) -> None:
    config = label_config()
    label(config)
    url, before = config.label.url, contents(Path(config.label.url))
    file = Path(url) / LISTING
    if damage == "lost":
        file.unlink()
    elif damage == "altered":
        file.write_bytes(b"altered")
    else:  # Its digest is that of the right one.
        listing = read_listing(url, read_plan(url).recipe["source_sha256"])
        elsewhere = replace(listing, urls=[f"/elsewhere/{name}" for name in listing.names])
        file.write_bytes(elsewhere.to_bytes())
    assert [finding.name for finding in verify(url).findings] == [LISTING]
    assert repair(url).findings == []
    assert contents(Path(url)) == before


def test_an_unfinished_dataset_has_no_foreign_files_and_names_its_command(
    label_config: LabelConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = label_config()
    label(config)
    for name in ("_SUCCESS", "_factory/manifest.json", "_factory/shards/00002.json"):
        (Path(config.label.url) / name).unlink()
    for name in ("verify", "status"):
        assert main([name, config.label.url]) == 3
        assert "the same `factory label` goes on" in capsys.readouterr().out


def test_a_listing_is_proven_by_its_digest_alone() -> None:
    listing = SourceListing(["a", "b"], ["/a", "/b"], ["1", "2"], ["0" * 64, "1" * 64])
    moved = SourceListing(["a", "b"], ["/x/a", "/x/b"], ["3", "4"], ["0" * 64, "1" * 64])
    swapped = SourceListing(["a", "b"], ["/a", "/b"], ["1", "2"], ["1" * 64, "0" * 64])
    assert listing.digest == moved.digest != swapped.digest


# The command


def command(config: Config, folder: Path, *arguments: str) -> list[str]:
    (folder / "config.yaml").write_text(dump_config(config))
    return ["label", "--config", str(folder / "config.yaml"), *arguments]


def test_the_command_takes_a_folder_and_says_what_it_did(
    label_config: LabelConfig, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(photos / "sub"), "--out", str(tmp_path / "out"), "--samples-per-shard", "1"]
    assert main(command(label_config(), tmp_path, *arguments)) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("label | ")]
    assert "complete | 2 pairs" in told[-1]
    assert [sample.source for sample in samples_of(str(tmp_path / "out"))] == ["a.png", "b.png"]


def test_names_with_combining_accents_are_told_to_be_composed_in_what_is_written(
    label_config: LabelConfig, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = (
        photos / "sub" / unicodedata.normalize("NFD", "\N{LATIN SMALL LETTER E WITH ACUTE}.png")
    )
    (photos / "p0.png").rename(stored)
    config = label_config()
    label(config)
    assert "names of 1 image are written with combining accents" in capsys.readouterr().out
    composed = unicodedata.normalize("NFC", f"sub/{stored.name}")
    assert composed in [sample.source for sample in samples_of(config.label.url)]
    assert (
        str(stored)
        in read_listing(config.label.url, read_plan(config.label.url).recipe["source_sha256"]).urls
    )
    stored.rename(photos / composed)
    check(config, "label")
    assert "combining" not in capsys.readouterr().out


def test_a_dry_run_writes_nothing(
    label_config: LabelConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = label_config()
    assert main(command(config, tmp_path, "--dry-run")) == 0
    assert "nothing was started" in capsys.readouterr().out
    assert not Path(config.label.url).exists()


def test_without_images_the_command_says_how_to_name_them(
    tiny_config: Callable[..., Config], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(label={"workers": "here", "url": str(tmp_path / "out")})
    assert main(command(config, tmp_path)) == 2
    assert "label.source is not set. Name the images" in capsys.readouterr().err


def test_a_shard_that_fails_leaves_a_job_that_can_be_resumed(
    label_config: LabelConfig, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Its checksums are those of the damage, and so only decoding shows it.
    data = bytearray((photos / "p0.png").read_bytes())
    place = data.index(b"IDAT")
    (length,) = struct.unpack_from(">I", data, place - 4)
    end = place + 4 + length
    data[place + 4 : end] = bytes(length)
    data[end : end + 4] = zlib.crc32(data[place:end]).to_bytes(4, "big")
    (photos / "p0.png").write_bytes(data)
    assert main(command(label_config(), tmp_path)) == 3
    error = capsys.readouterr().err
    assert f"{photos}/p0.png: damaged image" in error and "label into another --out" in error
    assert "run the same command again to resume" in error
