"""Claims about `kind: auto`: what lies at a url is read, or refused with what would read it."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from factory.config import parse_config, parse_override
from factory.data import loading
from factory.data.files.trees import FolderTree
from factory.data.kinds import resolving
from factory.data.kinds.auto import AutoSource
from factory.errors import Problems, UserError
from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import only_problem, problems_of, put
from tests.data.kinds.test_webdataset import tar
from tests.data.recognizing.test_layouts import TREES, voc
from tests.data.recognizing.test_recognition import photograph


def auto(url: Path, **more: object) -> AutoSource:
    found: AutoSource = parse_config(
        {"data": {"test": {"kind": "auto", "url": str(url), **more}}}
    ).data.test  # type: ignore[assignment]
    return found


def mask(*values: int) -> UInt8:
    """(16, 16) of these values in stripes."""
    return np.repeat(np.resize(np.array(values, np.uint8), 16)[None], 16, axis=0)


def pairs_of(root: Path, *masks: UInt8) -> Path:
    """Images and masks in two folders."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for i, values in enumerate(masks):
        (root / f"images/{i}.png").write_bytes(encode_png(photograph(i)))
        (root / f"masks/{i}.png").write_bytes(encode_png(values))
    return root


def test_a_published_dataset_is_read_and_what_it_was_taken_for_is_told(tmp_path: Path) -> None:
    voc(tmp_path / "VOCdevkit/VOC2012")
    read = loading.read_labelled(auto(tmp_path), 8)
    assert read.notes[0] == "taken as kind pairs, layout voc: 3 images with masks."
    assert len(read.classes) == 21
    one = loading.read_labelled(auto(tmp_path, split="val"), 8)
    assert one.notes[0] == "taken as kind pairs, layout voc, split val: 1 image with a mask."


@pytest.mark.parametrize("place", ["train", "train/masks", "train/images"])
def test_a_file_of_classes_in_the_folder_of_a_split_is_found(tmp_path: Path, place: str) -> None:
    for split in ("train", "valid"):
        pairs_of(tmp_path / split, mask(0, 1), mask(0, 2))
    (tmp_path / place / "_classes.csv").write_text("Pixel Value, Class\n0, a\n1, b\n2, c\n")
    read = loading.read_labelled(auto(tmp_path, split="train"), 16)
    assert read.classes.names == ("a", "b", "c")


def test_a_file_of_classes_beside_the_masks_is_used_if_it_fits(tmp_path: Path) -> None:
    pairs_of(tmp_path, mask(1, 2), mask(2, 3))
    (tmp_path / "classes.txt").write_text("a\nb\n")
    (tmp_path / "label2id.json").write_text(json.dumps({"red": 1, "green": 2, "blue": 3}))
    read = loading.read_labelled(auto(tmp_path), 16)
    assert read.classes.names == ("red", "green", "blue") and set(read.masks[0].flat) == {0, 1}


def test_0_that_a_file_of_values_does_not_name_is_of_no_class(tmp_path: Path) -> None:
    pairs_of(tmp_path, mask(0, 1, 2), mask(0, 1))
    rows = ["Idx\tRatio\tName", "1\t0.1\twall", "2\t0.2\tsky, air", "3\t0.3\tbed"]
    (tmp_path / "objectInfo150.txt").write_text("\n".join(rows))
    read = loading.read_labelled(auto(tmp_path), 16)
    assert read.classes.names == ("wall", "sky, air", "bed")
    assert np.array_equal(read.masks[1], mask(255, 0))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_of_classes_that_is_no_utf_8_is_named(tmp_path: Path, encoding: str) -> None:
    pairs_of(tmp_path, mask(0, 1))
    (tmp_path / "classes.txt").write_bytes("Gelände\nScheibe\n".encode(encoding))
    problems = Problems()
    found = resolving.classes_of(
        {"kind": "pairs", "url": str(tmp_path)}, FolderTree(str(tmp_path)), problems
    )
    assert found is not None and not problems.found
    assert f"{tmp_path}/classes.txt names the classes" in found.doubts[-1]
    assert f"iconv -f {encoding} -t utf-8" in found.doubts[-1]


