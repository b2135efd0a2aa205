"""Claims about factory.likeness.labelled_images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.data.kinds.pairs import PairsSource
from factory.data.kinds.toy import ToySource
from factory.data.loading import read_labelled
from factory.errors import UserError
from factory.likeness.labelled_images import LabelledImages


def test_the_most_similar_one_comes_with_its_mask_in_the_size_that_is_asked_for() -> None:
    source = ToySource(num=12, seed=3)
    found, known = LabelledImages.read(source, 3), read_labelled(source, 32)
    first, again, other = found.most_similar(
        [known.images[7], known.images[7], known.images[4]], 32
    )
    assert first is again and (first.name, other.name) == (known.names[7], known.names[4])
    assert np.array_equal(first.image, known.images[7])
    assert first.mask is not None and np.array_equal(first.mask, known.masks[7])
    assert found.most_similar([], 32) == []


def pairs(folder: Path) -> PairsSource:
    """Three images with masks of two classes."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        Image.fromarray(np.eye(20, dtype=np.uint8)).save(folder / "masks" / f"{i}.png")
    (folder / "classes.json").write_text('["ground", "line"]')
    return PairsSource(url=str(folder), classes_url=str(folder / "classes.json"))


def test_an_image_that_is_gone_or_torn_is_named(tmp_path: Path) -> None:
    source = pairs(tmp_path)
    found = LabelledImages.read(source, 3)
    assert sum(found.pixels) == 3 * 64 * 64 and min(found.pixels) > 0
    asked = np.asarray(Image.open(tmp_path / "images" / "1.png"))
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(UserError, match=r"1\.png"):
        found.most_similar([asked], 32)
    (tmp_path / "images" / "1.png").write_bytes((tmp_path / "images" / "2.png").read_bytes()[:80])
    with pytest.raises(UserError, match=r"1\.png"):
        LabelledImages.read(source, 3)
