"""Claims about lists of images: their forms, and which images their names mean."""

import json
from pathlib import Path

import pytest

from factory.config import parse_config
from factory.data import loading
from factory.errors import UserError
from factory.png import encode_png
from tests.data.inputs import flat, folder, only_problem, pairs

IMAGES = ("a/1.png", "a/2.jpeg.png", "b/1.png", "b/3 (x).PNG", "b/é.png")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in IMAGES:
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(encode_png(flat(1)))
    return tmp_path / "data"


def listed(images: Path, content: str | bytes, ending: str = ".txt", **more: object) -> list[str]:
    url = images.parent / f"names{ending}"
    url.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(loading.load(folder(images, names_url=str(url), **more), 8, False).names)


def refusal(images: Path, content: str, ending: str = ".txt", **more: object) -> str:
    (images.parent / f"names{ending}").write_text(content)
    return only_problem(
        folder(images, names_url=str(images.parent / f"names{ending}"), **more), labelled=False
    )


@pytest.mark.parametrize(
    "name",
    ["b/3 (x).PNG", "b/3 (x)", "3 (x).PNG", "3 (x)", "./b/3 (x).PNG", "data/b/3 (x).PNG",
     "/somewhere/data/b/3 (x)", "elsewhere/b/3 (x).PNG"],
)  # fmt: skip
def test_a_name_is_a_path_or_a_file_or_either_without_its_ending(images: Path, name: str) -> None:
    assert listed(images, f"{name}\n") == ["b/3 (x).PNG"]


def test_a_list_may_be_text_json_or_a_column_of_csv(images: Path) -> None:
    wanted = ["a/2.jpeg.png", "b/3 (x).PNG"]
    assert listed(images, b"\xef\xbb\xbf2.jpeg\r\n\r\n  3 (x)  \r\n") == wanted
    assert listed(images, json.dumps(["3 (x)", "2.jpeg"]), ".json") == wanted
    assert listed(images, '{"t": ["3 (x)", "2.jpeg"]}', ".json", names_key="t") == wanted
    objects = [{"image": "b/3 (x).PNG", "label": "x"}, {"image": "a/2.jpeg.png", "label": "y"}]
    assert listed(images, json.dumps(objects), ".json") == wanted
    assert listed(images, json.dumps({"t": objects}), ".json", names_key="t") == wanted
    assert listed(images, "file\n2.jpeg\n3 (x)\n", ".csv") == wanted
    assert listed(images, "2.jpeg\n3 (x)\n", ".csv") == wanted
    assert listed(images, 'n,id\n1,"3 (x)"\n2,2.jpeg\n', ".csv", names_key="id") == wanted
    assert listed(images, "n\tid\n1\t3 (x)\n2\t2.jpeg\n", ".tsv", names_key="id") == wanted


def test_the_first_num_of_a_list_are_taken_as_it_has_them(images: Path) -> None:
    assert listed(images, "3 (x)\n2.jpeg\nnot there\n", num=1) == ["b/3 (x).PNG"]


def test_accents_are_the_same_however_a_list_writes_them(images: Path) -> None:
    assert listed(images, "e\u0301.png\n") == ["b/é.png"]
    assert listed(images, "e\u0301.png\nb/1.png\n", ".csv") == ["b/1.png", "b/é.png"]


