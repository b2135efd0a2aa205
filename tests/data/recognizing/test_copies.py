"""Claims about masks that lie in two folders: the same ones are read once, others are asked for."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.inputs import encoded
from tests.data.recognizing.test_recognition import candidates, photograph


@pytest.mark.parametrize("is_same", [True, False])
def test_pictures_are_read_of_the_masks_that_are_there_as_arrays_too(
    is_same: bool, tmp_path: Path
) -> None:
    folders = ("JPEGImages", "SegmentationClass", "SegmentationClassPNG")
    for folder in folders:
        (tmp_path / folder).mkdir()
    for i in range(4):
        ids = np.zeros((16, 16), np.int32)
        ids[4 * i : 4 * i + 4, 9:13] = 1
        ids[4 * i : 4 * i + 2, :5] = -1  # what labelme's export ignores
        (tmp_path / f"JPEGImages/{i}.jpg").write_bytes(encoded(photograph(i), "JPEG"))
        np.save(tmp_path / f"SegmentationClass/{i}.npy", ids)
        picture = Image.fromarray((ids if is_same else ids.T).astype(np.uint8))
        picture.putpalette([0, 0, 0, 128, 0, 0, *[224] * 762])
        (tmp_path / f"SegmentationClassPNG/{i}.png").write_bytes(encoded(picture))
    found = candidates(tmp_path)
    if is_same:
        assert [candidate.keys["masks"] for candidate in found] == ["SegmentationClassPNG"]
        assert not found[0].question
    else:
        assert [candidate.keys["masks"] for candidate in found] == list(folders[1:])
