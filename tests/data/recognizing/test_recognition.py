"""Claims about trees of files: what they are taken for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factory.data.files import trees
from factory.data.recognizing import recognition
from factory.data.recognizing.candidates import Candidate
from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import encoded
from tests.data.recognizing.test_layouts import FOLDERS, TREES, voc

SPLITS = {
    "voc": {"train", "val", "trainval"},
    "cityscapes": {"train", "val"},
    "cityscapes-label-ids": {"train", "val"},
    "camvid": {"train", "val", "test"},
    "ddpm-segmentation": {"train", "test"},
    "loveda": {"train", "val"},
}


def photograph(seed: int) -> UInt8:
    """An image of many colours."""
    values: UInt8 = np.random.default_rng(seed).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    return values


def put(root: Path, *names: str) -> None:
    """Files by their names: masks are flat, all else that is a picture has many colours."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            is_mask = any(word in name.lower() for word in ("mask", "label", "gt", "_seg", "class"))
            mask = np.full((16, 16), i % 2, np.uint8)
            form = "JPEG" if path.suffix == ".jpg" else "PNG"
            path.write_bytes(encode_png(mask) if is_mask else encoded(photograph(i), form))
        else:
            path.write_bytes(b"")


def candidates(root: Path) -> list[Candidate]:
    return recognition.candidates(trees.open_tree(str(root)), str(root))


def only(root: Path) -> Candidate:
    (found,) = candidates(root)
    return found


@pytest.mark.parametrize("layout", TREES)
def test_a_published_dataset_is_taken_for_its_layout_wherever_it_lies(
    layout: str, tmp_path: Path
) -> None:
    root = tmp_path / FOLDERS.get(layout, "data")
    TREES[layout](root)
    found = only(root if layout in FOLDERS else tmp_path)
    assert found.keys == {**found.keys, "kind": "pairs", "layout": layout}
    assert found.keys["url"].startswith(str(root))
    assert found.splits.keys() == SPLITS.get(layout, set())


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["images/a.jpg", "masks/a.png", "images/b.jpg", "masks/b.png"], {}),
        (["images/a/1.jpg", "masks/a/1.png"], {}),
        (["img/a.jpg", "gt/a.png"], {"images": "img", "masks": "gt"}),
        (["JPEGImages/a.jpg", "SegmentationClass/a.png"], {"masks": "SegmentationClass"}),
        (["images/a.jpg", "labels/a.png"], {"masks": "labels"}),
        (["images/a.jpg", "images/b.jpg", "masks/a.png"], {"unpaired": "skip"}),
        (
            ["images/a.jpg", "masks/a_mask.png", "images/b.jpg", "masks/b_mask.png"],
            {"masks": "masks/{stem}_mask.png"},
        ),
        (["a.png", "a_mask.png", "b.png", "b_mask.png"], {"masks": "{stem}_mask.png"}),
        (
            ["imagesTr/a_0000.png", "imagesTr/b_0000.png", "labelsTr/a.png", "labelsTr/b.png"],
            {"images": "imagesTr/*_0000.png", "masks": "labelsTr/{stem}.png"},
        ),
        (
            ["one/a.jpg", "one/a_gt.png", "two/b.jpg", "two/b_gt.png"],
            {"masks": "{dir}/{stem}_gt.png"},
        ),
    ],
)
def test_masks_in_folders_of_their_own_or_beside_their_images_are_found(
    names: list[str], keys: dict[str, Any], tmp_path: Path
) -> None:
    put(tmp_path, *names)
    found = only(tmp_path)
    assert found.keys == {**found.keys, "kind": "pairs", "url": str(tmp_path), **keys}
    assert found.has_masks and not found.needs_split


def test_pairs_that_lie_deeper_are_found_with_their_url(tmp_path: Path) -> None:
    put(tmp_path, "set/images/a.jpg", "set/masks/a.png")
    assert only(tmp_path).keys == {"kind": "pairs", "url": str(tmp_path / "set")}


def test_splits_that_are_folders_of_pairs_are_told(tmp_path: Path) -> None:
    put(
        tmp_path, "train/images/a.jpg", "train/masks/a.png", "test/images/b.jpg", "test/masks/b.png"
    )
    found = only(tmp_path)
    assert found.needs_split
    assert {name: found.of_split(name)["url"] for name in found.splits} == {
        name: str(tmp_path / name) for name in ("train", "test")
    }


def test_splits_that_are_folders_of_images_and_of_masks_are_told(tmp_path: Path) -> None:
    put(tmp_path, "images/train/a.jpg", "masks/train/a.png", "images/val/b.jpg", "masks/val/b.png")
    found = only(tmp_path)
    assert not found.needs_split
    assert found.splits["val"] == {"images": "images/val", "masks": "masks/val"}


TABLES = (("data", "tar"), ("metadata", "parquet"))
"""Folders and endings of a dataset of ours that has tables beside its tars."""


