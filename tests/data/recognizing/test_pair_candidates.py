"""Claims about images and masks as published datasets and labelling tools lay them out."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from factory.data import loading
from factory.data.files import trees
from factory.data.items import ImageFile
from factory.data.kinds import resolving
from factory.data.recognizing import recognition
from factory.data.recognizing.candidates import Candidate
from factory.errors import Problems
from tests.data.inputs import encoded
from tests.data.recognizing.test_recognition import photograph

NUM = 3
"""Files of each name, which has its number for #."""


class Shape(NamedTuple):
    """A tree of files, and what is read of it."""

    images: Sequence[str]
    """Photographs."""
    masks: Sequence[str]
    """Pictures of few flat colours."""
    read: dict[str, tuple[str, str]]
    """Split, "" for all -> `images` and `masks` of the section that reads it."""


def of_splits(*names: str, splits: Sequence[str] = ("train", "val")) -> list[str]:
    """Each name with each split for %."""
    return [name.replace("%", split) for name in names for split in splits]


SHAPES = {
    "FloodNet": Shape(
        of_splits("%/%-org-img/62#.jpg"),
        of_splits("%/%-label-img/62#_lab.png"),
        {s: (f"{s}/{s}-org-img/*.jpg", f"{s}/{s}-label-img/{{stem}}_lab.png")
         for s in ("train", "val")},
    ),
    "FloodNet beside its colours": Shape(
        of_splits("FloodNet/%/%-org-img/62#.jpg"),
        [*of_splits("FloodNet/%/%-label-img/62#_lab.png"),
         *of_splits("Colors/ColorMasks-%Set/62#_lab.png", splits=("Train", "Val"))],
        {s: (f"FloodNet/{s}/{s}-org-img/*.jpg", f"FloodNet/{s}/{s}-label-img/{{stem}}_lab.png")
         for s in ("train", "val")},
    ),
    "words in the middle of the names": Shape(
        ["train_img_#.png"],
        ["train_lbl_#.png"],
        {"": ("train_img_*.png", "train_lbl_{stem}.png")},
    ),
    "UAVid": Shape(
        [*of_splits("uavid_%/seq1/Images/00#.png", "uavid_%/seq12/Images/00#.png"),
         "uavid_test/seq21/Images/00#.png"],
        of_splits("uavid_%/seq1/Labels/00#.png", "uavid_%/seq12/Labels/00#.png"),
        {s: (f"uavid_{s}/**/Images/*.png", f"uavid_{s}/{{dir}}/Labels/{{stem}}.png")
         for s in ("train", "val")},
    ),
    "sequences of UAVid alone": Shape(
        [f"seq{i}/Images/00#.png" for i in range(4)],
        [f"seq{i}/Labels/00#.png" for i in range(4)],
        {"": ("**/Images/*.png", "{dir}/Labels/{stem}.png")},
    ),
    "towns and fields": Shape(
        [*of_splits("%/Town/images_png/#.png", "%/Field/images_png/1#.png",
                    splits=("Train", "Val")), "Test/Town/images_png/#.png"],
        of_splits("%/Town/masks_png/#.png", "%/Field/masks_png/1#.png", splits=("Train", "Val")),
        {s.lower(): (f"{s}/**/images_png/*.png", f"{s}/{{dir}}/masks_png/{{stem}}.png")
         for s in ("Train", "Val")},
    ),
    "DeepGlobe": Shape(
        ["train/11#_sat.jpg", "valid/21#_sat.jpg", "test/31#_sat.jpg"],
        ["train/11#_mask.png"],
        {"": ("train/*_sat.jpg", "train/{stem}_mask.png")},
    ),
    "DeepGlobe in one folder": Shape(
        ["11#_sat.jpg"], ["11#_mask.png"], {"": ("*_sat.jpg", "{stem}_mask.png")}
    ),
    "Kvasir": Shape(
        ["Kvasir-SEG/images/cju#.jpg"], ["Kvasir-SEG/masks/cju#.jpg"], {"": ("images", "masks")}
    ),
    "ISIC": Shape(
        of_splits("ISIC2018_Task1-2_%_Input/ISIC_#.jpg", splits=("Training", "Validation")),
        of_splits("ISIC2018_Task1_%_GroundTruth/ISIC_#_segmentation.png",
                  splits=("Training", "Validation")),
        {s.lower(): (f"ISIC2018_Task1-2_{s}_Input/*.jpg",
                     f"ISIC2018_Task1_{s}_GroundTruth/{{stem}}_segmentation.png")
         for s in ("Training", "Validation")},
    ),
    "Oxford-IIIT Pet": Shape(
        ["images/pug_#.jpg"], ["annotations/trimaps/pug_#.png"],
        {"": ("images/*.jpg", "annotations/trimaps/{stem}.png")},
    ),
    "LIP": Shape(
        [*of_splits("TrainVal_images/%_images/77_#.jpg"),
         "Testing_images/testing_images/77_#.jpg"],
        of_splits("TrainVal_parsing_annotations/%_segmentations/77_#.png"),
        {s: (f"TrainVal_images/{s}_images/*.jpg",
             f"TrainVal_parsing_annotations/{s}_segmentations/{{stem}}.png")
         for s in ("train", "val")},
    ),
    "iSAID": Shape(
        [*of_splits("%/images/P00#.png"), "test/images/P1#.png"],
        of_splits("%/Instance_masks/images/P00#_instance_id_RGB.png",
                  "%/Semantic_masks/images/P00#_instance_color_RGB.png"),
        {s: (f"{s}/images/*.png",
             f"{s}/Semantic_masks/images/{{stem}}_instance_color_RGB.png")
         for s in ("train", "val")},
    ),
    "Potsdam": Shape(
        ["2_Ortho_RGB/top_potsdam_2_1#_RGB.tif"], ["5_Labels_all/top_potsdam_2_1#_label.tif"],
        {"": ("**/*_RGB.tif", "5_Labels_all/{stem}_label.tif")},
    ),
    "Potsdam and all that lies beside": Shape(
        ["1_DSM/dsm_potsdam_02_1#.tif", "2_Ortho_RGB/top_potsdam_2_1#_RGB.tif",
         "3_Ortho_IRRG/top_potsdam_2_1#_IRRG.tif"],
        ["5_Labels_all/top_potsdam_2_1#_label.tif"],
        {"": ("2_Ortho_RGB/*_RGB.tif", "5_Labels_all/{stem}_label.tif")},
    ),
    "Mapillary": Shape(
        of_splits("%/images/a#.jpg", splits=("training", "validation")),
        of_splits("%/v2.0/instances/a#.png", "%/v2.0/labels/a#.png",
                  splits=("training", "validation")),
        {s: (f"{s}/images/*.jpg", f"{s}/v2.0/labels/{{stem}}.png")
         for s in ("training", "validation")},
    ),
    "BDD100K": Shape(
        of_splits("images/10k/%/b#-x.jpg"),
        of_splits("labels/sem_seg/colormaps/%/b#-x.png", "labels/sem_seg/masks/%/b#-x.png"),
        {s: (f"images/10k/{s}/*.jpg", f"labels/sem_seg/masks/{s}/{{stem}}.png")
         for s in ("train", "val")},
    ),
    "Crack500": Shape(
        of_splits("%crop/20_#.jpg"), of_splits("%crop/20_#.png"),
        {s: (f"{s}crop/*.jpg", f"{s}crop/{{stem}}.png") for s in ("train", "val")},
    ),
    "DeepCrack": Shape(
        of_splits("%_img/11-#.jpg"), of_splits("%_lab/11-#.png"),
        {s: (f"{s}_img/*.jpg", f"{s}_lab/{{stem}}.png") for s in ("train", "val")},
    ),
    "Carvana": Shape(
        ["train/ab_#.jpg", "test/zz_#.jpg"], ["train_masks/ab_#_mask.gif"],
        {"": ("train/*.jpg", "train_masks/{stem}_mask.gif")},
    ),
    "SUIM": Shape(
        of_splits("%/images/d_#.jpg", splits=("train_val", "TEST")),
        of_splits("%/masks/d_#.bmp", splits=("train_val", "TEST")),
        {"trainval": ("train_val/images/*.jpg", "train_val/masks/{stem}.bmp"),
         "test": ("TEST/images/*.jpg", "TEST/masks/{stem}.bmp")},
    ),
    "Roboflow": Shape(
        of_splits("%/a#_jpg.rf.0f.jpg", splits=("train", "valid", "test")),
        of_splits("%/a#_jpg.rf.0f_mask.png", splits=("train", "valid", "test")),
        {s: (f"{s}/**/*.jpg", f"{s}/{{dir}}/{{stem}}_mask.png")
         for s in ("train", "valid", "test")},
    ),
    "a file for each object of each class": Shape(
        ["images/img_0#.jpg"],
        [f"masks/img_0#_{part}_{i}.png" for part in ("hair", "left_eye") for i in (1, 2)],
        {"": ("images/*.jpg", "masks/{stem}_{part}.png")},
    ),
    "parts beside their image": Shape(
        ["img_0#.jpg"], [f"img_0#_{part}.png" for part in ("hair", "left_eye", "nose", "mouth")],
        {"": ("*.jpg", "{stem}_{part}.png")},
    ),
    "a folder for each class": Shape(
        ["images/img_0#.jpg"],
        [f"masks/{part}/img_0#.png" for part in ("hair", "left_eye", "nose")],
        {"": ("images/*.jpg", "masks/{part}/{stem}.png")},
    ),
    "a folder for each class, with a file for each object": Shape(
        ["images/img_0#.jpg"],
        [f"masks/{part}/img_0#_{i}.png" for part in ("cell", "nucleus") for i in (1, 2, 3)],
        {"": ("images/*.jpg", "masks/{part}/{stem}_*.png")},
    ),
    "a folder for each image, with a file for each class": Shape(
        ["images/img_0#.jpg"],
        [f"masks/img_0#/{part}.png" for part in ("hair", "left_eye", "nose")],
        {"": ("images/*.jpg", "masks/{stem}/{part}.png")},
    ),
    "a folder for each image and class, with a file for each object": Shape(
        ["images/img_0#.jpg"],
        [f"masks/img_0#/{part}/{i}.png" for part in ("cell", "nucleus") for i in (1, 2)],
        {"": ("images/*.jpg", "masks/{stem}/{part}/*.png")},
    ),
    "folders of cameras": Shape(
        of_splits("%/cam1/rgb/00#.jpg", "%/cam2/rgb/00#.jpg"),
        of_splits("%/cam1/semantic/00#.png", "%/cam2/semantic/00#.png"),
        {s: (f"{s}/**/rgb/*.jpg", f"{s}/{{dir}}/semantic/{{stem}}.png") for s in ("train", "val")},
    ),
    "IDRiD": Shape(
        [f"1. Images/{s}/IDRiD_0#.jpg" for s in ("a. Training Set", "b. Testing Set")],
        [f"2. Truths/{s}/{part}/IDRiD_0#_{part[3:5]}.tif"
         for s in ("a. Training Set", "b. Testing Set")
         for part in ("1. Microaneurysms", "2. Haemorrhages", "3. Optic Disc")],
        {split: (f"1. Images/{s}/*.jpg", f"2. Truths/{s}/{{part}}/{{stem}}_*.tif")
         for split, s in (("training", "a. Training Set"), ("testing", "b. Testing Set"))},
    ),
    "KITTI": Shape(
        ["training/image_2/00#_10.png", "testing/image_2/00#_10.png"],
        [f"training/{kind}/00#_10.png" for kind in ("instance", "semantic", "semantic_rgb")],
        {"": ("training/image_2/*.png", "training/semantic/{stem}.png")},
    ),
    "SUIM beside a file for each class": Shape(
        of_splits("%/images/d_#_.jpg", splits=("train_val", "TEST")),
        [*of_splits("%/masks/d_#_.bmp", splits=("train_val", "TEST")),
         "TEST/masks/RO/d_#_.bmp", "TEST/masks/WR/d_#_.bmp"],
        {s.replace("_", "").lower(): (f"{s}/images/*.jpg", f"{s}/masks/{{stem}}.bmp")
         for s in ("train_val", "TEST")},
    ),
    "Mapillary of two versions": Shape(
        of_splits("%/images/a#.jpg", splits=("training", "validation")),
        of_splits("%/v1.2/labels/a#.png", "%/v2.0/instances/a#.png", "%/v2.0/labels/a#.png",
                  "%/v2.0/panoptic/a#.png",
                  splits=("training", "validation")),
        {s: (f"{s}/images/*.jpg", f"{s}/v1.2/labels/{{stem}}.png")
         for s in ("training", "validation")},
    ),
    "GTA5": Shape(
        [f"0{i}_images/0{i}#.png" for i in (1, 2)], [f"0{i}_labels/0{i}#.png" for i in (1, 2)],
        {"": ("*_images/*.png", "*_labels/{stem}.png")},
    ),
    "folders of numbers at the end": Shape(
        [f"images_{i}/1{i}#.png" for i in (1, 2)], [f"labels_{i}/1{i}#.png" for i in (1, 2)],
        {"": ("images_*/*.png", "labels_*/{stem}.png")},
    ),
    "Cellpose": Shape(
        ["0#_flows.tif", "0#_img.tif"], ["0#_masks.tif"], {"": ("*_img.tif", "{stem}_masks.tif")}
    ),
    "Label Studio": Shape(
        ["images/#.jpg"],
        [f"masks/task-#-annotation-1#-by-1-tag-{tag}-{i}.png" for tag in ("road", "car")
         for i in (0, 1)],
        {"": ("images/*.jpg", "masks/task-{stem}-annotation-*-by-*-tag-{part}.png")},
    ),
    "few masks among many images": Shape(
        [f"{i}#.jpg" for i in range(9)], ["1#_mask.png"], {"": ("*.jpg", "{stem}_mask.png")}
    ),
}  # fmt: skip


