"""Claims about factory.data.pixels.geometry: images and masks made square, and masks put back."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from factory.data.pixels import geometry
from factory.data.pixels.geometry import Box, placement
from factory.data.pixels.reading import Fit
from factory.images import UInt8

WHOLE: tuple[Fit, ...] = ("pad", "stretch")


def square_of(ids: UInt8, size: int, place: geometry.Placement) -> UInt8:
    return geometry.square_ids(geometry.scaled_ids(ids, place).ids, size, place)


def blocks(height: int, width: int, side: int, seed: int = 0) -> UInt8:
    """A mask of blocks of one class each."""
    small = np.random.default_rng(seed).integers(0, 4, (height // side, width // side), np.uint8)
    return small.repeat(side, axis=0).repeat(side, axis=1)


def test_the_centre_is_kept_as_it_is_where_it_has_the_size() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)
    place = placement((8, 4), 4, "crop", None)
    square = geometry.square_pixels(Image.fromarray(pixels), 4, place)
    assert np.array_equal(square, pixels[:, 2:6])


def test_tall_images_lose_top_and_bottom() -> None:
    assert placement((4, 12), 2, "crop", None).source == Box(0, 4, 4, 4)


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((256, 64), Box(0, 12, 32, 8)),
        ((64, 256), Box(12, 0, 8, 32)),
        ((64, 64), Box(0, 0, 32, 32)),
        ((1000, 1), Box(0, 15, 32, 1)),
        ((8, 6), Box(0, 4, 32, 24)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_padding_keeps_proportions_and_centres(
    size: tuple[int, int], target: Box, channels: int
) -> None:
    place = placement(size, 32, "pad", None)
    assert place == geometry.Placement(Box(0, 0, *size), target)
    image = Image.new("RGB" if channels == 3 else "L", size, "white")
    square = geometry.square_pixels(image, 32, place)
    assert square.shape == (32, 32, channels)
    inside = np.zeros((32, 32), bool)
    inside[target.slices] = True
    assert (square[inside] == 255).all() and (square[~inside] == 0).all()
    mask = square_of(np.ones(size[::-1], np.uint8), 32, place)
    assert (mask[inside] == 1).all() and (mask[~inside] == 255).all()


def test_stretching_uses_all_of_an_image_and_all_of_the_square() -> None:
    place = placement((256, 64), 32, "stretch", None)
    assert place == geometry.Placement(Box(0, 0, 256, 64), Box(0, 0, 32, 32))
    ids = np.zeros((64, 256), np.uint8)
    ids[:, :64], ids[:, 192:] = 1, 2
    assert square_of(ids, 32, place)[0].tolist() == [1] * 8 + [0] * 16 + [2] * 8


@pytest.mark.parametrize("size", [(256, 64), (64, 256), (100, 70), (70, 70), (71, 70), (7, 1)])
@pytest.mark.parametrize("side", [1, 32, 64, 70])
def test_tiles_lie_in_the_image_cover_all_of_it_and_are_as_few_as_can_be(
    size: tuple[int, int], side: int
) -> None:
    if side > min(size):
        with pytest.raises(ValueError, match="are no"):
            geometry.tiles(size, side)
        return
    boxes = geometry.tiles(size, side)
    covered = np.zeros(size[::-1], int)
    for box in boxes:
        assert (box.width, box.height) == (side, side) and min(box.left, box.top) >= 0
        assert box.left + side <= size[0] and box.top + side <= size[1]
        covered[box.slices] += 1
    assert covered.min() == 1 or len(boxes) == 1
    assert len(boxes) == -(-size[0] // side) * -(-size[1] // side)
    gaps = {b - a for a, b in pairwise(sorted({box.left for box in boxes}))}
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize("fit", WHOLE)
@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (64, 64), (16, 32)])
def test_a_mask_of_blocks_comes_back_as_it_was(fit: Fit, shape: tuple[int, int]) -> None:
    ids = blocks(*shape, side=8)
    size = (shape[1], shape[0])
    place = placement(size, 32, fit, None)
    assert np.array_equal(geometry.whole_ids([(square_of(ids, 32, place), place)], size), ids)


@pytest.mark.parametrize("shape", [(32, 64), (64, 32), (64, 64)])
def test_a_cropped_mask_comes_back_ignored_outside_of_the_square(shape: tuple[int, int]) -> None:
    ids = blocks(*shape, side=8)
    size = (shape[1], shape[0])
    place = placement(size, 32, "crop", None)
    whole = geometry.whole_ids([(square_of(ids, 32, place), place)], size)
    inside = np.zeros(shape, bool)
    inside[place.source.slices] = True
    assert np.array_equal(whole[inside], ids[inside]) and (whole[~inside] == 255).all()


@pytest.mark.parametrize(("shape", "side"), [((64, 160), 64), ((96, 80), 32), ((70, 90), 32)])
def test_tiles_put_back_give_the_mask(shape: tuple[int, int], side: int) -> None:
    ids = np.random.default_rng(1).integers(0, 5, shape, np.uint8)
    size = (shape[1], shape[0])
    places = [placement(size, side, "tile", box) for box in geometry.tiles(size, side)]
    squares = [(square_of(ids, side, place), place) for place in places]
    assert np.array_equal(geometry.whole_ids(squares, size), ids)


@pytest.mark.parametrize("fit", ["crop", *WHOLE])
@pytest.mark.parametrize("seed", range(10))
def test_masks_of_any_size_come_back_in_place(fit: Fit, seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(40, 200, 2).tolist()
    ids = np.zeros((height, width), np.uint8)
    ids[: height // 2] += 1
    ids[:, : width // 2] += 2
    place = placement((width, height), 64, fit, None)
    whole = geometry.whole_ids([(square_of(ids, 64, place), place)], (width, height))
    known = whole != 255
    assert known[place.source.slices].all()
    assert (whole == ids)[known].mean() > 0.94  # edges move by up to a pixel of the square