@pytest.mark.parametrize(
    ("image", "mask", "of_train"),
    [
        ("{}/1.png", "{}/1_mask.png", ("train/**/*.png", "train/{dir}/{stem}_mask.png")),
        ("{}/1.png", "{}_labels/1.png", ("train/*.png", "train_labels/{stem}.png")),
        ("{}/1.png", "{}_gt/1_L.png", ("train/*.png", "train_gt/{stem}_L.png")),
    ],
)
def test_splits_that_are_folders_of_images_beside_masks_are_told(
    image: str, mask: str, of_train: tuple[str, str], tmp_path: Path
) -> None:
    splits = ("train", "val", "test")
    for i in range(3):
        names = [name.replace("1", str(i)) for name in (image, mask)]
        put(tmp_path, *[name.format(split) for name in names for split in splits])
    found = only(tmp_path)
    assert set(found.splits) == set(splits) and not found.needs_split
    assert (found.splits["train"]["images"], found.splits["train"]["masks"]) == of_train


@pytest.mark.parametrize(
    ("names", "kind", "splits"),
    [
        (["data/train-00000-of-00001.parquet"], "parquet", set()),
        (["train-0.parquet", "test-0.parquet"], "parquet", {"train", "test"}),
        (["0001.tar", "0002.tar"], "webdataset", set()),
        (["train/0.tar", "val/0.tar"], "webdataset", {"train", "validation"}),
        (
            ["_factory/run.json", "_factory/source.parquet"]
            + [f"{name}/{s}-0.{e}" for name, e in TABLES for s in ("train", "validation")],
            "webdataset",
            {"train", "validation"},
        ),
    ],
)
def test_shards_are_found_with_their_splits(
    names: list[str], kind: str, splits: set[str], tmp_path: Path
) -> None:
    put(tmp_path, *names)
    found = only(tmp_path)
    assert found.keys == {"kind": kind, "url": str(tmp_path)}
    assert set(found.splits) == splits and found.needs_split == bool(splits)


@pytest.mark.parametrize(
    "names",
    [
        ["a.jpg", "b.jpg"],
        ["x/a.jpg", "y/b.jpg"],
        ["img_1.jpg", "img_10.jpg", "img_11.jpg"],
        ["a.jpg", "a_small.jpg", "b.jpg", "b_small.jpg"],
    ],
)
def test_images_alone_are_a_folder(names: list[str], tmp_path: Path) -> None:
    put(tmp_path, *names)
    found = only(tmp_path)
    assert found.keys == {"kind": "folder", "url": str(tmp_path)} and not found.has_masks


@pytest.mark.parametrize(
    "names",
    [
        ["masks/a.png", "masks/b.png"],
        ["a_gt.png", "b_gt.png"],
        ["photos/a.HEIC", "photos/b.HEIC", "masks/a.png", "masks/b.png"],
        ["a.heic", "a_mask.png", "b.dng", "b_mask.png"],
    ],
)
def test_masks_alone_are_told_as_such_with_the_pictures_that_are_not_read(
    names: list[str], tmp_path: Path
) -> None:
    put(tmp_path, *names)
    found = only(tmp_path)
    assert not found.has_masks and found.doubt.startswith("2 pictures look like masks")
    assert (".heic" in found.doubt) == any(name.lower().endswith("heic") for name in names)
    assert ("Convert these" in found.doubt) == (".heic" in found.doubt)


def test_one_photograph_among_flat_pictures_leaves_them_images(tmp_path: Path) -> None:
    put(tmp_path, "mask_a.png", "mask_b.png", "mask_c.png")
    put(tmp_path, "photo.png")
    assert only(tmp_path).doubt == ""


def test_nothing_that_is_read_is_nothing(tmp_path: Path) -> None:
    put(tmp_path, "readme.md", "data.csv")
    assert candidates(tmp_path) == []


def test_two_datasets_in_one_folder_are_two_candidates(tmp_path: Path) -> None:
    put(tmp_path, "one/images/a.jpg", "one/masks/a.png", "two/images/a.jpg", "two/masks/a.png")
    assert [found.keys["url"] for found in candidates(tmp_path)] == [
        str(tmp_path / "one"),
        str(tmp_path / "two"),
    ]


def texts(root: Path, **contents: str) -> None:
    """Text files by their names, in which __ is a slash and the last _ a dot."""
    for name, text in contents.items():
        path = root / ".".join(name.replace("__", "/").rsplit("_", 1))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


OUTLINE, BOX = "0 0.1 0.1 0.5 0.1 0.5 0.5\n", "0 0.5 0.5 0.2 0.2\n"