@pytest.mark.parametrize(
    ("content", "ending", "key", "said"),
    [
        ("1.png\n", ".txt", None, "names 1.png, which may be a/1.png, b/1.png. Write it with its"),
        ("1\n", ".txt", None, "names 1, which may be a/1.png, b/1.png"),
        ("c/1.png\n", ".txt", None, "names c/1.png, which is not in"),
        ("a/1\nb/1\na/1.png\n", ".txt", None, "names a/1.png 2 times, as a/1, a/1.png"),
        ("E\u0301.png\n", ".txt", None, "Did you mean b/é.png?"),
        ("3 (X).png\n", ".txt", None, "Did you mean b/3 (x).PNG?"),
        ("a/1 1\nb/1 -1\n", ".txt", None, "has a second column (a/1 1, b/1 -1). In VOC's lists"),
        ("a/1 1\nb/1 -1\n", ".txt", "0", "has -1, 1 in its second column. Set names_key to one"),
        ('[{"a": "b/1.png"}]', ".json", None, "expected a list of one or more file names"),
        ("/x/a/1.png lot\n", ".txt", None, "Write names alone, one a line"),
        ("a/1.png m.png\na/1.png m.png\n", ".txt", None, "names a/1.png 2 times"),
        ("\n\n", ".txt", None, "expected one or more file names, one a line"),
        ("1\n", ".txt", "train", "is one list, without keys. Leave names_key=train out"),
        ("n,id\n1,2\n", ".csv", None, "has the columns n, id. Set names_key to one of them"),
        ("n,id\n1,2\n", ".csv", "file", "Set names_key to one of them, not 'file'"),
        ("", ".csv", None, "expected one or more file names in a column"),
        ("file\n", ".csv", None, "holds no names below its header file"),
        ("n,id\n1,b/1\n2,\n3,a/1\n", ".csv", "id", "has no name in column id at line 3, and"),
        ("n,id\n1\n2,a/1\n", ".csv", "id", "has no name in column id at line 2, and"),
        ("n,id\n7,a/1\n8,b/1\n9,\n", ".csv", None, "has no name of an image in 1 row"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(
    images: Path, content: str, ending: str, key: str | None, said: str
) -> None:
    problem = refusal(images, content, ending, names_key=key)
    assert said in problem and problem.startswith(f"{images.parent}/names{ending}: ")


def test_a_column_may_end_before_others_do(images: Path) -> None:
    columns = "train,val\na/1,b/1\n2.jpeg,\n\n"
    assert listed(images, columns, ".csv", names_key="val") == ["b/1.png"]
    assert listed(images, columns, ".csv", names_key="train") == ["a/1.png", "a/2.jpeg.png"]


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        ("image,mask,width,height\nb/3 (x).PNG,m/3.png,8,8\na/2.jpeg.png,m/2.png,8,8\n", ".csv"),
        ("b/3 (x).PNG,m/3.png,8,8\na/2.jpeg.png,m/2.png,8,8\n", ".csv"),
        ("id;city;file\n7;Ulm;3 (x)\n8;Bonn;2.jpeg\n", ".csv"),
        ("id\tmask\timage\n7\tm/3.png\t3 (x)\n8\tm/2.png\t2.jpeg\n", ".tsv"),
        ("7\tm/3.png\tb/3 (x).PNG\n8\tm/2.png\ta/2.jpeg.png\n", ".txt"),
        ("m/3.png, b/3 (x).PNG, 8, 8\nm/2.png, a/2.jpeg.png, 8, 8\n", ".txt"),
    ],
)
def test_the_column_of_the_images_is_the_one_that_names_them(
    images: Path, content: str, ending: str
) -> None:
    assert listed(images, content, ending) == ["a/2.jpeg.png", "b/3 (x).PNG"]


def test_a_header_decides_between_columns_that_name_images(images: Path) -> None:
    both = "{},before\na/1.png,b/1.png\n2.jpeg,é\n"
    assert listed(images, both.format("image"), ".csv") == ["a/1.png", "a/2.jpeg.png"]
    said = "has the columns now, before. Set names_key to one of them"
    assert said in refusal(images, both.format("now"), ".csv")
    assert listed(images, both.format("now"), ".csv", names_key="before") == ["b/1.png", "b/é.png"]


@pytest.mark.parametrize(
    ("content", "ending"),
    [
        ("name,split\na/1.png,train\nb/1.png,val\n2.jpeg,train\n", ".csv"),
        ("a/1.png,train\nb/1.png,val\n2.jpeg,train\n", ".csv"),
        ("train a/1.png\nval b/1.png\ntrain 2.jpeg\n", ".txt"),
    ],
)
def test_a_split_is_named_as_the_column_of_splits_has_it(
    images: Path, content: str, ending: str
) -> None:
    assert listed(images, content, ending, names_key="train") == ["a/1.png", "a/2.jpeg.png"]
    assert listed(images, content, ending, names_key="val") == ["b/1.png"]
    problem = refusal(images, content, ending)
    assert "holds the splits train, val in a column. Set names_key to one" in problem


def test_masks_of_a_table_must_be_those_that_are_paired(tmp_path: Path) -> None:
    for name in ("images/1.png", "masks/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encode_png(flat(1) if "im" in name else flat(1)[..., 0]))
    table = tmp_path / "names.csv"
    source = pairs(tmp_path, names_url=str(table))
    table.write_text("id,image,mask,size\n7,1.png,1.png,8\n")
    assert loading.read_labelled(source, 8).names == ("1.png",)
    table.write_text("id,image,mask,size\n7,1.png,2.png,8\n")
    assert "names 2.png as the mask of 1.png" in only_problem(source)


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_ends_where_text_files_end_it_and_nowhere_else(
    images: Path, odd: str, end: str
) -> None:
    (images / f"b{odd}c.png").write_bytes(encode_png(flat(1)))
    wanted = sorted(["a/1.png", f"b{odd}c.png"])
    assert listed(images, f"a/1{end}b{odd}c.png{end}".encode()) == wanted
    assert listed(images, f"file{end}a/1{end}b{odd}c.png{end}".encode(), ".csv") == wanted


def test_a_list_in_another_encoding_is_refused(images: Path) -> None:
    (images.parent / "names.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(UserError, match=r"names\.txt: cannot be read .*in UTF-8"):
        loading.read_images(folder(images, names_url=str(images.parent / "names.txt")), 8)


def test_lists_of_windows_are_read(images: Path) -> None:
    assert listed(images, ".\\2.jpeg\n", ".txt") == listed(images, "2.jpeg\n", ".txt")
    wanted = listed(images, "n,id\n1,2.jpeg\n", ".csv", names_key="id")
    assert listed(images, "n;id\n1;2.jpeg\n", ".csv", names_key="id") == wanted


@pytest.mark.parametrize(("flag", "wanted"), [("1", ["a/1.png", "b/é.png"]), ("-1", ["b/1.png"])])
def test_a_list_of_vocs_of_one_class_is_read_by_its_second_column(
    images: Path, flag: str, wanted: list[str]
) -> None:
    content = "a/1  1\nb/1 -1\né  1\n2.jpeg  0\n"
    assert listed(images, content, names_key=flag) == wanted
    section = {"kind": "folder", "url": str(images), "names_url": "x.txt", "names_key": int(flag)}
    config = parse_config({"data": {"unlabelled": section, "image_size": 8}})
    assert config.data.unlabelled.names_key == flag


CITIES = ("rgb/ulm/ulm_1_rgb.png", "rgb/ulm/ulm_2_rgb.png", "rgb/bonn/bonn_1_rgb.png")


@pytest.mark.parametrize(
    "name",
    ["ulm_1", "ulm/ulm_1", "rgb/ulm/ulm_1", "ulm_1_rgb", "ulm_1_rgb.png", "rgb/ulm/ulm_1_rgb.png",
     "/x/rgb/ulm/ulm_1_rgb", "ulm_1_rgb "],
)  # fmt: skip
@pytest.mark.parametrize("ending", [".txt", ".csv", ".json"])
def test_a_name_may_be_what_the_stars_of_a_pattern_stand_for(
    ending: str, name: str, tmp_path: Path
) -> None:
    for image in CITIES:
        (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / image).write_bytes(encode_png(flat(1)))
        mask = tmp_path / image.replace("rgb", "gt")
        mask.parent.mkdir(parents=True, exist_ok=True)
        mask.write_bytes(encode_png(flat(1)[..., 0]))
    url = tmp_path / f"names{ending}"
    url.write_text(json.dumps([name.strip()]) if ending == ".json" else f"{name}\n")
    keys = {"images": "rgb/**/*_rgb.png", "masks": "gt/{dir}/{stem}_gt.png"}
    source = pairs(tmp_path, names_url=str(url), **keys)
    assert loading.read_labelled(source, 8).names == ("ulm/ulm_1_rgb.png",)
    assert loading.load(source, 8, labelled=False).names == ("ulm/ulm_1_rgb.png",)
    plain = folder(tmp_path, pattern="rgb/**/*_rgb.png", names_url=str(url))
    assert loading.load(plain, 8, labelled=False).names == ("ulm/ulm_1_rgb.png",)


def test_a_name_may_be_the_folder_that_a_pattern_has_one_image_in(tmp_path: Path) -> None:
    for name in ("p1/rgb.png", "p2/rgb.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encode_png(flat(1)))
    (tmp_path / "names.txt").write_text("p2\n")
    source = folder(tmp_path, pattern="**/rgb.png", names_url=str(tmp_path / "names.txt"))
    assert loading.load(source, 8, labelled=False).names == ("p2/rgb.png",)
