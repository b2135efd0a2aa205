"""Claims about samples of masks: what they hold is told whatever form it is stored in."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.data.classes.class_rules import ClassRules
from factory.data.items import ImageFile
from factory.data.kinds.pairs import PairsSource
from factory.data.masks.mask_decoding import Mask
from factory.data.surveying.mask_sampling import MaskSample, Samples
from factory.errors import Problems
from factory.png import encode_png
from tests.data.inputs import encoded, flat, ids


def sample_of(root: Path, *masks: bytes, ending: str = "png") -> MaskSample:
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for i, data in enumerate(masks):
        (root / f"images/{i}.png").write_bytes(encode_png(flat(i)))
        (root / f"masks/{i}.{ending}").write_bytes(data)
    source = PairsSource(url=str(root), classes=["a", "b"])
    return Samples().of(source.find(True, Problems()).items)


def palette(first: list[int], second: list[int]) -> bytes:
    picture = Image.fromarray(ids([0, 1] * 4).repeat(8, axis=0))
    picture.putpalette([*first, *second])
    return encoded(picture)


def test_values_are_counted_in_each_mask(tmp_path: Path) -> None:
    found = sample_of(tmp_path, encode_png(ids([0, 7, 7, 7])), encode_png(ids([255] * 4)))
    assert list(found.files) == [{0: 1, 7: 3}, {255: 4}] and found.num_masks == 2
    assert found.pixels == {0: 1, 7: 3, 255: 4} and not found.is_colored


def test_colours_are_counted_black_and_white_among_them(tmp_path: Path) -> None:
    colors = np.zeros((1, 4, 3), np.uint8)
    colors[0, 1], colors[0, 2] = (255, 255, 255), (10, 20, 30)
    found = sample_of(tmp_path, encode_png(colors), encode_png(np.zeros((1, 4, 3), np.uint8)))
    assert found.is_colored
    assert found.pixels == {(0, 0, 0): 6, (255, 255, 255): 1, (10, 20, 30): 1}


def test_indices_of_palettes_that_agree_are_values(tmp_path: Path) -> None:
    found = sample_of(tmp_path, *[palette([0, 0, 0], [200, 0, 0])] * 2)
    assert found.pixels == {0: 64, 1: 64} and not found.palettes_differ


@pytest.mark.parametrize("second", [[[0, 200, 0], [0, 0, 0]], [[0, 0, 0], [0, 200, 0]]])
def test_indices_of_palettes_that_differ_are_colours(
    second: list[list[int]], tmp_path: Path
) -> None:
    found = sample_of(tmp_path, palette([0, 0, 0], [200, 0, 0]), palette(*second))
    assert found.is_colored and found.palettes_differ
    assert set(found.pixels) == {(0, 0, 0), (200, 0, 0), (0, 200, 0)}


def test_masks_that_compression_has_blurred_are_told(tmp_path: Path) -> None:
    grey = np.repeat(ids([0, 0, 0, 0, 255, 255, 255, 255]), 8, axis=0)
    found = sample_of(tmp_path, encoded(grey, "JPEG"), ending="jpg")
    assert found.is_blurred and not found.is_colored


def test_masks_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    found = sample_of(tmp_path, b"nothing")
    assert found.files == [] and "masks/0.png" in found.problems[0]


def test_colours_that_compression_has_blurred_are_told_as_such(tmp_path: Path) -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[:, 4:, 0] = 255
    found = sample_of(tmp_path, encoded(red, "JPEG"), ending="jpg")
    assert found.is_colored and found.is_blurred and not found.problems
    assert all(isinstance(color, tuple) and color[2] < 32 for color in found.pixels)


def test_numbers_of_more_than_16_bits_are_objects_and_not_blurred(tmp_path: Path) -> None:
    many = Image.fromarray(np.array([[0, 70_000, 80_000, 0]], np.int32))
    found = sample_of(tmp_path, encoded(many, "TIFF"), ending="tif")
    assert found.pixels == {0: 2, 65535: 2} and not found.is_blurred


def test_what_lies_along_the_borders_of_masks_is_told(tmp_path: Path) -> None:
    around = np.pad(np.zeros((4, 4), np.uint8), 8, constant_values=255)
    for name, mask in (("around", around), ("within", 255 - around)):
        (tmp_path / name).mkdir()
        assert sample_of(tmp_path / name, encode_png(mask)).is_bright_around == (name == "around")


def saved(values: list[list[float]], dtype: type[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(values, dtype))
    return buffer.getvalue()


def test_negative_values_are_counted_as_they_are(tmp_path: Path) -> None:
    found = sample_of(tmp_path, saved([[-1, 0, 2]], np.int16), ending="npy")
    assert found.pixels == {-1: 1, 0: 1, 2: 1} and not found.problems


def test_fractions_are_told_and_counted_by_the_whole_numbers_below(tmp_path: Path) -> None:
    whole, fractions = saved([[0, 1, 1]], np.float32), saved([[0, 0.5, 1]], np.float32)
    found = sample_of(tmp_path, fractions, whole, ending="npy")
    assert found.are_fractions and not found.is_blurred and found.pixels == {0: 3, 1: 3}


def test_masks_that_are_looked_into_alone_and_together_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = []
    for name, num in (("one", 3), ("other", 250)):
        (tmp_path / name).mkdir()
        sample_of(tmp_path / name, *(encode_png(ids([0, i % 5])) for i in range(num)))
        source = PairsSource(url=str(tmp_path / name), classes=["a", "b"])
        sources.append(source.find(True, Problems()).items)
    decoded: list[str] = []
    decode = ImageFile.mask

    def counted(item: ImageFile, size: int, rules: ClassRules) -> Mask:
        decoded.append(str(item.mask_url))
        return decode(item, size, rules)

    monkeypatch.setattr(ImageFile, "mask", counted)
    samples = Samples()
    alone = [samples.of(items) for items in sources]
    assert [len(sample.files) for sample in alone] == [3, 125]
    together = samples.of(*sources)
    assert together.num_masks == 253 and len(together.files) == 3 + 63
    assert len(decoded) == len(set(decoded)) == 3 + 125
