"""Claims about `factory init`: what it writes can be read, and what it is unsure of is said."""

import errno
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from factory import storage
from factory.cli import main
from factory.config import Config, load_config
from factory.data import loading
from factory.data.items import Source
from factory.data.kinds.auto import AutoSource
from factory.images import UInt8
from factory.png import encode_png
from tests.data.files.test_trees import packed
from tests.data.inputs import encoded, too_large
from tests.data.kinds.test_auto import mask, pairs_of
from tests.data.kinds.test_parquet import cells, write
from tests.data.kinds.test_webdataset import tar
from tests.data.recognizing.test_layouts import FOLDERS, TREES, voc
from tests.data.recognizing.test_pair_candidates import Shape
from tests.data.recognizing.test_pair_candidates import put as put_shape
from tests.data.recognizing.test_recognition import photograph


def sections(config: Config) -> dict[str, Source]:
    found = {name: getattr(config.data, name) for name in ("unlabelled", "labelled", "test")}
    return {name: source for name, source in found.items() if source is not None}


def names(config: Config) -> dict[str, set[str]]:
    """The names of each section's images, all of which can be read."""
    found = {}
    for name, source in sections(config).items():
        loaded = loading.load(source, 16, labelled=name != "unlabelled")
        assert loaded.problems == ()
        found[name] = set(loaded.names)
    return found


def images(root: Path, num: int, start: int = 0) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for i in range(num):
        (root / f"u{i}.png").write_bytes(encode_png(photograph(start + i)))


def put_picture(path: Path, pixels: UInt8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(pixels))


def test_a_folder_of_pairs_becomes_three_sections_that_share_no_test_image(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 10)
    said = init("data")
    found = names(load_config("my.yaml"))
    assert {name: len(part) for name, part in found.items()} == {
        "unlabelled": 8,
        "labelled": 8,
        "test": 2,
    }
    assert not found["test"] & (found["labelled"] | found["unlabelled"])
    assert "factory inspect --config my.yaml" in said and "please check:" in said


def test_crowds_of_coco_are_drawn_where_a_category_has_no_other_regions(
    init: Callable[..., str], tmp_path: Path
) -> None:
    runs = {"counts": [8, 8], "size": [4, 4]}
    about = {
        "images": [{"id": i, "file_name": f"u{i}.png"} for i in range(4)],
        "annotations": [
            {"image_id": i, "category_id": 1, "segmentation": runs, "iscrowd": 1} for i in range(4)
        ],
        "categories": [{"id": 1, "name": "cell"}],
    }
    for i in range(4):
        put_picture(tmp_path / f"data/images/u{i}.png", photograph(i)[:4, :4])
    (tmp_path / "data/cells.json").write_text(json.dumps(about))
    assert "they are drawn like others" in init("data")
    labelled = load_config("my.yaml").data.labelled
    assert labelled is not None
    read = loading.read_labelled(labelled, 4)
    assert read.classes.names == ("background", "cell") and (read.masks[:, :, 2:] == 1).all()