def test_a_class_that_is_called_ignored_is_none(tmp_path: Path) -> None:
    pairs_of(tmp_path, mask(0, 1, 2))
    (tmp_path / "classes.json").write_text('["unlabelled", "disc", "bar"]')
    read = loading.read_labelled(auto(tmp_path), 16)
    assert read.classes.names == ("disc", "bar") and set(read.masks.flat) == {0, 1, 255}


def test_a_layout_with_other_classes_is_read_by_their_file(tmp_path: Path) -> None:
    voc(tmp_path)
    named = {0: ("ground", "0,0,0"), 15: ("disc", "128,128,128"), 20: ("bar", "1,1,1")}
    (tmp_path / "labelmap.txt").write_text("".join(f"{n}:{c}::\n" for n, c in named.values()))
    for path in (tmp_path / "SegmentationClass").iterdir():
        picture = Image.fromarray(mask(0, 15, 20)[:8, :8])
        picture.putpalette([0, 0, 0, *[9] * 42, *[128] * 3, *[9] * 12, *[1] * 3])
        picture.save(path)
    assert loading.read_labelled(auto(tmp_path), 8).classes.names == ("ground", "disc", "bar")


def test_the_border_of_masks_that_a_label_map_explains_is_ignored(tmp_path: Path) -> None:
    voc(tmp_path)
    (tmp_path / "labelmap.txt").write_text("ground:0,0,0::\ndisc:128,0,0::\n")
    for path in (tmp_path / "SegmentationClass").iterdir():
        picture = Image.fromarray(mask(0, 1, 255)[:8, :8])
        picture.putpalette([0, 0, 0, 128, 0, 0, *[9] * 759, 224, 224, 192])
        picture.save(path)
    read = loading.read_labelled(auto(tmp_path), 8)
    assert read.classes.names == ("ground", "disc") and set(read.masks.flat) == {0, 1, 255}


def test_a_layout_that_would_ignore_most_pixels_is_not_believed(tmp_path: Path) -> None:
    TREES["cityscapes-label-ids"](tmp_path)
    for path in (tmp_path / "gtFine").rglob("*_labelIds.png"):
        path.write_bytes(encode_png(mask(0, 1, 2)[:8, :8]))
    assert "`classes: [background, class_1, class_2]`" in only_problem(auto(tmp_path))


def test_own_keys_are_kept(tmp_path: Path) -> None:
    pairs_of(tmp_path, mask(0, 255), mask(0, 255))
    classes = ["ground", {"name": "thing", "above": 0}]
    read = loading.read_labelled(auto(tmp_path, classes=classes, num=1), 16)
    assert len(read) == 1 and set(read.masks.flat) == {0, 1}


def test_masks_that_nothing_explains_are_refused_with_the_classes_that_would(
    tmp_path: Path,
) -> None:
    pairs_of(tmp_path, mask(0, 255), mask(0, 255))
    problem = only_problem(auto(tmp_path))
    assert "`classes: [background, {name: class_1, above: 0}]`" in problem
    classes = parse_override("x=[background, {name: class_1, above: 0}]")[1]
    assert set(loading.read_labelled(auto(tmp_path, classes=classes), 16).masks.flat) == {0, 1}


def test_without_masks_only_the_images_are_read_and_told(tmp_path: Path) -> None:
    pairs_of(tmp_path, mask(0, 1), mask(0, 1))
    loaded = loading.load(auto(tmp_path), 16, labelled=False)
    assert loaded.problems == () and loaded.names == ("0.png", "1.png")
    assert loaded.notes[0] == ("taken as kind pairs, of which only the images are read: 2 images.")