SHAPES |= {
    "two observers": Shape(
        ["images/#.png"], ["manual1/#.png", "manual2/#.png"],
        {"": ("images/*.png", "manual1/{stem}.png")},
    ),
    "DRIVE": Shape(
        ["DRIVE/training/images/2#_training.tif", "DRIVE/test/images/0#_test.tif"],
        ["DRIVE/training/1st_manual/2#_manual1.gif",
         "DRIVE/test/1st_manual/0#_manual1.gif", "DRIVE/test/2nd_manual/0#_manual2.gif"],
        {"training": ("DRIVE/training/images/*_training.tif",
                      "DRIVE/training/1st_manual/{stem}_manual1.gif"),
         "test": ("DRIVE/test/images/*_test.tif", "DRIVE/test/1st_manual/{stem}_manual1.gif")},
    ),
    "BDD100K and its objects": Shape(
        of_splits("images/10k/%/b#-x.jpg", splits=("train", "val", "test")),
        of_splits("labels/ins_seg/bitmasks/%/b#-x.png", "labels/sem_seg/colormaps/%/b#-x.png",
                  "labels/sem_seg/masks/%/b#-x.png"),
        {s: (f"images/10k/{s}/*.jpg", f"labels/sem_seg/masks/{s}/{{stem}}.png")
         for s in ("train", "val")},
    ),
    "CIHP": Shape(
        of_splits("instance-level_human_parsing/%/Images/00#.jpg",
                  splits=("Training", "Validation")),
        of_splits("instance-level_human_parsing/%/Category_ids/00#.png",
                  "instance-level_human_parsing/%/Human_ids/00#.png",
                  "instance-level_human_parsing/%/Instance_ids/00#.png",
                  splits=("Training", "Validation")),
        {s.lower(): (f"instance-level_human_parsing/{s}/Images/*.jpg",
                     f"instance-level_human_parsing/{s}/Category_ids/{{stem}}.png")
         for s in ("Training", "Validation")},
    ),
    "ACDC": Shape(
        [*of_splits("ACDC/rgb_anon/fog/%/GP1/a_00#_rgb_anon.png",
                    "ACDC/rgb_anon/night/%/GP2/a_00#_rgb_anon.png"),
         *of_splits("ACDC/rgb_anon/fog/%_ref/GP1/a_00#_rgb_ref_anon.png")],
        of_splits("ACDC/gt/fog/%/GP1/a_00#_gt_labelIds.png",
                  "ACDC/gt/night/%/GP2/a_00#_gt_labelIds.png",
                  "ACDC/gt/fog/%/GP1/a_00#_gt_invIds.png",
                  "ACDC/gt/night/%/GP2/a_00#_gt_invIds.png"),
        {s: (f"ACDC/rgb_anon/*/{s}/**/*_rgb_anon.png", "ACDC/gt/{dir}/{stem}_gt_labelIds.png")
         for s in ("train", "val")},
    ),
    "MVTec": Shape(
        ["bottle/train/good/00#.png", "bottle/test/good/00#.png", "bottle/test/broken/00#.png",
         "bottle/test/dirt/00#.png"],
        ["bottle/ground_truth/broken/00#_mask.png", "bottle/ground_truth/dirt/00#_mask.png"],
        {"": ("bottle/test/**/*.png", "bottle/ground_truth/{dir}/{stem}_mask.png")},
    ),
    "segments.ai": Shape(
        ["my_set/img#.jpg"],
        ["my_set/img#_label_ground-truth.png", "my_set/img#_label_ground-truth_semantic.png"],
        {"": ("my_set/*.jpg", "my_set/{stem}_label_ground-truth_semantic.png")},
    ),
    "SOLO": Shape(
        ["solo/sequence.#/step0.camera.png"],
        ["solo/sequence.#/step0.camera.semantic segmentation.png",
         "solo/sequence.#/step0.camera.instance segmentation.png"],
        {"": ("**/*.camera.png", "{dir}/{stem}.camera.semantic segmentation.png")},
    ),
    "PhenoBench": Shape(
        of_splits("PB/%/images/05-0#.png"),
        of_splits("PB/%/leaf_instances/05-0#.png", "PB/%/plant_visibility/05-0#.png",
                  "PB/%/semantics/05-0#.png"),
        {s: (f"PB/{s}/images/*.png", f"PB/{s}/semantics/{{stem}}.png") for s in ("train", "val")},
    ),
    "overlays that are no images": Shape(
        ["organ1/tissue images/o_#.png", "organ1/overlay/o_#.png"],
        ["organ1/label masks/o_#.tif"],
        {"": ("organ1/tissue images/*.png", "organ1/label masks/{stem}.tif")},
    ),
    "Open Images": Shape(
        ["train/b#.jpg"],
        [f"train-masks/b#_{code}_{number}{i}ae.png" for code, number in (("m04hgtk", "7f"),
         ("m01g317", "44"), ("m02jx8", "9c")) for i in (1, 2)],
        {"": ("**/*.jpg", "{dir}-masks/{stem}_{part}.png")},
    ),
}  # fmt: skip


