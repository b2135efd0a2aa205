"""Claims about factory.likeness.similar."""

import numpy as np

from factory.likeness.feature_space import features
from factory.likeness.similar import most_similar
from tests.drawings import draw_many


def test_the_image_itself_and_its_mirror_image_are_found() -> None:
    known, _ = draw_many(5, 8, 16)
    asked = [known[6], np.ascontiguousarray(known[2][:, ::-1])]
    assert most_similar(asked, features(known).layout) == [6, 2]


def test_images_of_several_sizes_and_grey_ones_are_compared() -> None:
    known, _ = draw_many(5, 8, 16)
    grey = known.mean(axis=3, keepdims=True).astype(np.uint8)
    asked = [np.kron(grey[3], np.ones((2, 2, 1), np.uint8)), grey[5]]
    assert most_similar(asked, features(grey).layout) == [3, 5]
