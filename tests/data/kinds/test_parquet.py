"""Claims about sources of kind parquet: which columns are read, and what their rows give."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory import storage
from factory.data import loading, tiles
from factory.data.kinds.parquet import ParquetSource
from factory.data.kinds.webdataset import WebdatasetSource
from factory.data.sharded import parquet_rows
from factory.errors import Problems
from factory.png import encode_png
from factory.storage import files
from tests.data.inputs import encoded, flat, only_problem, problems_of
from tests.exporting import made
from tests.exporting.formats.test_hub import Hub

NAMES = ["ground", "thing", "other"]
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def png(value: int) -> bytes:
    return encode_png(flat(value))


def mask(value: int) -> bytes:
    return encode_png(flat(value)[..., 0])


def cells(*pictures: bytes | str | None) -> pa.Array:
    """Cells of bytes, or of a path without bytes."""
    parts = [{"bytes": p, "path": None} if not isinstance(p, str) else {"bytes": None, "path": p}
             for p in pictures]  # fmt: skip
    return pa.array(parts, PICTURE)


def write(path: Path, metadata: dict[str, Any] | None = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {key: json.dumps(value) for key, value in (metadata or {}).items()}
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(about or None), path, row_group_size=2)
    return path


def write_pairs(path: Path, num: int = 5, **more: Any) -> Path:
    """Images of grey 10, 11, ... and masks of 0, 1, 2, 0, ..."""
    images = cells(*(png(10 + i) for i in range(num)))
    return write(path, **{"image": images, "label": [mask(i % 3) for i in range(num)], **more})


def source(url: Path | str, **more: Any) -> ParquetSource:
    return ParquetSource(url=str(url), **{"classes": NAMES, **more})


def test_the_rows_of_all_files_are_pairs_in_their_order(tmp_path: Path) -> None:
    write_pairs(tmp_path / "data/train-00001-of-00002.parquet", 2)
    write_pairs(tmp_path / "data/train-00000-of-00002.parquet", 5)
    read = loading.read_labelled(source(tmp_path), 8)
    assert read.images[:, 0, 0, 0].tolist() == [10, 11, 12, 13, 14, 10, 11]
    assert read.masks[:, 0, 0].tolist() == [0, 1, 2, 0, 1, 0, 1]
    assert read.names[4:6] == (
        "train-00000-of-00002.parquet#4",
        "train-00001-of-00002.parquet#0",
    )
    assert read.classes.names == tuple(NAMES)
    unlabelled = ParquetSource(url=str(tmp_path), num=6)
    assert np.array_equal(loading.read_images(unlabelled, 8), read.images[:6])


@pytest.mark.slow
def test_a_table_of_hugging_face_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    pictures = [flat(10), flat(20)]
    masks = [flat(1)[..., 0], flat(2)[..., 0]]
    features = datasets.Features(
        {
            "pixel_values": datasets.Image(),
            "label": datasets.Image(),
            "scene": datasets.Value("string"),
        }
    )
    table = datasets.Dataset.from_dict(
        {"pixel_values": pictures, "label": masks, "scene": ["a", "b"]}, features=features
    )
    table.to_parquet(str(tmp_path / "data.parquet"))
    read = loading.read_labelled(source(tmp_path / "data.parquet"), 8)
    assert read.images[:, 0, 0, 0].tolist() == [10, 20]
    assert read.masks[:, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_our_own_dataset_is_read_with_its_classes_and_keys(tmp_path: Path, form: str) -> None:
    samples = made.write(str(tmp_path / "out"), num=7, size=(12, 12), format=form)
    if form == "webdataset":
        assert "Set `kind: webdataset`" in only_problem(ParquetSource(url=str(tmp_path / "out")))
        return
    read = loading.read_labelled(ParquetSource(url=str(tmp_path / "out")), 12)
    assert np.array_equal(read.images, np.stack([sample.image for sample in samples]))
    assert np.array_equal(read.masks, np.stack([sample.mask for sample in samples]))
    assert read.classes.names == made.NAMES and read.names[6] == "000000006"


def test_in_our_own_masks_255_is_ignored_whatever_else_is_there(tmp_path: Path) -> None:
    about = {"id2label": {"0": "ground", "1": "thing"}}
    rows = {"image": [png(1)], "mask": [mask(255)]}
    other = write(tmp_path / "a.parquet", about, **rows)
    assert "255 means ignore" in only_problem(ParquetSource(url=str(other)))
    ours = write(tmp_path / "b.parquet", {**about, "factory": {}}, **rows)
    assert loading.read_labelled(ParquetSource(url=str(ours)), 8).masks[0, 0, 0] == 255


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_settings_on_values_hold_for_classes_that_the_files_name(tmp_path: Path, form: str) -> None:
    url = str(tmp_path / "out")
    made.write(url, num=2, size=(12, 12), format=form)
    kind = ParquetSource if form == "parquet" else WebdatasetSource
    assert "nearest_colors is for" in only_problem(kind(url=url, nearest_colors=True))
    problems = Problems()
    rules = kind(url=url, ids_divided_by=256).find(True, problems).rules
    assert not problems.found and rules is not None and rules.divisor == 256


def test_columns_are_found_by_name_and_type(tmp_path: Path) -> None:
    other = {"label": pa.array([3, 4]), "thumb": [b"x", b"x"], "photo": cells(png(1), png(2))}
    path = write(tmp_path / "a.parquet", **other, segmentation=cells(mask(1), mask(2)))
    assert loading.read_labelled(source(path), 8).masks[:, 0, 0].tolist() == [1, 2]
    path = write(tmp_path / "b.parquet", picture_1=[png(7)])
    assert loading.read_images(source(path), 8)[0, 0, 0, 0] == 7


ARRAY = np.random.default_rng(0).integers(0, 200, (2, 8, 8, 3)).astype(np.uint8)
"""Two images."""
IDS = ARRAY[..., 0] % np.uint8(3)


def nested(array: Any, numbers: pa.DataType | None) -> pa.Array:
    """Cells of an array each, as lists of lists; numbers None: as Arrow finds them."""
    kind = numbers
    for _ in range(array.ndim - 1):
        kind = pa.list_(kind) if numbers else None
    return pa.array(array.tolist(), kind)


def test_arrays_as_lists_of_lists_are_images_and_masks_where_columns_are_called_so(
    tmp_path: Path,
) -> None:
    for numbers in (pa.uint8(), None):
        path = write(
            tmp_path / "a.parquet",
            boxes=pa.array([[[1, 2], [3, 4]]] * 2),
            image=nested(ARRAY, pa.uint8()),
            mask=nested(IDS, numbers),
        )
        read = loading.read_labelled(source(path), 8)
        assert np.array_equal(read.images, ARRAY) and np.array_equal(read.masks, IDS)
    fixed = pa.list_(pa.list_(pa.uint8(), 8), 8)
    path = write(
        tmp_path / "a.parquet",
        photo=cells(png(1), png(2)),
        label=pa.array([i.tolist() for i in IDS], fixed),
    )
    assert np.array_equal(loading.read_labelled(source(path), 8).masks, IDS)
    path = write(tmp_path / "a.parquet", image=cells(png(1)), boxes=nested(IDS[:1], pa.uint8()))
    assert "no column can be told to hold the masks" in only_problem(source(path))
    assert np.array_equal(
        loading.read_labelled(source(path, mask_column="boxes"), 8).masks, IDS[:1]
    )


def test_an_array_feature_of_hugging_face_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    kinds = {
        "image": datasets.Array3D((8, 8, 3), "uint8"),
        "mask": datasets.Array2D((8, 8), "uint8"),
    }
    table = datasets.Dataset.from_dict(
        {"image": ARRAY.tolist(), "mask": IDS.tolist()}, features=datasets.Features(kinds)
    )
    table.to_parquet(str(tmp_path / "data.parquet"))
    read = loading.read_labelled(source(tmp_path), 8)
    assert np.array_equal(read.images, ARRAY) and np.array_equal(read.masks, IDS)


def test_values_of_lists_follow_the_rules_of_arrays(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=nested(ARRAY, None))
    assert "Set intensity: [0, 255]" in problems_of(source(path), labelled=False)[0]
    images = loading.read_images(source(path, intensity=[0, 255]), 8)
    assert np.array_equal(images, ARRAY), "as the message advises"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ([[1, 2], [3]], "lists of several lengths"),
        ([[1], [None]], "numbers are missing"),
        ([[]], "lists of several lengths"),
        ([], "is empty"),
        (None, "is empty"),
    ],
)
def test_lists_that_are_no_array_are_named(tmp_path: Path, cell: Any, said: str) -> None:
    column = pa.array([cell], pa.list_(pa.list_(pa.int64())))
    path = write(tmp_path / "a.parquet", image=column)
    problem = only_problem(source(path), labelled=False)
    assert problem.startswith(f"{path}#0 image: ") and said in problem


def test_a_structure_of_paths_without_bytes_names_files_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(png(7))
    write(tmp_path / "a.parquet", image=pa.array([{"bytes": None, "path": "1.png"}]))
    assert loading.read_images(source(tmp_path), 8)[0, 0, 0, 0] == 7


EMPTY: dict[str, pa.Array] = {
    "structures": pa.array(
        [{"bytes": mask(2), "path": None}, None, {"bytes": None, "path": None}], PICTURE
    ),
    "bytes": pa.array([mask(2), None, b""]),
    "lists": pa.array([np.full((8, 8), 2).tolist(), None, []]),
}


@pytest.mark.parametrize("case", EMPTY)
def test_rows_with_an_empty_cell_are_refused_or_left_out(tmp_path: Path, case: str) -> None:
    path = write(tmp_path / "a.parquet", image=cells(png(1), png(2), png(3)), label=EMPTY[case])
    found = problems_of(source(path))
    assert (
        len(found) == 1
        and "1 other: a.parquet#2" in found[0]
        and "leave such rows out with `unpaired: skip`" in found[0]
    )
    read = loading.read_labelled(source(path, unpaired="skip"), 8)
    assert read.names == ("a.parquet#0",) and read.masks[0, 0, 0] == 2
    assert "2 rows without an image or a mask: a.parquet#1, a.parquet#2" in read.notes[0]
    images = loading.load(source(path, unpaired="skip"), 8, labelled=False)
    assert len(images.images) == 3 and not images.notes, "masks were not asked for"


def test_rows_that_are_left_out_are_not_among_the_first_so_many(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=pa.array([None, png(2), png(3), png(4)]))
    images = loading.read_images(source(path, unpaired="skip", num=2), 8)
    assert images[:, 0, 0, 0].tolist() == [2, 3]
    (tmp_path / "names.txt").write_text("a.parquet#0\na.parquet#3\n")
    listed = source(path, unpaired="skip", names_url=f"{tmp_path}/names.txt")
    assert loading.read_images(listed, 8)[:, 0, 0, 0].tolist() == [4]


def test_columns_that_may_both_be_meant_are_refused_and_one_can_be_named(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.parquet", 2, image2=[png(1)] * 2, annotation=[mask(2)] * 2)
    assert "2 columns may hold the masks: label, annotation. Set `mask_column:`" in only_problem(
        source(path)
    )
    read = loading.read_labelled(source(path, mask_column="annotation"), 8)
    assert read.masks[:, 0, 0].tolist() == [2, 2] and read.images[0, 0, 0, 0] == 10
    read = loading.read_labelled(source(path, mask_column="label", image_column="image2"), 8)
    assert read.images[0, 0, 0, 0] == 1


def test_a_column_that_is_missing_or_holds_no_pictures_is_refused(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.parquet", 2, count=pa.array([1, 2]))
    message = only_problem(source(path, mask_column="masks"))
    assert "no column masks. Set `mask_column:` to one of image, label, count" in message
    assert "of type int64" in only_problem(source(path, mask_column="count"))
    assert "both image" in only_problem(source(path, mask_column="image"))
    nothing = write(tmp_path / "b.parquet", image=[png(1)])
    assert "no column can be told to hold the masks among image" in only_problem(source(nothing))


def test_files_whose_columns_differ_are_named(tmp_path: Path) -> None:
    write_pairs(tmp_path / "a.parquet", 1)
    write(tmp_path / "b.parquet", image=[png(1)], mask=[mask(1)])
    assert "b.parquet: has no column label" in only_problem(source(tmp_path))


def test_classes_come_from_the_section_else_from_the_files(tmp_path: Path) -> None:
    unnamed = write_pairs(tmp_path / "a/a.parquet", 3)
    message = only_problem(ParquetSource(url=str(unnamed)))
    assert "names no classes of the column label. Set `classes_url:`" in message
    (tmp_path / "a/id2label.json").write_text(json.dumps(dict(enumerate(NAMES))))
    message = only_problem(ParquetSource(url=str(unnamed)))
    assert f"{tmp_path}/a/id2label.json may be one" in message
    advised = ParquetSource(url=str(unnamed), classes_url=f"{tmp_path}/a/id2label.json")
    assert loading.read_labelled(advised, 8).classes.names == tuple(NAMES)
    features = {"label": {"_type": "Image", "names": ["a", "b", "c"]},
                "scene": {"_type": "ClassLabel", "names": ["in", "out"]}}  # fmt: skip
    named = write(
        tmp_path / "b.parquet",
        {"huggingface": {"info": {"features": features}}},
        image=[png(1)],
        label=[mask(2)],
    )
    assert loading.read_labelled(ParquetSource(url=str(named)), 8).classes.names == ("a", "b", "c")
    assert loading.read_labelled(source(named), 8).classes.names == tuple(NAMES)


def test_rules_say_what_the_values_of_masks_mean(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=[png(1)] * 2, mask=[mask(0), mask(200)])
    above = [{"name": "ground"}, {"name": "thing", "above": 0}]
    read = loading.read_labelled(source(path, classes=above), 8)
    assert read.masks[:, 0, 0].tolist() == [0, 1]


def test_paths_without_bytes_are_read_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.png").write_bytes(png(33))
    path = write(tmp_path / "a.parquet", image=cells("files/a.png", png(1)))
    assert loading.read_images(source(path), 8)[:, 0, 0, 0].tolist() == [33, 1]
    as_text = write(tmp_path / "b.parquet", picture=["files/a.png"])
    assert loading.read_images(source(as_text, image_column="picture"), 8)[0, 0, 0, 0] == 33


def test_a_path_where_no_file_is_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", image=cells("files/a.png"))
    message = only_problem(source(file), labelled=False)
    assert (
        "a.parquet#0 image: holds no bytes, but the path files/a.png, where no file is" in message
    )


@pytest.mark.parametrize("path", ["../a.png", "/etc/passwd", "x/../../a.png", "..\\a.png"])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    file = write(tmp_path / "in/a.parquet", image=cells(path))
    message = only_problem(source(file), labelled=False)
    assert "a.parquet#0 image: " in message and "which leaves the folder" in message


def test_bad_cells_are_named_by_file_row_and_column(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet",
        image=cells(png(1), None, b"junk"),
        mask=[encoded(flat(1)[..., 0], "JPEG"), mask(1), mask(1)],
    )
    found = problems_of(source(path))
    assert f"{path}#1 image: is empty" in found[1] and "names_url" in found[1]
    assert f"{path}#0 mask: a mask must be exact" in found[0] and len(found) == 3
    (tmp_path / "names.txt").write_text("a.parquet#2")
    listed = source(path, names_url=str(tmp_path / "names.txt"))
    assert only_problem(listed).startswith(f"{path}#2 image: ")


def test_rows_are_named_by_a_column_whose_values_differ(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.parquet", 3, key=["x", "x", "y"], id=pa.array([30, 10, 20]))
    (tmp_path / "names.txt").write_text("20\n30")
    listed = source(path, names_url=str(tmp_path / "names.txt"))
    assert loading.read_labelled(listed, 8).names == ("30", "20"), "as they are stored"
    first = source(path, names_url=str(tmp_path / "names.txt"), num=1)
    assert loading.read_labelled(first, 8).names == ("20",)


def test_columns_of_one_name_are_no_names_and_are_refused_as_pictures(tmp_path: Path) -> None:
    columns = [cells(png(10), png(11)), pa.array(["x", "y"]), pa.array(["v", "w"])]
    pq.write_table(pa.Table.from_arrays(columns, ["image", "id", "id"]), tmp_path / "a.parquet")
    unlabelled = source(tmp_path / "a.parquet")
    assert loading.load(unlabelled, 8, False).names == ("a.parquet#0", "a.parquet#1")
    message = only_problem(source(tmp_path / "a.parquet", image_column="id"), labelled=False)
    assert "has several columns id. Rename all of them but one." in message


def test_damaged_files_are_all_named(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(data[:-9])
    (tmp_path / "c.parquet").write_bytes(b"")
    found = problems_of(source(tmp_path))
    assert len(found) == 2 and all("is no whole Parquet file" in problem for problem in found)
    (tmp_path / "b.parquet").unlink()
    (tmp_path / "c.parquet").unlink()
    assert len(loading.read_labelled(source(tmp_path), 8)) == 5


def test_a_flipped_byte_of_a_page_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"image": [png(1), png(2)]})
    plain: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    pq.write_table(table, path, **plain, write_statistics=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[data.index(b"\x89PNG") + 60] ^= 1
    path.write_bytes(data)
    assert "its file is damaged there" in problems_of(source(path), labelled=False)[0]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=pa.array([], pa.binary()))
    assert "without a row" in only_problem(source(path), labelled=False)


def test_each_row_is_read_once_while_threads_ask_in_about_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [png(i) for i in range(200)]
    pq.write_table(pa.table({"image": images}), tmp_path / "a.parquet", row_group_size=90)
    pq.write_table(pa.table({"image": images}), tmp_path / "b.parquet")
    num_read = 0
    original = parquet_rows._File.batch_of

    def counting(file: Any, row: int) -> Any:
        nonlocal num_read
        before = list(file._recent)
        found = original(file, row)
        num_read += sum(b.num_rows for s, b in file._recent if (s, b) not in before)
        return found

    monkeypatch.setattr(parquet_rows._File, "batch_of", counting)
    found = source(tmp_path).find(labelled=False, problems=Problems())
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda item: item.image(8).image.getpixel((0, 0))[0], found.items))
    assert values == [*range(200), *range(200)] and num_read == 400
    assert found.items[7].image(8).image.getpixel((0, 0)) == (7, 7, 7), "in any order, if slowly"


def test_a_store_is_read_by_ranges(tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "a.parquet").read_bytes()
    storage.write("memory://parquet/train/a.parquet", data)
    read = loading.read_labelled(source("memory://parquet/train"), 8)
    assert read.masks[:, 0, 0].tolist() == [0, 1, 2, 0, 1]
    one = source("memory://parquet/train/a.parquet")
    assert len(loading.read_images(one, 8)) == 5


def test_a_dataset_of_the_hub_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = Hub()
    fs.store.clear()
    data = write_pairs(tmp_path / "a.parquet").read_bytes()
    for name in ("train-00000-of-00001", "validation-00000-of-00001"):
        fs.pipe_file(f"hf://datasets/owner/name/data/{name}.parquet", data)
    monkeypatch.setattr(files, "url_to_fs", lambda url, **options: (fs, fs._strip_protocol(url)))
    url = "hf://datasets/owner/name"
    assert "`split: train`" in only_problem(source(url))
    assert len(loading.read_labelled(source(url, split="train"), 8)) == 5


def test_without_the_hubs_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def url_to_fs(url: str, **options: Any) -> Any:
        raise ImportError("Install huggingface_hub to access HfFileSystem")

    monkeypatch.setattr(files, "url_to_fs", url_to_fs)
    assert "synthetic-data-factory[hub]" in only_problem(source("hf://datasets/owner/name"))


def test_versions_change_with_the_file_and_with_pictures_beside_it(tmp_path: Path) -> None:
    def versions(path: Path) -> list[str]:
        found = source(path).find(labelled=False, problems=Problems())
        return list(source(path).versions(found.items))

    (tmp_path / "x.png").write_bytes(png(1))
    whole = write(tmp_path / "a.parquet", image=cells(png(1), png(2)))
    lacking = write(tmp_path / "b.parquet", image=cells(png(1), "x.png"))
    before = versions(whole), versions(lacking)
    assert len(set(before[0])) == 2
    (tmp_path / "x.png").write_bytes(png(2) + b" ")
    assert versions(whole) == before[0] and not set(versions(lacking)) & set(before[1])
    write(tmp_path / "a.parquet", image=cells(png(3), png(2)))
    assert not set(versions(whole)) & set(before[0])
    assert source(whole).versions([]) == []


def test_rows_are_cut_into_tiles_of_which_none_is_decoded_beforehand(tmp_path: Path) -> None:
    image, ids = encode_png(flat(9, 8, 16)), np.zeros((8, 16), np.uint8)
    ids[:, 8:] = 2
    path = write(tmp_path / "a.parquet", image=[image, b"junk"], mask=[encode_png(ids)] * 2)
    found = source(path, fit="tile").find(labelled=True, problems=Problems())
    assert all(row._mask_cell is None for row in tiles.wholes(found.items))  # type: ignore[attr-defined]
    read = loading.read_labelled(source(path, fit="tile", num=1), 8)
    assert read.names[0] == "a.parquet#0@0,0" and read.masks[[0, -1], 4, 4].tolist() == [0, 2]
    assert "a.parquet#1 image: " in only_problem(source(path, fit="tile"))


@pytest.mark.parametrize(
    ("image", "mask_column"), [("image", "mask"), ("image_path", "label_path"), ("file_name", "gt")]
)
def test_texts_that_name_image_files_are_pictures_beside_the_table(
    tmp_path: Path, image: str, mask_column: str
) -> None:
    for i in range(3):
        for folder, data in (("pictures", png(10 + i)), ("painted", mask(i))):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / f"{folder}/{i}.png").write_bytes(data)
    columns: dict[str, Any] = {
        image: [f"pictures/{i}.png" for i in range(3)],
        mask_column: [f"painted/{i}.png" for i in range(3)],
        "caption": ["a cat", "a dog", "a.png"],
        "source": ["a.png", "b.png", "c.png"],
    }
    write(tmp_path / "train.parquet", **columns)
    read = loading.read_labelled(source(tmp_path), 8)
    assert read.images[:, 0, 0, 0].tolist() == [10, 11, 12]
    assert read.masks[:, 0, 0].tolist() == [0, 1, 2]
    before = source(tmp_path).versions(source(tmp_path).find(True, Problems()).items)
    (tmp_path / "painted/2.png").write_bytes(mask(0) + b" ")
    assert before != source(tmp_path).versions(source(tmp_path).find(True, Problems()).items)


def test_lists_of_numbers_without_rows_are_no_masks_and_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", image=cells(png(1)), mask=[[0] * 64])
    problem = only_problem(source(tmp_path))
    assert "lists of numbers without rows, as in mask, tell no height and width" in problem
