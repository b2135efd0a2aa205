"""Claims about factory.pictures."""

import numpy as np

from factory import pictures
from factory.classes import Classes
from tests.test_images import noise

CLASSES = Classes.named(["background", "thing"], [(0, 0, 0), (250, 10, 20)])


def test_overlay_blends_and_ignored_pixels_are_white() -> None:
    pixels = np.full((1, 3, 3), 100, np.uint8)
    mask = np.array([[0, 1, 255]], np.uint8)
    colors = pictures.colorize(mask, CLASSES)
    assert colors.tolist() == [[[0, 0, 0], [250, 10, 20], [255, 255, 255]]]
    half = pictures.overlay(pixels, mask, CLASSES, opacity=0.5)
    assert half[0, 1].tolist() == [175, 55, 60]
    assert np.array_equal(pictures.overlay(pixels, mask, CLASSES, opacity=0.0), pixels)


def test_heat_runs_from_black_to_white() -> None:
    shown = pictures.heat(np.array([[0.0, 1 / 3, 2 / 3, 1.0, 5.0]]), top=1.0)
    assert shown[0, [0, 1, 2, 3, 4]].tolist() == [
        [0, 0, 0], [255, 0, 0], [255, 255, 0], [255, 255, 255], [255, 255, 255]
    ]  # fmt: skip


def test_tile_places_cells_in_rows_with_a_white_gap() -> None:
    red, blue = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = pictures.tile([[red, blue], [blue]], scale=2, gap=1)
    assert sheet.shape == (2 * 5 + 1, 2 * 7 + 1, 3)
    assert sheet[1, 1].tolist() == [255, 0, 0] and sheet[4, 6].tolist() == [255, 0, 0]
    assert sheet[1, 8].tolist() == [0, 0, 255] and sheet[6, 1].tolist() == [0, 0, 255]
    assert sheet[0].min() == 255 and sheet[6, 8].tolist() == [255, 255, 255]


def test_each_picture_of_a_sheet_has_the_place_that_the_largest_needs() -> None:
    wide, high = np.zeros((1, 3, 3), np.uint8), np.zeros((2, 1, 1), np.uint8)
    sheet = pictures.tile([[wide, high]], gap=1)
    assert sheet.shape == (4, 9, 3) and (sheet == 0).sum() == 3 * (3 + 2)
    assert not sheet[1, 1:4].any() and not sheet[1:3, 5].any()


def test_captions_stand_above_the_sheet() -> None:
    sheet = noise(20, 90)
    shown = pictures.captioned(sheet, ["image", "mask"])
    assert np.array_equal(shown[16:], sheet)
    assert shown[:16].min() < 128


def test_marked_pixels_are_yellow_and_all_others_are_dark() -> None:
    for channels in (3, 1):
        white = np.full((1, 2, channels), 255, np.uint8)
        shown = pictures.marked(white, np.array([[True, False]]))
        assert shown[0].tolist() == [[255, 224, 71], [89, 89, 89]]
