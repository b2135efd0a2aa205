"""Claims about what a mask looks like: few flat colours, in every form of file."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from factory.data.recognizing.mask_looks import looks_like_mask
from tests.data.inputs import encoded
from tests.data.recognizing.test_stray_masks import mask, photo


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "WEBP"])
def test_a_mask_is_told_from_a_photograph(form: str) -> None:
    assert looks_like_mask(encoded(mask(3, "L"), form))
    assert looks_like_mask(encoded(mask(3, "RGB"), form))
    assert not looks_like_mask(encoded(photo(3), form))
    assert not looks_like_mask(encoded(photo(3, "L"), form))


def test_instance_ids_in_16_bits_look_like_masks() -> None:
    ids = np.repeat(np.arange(64, dtype=np.uint16) * 1000, 64).reshape(64, 64)
    assert looks_like_mask(encoded(Image.fromarray(ids)))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_dark_or_pale_photograph_is_no_mask(mode: str) -> None:
    dark = photo(3, mode).point(lambda value: value // 5)
    assert not looks_like_mask(encoded(dark, "PNG"))


def test_classes_in_flat_areas_are_a_mask_however_many_there_are() -> None:
    classes = np.repeat(np.arange(40, dtype=np.uint8), 40 * 8).reshape(40, 320)
    assert looks_like_mask(encoded(Image.fromarray(classes), "PNG"))


def test_a_photograph_in_the_colours_of_lab_is_no_mask() -> None:
    profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    to_lab = ImageCms.buildTransform(*profiles, "RGB", "LAB")
    lab = ImageCms.applyTransform(photo(3), to_lab)
    assert lab is not None and lab.mode == "LAB"
    assert not looks_like_mask(encoded(lab, "TIFF"))
