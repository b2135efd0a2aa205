"""Claims about factory.data.surveying.mask_checks: what only all masks of a source show."""

from pathlib import Path

from PIL import Image

from factory.data import loading
from factory.png import encode_png
from tests.data.inputs import (
    BLACK,
    BLUE,
    RED,
    encoded,
    flat,
    ids,
    only_problem,
    pairs,
    put,
    put_masks,
    put_palettes,
)


def test_masks_of_0_and_255_alone_are_named_and_counted(tmp_path: Path) -> None:
    source = put_masks(tmp_path, [0, 255], [0, 1], [255, 255], [0, 0])
    problem = only_problem(source)
    assert "2 of 4 masks hold only 0 and 255" in problem and "(a.png, c.png)" in problem
    assert "Write 1 instead of 255" in problem


def test_one_mask_of_ids_does_not_hide_the_white_ones(tmp_path: Path) -> None:
    assert "1 of 2 masks" in only_problem(put_masks(tmp_path, [0, 255], [1, 1]))


def test_where_others_ignore_255_a_mask_of_0_and_255_is_told_not_refused(tmp_path: Path) -> None:
    read = loading.read_labelled(put_masks(tmp_path, [0, 255], [0, 1], [2, 255]), 1)
    assert len(read) == 3
    assert any("1 of 3 masks hold only 0 and 255" in note for note in read.notes)


def test_a_few_masks_that_ignore_255_do_not_hide_that_most_are_white(tmp_path: Path) -> None:
    problem = only_problem(put_masks(tmp_path, [0, 255], [0, 255], [1, 255], [255, 0]))
    assert "3 of 4 masks hold only 0 and 255" in problem


def test_palette_masks_are_told_with_the_colour_that_each_class_has(tmp_path: Path) -> None:
    mask = Image.fromarray(ids([0, 1, 1]))
    mask.putpalette([0, 0, 0, 200, 10, 10, 10, 10, 200])
    put(tmp_path / "images", a_png=encode_png(flat(1, 1, 3)))
    put(tmp_path / "masks", a_png=encoded(mask))
    notes = " ".join(loading.read_labelled(pairs(tmp_path), 1).notes)
    assert "1 mask has palettes" in notes
    assert "background (0, 0, 0), thing (200, 10, 10)." in notes and "other" not in notes


def test_palettes_that_differ_from_file_to_file_are_refused(tmp_path: Path) -> None:
    source = put_palettes(
        tmp_path,
        ([0, 1, 2], BLACK + RED + BLUE),
        ([0, 1, 2], BLACK + BLUE + RED),
        ([0, 1, 1], BLACK + RED),
    )
    problem = only_problem(source)
    assert problem.startswith(
        f"{tmp_path}/masks/b.png: the palettes of these masks differ: index 1"
    )
    assert "(0, 0, 200) here and (200, 0, 0) in" in problem and "masks/a.png" in problem


def test_a_colour_of_two_indices_in_two_files_is_refused(tmp_path: Path) -> None:
    source = put_palettes(
        tmp_path, ([0, 1], BLACK + RED), ([0, 0], BLACK), ([0, 2], BLACK + BLUE + RED)
    )
    assert "colour (200, 0, 0) is index 2 here and 1 in" in only_problem(source)


def test_palettes_that_hold_more_colours_than_are_used_may_differ_there(tmp_path: Path) -> None:
    source = put_palettes(
        tmp_path,
        ([0, 1], BLACK + RED + BLUE),
        ([0, 1, 255, 1], (BLACK + RED) * 128),
        ([1, 1], BLACK + RED + BLACK),
    )
    assert len(loading.read_labelled(source, 1)) == 3


def test_classes_that_mean_ignored_are_told(tmp_path: Path) -> None:
    source = put_masks(tmp_path, [0, 1])
    (tmp_path / "classes.json").write_text('["Unlabelled", "thing"]')
    note = loading.read_labelled(source, 2).notes[0]
    assert note.startswith("class Unlabelled (id 0) is learned like any other")