def test_a_json_of_instances_is_coco(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg")
    texts(tmp_path, annotations__one_json='{"images": [], "annotations": [], "categories": []}')
    assert only(tmp_path).keys == {"kind": "coco", "url": str(tmp_path)}
    texts(tmp_path, annotations__two_json='{"images": [], "annotations": [], "categories": []}')
    urls = [found.keys["annotations_url"] for found in candidates(tmp_path)]
    assert urls == [str(tmp_path / f"annotations/{name}.json") for name in ("one", "two")]


def test_jsons_of_instances_that_are_called_like_splits_are_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg", "val/b.jpg")
    for name in ("train2017", "val2017"):
        path = tmp_path / f"annotations/instances_{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text('{"images": [], "annotations": [], "categories": []}')
    found = only(tmp_path)
    assert found.needs_split and set(found.splits) == {"train", "val"}
    assert found.of_split("val")["annotations_url"].endswith("instances_val2017.json")


def test_jsons_of_instances_in_folders_of_splits_are_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        put(tmp_path, f"{split}/a.jpg")
        path = tmp_path / f"{split}/_annotations.coco.json"
        path.write_text('{"images": [], "annotations": [], "categories": []}')
    found = only(tmp_path)
    assert found.needs_split and set(found.splits) == {"train", "valid", "test"}
    assert found.of_split("valid")["annotations_url"].endswith("valid/_annotations.coco.json")


def test_texts_of_outlines_beside_images_are_yolo(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg", "images/b.jpg")
    texts(tmp_path, labels__a_txt=OUTLINE, labels__b_txt="")
    assert only(tmp_path).keys == {"kind": "yolo", "url": str(tmp_path)}


@pytest.mark.parametrize("start", ["\ufeff", "\n"])
def test_texts_of_outlines_may_begin_with_a_mark_or_be_described_elsewhere(
    tmp_path: Path, start: str
) -> None:
    put(tmp_path, "images/train/a.jpg", "images/val/b.jpg")
    texts(tmp_path, labels__train__a_txt=start + OUTLINE, labels__val__b_txt=OUTLINE)
    texts(
        tmp_path,
        meta__cars_yaml=f"{start}path: ..\ntrain: images/train\nval: images/val\nnames: [a]",
    )
    found = only(tmp_path)
    assert found.keys == {"kind": "yolo", "url": str(tmp_path)}
    assert set(found.splits) == {"train", "val"}


def test_the_splits_of_a_data_yaml_are_told(tmp_path: Path) -> None:
    put(tmp_path, "set/images/train/a.jpg", "set/images/val/b.jpg")
    texts(tmp_path, set__labels__train__a_txt=OUTLINE, set__labels__val__b_txt=OUTLINE)
    texts(tmp_path, set__data_yaml="train: images/train\nval: images/val\nnames: [disc]\n")
    found = only(tmp_path)
    assert found.keys == {"kind": "yolo", "url": str(tmp_path / "set")}
    assert found.needs_split and set(found.splits) == {"train", "val"}


def test_jsons_of_shapes_for_some_of_the_images_are_labelme(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    texts(tmp_path, a_json='{"shapes": [], "imagePath": "a.jpg"}')
    skipping = {"kind": "labelme", "url": str(tmp_path), "unannotated": "skip"}
    assert only(tmp_path).keys == skipping
    texts(tmp_path, b_json='{"shapes": [], "imagePath": "b.jpg"}')
    assert only(tmp_path).keys == {"kind": "labelme", "url": str(tmp_path)}
    put(tmp_path, "c.jpg")
    texts(tmp_path, c_json='{"shapes": [')
    assert only(tmp_path).keys == {"kind": "labelme", "url": str(tmp_path)}, "one is damaged"


def test_jsons_that_hold_their_images_are_labelme(tmp_path: Path) -> None:
    texts(tmp_path, a_json='{"shapes": [], "imagePath": "a.jpg", "imageData": "AAAA"}')
    assert only(tmp_path).keys == {"kind": "labelme", "url": str(tmp_path)}


def test_boxes_are_no_masks(tmp_path: Path) -> None:
    put(tmp_path, "images/a.jpg")
    texts(tmp_path, labels__a_txt=BOX)
    found = only(tmp_path)
    assert not found.has_masks and found.boxes.startswith("1 text file holds boxes of YOLO")
    assert "as labels/a.txt does" in found.boxes and "Export segments" in found.boxes
    texts(tmp_path, labels__a_txt=BOX + "0 0.1 0.1 0.2\n")
    assert only(tmp_path).boxes == ""


def test_masks_of_one_class_are_no_images_of_those_of_another(tmp_path: Path) -> None:
    for folder in ("scans", "m/left_mask", "m/right_mask"):
        put(tmp_path, *(f"{folder}/{i}.png" for i in range(3)))
    assert not any("mask" in str(found.keys.get("images")) for found in candidates(tmp_path))


def test_lists_of_peoples_own_split_a_layout_that_has_no_split_to_measure_on(
    tmp_path: Path,
) -> None:
    voc(tmp_path)
    lists = tmp_path / "ImageSets/Segmentation"
    for name in ("train", "val", "trainval"):
        (lists / f"{name}.txt").unlink()
    (lists / "Train.txt").write_text("0\n2\n")
    (lists / "Test.txt").write_text("1\n")
    (found,) = candidates(tmp_path)
    assert found.splits == {
        "train": {"names_url": str(lists / "Train.txt")},
        "test": {"names_url": str(lists / "Test.txt")},
    }
