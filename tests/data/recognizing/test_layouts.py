"""Claims about layouts of published datasets: each is read by its name alone."""

import io
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factory.config import config_tree, parse_config
from factory.data import loading
from factory.data.kinds.pairs import PairsSource
from factory.data.recognizing.layouts import LAYOUTS
from factory.errors import UserError
from factory.png import encode_png
from tests.data.inputs import encoded, flat, ids

ROW = [0, 0, 0, 0, 1, 1, 1, 1]


def eight(row: list[int]) -> Any:
    """A mask of 8 x 8 pixels, each row alike."""
    return np.repeat(ids(row), 8, axis=0)


def put(root: Path, *names: str, data: bytes) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def numbered(root: Path, names: Iterable[str]) -> None:
    """Images, each of another grey."""
    for i, name in enumerate(names):
        picture = encoded(flat(40 * i + 10), "JPEG" if name.endswith("jpg") else "PNG")
        put(root, name, data=picture)


def voc(root: Path) -> list[list[int]]:
    numbered(root, [f"JPEGImages/{i}.jpg" for i in range(4)])
    mask = Image.fromarray(eight([0, 0, 0, 255, 15, 15, 15, 20]))
    mask.putpalette([0, 0, 0] + [128] * 765)
    put(root, *(f"SegmentationClass/{i}.png" for i in range(3)), data=encoded(mask))
    put(root, *(f"SegmentationObject/{i}.png" for i in range(3)), data=encoded(mask))
    put(root, "ImageSets/Segmentation/train.txt", data=b"0\n2\n")
    put(root, "ImageSets/Segmentation/val.txt", data=b"1\n")
    put(root, "ImageSets/Segmentation/trainval.txt", data=b"0\n1\n2\n")
    return [[0, 0, 0, 255, 15, 15, 15, 20]] * 3


def cityscapes(ids_name: str, stored: list[int]) -> Callable[[Path], list[list[int]]]:
    def build(root: Path) -> list[list[int]]:
        stems = ["train/ulm/ulm_0", "train/ulm/ulm_1", "val/bonn/bonn_0", "test/jena/jena_0"]
        numbered(root, [f"leftImg8bit/{stem}_leftImg8bit.png" for stem in stems])
        for stem in stems[:3]:
            put(root, f"gtFine/{stem}_gtFine_{ids_name}.png", data=encode_png(eight(stored)))
            other = encode_png(eight([9] * 8))
            put(root, f"gtFine/{stem}_gtFine_instanceIds.png", data=other)
        return [[0, 1, 18, 255, 13, 13, 255, 0]] * 3

    return build


def celebamask_hq(root: Path) -> list[list[int]]:
    numbered(root, [f"CelebA-HQ-img/{i}.jpg" for i in (0, 2000)])
    parts = {
        "skin": [0, 1, 1, 1, 1, 1, 1, 0],
        "nose": [0, 0, 1, 1, 0, 0, 0, 0],
        "cloth": [0] * 7 + [1],
    }
    for part, row in parts.items():
        picture = encode_png(eight(row) * np.uint8(255))
        for folder, number in ((0, "00000"), (1, "02000")):
            name = f"CelebAMask-HQ-mask-anno/{folder}/{number}_{part}.png"
            put(root, name, data=picture)
    return [[0, 1, 2, 2, 1, 1, 1, 18]] * 2


def dsb2018(root: Path) -> list[list[int]]:
    numbered(root, [f"stage1_train/{name}/images/{name}.png" for name in "ab"])
    numbered(root, ["stage1_test/c/images/c.png"])
    for name in "ab":
        for nucleus, row in {"x": [1, 0, 0, 0, 0, 0, 0, 0], "y": ROW}.items():
            picture = encode_png(eight(row) * np.uint8(255))
            put(root, f"stage1_train/{name}/masks/{nucleus}.png", data=picture)
    return [[1, 0, 0, 0, 1, 1, 1, 1]] * 2


def camvid(root: Path) -> list[list[int]]:
    names = ["train/0001TP_1", "val/0016E5_1", "test/Seq05VD_1"]
    numbered(root, [f"{name}.png" for name in names])
    for name in names:
        split, stem = name.split("/")
        mask = encode_png(eight([0, 1, 10, 11, 11, 0, 0, 0]))
        put(root, f"{split}annot/{stem}.png", data=mask)
    return [[0, 1, 10, 255, 255, 0, 0, 0]] * 3


def camvid_32(root: Path) -> list[list[int]]:
    numbered(root, ["701_StillsRaw_full/0001TP_1.png"])
    colors = np.zeros((8, 8, 3), np.uint8)
    colors[:, 4:] = (64, 192, 0)  # Wall, the last one
    colors[:, 7] = (64, 128, 64)  # Animal, the first one
    put(root, "LabeledApproved_full/0001TP_1_L.png", data=encode_png(colors))
    return [[255] * 4 + [30] * 3 + [0]]


def ddpm_segmentation(root: Path) -> list[list[int]]:
    names = ["real/train/img_0.png", "real/train/img_1.jpg", "real/test/img_0.png"]
    numbered(root, names)
    stream = io.BytesIO()
    np.save(stream, eight([0, 1, 20, 255, 0, 0, 0, 0]))
    put(root, *(f"{name[:-3]}npy" for name in names), data=stream.getvalue())
    return [[0, 1, 20, 255, 0, 0, 0, 0]] * 3