def test_images_alone_have_no_masks_to_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(photograph(0)))
    assert loading.read_images(auto(tmp_path), 16).shape == (1, 16, 16, 3)
    assert "nothing that is known as their masks" in only_problem(auto(tmp_path))


def test_what_may_be_read_in_several_ways_is_refused_with_the_choices(tmp_path: Path) -> None:
    for name in ("one", "two"):
        pairs_of(tmp_path / name, mask(0, 1))
    choices = [f"`{{kind: pairs, url: {tmp_path / name}}}`" for name in ("one", "two")]
    wanted = f"{tmp_path}: may be read in several ways. Write {' or '.join(choices)}."
    assert only_problem(auto(tmp_path)) == wanted


def test_a_split_is_asked_for_where_images_are_of_several(tmp_path: Path) -> None:
    for name in ("train", "test"):
        pairs_of(tmp_path / name, mask(0, 1))
    assert only_problem(auto(tmp_path)).count("kind: pairs") == 2
    assert "has no split val" in only_problem(auto(tmp_path, split="val"))
    keys = {"split": "train", "classes": ["a", "b"]}
    assert len(loading.read_labelled(auto(tmp_path, **keys), 16)) == 1


def test_a_single_file_of_shards_is_read_by_itself(tmp_path: Path) -> None:
    put(tmp_path, one_tar=tar({"a.png": encode_png(photograph(1))}))
    put(tmp_path, two_tar=tar({"b.png": encode_png(photograph(2))}))
    read = loading.read_images(auto(tmp_path / "one.tar"), 16)
    assert len(read) == 1
    table = pa.table({"image": [encode_png(photograph(3)), encode_png(photograph(4))]})
    pq.write_table(table, tmp_path / "three.parquet")
    assert len(loading.read_images(auto(tmp_path / "three.parquet"), 16)) == 2


def test_a_split_of_shards_may_be_called_as_their_files_are(tmp_path: Path) -> None:
    for name in ("train", "val"):
        put(tmp_path, **{f"{name}-0_tar": tar({"0.png": encode_png(photograph(0))})})
    for split in ("val", "validation"):
        assert len(loading.read_images(auto(tmp_path, split=split), 16)) == 1
    assert "has no split dev2" in only_problem(auto(tmp_path, split="dev2"), labelled=False)


def test_a_place_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("")
    assert "holds 1 .md, and no images" in only_problem(auto(tmp_path), labelled=False)
    assert "no such folder" in problems_of(auto(tmp_path / "missing"))[0]


def test_settings_on_values_reach_the_kind_or_are_refused_where_masks_are_drawn(
    tmp_path: Path,
) -> None:
    colors = {"classes": [{"name": n, "colors": [[v] * 3]} for n, v in (("a", 0), ("b", 200))]}
    source = auto(pairs_of(tmp_path / "pairs", mask(0, 190)), **colors, nearest_colors=True)
    assert set(loading.read_labelled(source, 16).masks.flat) == {0, 1}
    put(tmp_path / "drawn", a_jpg=encode_png(photograph(0)), a_txt=b"0 0.1 0.1 0.9 0.1 0.5 0.9")
    keys = {"classes": ["ground", "thing"], "nearest_colors": True}
    problem = only_problem(auto(tmp_path / "drawn", **keys))
    assert "nearest_colors has no effect there, as masks are drawn. Leave it out." in problem
    assert len(loading.read_images(auto(tmp_path / "drawn", **keys), 16)) == 1


def test_images_have_versions_as_those_of_their_kind(tmp_path: Path) -> None:
    from factory.errors import Problems

    source = auto(pairs_of(tmp_path, mask(0, 1)))
    (item,) = source.find(False, Problems()).items
    (before,) = source.versions([item])
    (tmp_path / "images/0.png").write_bytes(encode_png(photograph(7)) + b"x")
    assert source.versions([item]) != [before]


def test_only_sources_with_an_url_are_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="url"):
        parse_config({"data": {"test": {"kind": "auto"}}})
