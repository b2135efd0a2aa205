"""Claims about sources of kind folder: which images are read, and what is said of the rest."""

from pathlib import Path

import numpy as np
import pytest

from factory.data import loading
from factory.errors import UserError
from factory.png import encode_png
from tests.data.inputs import encoded, flat, folder, only_problem, put


def test_a_folder_is_read_with_its_subfolders_sorted_by_name(tmp_path: Path) -> None:
    for value, name in enumerate(["b.png", "a/z.bmp", "c.webp", "a.JPG", "notes.txt", ".d.png"]):
        form = {"bmp": "BMP", "webp": "WEBP", "jpg": "JPEG"}.get(name[-3:].lower(), "PNG")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(flat(value * 10), "WEBP" if "webp" in name else form))
    read = loading.read_images(folder(tmp_path), 8)
    assert read.shape == (4, 8, 8, 3) and read.dtype == np.uint8
    order = np.array(sorted([(b"a.JPG", 30), (b"a/z.bmp", 10), (b"b.png", 0), (b"c.webp", 20)]))
    assert np.abs(read[:, 4, 4, 0].astype(int) - order[:, 1].astype(int)).max() <= 2
    assert len(loading.read_images(folder(tmp_path, num=2), 8)) == 2


def test_a_few_pictures_that_are_not_read_are_told_with_their_endings(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path, **{f"{name}_png": encode_png(flat(1)), f"{name}_txt": b"x"})
    put(tmp_path, d_dcm=b"x", e_DCM=b"x", f_heic=b"x", g_db=b"x")
    put(tmp_path / "__MACOSX", h_dcm=b"x")
    put(tmp_path / ".ipynb_checkpoints", i_dcm=b"x")
    (tmp_path / "._j.dcm").write_bytes(b"x")
    content = loading.load(folder(tmp_path), 8, labelled=False)
    assert not content.problems and len(content.images) == 3
    assert content.notes[0].startswith(f"{tmp_path}: 2 .dcm, 1 .heic are not read.")
    (tmp_path / "names.json").write_text('["a.png"]')
    listed = folder(tmp_path, names_url=str(tmp_path / "names.json"))
    assert loading.load(listed, 8, labelled=False).notes == ()


def test_rare_endings_and_files_without_one_are_told(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)), b_png=encode_png(flat(1)), c_JPE=b"x", d_dib=b"x")
    (tmp_path / "0001").write_bytes(b"x")
    (note,) = loading.load(folder(tmp_path), 8, labelled=False).notes
    assert "1 .jpe, 1 .dib, 1 without ending are not read" in note


def test_links_to_folders_are_told_since_they_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "elsewhere", b_png=encode_png(flat(2)))
    (tmp_path / "images/more").symlink_to(tmp_path / "elsewhere")
    (note,) = loading.load(folder(tmp_path / "images"), 8, labelled=False).notes
    assert "links to folders are not followed: more" in note
    (tmp_path / "images/a.png").unlink()
    problem = only_problem(folder(tmp_path / "images"), labelled=False)
    assert "but links to folders, which are not followed: more. Put the images there" in problem


def test_more_pictures_that_are_not_read_than_are_is_refused(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)), b_dcm=b"x", c_dcm=b"x")
    problem = only_problem(folder(tmp_path), labelled=False)
    assert "2 .dcm are not read, and only 1 other images are" in problem and "PNG" in problem


def test_a_missing_folder_is_named_with_what_it_must_hold(tmp_path: Path) -> None:
    problem = only_problem(folder(tmp_path / "nope"), labelled=False)
    assert f"{tmp_path}/nope: no such folder" in problem and ".jpeg" in problem


def test_a_folder_without_images_says_which_endings_are_read(tmp_path: Path) -> None:
    put(tmp_path, a_dcm=b"x")
    assert " .tif .tiff .gif .npy " in only_problem(folder(tmp_path), labelled=False)


def test_a_folder_of_pairs_is_not_read_as_images(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]))
    problem = only_problem(folder(tmp_path), labelled=False)
    assert "kind: pairs" in problem and f"url: {tmp_path}/images" in problem
    assert "Use kind: pairs" in only_problem(folder(tmp_path), labelled=True)


@pytest.mark.parametrize(
    ("content", "key", "said"),
    [
        ('["a.jpg"]', None, "names a.jpg, .* Did you mean a.png?"),
        ('["../classes.json"]', None, "names ../classes.json, which is not in"),
        ('["a.png", "a.png"]', None, "names a.png 2 times"),
        ('{"train": ["a.png"]}', "test", "holds the lists train. Set names_key to one, not 'test'"),
        ('{"train": ["a.png"]}', None, "holds the lists train"),
        ('["a.png"]', "test", "without keys"),
        ("[]", None, "one or more file names"),
        ('{"test": [1]}', "test", "file names at test"),
        ("a.png", None, "must be a JSON list"),
        ("\xff", None, "must be a JSON list"),
        (None, None, "No such file"),
    ],
)
def test_bad_name_lists_are_refused(
    tmp_path: Path, content: str | None, key: str | None, said: str
) -> None:
    put(tmp_path, a_png=encode_png(flat(1)))
    if content is not None:
        (tmp_path / "names.json").write_bytes(content.encode("latin-1"))
    source = folder(tmp_path, names_url=str(tmp_path / "names.json"), names_key=key)
    with pytest.raises(UserError, match=said) as refusal:
        loading.read_images(source, 8)
    assert "names.json" in str(refusal.value) and len(refusal.value.problems) == 1
