"""Claims about trees of images with shapes: which files of shapes are meant, and of which split."""

import json
from pathlib import Path
from typing import Any

from tests.data.kinds import test_yolo as yolo
from tests.data.recognizing.test_recognition import only, put

SPLIT = ("train", "val")
OBJECT = {"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}


def put_coco(root: Path, *names: str, folders: tuple[str, ...] = ()) -> None:
    """JSONs of a category each, and an image of the same name in each of the folders."""
    put(root, *(f"{folder}/1.png" for folder in folders))
    content = {
        "images": [{"id": 1, "file_name": "1.png"}],
        "annotations": [OBJECT],
        "categories": [{"id": 1, "name": "car"}],
    }
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def test_the_instances_of_coco_are_meant_with_the_folders_of_their_splits(tmp_path: Path) -> None:
    forms = [f"{kind}_{split}2017" for kind in ("instances", "person_keypoints") for split in SPLIT]
    put_coco(
        tmp_path,
        *(f"annotations/{form}.json" for form in forms),
        folders=("train2017", "val2017", "test2017"),
    )
    found = only(tmp_path)
    expected: dict[str, Any] = {
        split: {
            "url": f"{tmp_path}/{split}2017",
            "annotations_url": f"{tmp_path}/annotations/instances_{split}2017.json",
        }
        for split in SPLIT
    }
    assert found.needs_split and found.splits == expected
    assert "annotations/person_keypoints_train2017.json" in found.question


def test_the_only_instances_are_meant_whatever_else_is_there(tmp_path: Path) -> None:
    put_coco(tmp_path, "instances_default.json", "person_keypoints_default.json", folders=("a",))
    assert only(tmp_path).keys["annotations_url"] == f"{tmp_path}/instances_default.json"


def test_a_split_that_is_named_in_vain_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        yolo.write(tmp_path / split, None, **{f"{split}1": f"0 {yolo.SQUARE}"})
    about = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [car]"
    (tmp_path / "data.yaml").write_text(about)
    found = only(tmp_path)
    assert list(found.splits) == ["train", "val"]
    assert found.question == "whether data.yaml is right: test: ../test/images is not there"
    assert yolo.masks_of(tmp_path, split="val").any()


def test_without_what_is_learned_from_all_splits_are_left_to_the_reader(tmp_path: Path) -> None:
    yolo.write(tmp_path, None, a=f"0 {yolo.SQUARE}")
    (tmp_path / "data.yaml").write_text("train: elsewhere\nval: images\nnames: [car]")
    assert list(only(tmp_path).splits) == ["train", "val"] and not only(tmp_path).question
