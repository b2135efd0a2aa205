"""Claims about sources of kind yolo: which images are meant, what is drawn, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle

from factory.data import loading
from factory.data.kinds.auto import AutoSource
from factory.data.kinds.yolo import YoloSource
from factory.errors import Problems
from factory.images import UInt8
from factory.png import encode_png
from tests.data.files.test_trees import packed
from tests.data.inputs import flat, only_problem, problems_of, put

SIDE = 20
SQUARE = "0.2 0.2 0.6 0.2 0.6 0.6 0.2 0.6"
NAMES = ["background", "car", "bus"]


def write(folder: Path, yaml: str | None = "names: [car, bus]", **labels: str) -> Path:
    """Images called as the labels are, in images/, and the labels in labels/."""
    for i, (name, text) in enumerate(labels.items()):
        put(folder / "images", **{f"{name}_png": encode_png(flat(10 + i, SIDE, SIDE))})
        put(folder / "labels", **{f"{name}_txt": text.encode()})
    if yaml is not None:
        (folder / "data.yaml").write_text(yaml)
    return folder


def source(url: Path | str, **more: Any) -> YoloSource:
    return YoloSource(url=str(url), **more)


def masks_of(url: Path | str, **more: Any) -> UInt8:
    return np.asarray(loading.read_labelled(source(url, **more), SIDE).masks)


def test_outlines_are_drawn_at_the_size_of_the_image(tmp_path: Path) -> None:
    outline = [0.13, 0.07, 0.93, 0.31, 0.52, 0.88]
    write(tmp_path, a=f"1 {' '.join(map(str, outline))}\n\n0 {SQUARE}\n", b="")
    put(tmp_path / "images", c_png=encode_png(flat(1, SIDE, SIDE)))
    read = loading.read_labelled(source(tmp_path), SIDE)
    drawn = rle.decode(rle.frPyObjects([[SIDE * n for n in outline]], SIDE, SIDE))[..., 0] * 2
    square = rle.decode(rle.frPyObjects([[SIDE * float(n) for n in SQUARE.split()]], SIDE, SIDE))[
        ..., 0
    ]
    small, large = sorted([square.astype(bool), drawn.astype(bool)], key=np.sum)
    expected = np.where(large, 2 if drawn[large].all() else 1, 0)
    expected[small] = 1 if square[small].all() else 2
    assert np.array_equal(read.masks[0], expected) and {1, 2} <= set(np.unique(expected))
    assert not read.masks[1].any() and not read.masks[2].any(), "empty or missing is background"
    assert read.classes.names == ("background", "car", "bus")


def test_boxes_are_ignored_where_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, a=f"0 {SQUARE}\n1 0.85 0.5 0.2 0.5\n", b=f"1 {SQUARE}")
    assert "has boxes, which have no outline (line 2)" in only_problem(source(tmp_path))
    masks = masks_of(tmp_path, boxes="ignore")
    assert (masks[0, 5:15, 15:19] == 255).all() and (masks[0] == 255).sum() == 40
    assert masks[0, 8, 8] == 1 and masks[1, 8, 8] == 2
    write(tmp_path, a="7 0.5 0.5 0.2 0.2")
    assert "line 1 is of class 7" in only_problem(source(tmp_path, boxes="ignore", num=1))


TURNED = "0.5 0.2 0.8 0.5 0.5 0.8 0.2 0.5"


@pytest.mark.parametrize(
    ("others", "told"),
    [
        ([], "all 3 outlines of 2 text files that were looked into have four corners"),
        ([""], "all 3 outlines of 3 text files that were looked into have four corners"),
        (["0 0.5 0.5 0.1 0.1"], "all 3 outlines of 3 text files"),
        (["0 0.1 0.1 0.5 0.1 0.5 0.5"], ""),
        ([f"0 {TURNED} 0.3 0.3"], ""),
    ],
)
def test_outlines_that_may_all_be_oriented_boxes_are_told(
    tmp_path: Path, others: list[str], told: str
) -> None:
    more = {f"c{i}": text for i, text in enumerate(others)}
    write(tmp_path, a=f"0 {TURNED}\n1 {SQUARE}", b=f"1 {TURNED}", **more)
    found = source(tmp_path, boxes="ignore").find(True, Problems())
    assert any("oriented boxes (OBB)" in note for note in found.notes) == bool(told)
    assert not told or found.notes[0].startswith(told)


@pytest.mark.parametrize(
    ("yaml", "line"),
    [
        ("names: [car, bus]\nkpt_shape: [4, 2]", f"0 {SQUARE} 0.3 0.3 0.5 0.5"),
        ("names: [car, bus]", "0 0.5 0.5 0.4 0.2 0.31 0.41 2.000000 0.69 0.59 0.000000"),
        ("names: [car, bus]", "0 0.5 0.5 0.4 0.2 0.31 0.41 2 0.69 0.59 1 0 0 0"),
    ],
)
def test_boxes_with_keypoints_are_not_taken_for_outlines(
    tmp_path: Path, yaml: str, line: str
) -> None:
    write(tmp_path, yaml, a=f"{line}\n{line}", b=line)
    assert "its labels are of poses" in only_problem(source(tmp_path))
    assert len(loading.read_images(source(tmp_path), SIDE)) == 2


def test_outlines_of_as_many_points_each_are_no_poses(tmp_path: Path) -> None:
    circle = " ".join(
        f"{0.5 + 0.1 * np.cos(a):.4f} {0.5 + 0.1 * np.sin(a):.4f}" for a in np.linspace(0, 6, 38)
    )
    write(tmp_path, a=f"0 {circle}\n1 {circle}", b=f"1 {circle}")
    assert len(loading.read_labelled(source(tmp_path), SIDE)) == 2


def test_images_without_a_text_file_are_skipped_if_asked(tmp_path: Path) -> None:
    write(tmp_path, a=f"0 {SQUARE}")
    put(tmp_path / "images", c_png=encode_png(flat(1, SIDE, SIDE)))
    read = loading.read_labelled(source(tmp_path, unannotated="skip"), SIDE)
    assert read.names == ("images/a.png",)


@pytest.mark.parametrize("file", ["classes.txt", "labels/classes.txt", "obj.names"])
def test_lists_of_labelling_programs_name_the_classes_from_0_on(tmp_path: Path, file: str) -> None:
    write(tmp_path, None, a=f"1 {SQUARE}")
    (tmp_path / file).write_text("\ufeffcar\r\nbus\r\n\r\n")
    read = loading.read_labelled(source(tmp_path), SIDE)
    assert read.classes.names == ("background", "car", "bus") and read.masks[0, 8, 8] == 2
    assert masks_of(tmp_path, classes=["sky", "van", "bus"])[0, 8, 8] == 2, "named by people"
    for other in ("background\nbus", "car\ncar"):
        (tmp_path / file).write_text(other)
        assert "no data.yaml or classes.txt names the classes" in only_problem(source(tmp_path))


def test_yamls_that_name_no_classes_are_no_description(tmp_path: Path) -> None:
    write(tmp_path, "names: [car, bus]", a=f"1 {SQUARE}")
    (tmp_path / "data.yaml").rename(tmp_path / "cars.yaml")
    (tmp_path / "my.yaml").write_text("preset: 64px\ntrain: {url: out/mine}")
    (tmp_path / "other.yml").write_text("{")
    assert masks_of(tmp_path)[0, 8, 8] == 2
    (tmp_path / "more.yaml").write_text("names: [car]")
    assert "cars.yaml, more.yaml" in only_problem(source(tmp_path))


def test_without_a_data_yaml_people_name_the_classes(tmp_path: Path) -> None:
    write(tmp_path, None, a=f"1 {SQUARE}")
    assert "no data.yaml or classes.txt names the classes. Set `classes:`" in only_problem(
        source(tmp_path)
    )
    assert masks_of(tmp_path, classes=NAMES)[0, 8, 8] == 2
    merged = ["ground", {"name": "vehicle", "labels": ["car", "bus"]}]
    assert "no data.yaml says which numbers" in only_problem(source(tmp_path, classes=merged))
    (tmp_path / "data.yaml").write_text("names: [car, bus]")
    assert masks_of(tmp_path, classes=merged)[0, 8, 8] == 1, "as the message advises"
    assert loading.read_images(source(tmp_path), 8)[0, 0, 0, 0] == 10


def test_numbers_that_no_classes_have_are_refused(tmp_path: Path) -> None:
    write(tmp_path, None, a="30000000 0 0 0 1 1 1\n")
    problem = only_problem(AutoSource(url=str(tmp_path)))
    assert "text files have the class 30,000,000, but there are no more than 254" in problem


@pytest.mark.parametrize("names", ["[car, bus]", "{0: car, 1: bus}", "\n  1: bus\n  0: car"])
def test_names_are_a_list_or_numbered(tmp_path: Path, names: str) -> None:
    write(tmp_path, f"nc: 2\nnames: {names}", a=f"1 {SQUARE}")
    read = loading.read_labelled(source(tmp_path), SIDE)
    assert read.classes.names == ("background", "car", "bus") and read.masks[0, 8, 8] == 2


@pytest.mark.parametrize(
    ("places", "first"),
    [
        ("train: images/t\nval: images/v", "t"),
        ("path: ../datasets/cars\ntrain: images/t\nval: images/v", "t"),
        ("train: ../images/t\nval: ../images/v", "t"),
        ("path: /data\ntrain: [images/v, images/t]\ntest: images/t", "tv"),
        ("path: .\ntrain: t.txt\nval: images/v", "t"),
    ],
)
def test_splits_are_folders_or_lists(tmp_path: Path, places: str, first: str) -> None:
    for name in "tv":
        put(tmp_path / f"images/{name}", **{f"{name}_png": encode_png(flat(1, SIDE, SIDE))})
        put(tmp_path / f"labels/{name}", **{f"{name}_txt": f"0 {SQUARE}".encode()})
    (tmp_path / "t.txt").write_text("./images/t/t.png\n")
    (tmp_path / "data.yaml").write_text(f"{places}\nnames: [car, bus]")
    assert "`split: train`" in only_problem(source(tmp_path))
    read = loading.read_labelled(source(tmp_path, split="train"), SIDE)
    assert [name[-5] for name in read.names] == list(first) and read.masks[:, 8, 8].all()


def test_splits_that_are_not_there_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "names: [car, bus]\ntrain: /elsewhere/images", a=f"0 {SQUARE}")
    assert "train is /elsewhere/images, which" in only_problem(source(tmp_path))
    message = only_problem(source(tmp_path, split="val"))
    assert "has the splits train, not `split: val`" in message
    (tmp_path / "data.yaml").write_text("names: [car, bus]\ntrain: ../../etc/images")
    assert "train is ../../etc/images, which" in only_problem(source(tmp_path))
    (tmp_path / "data.yaml").write_text("names: [car, bus]\ntrain: l.txt")
    (tmp_path / "l.txt").write_text("a.png\n../../nope.png\n")
    message = only_problem(source(tmp_path))
    assert "l.txt: lists images that" in message and "../../nope.png" in message
    (tmp_path / "l.txt").write_text("/mnt/images/a.png\n")
    assert masks_of(tmp_path).any(), "as the message advises"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.2 0.2", "has boxes, which have no outline (line 1). Export segments"),
        ("0 0.1 0.1 0.2 0.2\n0 1 1 1 1", "(line 1, 2)"),
        (f"2 {SQUARE}", "line 1 is of class 2, but there are names of 2 classes"),
        (f"0.5 {SQUARE}", "is of class 0.5"),
        (f"-1 {SQUARE}", "is of class -1"),
        ("0 0.1 0.1 0.2 0.2 0.3", "line 1 has no 3 or more points"),
        ("0", "line 1 has no 3 or more points"),
        ("0 1 1 10 1 10 10", "points outside of 0..1"),
        ("0 nan 0 0 1 1 1", "points outside of 0..1"),
        (f"car {SQUARE}", "line 1 is not of numbers"),
    ],
)
def test_lines_that_are_no_outline_are_named(tmp_path: Path, line: str, said: str) -> None:
    write(tmp_path, a=line, b=f"0 {SQUARE}")
    message = only_problem(source(tmp_path))
    assert message.startswith(f"{tmp_path}/labels/a.txt: ") and said in message
    (tmp_path / "names.txt").write_text("b.png")
    assert masks_of(tmp_path, names_url=f"{tmp_path}/names.txt").any()


def test_images_none_of_which_has_labels_are_refused(tmp_path: Path) -> None:
    write(tmp_path, a=f"0 {SQUARE}")
    (tmp_path / "labels").rename(tmp_path / "targets")
    message = only_problem(source(tmp_path))
    assert "none of 1 image has labels: those of images/a.png would be labels/a.txt" in message


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("[", "is no YAML"),
        ("text", "holds no keys"),
        ("names: car", "must be a list"),
        ("names: {1: car}", "without gaps"),
        ("names: [car, car]", "a class twice"),
    ],
)
def test_a_data_yaml_that_cannot_be_meant_is_refused(tmp_path: Path, yaml: str, said: str) -> None:
    write(tmp_path, yaml, a=f"0 {SQUARE}")
    message = only_problem(source(tmp_path))
    assert message.startswith(f"{tmp_path}/data.yaml: ") and said in message


def test_archives_are_read_in_place(tmp_path: Path) -> None:
    write(tmp_path / "x", a=f"1 {SQUARE}")
    files = {
        f"cars/{path.relative_to(tmp_path / 'x')}": path.read_bytes()
        for path in (tmp_path / "x").rglob("*.*")
    }
    (tmp_path / "cars.zip").write_bytes(packed(files))
    assert masks_of(tmp_path / "cars.zip")[0, 8, 8] == 2


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [car, bus]")
    assert "holds no images" in problems_of(source(tmp_path))[0]


def test_outlines_that_only_look_like_those_of_an_export_are_drawn_as_they_are(
    tmp_path: Path,
) -> None:
    write(tmp_path, a=f"0 {SQUARE}", b="0 0.2005 0.2005 0.6245 0.2005 0.6245 0.6245 0.2005 0.61")
    drawn = masks_of(tmp_path)
    assert (drawn[0] == 1).sum() == 8 * 8 and not drawn[1, :, 12:].any()


def test_versions_change_with_the_image(tmp_path: Path) -> None:
    write(tmp_path, a="", b="")
    found = source(tmp_path).find(labelled=False, problems=Problems())
    before = source(tmp_path).versions(found.items)
    put(tmp_path / "images", a_png=encode_png(flat(5, 9)))
    after = source(tmp_path).versions(found.items)
    assert before[0] != after[0] and before[1] == after[1]


def test_pictures_beside_the_folder_of_images_are_no_images(tmp_path: Path) -> None:
    write(tmp_path, a=f"0 {SQUARE}")
    put(tmp_path, results_png=encode_png(flat(1)))
    assert loading.read_labelled(source(tmp_path), SIDE).names == ("images/a.png",)
    for name in ("a.png", "b.png"):
        put(tmp_path / "flat", **{name.replace(".", "_"): encode_png(flat(1, SIDE, SIDE))})
    put(tmp_path / "flat", a_txt=f"0 {SQUARE}".encode())
    masks = masks_of(tmp_path / "flat", classes=NAMES)
    assert masks[0].any() and not masks[1].any(), "texts may lie beside the images"