def test_every_stage_has_a_place_of_its_own_and_none_is_the_toy_domain_s(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    init("data")
    config = load_config("my.yaml")
    assert config.train.url.endswith("out/my") and config.preset == "32px"
    assert config.models.ddpm_url == f"{config.train.url}/model"
    assert config.models.ensemble_url == f"{config.train.url}/ensemble"
    assert config.evaluate.url == f"{config.train.url}/evaluation"
    assert config.generate.url == f"{config.train.url}/dataset"
    assert all(source.kind != "toy" for source in sections(config).values())  # type: ignore[attr-defined]


def test_folders_are_told_apart_by_what_they_hold(init: Callable[..., str], tmp_path: Path) -> None:
    images(tmp_path / "many", 5, start=50)
    pairs_of(tmp_path / "few", mask(0, 1), mask(0, 1))
    pairs_of(tmp_path / "others", mask(0, 1))
    init("few", "many", "others")
    config = load_config("my.yaml")
    urls = {name: Path(source.url).name for name, source in sections(config).items()}  # type: ignore[attr-defined]
    assert urls == {"unlabelled": "many", "labelled": "few", "test": "others"}
    assert {name: len(part) for name, part in names(config).items()} == {
        "unlabelled": 5,
        "labelled": 2,
        "test": 1,
    }
    assert not (tmp_path / "my.splits.json").exists()


def test_flags_say_which_is_which(init: Callable[..., str], tmp_path: Path) -> None:
    pairs_of(tmp_path / "a", mask(0, 1), mask(0, 1))
    pairs_of(tmp_path / "b", mask(0, 1))
    init("--labelled", "b", "--test", "a", "--unlabelled", "a")
    found = names(load_config("my.yaml"))
    assert {name: len(part) for name, part in found.items()} == {
        "unlabelled": 2,
        "labelled": 1,
        "test": 2,
    }


def test_images_alone_are_what_is_learned_from_and_the_rest_is_left_to_people(
    init: Callable[..., str], tmp_path: Path
) -> None:
    images(tmp_path / "many", 3)
    said = init("many")
    config = load_config("my.yaml")
    assert sections(config).keys() == {"unlabelled"}
    assert "# labelled: {kind: auto" in (tmp_path / "my.yaml").read_text()
    assert "need masks before `factory fit`" in said and "factory fit --config" not in said


def test_splits_that_lie_in_folders_are_used_and_those_left_are_told(
    init: Callable[..., str], tmp_path: Path
) -> None:
    for split in ("train", "val", "test"):
        put_shape(tmp_path / "data", Shape([f"{split}_img/{split}#.jpg"], [], {}))
        put_shape(tmp_path / "data", Shape([], [f"{split}_lab/{split}#.png"], {}))
    said = init("data")
    found = names(load_config("my.yaml"))
    assert all(name.startswith("train") for name in found["labelled"] | found["unlabelled"])
    assert len(found["test"]) == 3 and all(name.startswith("test") for name in found["test"])
    assert "whether other splits of data are needed, too: val" in said


@pytest.mark.parametrize("form", ["masks/#_%_{}.png", "masks/%/#_{}.png", "masks/#/%/{}.png"])
def test_parts_become_the_classes_that_their_names_say(
    form: str, init: Callable[..., str], tmp_path: Path
) -> None:
    parts = [form.replace("%", part).format(i) for part in ("hair", "left_eye") for i in (1, 2)]
    put_shape(tmp_path / "data", Shape(["images/img_#.jpg"], parts, {}))
    said = init("data")
    found = names(load_config("my.yaml"))
    assert {name: len(part) for name, part in found.items()} == {
        "unlabelled": 2,
        "labelled": 2,
        "test": 1,
    }
    assert "classes: background, hair, left_eye, by the names of the parts" in said
    assert "the order of the classes: later ones are drawn over earlier ones" in said


def test_the_classes_and_splits_of_roboflow_are_used(
    init: Callable[..., str], tmp_path: Path
) -> None:
    for split in ("train", "valid", "test"):
        put_shape(tmp_path / "data", Shape([f"{split}/a#.rf.0.jpg"], [], {}))
        for i in range(3):
            path = tmp_path / f"data/{split}/a{i}.rf.0_mask.png"
            path.write_bytes(encode_png(mask(0, 1)))
        (tmp_path / f"data/{split}/_classes.csv").write_text(
            "Pixel Value, Class\n0, background\n1, disc\n"
        )
    assert "classes: background, disc, of data/train/_classes.csv" in init("data")
    found = {name: source for name, source in sections(load_config("my.yaml")).items()}
    assert found["labelled"].images.startswith("train/")  # type: ignore[attr-defined]
    assert found["test"].images.startswith("test/")  # type: ignore[attr-defined]


@pytest.mark.parametrize("flag", ["", "--labelled", "--test"])
def test_masks_alone_are_not_learned_from_unless_they_are_called_images(
    flag: str, init: Callable[..., str], refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "masks").mkdir()
    for i in range(3):
        (tmp_path / f"masks/{i}.png").write_bytes(encode_png(mask(0, 1)))
        (tmp_path / f"{i}.heic").write_bytes(b"ftypheic")
    said = refused(*filter(None, (flag, ".")), "--out", "my.yaml")
    assert "3 pictures look like masks" in said and "3 .heic beside are pictures" in said
    if not flag:
        assert said.rstrip().endswith("If they are images, name the folder with --unlabelled.")
    init("--unlabelled", ".")
    assert sections(load_config("my.yaml")).keys() == {"unlabelled"}


def test_a_folder_beside_the_pairs_is_what_is_learned_from(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data/labeled", mask(0, 1), mask(0, 1))
    images(tmp_path / "data/unlabeled", 4, start=50)
    init("data")
    assert names(load_config("my.yaml"))["unlabelled"] == {f"u{i}.png" for i in range(4)}


@pytest.mark.parametrize("layout", TREES)
def test_a_published_dataset_is_ready_to_be_read(
    layout: str, init: Callable[..., str], tmp_path: Path
) -> None:
    root = FOLDERS.get(layout, "data")
    TREES[layout](tmp_path / root)
    said = init(root)
    found = names(load_config("my.yaml"))
    assert f"layout {layout}" in said and found["labelled"] and found["unlabelled"]
    if "test" in found and layout != "ddpm-segmentation":  # whose names repeat
        assert not found["test"] & found["labelled"]


def test_the_published_splits_are_used(init: Callable[..., str], tmp_path: Path) -> None:
    voc(tmp_path / "VOC2012")
    init("VOC2012")
    assert names(load_config("my.yaml")) == {
        "unlabelled": {"0.jpg", "2.jpg", "3.jpg"},
        "labelled": {"0.jpg", "2.jpg"},
        "test": {"1.jpg"},
    }


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ((0, 255), ["background", {"name": "class_1", "above": 0}]),
        ((1, 2), [{"name": "class_1", "ids": [1]}, {"name": "class_2", "ids": [2]}]),
    ],
)
def test_what_masks_hold_becomes_classes_that_people_are_asked_to_check(
    values: tuple[int, ...], classes: list[Any], init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(*values), mask(*values))
    said = init("data")
    config = load_config("my.yaml")
    assert config.data.labelled.classes == config.data.test.classes == classes
    assert "the names of the classes" in said
    names(config)


