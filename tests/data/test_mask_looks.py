"""Claims about what a mask looks like: few flat colours, in every form of file."""

import numpy as np
import pytest
from PIL import Image

from factory.data.mask_looks import looks_like_mask
from tests.data.inputs import encoded
from tests.data.test_stray_masks import mask, photo


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "WEBP"])
def test_a_mask_is_told_from_a_photograph(form: str) -> None:
    assert looks_like_mask(encoded(mask(3, "L"), form))
    assert looks_like_mask(encoded(mask(3, "RGB"), form))
    assert not looks_like_mask(encoded(photo(3), form))
    assert not looks_like_mask(encoded(photo(3, "L"), form))


def test_instance_ids_in_16_bits_look_like_masks() -> None:
    ids = np.repeat(np.arange(64, dtype=np.uint16) * 1000, 64).reshape(64, 64)
    assert looks_like_mask(encoded(Image.fromarray(ids)))
