"""Claims about factory.data.arrays: a program's own images are held to the rules of all others."""

import numpy as np
import pytest

from factory.classes import Classes
from factory.data import inspection
from factory.data.arrays import ArraySource
from factory.data.classes.class_rules import ClassRules
from factory.data.loading import read_images, read_labelled
from factory.errors import UserError
from tests.data.inputs import flat

CLASSES = Classes.named(["ground", "thing"])


def source(*values: int, height: int = 8, width: int = 8) -> ArraySource:
    """Three flat images, the left half of each mask of the values, the rest 0."""
    images = np.stack([flat(grey, height, width) for grey in (10, 20, 30)])
    masks = np.zeros(images.shape[:3], np.uint8)
    masks[:, :, : width // 2] = np.array(values)[:, None, None]
    return ArraySource(images, masks, ClassRules.of_positions(CLASSES))


def test_arrays_of_the_size_asked_for_come_back_as_they_are() -> None:
    arrays = source(1, 1, 0)
    read = read_labelled(arrays, 8)
    assert np.array_equal(read.images, arrays.images) and np.array_equal(read.masks, arrays.masks)
    assert read.names == ("000000", "000001", "000002") and read.classes == CLASSES


def test_oblong_arrays_are_cropped_and_scaled_and_what_is_lost_is_told() -> None:
    read = read_labelled(source(1, 1, 1, width=32), 4)
    assert read.images.shape == (3, 4, 4, 3) and read.masks[0].tolist() == [[1, 1, 0, 0]] * 4
    assert any("class thing: 75.00% of its pixels lie outside" in note for note in read.notes)
    assert read_images(source(1, 1, 1, width=32), 4).shape == (3, 4, 4, 3)


def test_masks_of_0_and_255_alone_are_refused_as_those_of_files() -> None:
    with pytest.raises(UserError, match=r"^masks\[0\]: 3 of 3 masks hold only"):
        read_labelled(source(255, 255, 255), 8)


def test_ids_that_are_no_classes_are_told_with_their_masks() -> None:
    with pytest.raises(UserError) as refusal:
        read_labelled(source(1, 7, 9), 8)
    (line,) = refusal.value.problems
    assert line.startswith("masks[1]: ids 7, 9 are not classes")
    assert "7: 32 pixels, 9: 32 pixels; in 2 of 3 masks: masks[1], masks[2]" in line


def test_arrays_are_inspected_like_any_source() -> None:
    found = inspection.inspect(source(1, 1, 0), 8, labelled=True)
    assert found.formats == {"array": 3} and found.image_counts == {"ground": 3, "thing": 2}
