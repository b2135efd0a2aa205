"""Claims about factory.data.loading: a whole source as arrays, and all that is wrong with it."""

import json
import os
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from factory import storage
from factory.data import loading
from factory.data.kinds.pairs import PairsSource
from factory.data.kinds.toy import ToySource
from factory.png import encode_png
from tests.data.inputs import (
    SHARED_DATA,
    encoded,
    flat,
    folder,
    ids,
    needs_shared_data,
    only_problem,
    pairs,
    problems_of,
    put,
)


def test_drawings_are_labelled_and_depend_on_the_seed() -> None:
    drawn = loading.read_labelled(ToySource(num=2, seed=5), 16)
    assert drawn.images.shape == (2, 16, 16, 3) and drawn.masks.shape == (2, 16, 16)
    assert drawn.names == ("toy-5-000000", "toy-5-000001") and len(drawn) == 2
    assert drawn.masks.max() < len(drawn.classes)
    assert np.array_equal(loading.read_images(ToySource(num=2, seed=5), 16), drawn.images)
    assert not np.array_equal(loading.read_images(ToySource(num=2, seed=6), 16), drawn.images)


def test_any_storage_is_read() -> None:
    url = f"memory://{uuid.uuid4().hex}"
    storage.write(f"{url}/x/a.png", encode_png(flat(7)))
    assert loading.read_images(folder(url), 8)[0, 0, 0].tolist() == [7, 7, 7]


def test_a_mask_that_is_the_file_of_its_image_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(ids([0, 1])), b_png=encode_png(ids([0, 2])))
    put(tmp_path / "masks", a_png=encode_png(ids([0, 1])), b_png=encode_png(ids([0, 1])))
    problem = only_problem(pairs(tmp_path))
    assert problem.startswith(f"{tmp_path}/masks/a.png: is the same file as its image")


def test_small_objects_and_wide_ones_that_are_lost_are_told(tmp_path: Path) -> None:
    wide = np.zeros((8, 24), np.uint8)
    wide[:, :4] = 2
    wide[3:5, 11:13] = 1
    put(tmp_path / "images", a_png=encode_png(flat(1, 8, 24)))
    put(tmp_path / "masks", a_png=encode_png(wide))
    read = loading.read_labelled(pairs(tmp_path), 1)
    notes = " ".join(read.notes)
    assert "class thing: 1 of 1 connected regions vanish when they are scaled to 1 px" in notes
    assert "class other: 100.00% of its pixels lie outside the centred square" in notes
    assert loading.read_labelled(pairs(tmp_path, num=1), 8).notes[0].startswith("class background")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    good = encode_png(flat(1))
    put(tmp_path / "images", a_png=good, b_png=good, c_png=good[:44], d_png=b"<html>", e_png=good)
    mask, clear = encode_png(flat(1)[..., 0]), encoded(Image.new("RGBA", (8, 8), (9, 9, 9, 99)))
    put(tmp_path / "masks", a_png=mask, c_png=mask[:44], d_png=mask, e_png=clear,
        z_png=mask)  # fmt: skip
    problems = "\n".join(problems_of(pairs(tmp_path, classes='{"0": "a"}')))
    for part in (
        "classes.json: needs 2",
        "images/b.png: has no mask b.png",
        "images/c.png: damaged",
        "The same is true of 1 other: masks/c.png.",
        "images/d.png: not a PNG",
        "masks/e.png: pixels of it are half transparent",
        "masks/z.png: mask without an image",
    ):
        assert part in problems
    assert problems.count("\n") == 5


def test_many_problems_end_with_their_number(tmp_path: Path) -> None:
    problems = loading.first_lines([f"{i}.png: is wrong in a way of its own." for i in range(53)])
    assert len(problems) == 51 and problems[-1] == "... and 3 more."


def test_names_that_are_no_text_can_be_told(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(b"")
    assert r"\udcff.png: empty" in only_problem(folder(tmp_path), labelled=False).encode().decode()


def test_a_dangling_link_is_a_problem_of_its_file(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)))
    (tmp_path / "b.png").symlink_to(tmp_path / "nope")
    assert only_problem(folder(tmp_path), labelled=False).startswith(f"{tmp_path}/b.png: cannot")


@needs_shared_data
def test_real_faces_are_read_by_their_split() -> None:
    faces64 = SHARED_DATA / "faces64"
    source = PairsSource(
        url=str(faces64 / "labeled"), classes_url=str(faces64 / "classes.json"),
        names_url=str(faces64 / "splits.json"), names_key="train_100",
    )  # fmt: skip
    faces = loading.read_labelled(source, 64)
    split = json.loads((faces64 / "splits.json").read_text())
    assert faces.names == tuple(sorted(split["train_100"]))
    twenty = source.model_copy(update={"num": 20})
    assert loading.read_labelled(twenty, 64).names == tuple(sorted(split["train_20"]))
    assert faces.masks.max() == len(faces.classes) - 1 == 18
