"""Claims about datasets of mask files that are read together with the images that were labelled."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

import factory
from factory import png
from factory.config import Config
from factory.errors import UserError
from factory.generation.command import generate, label
from factory.report import write_report
from tests.generation.conftest import LabelConfig, put_images

pytestmark = pytest.mark.slow


def datasets_of(label_config: LabelConfig, tmp_path: Path, **keys: object) -> tuple[str, str]:
    """The URLs of two datasets of the same labels: mask files, and rows of Parquet."""
    files = label_config(format="png", url=str(tmp_path / "files"), **keys)
    rows = label_config(url=str(tmp_path / "rows"), **keys)
    label(files)
    label(rows)
    return files.label.url, rows.label.url


def assert_same(found: object, wanted: object) -> None:
    for one, other in zip(found, wanted, strict=True):  # type: ignore[call-overload]
        assert one["key"] == other["key"] and one["uncertainty"] == other["uncertainty"]
        assert torch.equal(one["image"], other["image"]) and torch.equal(one["mask"], other["mask"])


@pytest.mark.parametrize("at", ["model", "original"])
def test_mask_files_are_read_as_rows_with_the_images_that_were_labelled(
    label_config: LabelConfig, tmp_path: Path, at: str
) -> None:
    files, rows = datasets_of(label_config, tmp_path, at=at)
    assert_same(factory.open_dataset(files), factory.open_dataset(rows))
    half = factory.open_dataset(files, keep=0.5, shuffle=True)
    assert_same(half, factory.open_dataset(rows, keep=0.5, shuffle=True))
    by_number = factory.open_dataset(files, random_access=True)
    assert_same(
        [by_number[i] for i in (6, 0)], factory.open_dataset(rows, random_access=True)[6::-6]
    )


FORMATS = ("folder", "imagefolder", "coco", "yolo", "voc", "cityscapes", "parquet", "webdataset")


def exported(url: str, to: str, out: Path) -> dict[str, object]:
    """The files of an export by name, without what tells of which run they are."""
    factory.export(url, to, out, val=0.3, keep=0.9)
    found: dict[str, object] = {}
    for path in (path for path in out.rglob("*") if path.is_file()):
        found[path.relative_to(out).as_posix()] = path.read_bytes()
        if path.suffix == ".parquet":
            found[path.relative_to(out).as_posix()] = pq.read_table(path).to_pylist()
        elif path.name.startswith("instances"):
            found[path.relative_to(out).as_posix()] = {**json.loads(path.read_text()), "info": {}}
    return {name: content for name, content in found.items() if not name.startswith("_export/")}


@pytest.mark.parametrize("at", ["model", "original"])
def test_mask_files_are_exported_as_rows_are_whatever_sizes_images_have(
    label_config: LabelConfig, tmp_path: Path, at: str
) -> None:
    files, rows = datasets_of(label_config, tmp_path, at=at)
    for to in FORMATS:
        found = exported(files, to, tmp_path / "of_files" / to)
        assert found == exported(rows, to, tmp_path / "of_rows" / to)
        assert len(found) > 2
    sizes = {
        png.decode_png(path.read_bytes()).shape
        for path in (tmp_path / "of_files/folder").rglob("masks/*.png")
    }
    assert len(sizes) == (1 if at == "model" else 7)


def test_an_export_of_mask_files_writes_nothing_where_the_images_are_gone_and_goes_on_with_them(
    label_config: LabelConfig, tmp_path: Path, photos: Path
) -> None:
    config = label_config(format="png")
    label(config)
    photos.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"not where they were labelled\. Put them back"):
        factory.export(config.label.url, "coco", tmp_path / "coco")
    assert not (tmp_path / "coco").exists()
    (tmp_path / "moved").rename(photos)
    put_images(photos, "p4.png", seed=1)
    with pytest.raises(UserError, match=r"p4\.png: has changed"):
        factory.export(config.label.url, "coco", tmp_path / "coco")
    put_images(photos, *(f"p{i}.png" for i in range(5)))
    assert factory.export(config.label.url, "coco", tmp_path / "coco") == {"train": 7}


def test_several_processes_read_them(label_config: LabelConfig, tmp_path: Path) -> None:
    files, rows = datasets_of(label_config, tmp_path)
    samples = factory.open_dataset(files)
    loader = DataLoader(samples, batch_size=None, num_workers=2, multiprocessing_context="spawn")
    found = sorted(loader, key=lambda row: row["key"])
    assert_same(found, factory.open_dataset(rows))


def test_tiles_and_images_of_a_dataset_that_is_labelled_anew_are_found_too(
    label_config: LabelConfig, tiny_config: Callable[..., Config], tmp_path: Path, photos: Path
) -> None:
    tiles = {"kind": "folder", "url": str(photos), "fit": "tile", "tile_size": 16}
    assert_same(*map(factory.open_dataset, datasets_of(label_config, tmp_path, source=tiles)))
    pairs = str(tmp_path / "pairs")
    generate(tiny_config(generate={"url": pairs, "num": 5, "workers": "here"}))
    source = {"kind": "folder", "url": pairs}
    urls = datasets_of(label_config, tmp_path / "anew", source=source)
    assert_same(*map(factory.open_dataset, urls))


def test_an_image_that_changed_is_named_and_the_report_shows_its_mask_alone(
    label_config: LabelConfig, photos: Path
) -> None:
    config = label_config(format="png")
    label(config)
    url = config.label.url
    assert "cannot be read any more" not in Path(write_report(url)).read_text()
    put_images(photos, "p0.png", seed=1)
    with pytest.raises(UserError, match=r"p0\.png: has changed"):
        next(iter(factory.open_dataset(url)))
    page = Path(write_report(url)).read_text()
    assert f"only the mask is shown: {photos}/p0.png: has changed since the dataset was " in page
    assert page.count("image, mask, overlay of") == 6 and "PNG masks" in page


@pytest.mark.parametrize("fit", ["crop", "tile"])
def test_where_some_images_are_gone_or_new_all_others_are_read_and_shown(
    label_config: LabelConfig, photos: Path, fit: str
) -> None:
    config = label_config(format="png", source={"kind": "folder", "url": str(photos), "fit": fit})
    rows = label(config).rows
    url = config.label.url
    before = {row["key"]: row["image"] for row in factory.open_dataset(url)}
    gone, changed = photos / "p1.png", photos / "sub" / "a.png"
    gone.unlink()
    put_images(photos, "a-new-one.png", "sub/a.png", seed=9)
    by_number = factory.open_dataset(url, random_access=True)
    found = {}
    for i in range(rows):
        try:
            row = by_number[i]
            found[row["key"]] = row["image"]
        except UserError as error:
            assert str(error).startswith((f"{gone}: is gone.", f"{changed}: has changed"))
    assert 2 <= len(before.keys() - found.keys()) <= 4
    assert all(torch.equal(image, before[key]) for key, image in found.items())
    page = Path(write_report(url)).read_text()
    assert page.count("image, mask, overlay of") == len(found)
    lacking = f"Of {rows - len(found)} images that cannot be read any more only the mask is shown: "
    assert f"{lacking}{gone}: is gone. {changed}: has changed since" in page


def test_where_the_images_are_gone_readers_say_what_to_do_and_the_report_goes_on(
    label_config: LabelConfig, photos: Path
) -> None:
    config = label_config(format="png")
    label(config)
    shutil.rmtree(photos)
    with pytest.raises(UserError, match="not where they were labelled"):
        next(iter(factory.open_dataset(config.label.url)))
    assert "Of 7 images that cannot" in Path(write_report(config.label.url)).read_text()


def test_a_mask_that_was_altered_is_named(label_config: LabelConfig) -> None:
    config = label_config(format="png")
    label(config)
    masks = Path(config.label.url) / "masks"
    shutil.copy(masks / "p0.png", masks / "p1.png")
    with pytest.raises(UserError, match=r"masks/p1\.png is not the mask of its table"):
        list(factory.open_dataset(config.label.url))
    with pytest.raises(UserError, match=r"masks/p1\.png is not the mask of its table"):
        write_report(config.label.url)
    (masks / "p1.png").unlink()
    with pytest.raises(UserError, match=r"masks/p1\.png is missing\. Run `factory verify"):
        write_report(config.label.url)


def test_what_needs_rows_says_that_mask_files_have_no_images(
    label_config: LabelConfig, tmp_path: Path
) -> None:
    config = label_config(format="png")
    label(config)
    url = config.label.url
    anew = label_config(source={"kind": "folder", "url": url}, url=str(tmp_path / "anew"))
    for use in (
        lambda: factory.ShardDataset(url),
        lambda: factory.ShardIndex(url),
        lambda: factory.read_dataset(url),
        lambda: label(anew),
    ):
        with pytest.raises(UserError, match="holds mask files without images") as refused:
            use()
        (line,) = refused.value.problems
        assert "--to parquet" in line or "another --out" in line
