"""Claims about the sheet of images: it shows what was read, as it was read."""

import io

import numpy as np
import pytest
from PIL import Image

from factory.classes import Classes
from factory.data.contact_sheet import NUM_SHOWN, contact_sheet, shown_positions
from factory.data.passes import Pair
from factory.images import UInt8

CLASSES = Classes.named(["a", "b"], [(0, 0, 255), (255, 0, 0)])


def pixels(data: bytes | None) -> UInt8:
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data)))


def pair(size: int = 32, with_mask: bool = True) -> Pair:
    image = np.full((size, size, 3), 7, np.uint8)
    return Pair("x", image, np.ones((size, size), np.uint8) if with_mask else None)


@pytest.mark.parametrize("num", [0, 1, 5, 6, 1000])
def test_a_few_images_are_shown_evenly_spread(num: int) -> None:
    found = sorted(shown_positions(num))
    assert len(found) == min(num, NUM_SHOWN) and all(0 <= i < num for i in found)
    assert num < 1000 or found[1] - found[0] > 100


def test_images_with_masks_stand_beside_their_masks_and_overlays() -> None:
    sheet = pixels(contact_sheet({"data.test": ([pair()], CLASSES)}))
    colors = {tuple(color) for color in sheet.reshape(-1, 3).tolist()}
    assert {(7, 7, 7), (255, 0, 0)} <= colors
    assert any(red > 120 and green < 8 and red < 255 for red, green, _ in colors), "the overlay"


def test_sections_of_other_widths_are_one_picture() -> None:
    sections = {"data.unlabelled": ([pair(with_mask=False)] * 3, None)}
    alone = pixels(contact_sheet(sections))
    both = pixels(contact_sheet({**sections, "data.labelled": ([pair(300)], CLASSES)}))
    assert both.shape[0] > alone.shape[0] and both.shape[1] >= alone.shape[1]


def test_small_images_are_enlarged() -> None:
    assert pixels(contact_sheet({"x": ([pair(16, False)], None)})).shape[0] > 128


def test_nothing_to_show_is_no_sheet() -> None:
    assert contact_sheet({"data.test": ([], CLASSES)}) is None