def loveda(root: Path) -> list[list[int]]:
    names = ["Train/Rural/images_png/0", "Train/Urban/images_png/1", "Val/Rural/images_png/2"]
    numbered(root, [f"{name}.png" for name in [*names, "Test/Urban/images_png/3"]])
    mask = encode_png(eight([0, 1, 2, 7, 0, 1, 1, 1]))
    put(root, *(f"{name.replace('images', 'masks')}.png" for name in names), data=mask)
    return [[255, 0, 1, 6, 255, 0, 0, 0]] * 3


TREES: dict[str, Callable[[Path], list[list[int]]]] = {
    "voc": voc,
    "cityscapes": cityscapes("labelTrainIds", [0, 1, 18, 255, 13, 13, 255, 0]),
    "cityscapes-label-ids": cityscapes("labelIds", [7, 8, 33, 0, 26, 26, 29, 7]),
    "celebamask-hq": celebamask_hq,
    "dsb2018": dsb2018,
    "camvid": camvid,
    "camvid-32": camvid_32,
    "ddpm-segmentation": ddpm_segmentation,
    "loveda": loveda,
}
FOLDERS = {"ddpm-segmentation": "horse_21"}
NUM_OF_TRAIN = {"voc": 2, "cityscapes": 2, "cityscapes-label-ids": 2, "camvid": 1}
NUM_OF_TRAIN |= {"ddpm-segmentation": 2, "loveda": 2}


def source(layout: str, root: Path, **keys: Any) -> PairsSource:
    found: PairsSource = parse_config(
        {"data": {"labelled": {"kind": "pairs", "url": str(root), "layout": layout, **keys}}}
    ).data.labelled  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_published_dataset_is_read_by_the_name_of_its_layout(layout: str, tmp_path: Path) -> None:
    root = tmp_path / FOLDERS.get(layout, "data")
    rows = TREES[layout](root)
    read = loading.read_labelled(source(layout, root), 8)
    assert read.masks.tolist() == [[row] * 8 for row in rows]
    assert len({image.tobytes() for image in read.images}) == len(rows), "each its own image"


@pytest.mark.parametrize("layout", NUM_OF_TRAIN)
def test_a_split_is_read_alone(layout: str, tmp_path: Path) -> None:
    root = tmp_path / FOLDERS.get(layout, "data")
    TREES[layout](root)
    assert (
        len(loading.read_labelled(source(layout, root, split="train"), 8)) == NUM_OF_TRAIN[layout]
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_without_masks_gives_its_images_alone(layout: str, tmp_path: Path) -> None:
    root = tmp_path / FOLDERS.get(layout, "data")
    TREES[layout](root)
    images = loading.read_images(source(layout, root), 8)
    assert {int(np.ptp(image)) for image in images} == {0}, "each image is of one grey"


def test_a_list_of_a_split_may_lie_in_an_archive(tmp_path: Path) -> None:
    voc(tmp_path / "VOC2012")
    with zipfile.ZipFile(tmp_path / "voc.zip", "w") as archive:
        for path in sorted((tmp_path / "VOC2012").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path))
    for url in (tmp_path / "voc.zip", tmp_path / "voc.zip/VOC2012"):
        read = loading.read_labelled(source("voc", url, split="train"), 8)
        assert read.names == ("0.jpg", "2.jpg")


def test_own_keys_go_before_those_of_the_layout(tmp_path: Path) -> None:
    camvid(tmp_path)
    classes = ["sky", *(f"class_{i}" for i in range(1, 11)), "nothing"]
    read = loading.read_labelled(
        source(
            "camvid", tmp_path, classes=classes, images="val/*.png", masks="valannot/{stem}.png"
        ),
        8,
    )
    assert read.names == ("0016E5_1.png",) and read.classes.names[-1] == "nothing"
    assert read.masks[0, 0].tolist() == [0, 1, 10, 11, 11, 0, 0, 0], "the layout ignores 11"


def test_a_section_with_a_layout_is_stored_and_read_back(tmp_path: Path) -> None:
    found = source("voc", tmp_path, split="train")
    stored = config_tree(parse_config({"data": {"test": found}}))["data"]["test"]
    assert parse_config({"data": {"test": stored}}).data.test == found


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"layout": "voc", "split": "test"}, "Its splits are train, val, trainval"),
        ({"layout": "dsb2018", "split": "test"}, "It has none"),
        ({"layout": "ddpm-segmentation"}, "classes_url"),
        ({"split": "train", "classes": ["a", "b"]}, "split needs layout"),
        ({"layout": "vok", "classes": ["a", "b"]}, "layout"),
    ],
)
def test_what_a_layout_does_not_have_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_config({"data": {"test": {"kind": "pairs", "url": "/data", **keys}}})


def test_the_published_colours_are_those_of_the_datasets() -> None:
    palettes = {
        name: [entry["color"] for entry in LAYOUTS[name].classes if isinstance(entry, dict)]
        for name in ("voc", "cityscapes", "camvid")
    }
    assert palettes["voc"][:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palettes["voc"][15] == [192, 128, 128] and palettes["voc"][20] == [0, 64, 128]
    assert palettes["cityscapes"][13] == [0, 0, 142] and len(palettes["cityscapes"]) == 19
    assert palettes["camvid"][2] == [192, 192, 128] and len(palettes["camvid"]) == 11
    assert [len(LAYOUTS[name].classes) for name in ("celebamask-hq", "camvid-32")] == [19, 31]