def test_what_is_not_sure_of_the_classes_is_asked_in_the_config_with_what_to_write(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", np.pad(mask(0)[4:-4, 4:-4], 4, constant_values=255), mask(255))
    said = init("data")
    assert load_config("my.yaml").data.labelled.classes == [
        {"name": "background", "above": 0},
        "class_1",
    ]
    assert "whether black is the object" in said
    lines = (tmp_path / "my.yaml").read_text().splitlines()
    asked = " ".join(line.strip(" #") for line in lines if line.startswith("    # "))
    assert "`classes: [{name: background}, {name: class_1, above: 0}]`" in asked


def test_files_of_several_pictures_are_read_by_their_first(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    pages = [Image.fromarray(photograph(i)) for i in range(3)]
    for i in range(2):
        (tmp_path / f"data/images/{i}.png").unlink()
        path = tmp_path / f"data/images/{i}.tif"
        path.write_bytes(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    said = init("data")
    config = load_config("my.yaml")
    assert config.data.unlabelled.frames == config.data.labelled.frames == "first"
    assert config.data.channels is None and "the others are not used" in said
    names(config)


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_an_archive_of_one_folder_is_read_however_its_folders_are_parted(
    separator: str, init: Callable[..., str], tmp_path: Path
) -> None:
    inside = pairs_of(tmp_path / "top", mask(0, 1), mask(0, 1))
    files = {
        str(path.relative_to(tmp_path)).replace("/", separator): path.read_bytes()
        for path in inside.rglob("*.png")
    }
    (tmp_path / "data.zip").write_bytes(packed(files))
    init("data.zip")
    names(load_config("my.yaml"))


def test_values_of_many_bits_get_a_range(init: Callable[..., str], tmp_path: Path) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    for i, high in enumerate((900, 1905)):
        values = np.linspace(500, high, 256).reshape(16, 16).astype(np.uint16)
        path = tmp_path / f"data/images/{i}.png"
        path.write_bytes(encoded(Image.fromarray(values)))
    said = init("data")
    config = load_config("my.yaml")
    assert config.data.unlabelled.intensity == (500, 1905)
    assert "500 becomes black, 1905 white" in said
    names(config)


def test_a_hot_pixel_does_not_widen_the_range_of_values(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    for i in range(2):
        values = np.linspace(500, 1500, 4096).reshape(64, 64).astype(np.uint16)
        values[0, 0] = 65535 if i else 500
        path = tmp_path / f"data/images/{i}.png"
        path.write_bytes(encoded(Image.fromarray(values)))
    init("data")
    config = load_config("my.yaml")
    found = config.data.labelled.intensity
    assert isinstance(found, tuple) and found[0] <= 505 and 1490 <= found[1] <= 1500
    names(config)


@pytest.mark.parametrize(("size", "fit"), [((20, 16), "crop"), ((64, 16), "tile")])
def test_images_that_are_not_square_get_a_fit(
    size: tuple[int, int], fit: str, init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    for i in range(2):
        picture = Image.fromarray(photograph(i)).resize(size)
        ids = Image.fromarray(mask(0, 1)).resize(size, Image.Resampling.NEAREST)
        (tmp_path / f"data/images/{i}.png").write_bytes(encoded(picture))
        (tmp_path / f"data/masks/{i}.png").write_bytes(encoded(ids))
    assert "for images that are not square" in init("data")
    config = load_config("my.yaml")
    assert {source.fit for source in sections(config).values()} == {fit}  # type: ignore[attr-defined]
    names(config)


def test_images_of_all_sections_get_the_same_fit(init: Callable[..., str], tmp_path: Path) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    for i in range(2):
        ids = Image.fromarray(mask(0, 1)).resize((20, 16), Image.Resampling.NEAREST)
        picture = Image.fromarray(photograph(i))
        (tmp_path / f"data/images/{i}.png").write_bytes(encoded(picture.resize((20, 16))))
        (tmp_path / f"data/masks/{i}.png").write_bytes(encoded(ids))
        (tmp_path / "wide").mkdir(exist_ok=True)
        (tmp_path / f"wide/{i}.png").write_bytes(encoded(picture.resize((64, 16))))
    init("wide", "data")
    found = sections(load_config("my.yaml"))
    assert "unlabelled" in found and "labelled" in found
    assert {source.fit for source in found.values()} == {"tile"}  # type: ignore[attr-defined]


def test_masks_beside_turned_photographs_are_taken_as_drawn_on_the_stored_pixels(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    for i in range(2):
        (tmp_path / f"data/images/{i}.png").unlink()
        exif = Image.Exif()
        exif[274] = 6
        picture = encoded(photograph(i), "JPEG", exif=exif.tobytes())
        (tmp_path / f"data/images/{i}.jpg").write_bytes(picture)
    assert "(exif)" in init("data")
    config = load_config("my.yaml")
    assert config.data.labelled.exif == "apply_to_masks"
    names(config)


OUTLINE = "0.2 0.2 0.6 0.2 0.6 0.6"


@pytest.mark.parametrize(
    ("listed", "classes"),
    [
        (None, ("background", "class_0", "class_1")),
        ("labels.txt:car bus", ("background", "car", "bus")),
        ("labels.txt:background car bus", ("background", "car", "bus")),
        ("classes.txt:car bus truck", ("background", "car", "bus", "truck")),
    ],
)
def test_numbers_of_outlines_are_classes_behind_the_background(
    init: Callable[..., str], tmp_path: Path, listed: str | None, classes: tuple[str, ...]
) -> None:
    images(tmp_path / "data/images", 4)
    (tmp_path / "data/labels").mkdir()
    for i in range(4):
        (tmp_path / f"data/labels/u{i}.txt").write_text(f"{i % 2} {OUTLINE}\n")
    if listed is not None:
        name, _, words = listed.partition(":")
        (tmp_path / f"data/{name}").write_text(words.replace(" ", "\n"))
    assert ", ".join(classes) in init("data")
    config = load_config("my.yaml")
    for section in ("labelled", "test"):
        read = loading.read_labelled(sections(config)[section], 16)
        assert read.classes.names == classes
        expected = [1 + int(name.removesuffix(".png")[-1]) % 2 for name in read.names]
        assert [int(mask.max()) for mask in read.masks] == expected


def shapes(folder: Path, **labels: str) -> None:
    """Photographs that are stored turned, each with a shape of labelme's of its label."""
    folder.mkdir()
    exif = Image.Exif()
    exif[274] = 6
    for i, (name, label) in enumerate(labels.items()):
        picture = encoded(photograph(i), "JPEG", exif=exif.tobytes())
        (folder / f"{name}.jpg").write_bytes(picture)
        shape = {"label": label, "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
        content = {"shapes": [shape], "imagePath": f"{name}.jpg", "imageData": None}
        (folder / f"{name}.json").write_text(json.dumps(content))


def test_shapes_lie_on_upright_photographs_and_both_parts_have_all_labels(
    init: Callable[..., str], tmp_path: Path
) -> None:
    shapes(tmp_path / "data", **{f"a{i}": "rare" if i == 3 else "cat" for i in range(6)})
    said = init("data")
    assert "upright photographs (exif)" in said and "classes: background, cat, rare" in said
    config = load_config("my.yaml")
    assert config.data.labelled.exif == config.data.test.exif == "apply_to_images"
    for section in ("labelled", "test"):
        read = loading.read_labelled(sections(config)[section], 16)
        assert read.classes.names == ("background", "cat", "rare")


def test_files_that_may_be_labels_are_named_where_no_masks_are_found(
    init: Callable[..., str], tmp_path: Path
) -> None:
    images(tmp_path / "data/images", 2)
    (tmp_path / "data/labels").mkdir()
    (tmp_path / "data/labels/u0.txt").write_text("0 0.5 0.5 0.2")
    assert "whether 1 .txt below data are labels" in init("data")


def test_boxes_beside_images_are_named_with_what_would_be_masks(
    init: Callable[..., str], refused: Callable[..., str], tmp_path: Path
) -> None:
    images(tmp_path / "data/images", 2)
    (tmp_path / "data/labels").mkdir()
    (tmp_path / "data/labels/u0.txt").write_text("0 0.5 0.5 0.2 0.2")
    told = "1 text file holds boxes of YOLO, a class and four numbers a line, as labels/u0.txt does"
    assert told in refused("--labelled", "data", "--out", "my.yaml")
    assert told in init("data")
    found = loading.load(AutoSource(url=str(tmp_path / "data")), 16, labelled=True)
    assert told in " ".join(found.problems)


def test_what_is_wrong_with_an_image_of_a_row_is_told_of_the_image_and_of_nothing_else(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    rows = cells(*["not/here.png"] * 3)
    write(tmp_path / "data/train.parquet", image=rows, mask=[encode_png(mask(0, 1))] * 3)
    said = refused("data", "--out", "my.yaml")
    assert "train.parquet#0 image: " in said
    assert "#0 mask" not in said and "no image has a mask" not in said


@pytest.mark.parametrize("more", [{}, {"label": [1, 2, 1, 2]}])
def test_tables_of_images_alone_are_what_is_learned_from(
    init: Callable[..., str], refused: Callable[..., str], tmp_path: Path, more: dict[str, Any]
) -> None:
    pictures = cells(*(encode_png(photograph(i)) for i in range(4)))
    write(tmp_path / "data/data/train-00000-of-00001.parquet", image=pictures, **more)
    assert "Set `mask_column:`" in refused("--labelled", "data", "--out", "my.yaml")
    assert "whether there are masks, too:" in init("data")
    assert {name: len(part) for name, part in names(load_config("my.yaml")).items()} == {
        "unlabelled": 4
    }


def test_tars_of_images_alone_are_what_is_learned_from(
    init: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    members = [
        (f"{i}.{end}", encode_png(photograph(i))) for i in range(4) for end in ("jpg", "txt")
    ]
    (tmp_path / "data/0.tar").write_bytes(tar(dict(members)))
    assert "Set `mask_ending:`" in init("data")
    assert set(names(load_config("my.yaml"))) == {"unlabelled"}


def test_masks_that_nothing_pairs_are_refused_with_the_keys_that_would(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    for i in range(4):
        put_picture(tmp_path / f"data/volume/IMG{i}.png", photograph(i))
        put_picture(tmp_path / f"data/segmentation/Part{7 * i + 20}.png", mask(0, 1))
    said = refused("data", "--out", "my.yaml")
    assert "no rule was found that pairs these masks with images" in said
    assert "kind: pairs, where `images:` and `masks:`" in said


def with_metadata(root: Path, order: list[int]) -> None:
    """Images and masks, and a table that says that those of these numbers are of the first, the
    second, ... image."""
    pairs_of(root, mask(0, 1), mask(0, 1, 1))
    rows = [
        {"file_name": f"images/{i}.png", "conditioning": f"masks/{own}.png"}
        for i, own in enumerate(order)
    ]
    (root / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_table_that_says_what_names_say_changes_nothing(
    init: Callable[..., str], tmp_path: Path
) -> None:
    with_metadata(tmp_path / "data", [0, 1])
    init("data")
    names(load_config("my.yaml"))


def test_masks_that_a_table_gives_to_other_images_than_their_names_do_are_refused(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    with_metadata(tmp_path / "data", [1, 0])
    said = refused("data", "--out", "my.yaml")
    assert "data/metadata.jsonl: says in the column conditioning that the mask of " in said
    assert "data/masks/1.png, and by its name it would be" in said


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("prefix", ["", "C:\\Users\\me\\data\\"])
def test_any_table_of_images_and_masks_is_compared_with_their_names(
    refused: Callable[..., str], tmp_path: Path, delimiter: str, prefix: str
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1, 1))
    rows = [("id", "picture", "truth")]
    rows += [(str(i), f"{prefix}images/{i}.png", f"{prefix}masks/{1 - i}.png") for i in range(2)]
    (tmp_path / "data/pairs.csv").write_text("".join(f"{delimiter.join(row)}\n" for row in rows))
    said = refused("data", "--out", "my.yaml")
    assert "data/pairs.csv: says in the column truth that the mask of " in said
    assert "data/masks/1.png, and by its name it would be" in said


def test_a_table_of_images_that_belong_together_says_nothing_of_masks(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1, 1))
    (tmp_path / "data/stereo.csv").write_text("left,right\nimages/0.png,images/1.png\n")
    init("data")
    names(load_config("my.yaml"))


def test_what_cellpose_writes_beside_images_and_masks_is_not_learned_from(
    init: Callable[..., str], tmp_path: Path
) -> None:
    forms = ["data/00#.tif", "data/00#_flows.tif"]
    put_shape(tmp_path, Shape(forms, ["data/00#_cp_masks.png"], {}))
    for i in range(3):
        np.save(tmp_path / f"data/00{i}_seg.npy", np.array({"masks": i}), allow_pickle=True)
    said = init("data")
    assert "000_flows.tif, 001_flows.tif, 002_flows.tif are left out" in said
    found = names(load_config("my.yaml"))
    assert set().union(*found.values()) == {f"00{i}.tif" for i in range(3)}


def test_masks_that_only_cellpose_s_own_files_hold_are_asked_for(
    init: Callable[..., str], tmp_path: Path
) -> None:
    put_shape(tmp_path, Shape(["data/00#_img.tif"], [], {}))
    np.save(tmp_path / "data/000_img_seg.npy", np.array({"masks": 0}), allow_pickle=True)
    assert "objects (1 file *_seg.npy)" in init("data")
    assert names(load_config("my.yaml"))["unlabelled"] == {f"00{i}_img.tif" for i in range(3)}


def test_masks_that_are_called_by_tasks_are_refused_with_the_names_that_images_need(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    masks = [f"masks/task-4#-annotation-1#-by-1-tag-{tag}-0.png" for tag in ("road", "car")]
    put_shape(tmp_path / "data", Shape(["images/dog_#.jpg"], masks, {}))
    said = refused("data", "--out", "my.yaml")
    assert "such as 7.jpg for task-7-annotation-" in said


def test_links_to_folders_are_named_where_nothing_else_is_there(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "elsewhere", mask(0, 1))
    (tmp_path / "data").mkdir()
    for name in ("images", "masks"):
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere" / name)
    said = refused("data", "--out", "my.yaml")
    assert "holds links to folders, which are not followed: images, masks" in said


def test_an_image_that_cannot_be_opened_stops_nothing(
    init: Callable[..., str], tmp_path: Path
) -> None:
    images(tmp_path / "data", 2)
    (tmp_path / "data/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "data/large.png").write_bytes(too_large())
    assert "4 images" in init("data"), "inspect names them"


def test_names_that_are_no_utf_8_are_split_and_read_again(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "some data", *[mask(0, 1)] * 5)
    latin = os.fsdecode(b"caf\xe9.png")
    for part in ("images", "masks"):
        first = min((tmp_path / "some data" / part).iterdir())
        first.rename(first.with_name(latin))
    init("some data")
    found = names(load_config("my.yaml"))
    assert latin in found["labelled"] | found["test"]
    first_line = (tmp_path / "my.yaml").read_text().splitlines()[0]
    assert "`factory init 'some data' --out my.yaml`" in first_line


def test_images_without_a_mask_are_left_out_and_said(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    (tmp_path / "data/images/lonely.png").write_bytes(encode_png(photograph(9)))
    assert "images: 1 image has no mask and is not used (lonely.png)" in init("data")
    config = load_config("my.yaml")
    assert config.data.labelled.unpaired == "skip"
    assert "lonely.png" in names(config)["unlabelled"]


@pytest.mark.parametrize("folder", ["overlays", "instances", "masks_of_other_classes"])
def test_pictures_that_are_called_like_the_images_are_not_learned_from_but_named(
    init: Callable[..., str], tmp_path: Path, folder: str
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    (tmp_path / "data" / folder).mkdir()
    for i in range(2):
        (tmp_path / "data" / folder / f"{i}.png").write_bytes(encode_png(photograph(i)))
    assert f"whether pictures below data are needed, too: {folder}" in init("data")
    assert load_config("my.yaml").data.unlabelled.url == str(tmp_path / "data/images")


def test_masks_of_each_class_in_a_folder_of_its_own_are_not_learned_from_but_named(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    (tmp_path / "data/masks").rename(tmp_path / "cat")
    for name in ("cat", "dog"):
        shutil.copytree(tmp_path / "cat", tmp_path / "data/masks" / name)
    for i in range(2):
        put_picture(tmp_path / f"data/masks/dog/{i}.png", mask(0, 0, 1))
    assert "are needed, too: masks/dog" in init("data")
    assert load_config("my.yaml").data.unlabelled.images.startswith("images/")


def test_few_images_are_not_learned_by_heart(init: Callable[..., str], tmp_path: Path) -> None:
    images(tmp_path / "many", 50)
    init("many")
    config = load_config("my.yaml")
    assert config.train.num_steps * config.train.batch_size / 50 <= 1000


LISTS: dict[str, dict[str, Any]] = {
    "a text for each": {
        "train.txt": "0\n1\n2\n", "val.txt": "3\n", "test.txt": "4.png\n5.png\n",
    },
    "images and masks": {
        "train.txt": "".join(f"/x/images/{i}.png /x/masks/{i}.png\n" for i in range(3)),
        "test.txt": "images/4.png masks/4.png\nimages/5.png masks/5.png\n",
    },
    "tables of more columns": {
        "train.csv": "image,mask,width,height\n"
        + "".join(f"images/{i}.png,masks/{i}.png,32,32\n" for i in range(3)),
        "test.csv": "id;width;name\n9;16;4.png\n8;16;5.png\n",
    },
    "texts of more columns": {
        "train.txt": "".join(f"{i} images/{i}.png masks/{i}.png\n" for i in range(3)),
        "test.txt": "7\timages/4.png\t16\n8\timages/5.png\t16\n",
    },
    "a column of splits": {
        "all.csv": "id,image,mask,split\n"
        + "".join(f"a{i},{i}.png,{i}.png,Train\n" for i in range(3))
        + "a4,4.png,4.png,Test\na5,5.png,5.png,Test\n"
    },
    "a column of splits without a header": {
        "all.txt": "train 0\ntrain 1\nval 3\ntest 5.png\ntrain 2\ntest 4\n"
    },
    "tables in a folder": {"splits/train.csv": "name\n0\n1\n2\n", "splits/test.csv": "4\n5\n"},
    "one file": {"splits.json": {"train": ["0", "1", "2"], "test": ["images/4.png", "5.png"]}},
    "validation alone": {"trainval.txt": "0\n1\n2\n", "val.txt": "4\n5\n"},
}  # fmt: skip


def put_lists(root: Path, lists: dict[str, Any]) -> None:
    for name, content in lists.items():
        (root / name).parent.mkdir(exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (root / name).write_text(text)


@pytest.mark.parametrize("case", LISTS)
def test_the_split_that_people_have_made_is_used(
    case: str, init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 6)
    put_lists(tmp_path / "data", LISTS[case])
    said = init("data")
    assert names(load_config("my.yaml")) == {
        "unlabelled": {"0.png", "1.png", "2.png", "3.png"},
        "labelled": {"0.png", "1.png", "2.png"},
        "test": {"4.png", "5.png"},
    }
    first, *_ = LISTS[case]
    assert re.search(rf"data.labelled: data: taken as .*, split train(val)? by data/{first}", said)


@pytest.mark.parametrize(
    ("lists", "why"),
    [
        (
            {"train.txt": "0\n1\n", "test.txt": "7\n"},
            "data/test.txt and data/train.txt, not used as a split, as 7 is no image",
        ),
        ({"train.txt": "0\n1\n", "test.txt": "1\n2\n"}, "as 1 is in both"),
        ({"splits.json": {"folds": ["0"], "test": ["1"]}}, "as there is none to learn from"),
    ],
)
def test_a_split_that_does_not_fit_is_not_used_and_said(
    lists: dict[str, Any], why: str, init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 5)
    put_lists(tmp_path / "data", lists)
    said = init("data")
    assert why in said
    assert "chosen by hashes of their names" in said
    assert len(names(load_config("my.yaml"))["test"]) == 1


@pytest.mark.parametrize("split", ["{part}/{split}/{i}.png", "{split}/{part}/{i}.png"])
def test_test_images_of_split_folders_are_not_learned_from(
    split: str, init: Callable[..., str], tmp_path: Path
) -> None:
    for i, name in enumerate(("train", "train", "val")):
        for part, picture in {"images": photograph(i), "masks": mask(0, 1)}.items():
            path = tmp_path / "data" / split.format(part=part, split=name, i=i)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_png(picture))
    init("data")
    found = names(load_config("my.yaml"))
    assert found["labelled"] == {"0.png", "1.png"} and found["test"] == {"2.png"}
    assert {Path(name).name for name in found["unlabelled"]} == {"0.png", "1.png"}


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "RGBA", "1", "I;16"])
def test_grey_images_are_one_channel_however_they_are_stored(
    mode: str, init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    for path in (tmp_path / "data/images").iterdir():
        grey = Image.fromarray(photograph(1)).convert("L")
        deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
        path.write_bytes(encoded(deep if mode == "I;16" else grey.convert(mode)))
    assert "data.channels: 1, as no image has a colour" in init("data")
    config = load_config("my.yaml")
    assert config.data.channels == 1
    names(config)


def test_images_of_which_one_has_a_colour_are_of_three_channels(
    init: Callable[..., str], tmp_path: Path
) -> None:
    images(tmp_path / "many", 2)
    grey = Image.fromarray(photograph(1)).convert("L")
    (tmp_path / "many/u0.png").write_bytes(encoded(grey))
    assert "channels" not in init("many")
    assert load_config("my.yaml").data.channels is None


def test_a_config_that_is_there_is_never_overwritten(
    init: Callable[..., str], refused: Callable[..., str], tmp_path: Path
) -> None:
    images(tmp_path / "many", 3)
    init("many")
    assert "is there already" in refused("many", "--out", "my.yaml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "my.yaml"], "Name at least one folder"),
        (["many", "--out", "my.json"], "a config is a .yaml file"),
        (["missing", "--out", "my.yaml"], "no such folder"),
        (["empty", "--out", "my.yaml"], "no images that are read"),
        (["many", "more", "--out", "my.yaml"], "Say which is meant with --unlabelled"),
        (["--labelled", "many", "--out", "my.yaml"], "holds images alone"),
        (["two", "--out", "my.yaml"], "may be read in several ways"),
    ],
)
def test_what_is_not_clear_is_refused(
    arguments: list[str], message: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    images(tmp_path / "many", 2)
    images(tmp_path / "more", 2)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.md").write_text("")
    for name in ("a", "b"):
        pairs_of(tmp_path / "two" / name, mask(0, 1))
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    "lists",
    [
        {"splits.json": json.dumps({"train_1": ["0"], "train_3": ["0", "2", "3"], "test": ["1"]})},
        {"data/splits.json": json.dumps({"train": ["0.png", "2.png", "3.png"], "val": ["1.png"]})},
        {"data/train.txt": "0\n2\n3\n", "data/val.txt": "images/1.png\n", "data/readme.txt": "0"},
    ],
)
def test_a_split_in_lists_beside_the_images_is_used(
    lists: dict[str, str], init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "all/data", *[mask(0, 1)] * 5)
    for name, text in lists.items():
        (tmp_path / "all" / name).write_text(text)
    said = init("all")
    assert "split train" in said and "chosen by hashes" not in said
    assert names(load_config("my.yaml")) == {
        "unlabelled": {"0.png", "2.png", "3.png", "4.png"},
        "labelled": {"0.png", "2.png", "3.png"},
        "test": {"1.png"},
    }


@pytest.mark.parametrize(
    "text",
    [
        *('{"train": ["0.png"]}', '{"train": ["0.png"], "test": ["elsewhere.png"]}', "[1]", "{"),
        '{"train": [0], "test": [1]}',
    ],
)
def test_lists_that_are_no_split_of_the_images_are_passed_over(
    text: str, init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 5)
    (tmp_path / "data/splits.json").write_text(text)
    assert "chosen by hashes" in init("data")


def test_the_preset_that_is_asked_for_is_written(init: Callable[..., str], tmp_path: Path) -> None:
    pairs_of(tmp_path / "data", mask(0, 1), mask(0, 1))
    said = init("data", "--preset", "toy")
    assert load_config("my.yaml").preset == "toy" and "preset: toy, 1,000 steps" in said


def test_what_is_labelled_is_what_has_no_masks_or_else_was_not_learned_from(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "few", *[mask(0, 1)] * 5)
    init("few")
    config = load_config("my.yaml")
    found = loading.load(config.label.source, 16, labelled=False).names  # type: ignore[arg-type]
    assert set(found) == names(config)["test"]
    assert config.label.url == f"{config.train.url}/labels"
    (tmp_path / "my.yaml").unlink()
    (tmp_path / "my.splits.json").unlink()
    images(tmp_path / "many", 7, start=50)
    init("few", "many")
    config = load_config("my.yaml")
    assert config.label.source == config.data.unlabelled


def test_a_list_of_a_split_that_is_damaged_is_named(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 5)
    files = {p.relative_to(tmp_path / "data"): p for p in (tmp_path / "data").rglob("*.png")}
    members = {str(name): path.read_bytes() for name, path in files.items()}
    data = packed({**members, "train.txt": b"0\n1\n"}, zipfile.ZIP_STORED)
    (tmp_path / "data.zip").write_bytes(data.replace(b"0\n1\n", b"0\n2\n"))
    assert "data.zip/train.txt: is damaged in the archive" in refused(
        "data.zip", "--out", "my.yaml"
    )


def test_lists_of_names_are_files_that_people_can_edit(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 5)
    init("data")
    lists = json.loads((tmp_path / "my.splits.json").read_text())
    assert lists.keys() == {"labelled", "test", "unlabelled"}
    assert len(lists["labelled"]) == 4 and len(lists["test"]) == 1


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_looked_at(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    images(tmp_path / "photos", 3)
    (tmp_path / "file").write_bytes(b"x")
    said = refused("photos", "--out", "file/my.yaml")
    assert "/file: cannot be written (Not a directory). Name a place" in said


def test_a_config_that_could_not_be_written_leaves_no_lists_in_the_way(
    init: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 5)
    write_new = storage.write_new

    def full(url: str, data: bytes) -> None:
        if url.endswith(".yaml"):
            raise OSError(errno.ENOSPC, "No space left on device", url)
        write_new(url, data)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "write_new", full)
        assert main(["init", "data", "--out", "my.yaml"]) == 1
    assert not list(tmp_path.glob("my.*"))
    assert "my.yaml: written, with my.splits.json" in init("data")
