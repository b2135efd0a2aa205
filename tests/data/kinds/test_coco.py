"""Claims about sources of kind coco: what is drawn, of which images, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from factory.data import loading
from factory.data.kinds.coco import CocoSource
from factory.errors import Problems
from factory.exporting import command
from factory.images import UInt8
from factory.png import encode_png
from tests.data.files.test_trees import packed
from tests.data.inputs import flat, only_problem, problems_of, put
from tests.exporting import made

SIDE = 24
SQUARE = [[4, 4, 12, 4, 12, 12, 4, 12]]


def annotation(
    image: int | str, category: int | str, segmentation: Any, **more: Any
) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "segmentation": segmentation, **more}


def write(folder: Path, annotations: list[Any], **changes: Any) -> Path:
    """A JSON of images a.png and b.png, ids 7 and 3, and categories car (9) and bus (2)."""
    for i, name in enumerate(("a", "b")):
        put(folder / "images", **{f"{name}_png": encode_png(flat(10 + i, SIDE, SIDE))})
    about = {
        "images": [
            {"id": i, "file_name": name, "width": SIDE, "height": SIDE}
            for i, name in ((7, "a.png"), (3, "b.png"))
        ],
        "annotations": [
            {"id": i, **each} if isinstance(each, dict) else each
            for i, each in enumerate(annotations)
        ],
        "categories": [{"id": 9, "name": "car"}, {"id": 2, "name": "bus"}],
        **changes,
    }
    (folder / "instances.json").write_text(json.dumps(about))
    return folder


def masks_of(url: Path | str, **more: Any) -> UInt8:
    return np.asarray(loading.read_labelled(source(url, **more), SIDE).masks)


def source(url: Path | str, **more: Any) -> CocoSource:
    return CocoSource(url=str(url), **more)


def test_every_form_of_region_is_drawn_as_pycocotools_draws_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    blob = np.asfortranarray(rng.random((SIDE, SIDE)) < 0.5, np.uint8)
    text = rle.encode(blob)["counts"].decode()
    star = [[3.3, 2.1, 20.7, 8.2, 4.9, 14.4], [15.5, 15.5, 23.9, 16, 22, 30.2, 14, 22]]
    runs = [100, 200, SIDE * SIDE - 300]
    shapes = [star, {"counts": text, "size": [SIDE] * 2}, {"counts": runs, "size": [SIDE] * 2}]
    for shape in shapes:
        write(tmp_path, [annotation(7, 9, shape, iscrowd=0)])
        coco = COCO(str(tmp_path / "instances.json"))
        expected = coco.annToMask(coco.loadAnns([0])[0]) * 2
        assert np.array_equal(masks_of(tmp_path)[0], expected) and expected.any()


def test_classes_are_the_categories_in_order_of_their_ids_behind_the_background(
    tmp_path: Path,
) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE), annotation(3, 2, SQUARE)])
    read = loading.read_labelled(source(tmp_path, background="road"), SIDE)
    assert read.classes.names == ("road", "bus", "car")
    assert read.names == ("images/a.png", "images/b.png")
    assert read.masks[:, 8, 8].tolist() == [2, 1] and not read.masks[:, 0, 0].any()


def test_smaller_regions_lie_on_larger_ones_and_crowds_are_ignored(tmp_path: Path) -> None:
    large = [[0, 0, 24, 0, 24, 24, 0, 24]]
    crowd = {"counts": [SIDE * 20, SIDE * 4], "size": [SIDE, SIDE]}
    write(
        tmp_path,
        [annotation(7, 9, SQUARE), annotation(7, 2, large), annotation(7, 9, crowd, iscrowd=1)],
    )
    mask = masks_of(tmp_path)[0]
    assert mask[8, 8] == 2 and mask[0, 0] == 1 and (mask[:, 20:] == 255).all()


def test_a_category_of_crowds_alone_is_refused_with_the_settings_that_draw_or_ignore_it(
    tmp_path: Path,
) -> None:
    runs = {"counts": [SIDE * 20, SIDE * 4], "size": [SIDE, SIDE]}
    write(tmp_path, [annotation(7, 9, runs, iscrowd=1), annotation(7, 2, SQUARE)])
    problem = only_problem(source(tmp_path))
    assert "1 annotation is of a crowd (iscrowd: 1), of car, and car has no others" in problem
    assert "`crowds: draw`" in problem and "`crowds: ignore`" in problem
    assert (masks_of(tmp_path, crowds="draw")[0, :, 20:] == 2).all()
    assert (masks_of(tmp_path, crowds="ignore")[0, :, 20:] == 255).all()
    ignored = source(tmp_path, ignore={"labels": ["car"]})
    assert (np.asarray(loading.read_labelled(ignored, SIDE).masks)[0, :, 20:] == 255).all()


def test_crowds_beside_objects_are_told_with_the_setting_that_draws_them(tmp_path: Path) -> None:
    runs = {"counts": [SIDE * 20, SIDE * 4], "size": [SIDE, SIDE]}
    write(tmp_path, [annotation(7, 9, runs, iscrowd=1), annotation(7, 9, SQUARE)])
    (note,) = loading.load(source(tmp_path), SIDE, labelled=True).notes[:1]
    assert "of car: they are ignored. If they are objects, set `crowds: draw`" in note
    (note,) = loading.load(source(tmp_path, crowds="draw"), SIDE, labelled=True).notes[:1]
    assert "of car: they are drawn like others" in note


def test_a_region_that_is_a_crowd_of_every_category_is_ignored_without_a_word(
    tmp_path: Path,
) -> None:
    runs = {"counts": [SIDE * 20, SIDE * 4], "size": [SIDE, SIDE]}
    crowds = [annotation(7, category, runs, iscrowd=1) for category in (9, 2)]
    write(tmp_path, [*crowds, annotation(7, 9, SQUARE)])
    assert (masks_of(tmp_path)[0, :, 20:] == 255).all()


def test_an_image_without_annotations_is_background_unless_it_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE)])
    assert not masks_of(tmp_path)[1].any()
    read = loading.read_labelled(source(tmp_path, unannotated="skip"), SIDE)
    assert read.names == ("images/a.png",)


def test_classes_of_people_have_labels_and_an_order(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE), annotation(3, 2, SQUARE)])
    merged = [{"name": "ground"}, {"name": "vehicle", "labels": ["car", "bus"]}]
    read = loading.read_labelled(source(tmp_path, classes=merged), SIDE)
    assert read.masks[:, 8, 8].tolist() == [1, 1] and read.classes.names == ("ground", "vehicle")
    assert masks_of(tmp_path, classes=["ground", "car", "bus"])[:, 8, 8].tolist() == [1, 2]
    (tmp_path / "classes.txt").write_text("ground\ncar\nbus\n")
    assert masks_of(tmp_path, classes_url=f"{tmp_path}/classes.txt")[0, 8, 8] == 1


def test_categories_of_no_class_are_named_and_can_be_ignored(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE), annotation(3, 2, SQUARE)])
    message = only_problem(source(tmp_path, classes=["ground", "car"]))
    assert "the labels bus (1 shape) are of no class" in message
    assert "`ignore: {labels: [bus]}`" in message
    masks = masks_of(tmp_path, classes=["ground", "car"], ignore={"labels": ["bus"]})
    assert masks[:, 8, 8].tolist() == [1, 255], "as the message advises"


def test_a_first_class_that_is_a_category_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE), annotation(3, 2, SQUARE)])
    message = only_problem(source(tmp_path, classes=["car", "bus"]))
    assert "car is the label of shapes. Put a class before it, such as background" in message
    assert masks_of(tmp_path, classes=["background", "car", "bus"])[0, 8, 8] == 1
    meant = [{"name": "car", "labels": ["car"]}, {"name": "bus"}]
    assert masks_of(tmp_path, classes=meant)[:, 8, 8].tolist() == [0, 1]


def test_rules_on_values_are_refused_where_there_are_labels(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE)])
    classes = [{"name": "ground"}, {"name": "car", "above": 0}]
    assert "Leave `above` out" in only_problem(source(tmp_path, classes=classes))


def test_the_json_may_lie_elsewhere_and_files_in_folders_or_archives(tmp_path: Path) -> None:
    write(tmp_path / "a", [annotation(7, 9, SQUARE)])
    (tmp_path / "j").mkdir()
    (tmp_path / "a/instances.json").rename(tmp_path / "j/x.json")
    assert "no JSON of instances among 0 JSON files. Set `annotations_url:`" in only_problem(
        source(tmp_path / "a")
    )
    named = {"annotations_url": f"{tmp_path}/j/x.json"}
    assert masks_of(tmp_path / "a/images", **named)[0, 8, 8] == 2
    inside = {f"d/{path.name}": path.read_bytes() for path in (tmp_path / "a/images").iterdir()}
    inside["d/labels/x.json"] = (tmp_path / "j/x.json").read_bytes()
    (tmp_path / "data.zip").write_bytes(packed(inside))
    assert masks_of(tmp_path / "data.zip")[0, 8, 8] == 2
    named = {"annotations_url": f"{tmp_path}/data.zip/d/labels/x.json"}
    assert masks_of(tmp_path / "data.zip", **named)[0, 8, 8] == 2


def test_of_several_jsons_one_must_be_named(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE)])
    (tmp_path / "val.json").write_bytes((tmp_path / "instances.json").read_bytes())
    (tmp_path / "other.json").write_text("{}")
    message = only_problem(source(tmp_path))
    assert "2 JSONs of instances: instances.json, val.json" in message
    assert masks_of(tmp_path, annotations_url=f"{tmp_path}/val.json").any()


def test_images_without_masks_are_those_of_the_json(tmp_path: Path) -> None:
    write(tmp_path, [])
    put(tmp_path / "images", c_png=encode_png(flat(1)))
    assert loading.read_images(source(tmp_path), 8)[:, 0, 0, 0].tolist() == [10, 11]
    assert len(loading.read_images(source(tmp_path, num=1), 8)) == 1
    (tmp_path / "names.txt").write_text("b")
    listed = source(tmp_path, names_url=f"{tmp_path}/names.txt")
    assert loading.read_images(listed, 8)[:, 0, 0, 0].tolist() == [11]


def test_images_that_are_not_there_are_named_or_skipped(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE)])
    (tmp_path / "images/b.png").unlink()
    message = only_problem(source(tmp_path))
    assert "names 1 image that" in message and "b.png" in message
    read = loading.read_labelled(source(tmp_path, unpaired="skip"), SIDE)
    assert read.names == ("images/a.png",) and "b.png. They are left out." in read.notes[0]


def test_file_names_with_folders_of_elsewhere_find_their_files(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "/home/x/train/a.png"}, {"id": 3, "file_name": "D:\\v\\b.png"}]
    write(tmp_path, [annotation(7, 9, SQUARE)], images=images)
    assert masks_of(tmp_path)[0, 8, 8] == 2, "and sizes are those of the images"
    put(tmp_path / "train", a_png=encode_png(flat(99, SIDE, SIDE)))
    read = loading.read_labelled(source(tmp_path), SIDE)
    assert read.names == ("images/b.png", "train/a.png")


def test_file_names_that_lead_out_of_the_folder_mean_files_in_it_alone(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "../c.png"}, {"id": 3, "file_name": "../../up/1/b.png"}]
    write(tmp_path / "in", [annotation(3, 9, SQUARE)], images=images)
    put(tmp_path, c_png=encode_png(flat(1)))
    message = only_problem(source(tmp_path / "in"))
    assert "names 1 image that" in message and "../c.png. Name their folder in `url:`" in message
    read = loading.read_labelled(source(tmp_path / "in", unpaired="skip"), SIDE)
    assert read.names == ("images/b.png",), "as programs write that know another folder"


def test_file_names_count_from_the_json(tmp_path: Path) -> None:
    for split, number in (("train", 5), ("valid", 6)):
        folder = write(tmp_path / split, [annotation(7, 9, SQUARE)]) / "images"
        for name in ("a.png", "b.png"):
            (folder / name).rename(tmp_path / split / name)
        put(tmp_path / split, a_png=encode_png(flat(number, SIDE, SIDE)))
        (tmp_path / split / "instances.json").rename(tmp_path / split / "_annotations.coco.json")
    message = only_problem(source(tmp_path))
    named = {"annotations_url": f"{tmp_path}/train/_annotations.coco.json"}
    assert f"that is meant, such as {named['annotations_url']}" in message
    read = loading.read_labelled(source(tmp_path, **named), SIDE)
    assert read.names == ("train/a.png", "train/b.png")
    assert masks_of(tmp_path / "valid")[0, 8, 8] == 2


def test_an_image_without_a_file_name_is_called_as_in_its_coco_url(tmp_path: Path) -> None:
    named = [
        {"id": id, "coco_url": f"http://images.example.org/train/{name}"}
        for id, name in ((7, "a.png"), (3, "b.png"))
    ]
    where = write(tmp_path, [annotation(7, 9, SQUARE)], images=named)
    masks = masks_of(where)
    assert masks[0].any() and not masks[1].any()


def test_a_url_as_a_file_name_means_its_path(tmp_path: Path) -> None:
    names = ("http://images.cocodataset.org/train2017/a.png?v=1", "https://host/x/b%2Epng")
    images = [{"id": i, "file_name": name} for i, name in zip((7, 3), names, strict=True)]
    assert masks_of(write(tmp_path, [annotation(7, 9, SQUARE)], images=images))[0, 8, 8] == 2


def with_size(width: int, height: int) -> dict[str, Any]:
    """Images of a size that the JSON tells, for `write`."""
    sizes = {"width": width, "height": height}
    return {
        "images": [
            {"id": i, "file_name": n, **sizes}
            for i, n in zip((7, 3), ("a.png", "b.png"), strict=True)
        ]
    }


@pytest.mark.parametrize("factor", [0.5, 1.5, 3, 10])
def test_shapes_of_an_image_that_was_scaled_are_scaled_with_it(
    tmp_path: Path, factor: float
) -> None:
    side = int(factor * SIDE)
    outline = [[factor * n for n in SQUARE[0]]]
    run = np.zeros((side, side), np.uint8, "F")
    run[side // 2 :] = 1
    runs = {"counts": rle.encode(run)["counts"].decode(), "size": [side, side]}
    shapes = [annotation(7, 9, outline), annotation(3, 2, runs)]
    read = loading.read_labelled(source(write(tmp_path, shapes, **with_size(side, side))), SIDE)
    assert read.masks[0, 5:11, 5:11].all() and not read.masks[0, 13:].any()
    assert (read.masks[1, SIDE // 2 :] == 1).all() and not read.masks[1, : SIDE // 2].any()
    told = "2 masks are of other sizes than their images, in the same proportions"
    assert any(told in note for note in read.notes)


def test_shapes_of_an_image_of_other_proportions_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE), annotation(3, 9, SQUARE)], **with_size(36, 24))
    problems = problems_of(source(tmp_path))
    assert len(problems) == 1 and "The same is true of 1 other" in problems[0]
    assert "shapes were drawn for an image of 36x24 pixels, and the image has 24x24" in problems[0]


def test_a_size_that_no_image_has_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE)], **with_size(10**6, 10**6))
    problems = problems_of(source(tmp_path, unannotated="skip"))
    assert len(problems) == 1
    assert "#a.png: its shapes were drawn for 1000000x1000000 pixels, more than" in problems[0]


def test_labels_are_ignored_without_naming_the_classes(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE), annotation(3, 2, SQUARE)])
    read = loading.read_labelled(source(tmp_path, ignore={"labels": ["bus"]}), SIDE)
    assert read.classes.names == ("background", "car")
    assert read.masks[:, 8, 8].tolist() == [1, 255]
    assert "names the labels tram" in only_problem(source(tmp_path, ignore={"labels": ["tram"]}))


DOUBTFUL: dict[str, tuple[dict[str, Any], str]] = {
    "an image that is not listed": (
        {"annotations": [annotation(7, 9, SQUARE), annotation(99, 9, SQUARE)]},
        "has 1 annotation of 1 image that it does not list: ids 99",
    ),
    "an id of two images": (
        {
            "images": [
                {"id": i, "file_name": n} for i, n in ((7, "a.png"), (3, "b.png"), (3, "c.png"))
            ]
        },
        "has several images of one id, 3 (b.png, c.png)",
    ),
    "a file of two ids": (
        {
            "images": [
                {"id": i, "file_name": n} for i, n in ((7, "a.png"), (3, "b.png"), (4, "b.png"))
            ]
        },
        "has several images of one file_name, b.png",
    ),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_annotations_of_no_image_or_of_one_of_several_are_refused_or_left_out(
    tmp_path: Path, case: str
) -> None:
    changes, said = DOUBTFUL[case]
    write(
        tmp_path, **{"annotations": [annotation(7, 9, SQUARE), annotation(3, 9, SQUARE)], **changes}
    )
    message = only_problem(source(tmp_path))
    assert said in message and "leave them out with `unpaired: skip`" in message
    read = loading.read_labelled(source(tmp_path, unpaired="skip"), SIDE)
    assert read.names[0] == "images/a.png" and read.masks[0, 8, 8] == 2
    assert len(read) == (2 if "listed" in case else 1), "the image of which nothing is known"
    assert any(said in note and "left out" in note for note in read.notes)
    images = loading.read_images(source(tmp_path, unpaired="skip"), SIDE)
    assert len(images) == 2, "of images alone all are known"


def test_a_category_that_is_not_listed_is_called_by_its_id(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE), annotation(3, 5, SQUARE)])
    message = only_problem(source(tmp_path))
    assert "the labels category 5 (1 shape) are of no class" in message
    assert "`ignore: {labels: [category 5]}`" in message
    masks = masks_of(tmp_path, ignore={"labels": ["category 5"]})
    assert masks[:, 8, 8].tolist() == [2, 255], "as the message advises"
    classes = ["ground", "car", {"name": "tram", "labels": ["category 5"]}]
    assert masks_of(tmp_path, classes=classes)[:, 8, 8].tolist() == [1, 2]


def test_ids_may_be_texts_and_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    categories = [{"id": "10", "name": "bus"}, {"id": 9, "name": "car"}, {"id": 0, "name": "car"}]
    shapes = [annotation("7", "9", SQUARE), annotation(3, 10, SQUARE)]
    read = loading.read_labelled(source(write(tmp_path, shapes, categories=categories)), SIDE)
    assert read.classes.names == ("background", "car", "bus")
    assert read.masks[:, 8, 8].tolist() == [1, 2]


def test_an_outline_without_the_list_around_it_is_read(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE[0]), annotation(3, 2, SQUARE)])
    masks = masks_of(tmp_path)
    assert np.array_equal(masks[0] > 0, masks[1] > 0) and masks[0, 8, 8] == 2


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ([{"id": 1, "image_id": 7, "caption": "A cat."}], "is of captions, not of instances"),
    ],
)
def test_other_jsons_of_coco_are_told_by_what_they_are_of(
    tmp_path: Path, annotations: list[Any], said: str
) -> None:
    write(tmp_path, annotations)
    assert f"{said}" in only_problem(source(tmp_path))
    assert "Set `annotations_url:` to a JSON of instances" in only_problem(source(tmp_path))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([[1, 2, 3, 4]], "annotation 0: an outline that is no list of 3 or more points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "an outline that is no list"),
        ([[1, 2, 3, 4, 5, None]], "an outline that is no list"),
        ([[1, 2, 1e300, 4, 5, 6]], "leads far out of the image"),
        ([[1, 2, float("nan"), 4, 5, 6]], "leads far out of the image"),
        ({"counts": [1, 2], "size": [SIDE, SIDE]}, "do not add up"),
        ({"counts": [-1, SIDE * SIDE + 1], "size": [SIDE, SIDE]}, "do not add up"),
        ({"counts": "\x7f" * 9, "size": [SIDE, SIDE]}, "do not add up"),
        ({"counts": "PPYo1", "size": [SIDE, SIDE]}, "do not add up"),
        ({"counts": [SIDE], "size": [SIDE, 1]}, "in an image of"),
        ("here", "neither outlines nor runs"),
    ],
)
def test_regions_that_cannot_be_drawn_are_named(tmp_path: Path, shape: Any, said: str) -> None:
    write(tmp_path, [annotation(7, 9, shape), annotation(3, 9, SQUARE)])
    message = only_problem(source(tmp_path))
    assert (
        message.startswith(f"{tmp_path}/instances.json#a.png: annotation 0: ") and said in message
    )


def test_boxes_without_outlines_are_named_with_their_images(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, []), annotation(7, 9, SQUARE), annotation(3, 9, SQUARE)])
    message = only_problem(source(tmp_path))
    assert "1 annotation without an outline, in images/a.png" in message and "names_url" in message
    (tmp_path / "names.txt").write_text("b.png")
    assert masks_of(tmp_path, names_url=f"{tmp_path}/names.txt").any(), "as the message advises"


@pytest.mark.parametrize("none", [{}, {"segmentation": []}, {"segmentation": [[]]}])
def test_boxes_without_outlines_are_ignored_where_that_is_asked_for(
    tmp_path: Path, none: dict[str, Any]
) -> None:
    points = {"keypoints": [5, 5, 2] * 17, "num_keypoints": 17}
    box = {"image_id": 7, "category_id": 9, "bbox": [14, 15, 6, 5.0], **points, **none}
    write(tmp_path, [box, annotation(7, 9, SQUARE)])
    assert "`boxes: ignore`" in only_problem(source(tmp_path))
    mask = masks_of(tmp_path, boxes="ignore")[0]
    assert (mask[15:20, 14:20] == 255).all() and (mask == 255).sum() == 30
    assert mask[8, 8] == 2
    write(tmp_path, [annotation(7, 9, [], bbox=[1, 2]), annotation(7, 9, SQUARE)])
    problem = only_problem(source(tmp_path, boxes="ignore"))
    assert "annotation 0: neither an outline nor a box" in problem


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": []}, "has 1 annotation of 1 image that it does not list: ids 7"),
        ({"categories": []}, "has 0 labels"),
        ({"images": [{"id": 7}]}, "an image without file_name"),
        ({"annotations": ["x"]}, "an annotation without image_id, category_id"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    write(tmp_path, **{"annotations": [annotation(7, 9, SQUARE)], **changes})
    found = problems_of(source(tmp_path, annotations_url=f"{tmp_path}/instances.json"))
    assert any(said in problem for problem in found)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"images": [', '{"a" 1}', "{1: 2}", "[" * 99999])
def test_what_is_no_json_of_instances_is_refused(tmp_path: Path, text: str) -> None:
    write(tmp_path, [])
    (tmp_path / "x.json").write_text(text)
    message = only_problem(source(tmp_path, annotations_url=f"{tmp_path}/x.json"))
    assert "x.json: is no JSON of instances" in message
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    message = only_problem(source(tmp_path, annotations_url=f"{tmp_path}/x.json"))
    assert "in UTF-8" in message


@pytest.mark.slow
def test_an_export_of_ours_is_read_back(tmp_path: Path) -> None:
    samples = made.write(str(tmp_path / "dataset"), num=6, size=(12, 12))
    out = tmp_path / "out"
    command.export(str(tmp_path / "dataset"), "coco", str(out))
    read = loading.read_labelled(
        source(out / "train", annotations_url=f"{out}/annotations/instances_train.json"), 12
    )
    by_key = {sample.key: sample for sample in samples}
    for name, mask in zip(read.names, read.masks, strict=True):
        assert np.array_equal(mask, by_key[name.removesuffix(".png")].mask)
    assert len(read) == len(samples)


def test_versions_change_with_the_image(tmp_path: Path) -> None:
    write(tmp_path, [])
    found = source(tmp_path).find(labelled=False, problems=Problems())
    before = source(tmp_path).versions(found.items)
    put(tmp_path / "images", a_png=encode_png(flat(5, 9)))
    after = source(tmp_path).versions(found.items)
    assert before[0] != after[0] and before[1] == after[1]


def test_images_are_cut_into_tiles_with_what_is_drawn_on_them(tmp_path: Path) -> None:
    write(tmp_path, [annotation(7, 9, SQUARE)])
    whole = masks_of(tmp_path, num=1)[0]
    read = loading.read_labelled(source(tmp_path, num=1, fit="tile", tile_size=12), 12)
    assert len(read) >= 4 and read.names[0] == "images/a.png@0,0"
    assert np.array_equal(read.masks[0], whole[:12, :12])


def test_a_json_without_an_annotation_is_refused(tmp_path: Path) -> None:
    problem = only_problem(source(write(tmp_path, [])))
    assert "instances.json: holds no annotation of its images. Set `annotations_url:`" in problem
    assert len(loading.read_images(source(tmp_path), SIDE)) == 2
