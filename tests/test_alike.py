"""Claims about problems that many files have: one line a kind, which names the files."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

from factory.alike import Alike, each_kind_once, of_file
from factory.data.loading import first_lines
from factory.errors import UserError
from factory.png import encode_png
from tests.data.inputs import encoded, pairs, problems_of, put


def test_problems_that_differ_in_names_and_numbers_alone_are_one_kind() -> None:
    lines = [of_file(f"/a/{i}.png", f"has {i} pixels, and 9 are needed.") for i in range(1, 11)]
    assert each_kind_once(["first.", *lines, "last."]) == [
        "first.",
        "/a/1.png: has 1 pixels, and 9 are needed. The same is true of 9 others: 2.png, 3.png, "
        "4.png, 5.png, 6.png, 7.png and 3 more.",
        "last.",
    ]


def test_what_is_of_one_file_alone_is_told_of_each() -> None:
    lines = [of_file(f"/a/{own}.png", f"is {own}.", own=own) for own in ("red", "green")]
    (line,) = UserError(lines).problems
    assert line == "/a/red.png: is red. The same is true of 1 other: green.png (green)."


def test_of_several_proposed_ranges_the_widest_is_told() -> None:
    ranges = [(0.0, 511.0), (-2.0, 255.0), (0.0, 4095.0)]
    lines = [
        of_file(f"/a/{i}.png", f"dark. Set intensity: [{low:g}, {high:g}].", span=(low, high))
        for i, (low, high) in enumerate(ranges)
    ]
    (line,) = each_kind_once(lines)
    assert line.startswith("/a/0.png: dark. Set intensity: [-2, 4095]. The same")


def test_other_kinds_stay_apart_and_one_crosses_process_borders_whole() -> None:
    lines = [of_file("/a/1.png", "is black."), of_file("/a/2.png", "is white.")]
    assert each_kind_once(lines) == lines
    copy = pickle.loads(pickle.dumps(lines[0]))
    assert isinstance(copy, Alike) and (copy, copy.name) == (lines[0], "/a/1.png")


def test_each_kind_of_bad_masks_and_images_is_one_line(tmp_path: Path) -> None:
    dark = encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)), "PNG")
    lossy = encoded(Image.fromarray(np.full((8, 8, 3), 9, np.uint8)), "JPEG")
    small = encode_png(np.zeros((3, 3), np.uint8))
    image = encode_png(np.zeros((8, 8, 3), np.uint8))
    mask = encode_png(np.zeros((8, 8), np.uint8))
    put(tmp_path / "images", **{f"d{i}_png": dark for i in range(4)})
    put(tmp_path / "masks", **{f"d{i}_png": mask for i in range(4)})
    for start, bad, ending in (("s", small, "png"), ("j", lossy, "jpg")):
        put(tmp_path / "images", **{f"{start}{i}_png": image for i in range(4)})
        put(tmp_path / "masks", **{f"{start}{i}_{ending}": bad for i in range(4)})
    put(tmp_path / "images", **{f"m{i}_png": image for i in range(4)})
    lines = first_lines(problems_of(pairs(tmp_path)))
    told = [line for line in lines if "The same is true of 3 others: " in line]
    assert len(told) == len(lines) == 4, lines
