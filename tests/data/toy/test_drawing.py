"""Claims about the toy domain: what its drawings hold, and what they depend on."""

import numpy as np
import pytest

from factory.data.toy.drawing import draw
from factory.data.toy.faces import CLASSES, PALETTE
from tests.drawings import draw_many


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray]:
    return draw_many(seed=3, num=100, size=32)


def majority(mask: np.ndarray, factor: int) -> np.ndarray:
    size = len(mask) // factor
    blocks = mask.reshape(size, factor, size, factor).swapaxes(1, 2).reshape(size, size, -1)
    votes = [np.bincount(block, minlength=len(CLASSES)) for row in blocks for block in row]
    return np.argmax(votes, axis=1).reshape(size, size)


def test_a_drawing_depends_on_seed_and_index_alone():
    image, mask = draw(5, 17, 32)
    np.random.seed(0)
    draw(5, 16, 32), draw(6, 17, 64)
    again, mask_again = draw(5, 17, 32)
    assert image.tobytes() == again.tobytes()
    assert mask.tobytes() == mask_again.tobytes()


@pytest.mark.slow
def test_other_seeds_and_indices_draw_other_faces():
    drawn = {draw(seed, index, 32)[1].tobytes() for seed in range(4) for index in range(25)}
    assert len(drawn) == 100


@pytest.mark.parametrize("size", [17, 32, 64, 128])
def test_images_and_masks_are_bytes_of_the_size_asked_for(size):
    image, mask = draw(0, 1, size)
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert mask.shape == (size, size) and mask.dtype == np.uint8
    assert mask.max() < len(CLASSES)


def test_every_class_has_a_name_and_a_colour_of_its_own():
    assert len(set(PALETTE)) == len(set(CLASSES)) == len(PALETTE) == len(CLASSES)


@pytest.mark.slow
def test_every_class_occurs_often_enough_to_learn(faces):
    present = {
        name: (faces[1] == label).any(axis=(1, 2)).mean() for label, name in enumerate(CLASSES)
    }
    assert min(present.pop("glasses"), present.pop("hat")) > 0.12
    assert min(present.values()) > 0.85, present


def test_small_features_keep_enough_pixels_at_32(faces):
    pixels = {name: (faces[1] == CLASSES.index(name)).sum(axis=(1, 2)) for name in CLASSES}
    assert np.median(pixels["nose"]) >= 4
    assert np.median(pixels["mouth"]) >= 8
    assert np.median(pixels["eye"]) >= 30


@pytest.mark.parametrize("index", range(4))
def test_a_face_is_the_same_face_at_every_size(index):
    small, small_mask = draw(1, index, 32)
    large, large_mask = draw(1, index, 128)
    assert np.mean(majority(large_mask, 4) == small_mask) > 0.95
    shrunk = large.reshape(32, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small).mean() < 6


@pytest.mark.slow
def test_the_mask_lies_on_what_the_image_shows():
    """Inside a class neighbours look alike; across a class border they do not."""
    images, masks = draw_many(2, 40, 128)
    step = np.abs(np.diff(images.astype(int), axis=2)).sum(axis=-1)
    border = masks[:, :, 1:] != masks[:, :, :-1]
    assert step[border].mean() > 5 * step[~border].mean()


def test_skin_has_another_colour_than_the_background(faces):
    images, masks = faces
    for image, mask in zip(images, masks, strict=True):
        skin, background = image[mask == 1].mean(axis=0), image[mask == 0].mean(axis=0)
        assert np.abs(skin - background).max() > 12