def put(root: Path, shape: Shape) -> None:
    """Files of other pixels each."""
    for forms, is_mask in ((shape.images, False), (shape.masks, True)):
        for name in [form.replace("#", str(i)) for form in forms for i in range(NUM)]:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            flat = np.repeat(np.arange(16, dtype=np.uint8) // 9, 16).reshape(16, 16)
            form = {".jpg": "JPEG", ".tif": "TIFF", ".gif": "GIF", ".bmp": "BMP", ".png": "PNG"}
            picture = flat * np.uint8(255) if is_mask else photograph(len(list(root.rglob("*"))))
            path.write_bytes(encoded(picture, form[path.suffix]))


def only(root: Path) -> Candidate:
    (found,) = recognition.candidates(trees.open_tree(str(root)), str(root))
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_what_lies_there_is_read_by_the_splits_that_it_has(name: str, tmp_path: Path) -> None:
    put(tmp_path, SHAPES[name])
    found = only(tmp_path)
    wanted = SHAPES[name].read
    assert set(found.splits) == {split for split in wanted if split}
    for split, keys in wanted.items():
        section = found.of_split(split or None)
        assert (section.get("images", "images"), section.get("masks", "masks")) == keys
        problems = Problems()
        any_part = {"classes": ["rest", {"name": "part", "parts": ["*"]}]}
        more = any_part if "{part}" in keys[1] else {}
        any_classes = resolving.section({**section, **more}, with_any_classes=not more)
        items = any_classes.find(True, problems).items
        assert not problems.found and len(items) >= NUM
        for item in items:
            assert isinstance(item, ImageFile) and item.mask_paths
            number = re.findall("[0-9]+", item.path)[-1]
            assert all(number in re.findall("[0-9]+", path) for path in item.mask_paths)


def test_masks_of_several_kinds_are_no_parts(tmp_path: Path) -> None:
    put(tmp_path, Shape(["images/#.jpg"], ["gt/#_labels.png", "gt/#_edges.png"], {}))
    (tmp_path / "gt").mkdir(exist_ok=True)
    for i in range(NUM):
        grey = np.arange(256, dtype=np.uint8).reshape(16, 16) // 64
        for kind in ("objects", "depth"):
            (tmp_path / f"gt/{i}_{kind}.png").write_bytes(encoded(grey))
    assert "{part}" not in only(tmp_path).keys["masks"]


def test_masks_of_several_colours_are_no_parts(tmp_path: Path) -> None:
    put(tmp_path, Shape(["#.jpg"], ["#_parts_1.png"], {}))
    colors = np.zeros((16, 16, 3), np.uint8)
    colors[4:8], colors[8:12] = (255, 0, 0), (0, 255, 0)
    for i in range(NUM):
        (tmp_path / f"{i}_seg.png").write_bytes(encoded(colors))
    assert only(tmp_path).keys["masks"] == "{stem}_seg.png"


def test_of_masks_of_an_image_those_of_one_channel_are_taken(tmp_path: Path) -> None:
    put(tmp_path, Shape(["a/Image/#.jpg", "b/Image/1#.jpg"], [], {}))
    area = np.zeros((16, 16), np.uint8)
    for place, start in (("a", ""), ("b", "1")):
        for i in range(NUM):
            area[4 : 8 + i] = 255
            for kind, values in (
                ("GT_Edge", area),
                ("GT_Instance", np.stack([area, area // 2, area], axis=-1)),
                ("GT_Object", area),
            ):
                path = tmp_path / f"{place}/{kind}/{start}{i}.png"
                path.parent.mkdir(exist_ok=True, parents=True)
                path.write_bytes(encoded(values))
    assert only(tmp_path).keys["masks"] == "{dir}/GT_Object/{stem}.png"


def test_an_image_with_no_word_for_mask_is_told_from_its_mask_by_what_they_show(
    tmp_path: Path,
) -> None:
    shape = Shape(["a#.png"], ["a#.jpg"], {})
    put(tmp_path, shape)
    found = only(tmp_path)
    assert (found.keys["images"], found.keys["masks"]) == ("*.png", "{stem}.jpg")


def test_of_several_folders_of_one_split_none_is_left_out(tmp_path: Path) -> None:
    for city in ("a", "b"):
        for split in ("train", "val"):
            place = f"{city}/{split}"
            put(tmp_path, Shape([f"{place}/images/#.png"], [f"{place}/masks/#.png"], {}))
    found = recognition.candidates(trees.open_tree(str(tmp_path)), str(tmp_path))
    wanted = [f"{tmp_path}/{city}/{split}" for city in "ab" for split in ("train", "val")]
    assert [candidate.keys["url"] for candidate in found] == wanted, "people are asked"


def test_folders_of_another_word_are_no_splits(tmp_path: Path) -> None:
    put(tmp_path, Shape(of_splits("%/images/#.jpg", splits=("trains", "valley")),
                        of_splits("%/masks/#.png", splits=("trains", "valley")), {}))  # fmt: skip
    urls = [
        found.keys["url"]
        for found in recognition.candidates(trees.open_tree(str(tmp_path)), str(tmp_path))
    ]
    assert urls == [str(tmp_path / "trains"), str(tmp_path / "valley")]


def test_photographs_of_two_cameras_are_no_pairs(tmp_path: Path) -> None:
    put(tmp_path, Shape(["train/left_#.jpg", "train/right_#.jpg", "val/left_#.jpg"], [], {}))
    assert not only(tmp_path).has_masks


def test_the_numbers_of_label_studio_are_those_of_tasks_and_others_are_of_no_image(
    tmp_path: Path,
) -> None:
    put(tmp_path, Shape(["#.jpg"], [], {}))
    for i in range(NUM):
        name = f"masks/task-{i}-annotation-{NUM - 1 - i}-by-{i + 4}-tag-road-0.png"
        put_area(tmp_path / name, 255, seed=i + 1)
    found = only(tmp_path).keys
    assert found["masks"] == "masks/task-{stem}-annotation-*-by-*-tag-road-*.png"


def put_area(path: Path, inside: int, seed: int = 0) -> None:
    """A mask of 0 and this value: a field of view, or with a seed a square anywhere."""
    area = np.zeros((32, 32), np.uint8)
    top, left = np.random.default_rng(seed).integers(2, 20, 2) if seed else (3, 3)
    area[top : top + (8 if seed else 26), left : left + (8 if seed else 26)] = inside
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(area, {".gif": "GIF", ".png": "PNG"}[path.suffix]))


@pytest.mark.parametrize(
    ("image", "labels", "view"),
    [
        ("training/images/2#_training.tif", "training/1st_manual/2#_manual1.gif",
         "training/mask/2#_training_mask.gif"),
        ("images/2#.jpg", "vessels/2#.png", "mask/2#.png"),
        ("images/2#.jpg", "labels/2#.png", "masks/2#.png"),
        ("2#.jpg", "2#_vessels.png", "2#_mask.png"),
    ],
)  # fmt: skip
def test_masks_that_are_all_one_picture_are_no_labels_where_others_differ(
    image: str, labels: str, view: str, tmp_path: Path
) -> None:
    put(tmp_path, Shape([image], [], {}))
    for i in range(NUM):
        put_area(tmp_path / labels.replace("#", str(i)), 255, seed=i + 1)
        put_area(tmp_path / view.replace("#", str(i)), 255)
    keys = only(tmp_path).keys
    items = resolving.section(keys, with_any_classes=True).find(True, Problems()).items
    found = [item.mask_paths for item in items if isinstance(item, ImageFile)]
    assert found == [(labels.replace("#", str(i)),) for i in range(NUM)]
    assert not only(tmp_path).question


def test_masks_that_are_all_one_picture_are_taken_where_there_are_no_others_and_told(
    tmp_path: Path,
) -> None:
    put(tmp_path, Shape(["images/#.jpg"], [], {}))
    for i in range(NUM):
        put_area(tmp_path / f"masks/{i}.png", 255)
    found = only(tmp_path)
    assert found.has_masks and "masks/0.png are labels" in found.question


def put_masks(folder: Path, names: Sequence[str], shared_columns: int) -> None:
    """Puts a mask of each name for each image: squares side by side that share some columns."""
    for i in range(NUM):
        for j, name in enumerate(names):
            pixels = np.zeros((16, 16), np.uint8)
            left = j * (4 - shared_columns)
            pixels[2 : 8 + i, left : left + 4] = 255
            path = folder / name.replace("#", str(i))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(pixels))


PARTS = {
    "a folder for each side": (
        ["CXR_png/#.png"],
        ["ManualMask/leftMask/#.png", "ManualMask/rightMask/#.png"],
        "ManualMask/{part}/{stem}.png",
    ),
    "a folder for each class": (
        ["images/#.png"],
        ["masks/cell/#.png", "masks/ground/#.png"],
        "masks/{part}/{stem}.png",
    ),
    "a folder for each class beside the images'": (
        ["images/#.png"],
        ["masks_cell/#.png", "masks_ground/#.png"],
        "masks_{part}/{stem}.png",
    ),
    "an end for each class": (["#.jpg"], ["#_cell.png", "#_ground.png"], "{stem}_{part}.png"),
    "a folder for each image": (
        ["train/00#/image.png"],
        ["train/00#/mask_cell.png", "train/00#/mask_ground.png"],
        "{dir}/mask_{part}.png",
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_two_masks_of_an_image_that_do_not_overlap_are_its_parts(name: str, tmp_path: Path) -> None:
    images, masks, pattern = PARTS[name]
    put(tmp_path, Shape(images, [], {}))
    put_masks(tmp_path, masks, shared_columns=0)
    assert only(tmp_path).keys["masks"] == pattern


@pytest.mark.parametrize("names", [("anna", "ben"), ("whole", "core")])
def test_two_masks_of_an_image_that_overlap_are_no_parts(
    names: Sequence[str], tmp_path: Path
) -> None:
    put(tmp_path, Shape(["images/#.png"], [], {}))
    put_masks(tmp_path, [f"masks/{name}/#.png" for name in names], shared_columns=2)
    found = recognition.candidates(trees.open_tree(str(tmp_path)), str(tmp_path))
    assert not [each for each in found if "{part}" in each.keys.get("masks", "")]


def test_further_masks_of_an_image_that_are_numbered_are_its_masks_and_no_images(
    tmp_path: Path,
) -> None:
    for i in range(1, 7):
        for j, end in enumerate(["", "_mask", *(["_mask_1", "_mask_2"][: i // 3])]):
            path = tmp_path / f"benign/benign ({i}){end}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = np.zeros((16, 16), np.uint8)
            pixels[4 * j : 4 * j + 3, :i] = 255
            path.write_bytes(encoded(pixels if end else photograph(i)[:16, :16]))
    found = only(tmp_path)
    assert found.keys["masks"] == "{dir}/{stem}_mask{part}.png" and "unpaired" not in found.keys
    section = resolving.section({**found.keys, "classes": ["no", {"name": "yes", "parts": ["*"]}]})
    items = section.find(True, Problems()).items
    assert len(items) == len(section.find(False, Problems()).items) == 6
    mask = loading.read_labelled(section, 16).masks[5]
    assert [mask[4 * j, :7].tolist() for j in range(4)] == [[0] * 7, *[[1] * 6 + [0]] * 3]
