"""Claims about factory.data.masks.mask_decoding: the rules by which a mask is read, or refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.data import inspection, loading
from factory.data.pixels import decoding
from factory.errors import UserError
from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import (
    BLACK,
    BLUE,
    RED,
    encoded,
    flat,
    ids,
    only_problem,
    pairs,
    put,
    put_masks,
    put_palettes,
    read_mask,
)


def test_palette_masks_are_read_as_indices(tmp_path: Path) -> None:
    mask = Image.fromarray(ids([0, 1], [2, 255]))
    mask.putpalette([i * 37 % 256 for i in range(768)])
    assert read_mask(tmp_path, encoded(mask), flat(1, 2, 2), 2).tolist() == [[0, 1], [2, 255]]


def test_one_bit_masks_are_classes_0_and_1(tmp_path: Path) -> None:
    mask = Image.fromarray(ids([0, 255], [255, 0])).convert("1", dither=Image.Dither.NONE)
    assert read_mask(tmp_path, encoded(mask), flat(1, 2, 2), 2).tolist() == [[0, 1], [1, 0]]


def test_scaling_masks_never_invents_ids(tmp_path: Path) -> None:
    mask = np.where(np.random.default_rng(0).random((24, 24)) < 0.5, 0, 2).astype(np.uint8)
    small = read_mask(tmp_path, encode_png(mask), flat(1, 24, 24), 8)
    assert set(np.unique(small).tolist()) == {0, 2}


def test_a_smaller_mask_stays_in_register_with_its_image(tmp_path: Path) -> None:
    image = flat(0, 16, 24)
    image[:, 12:] = 255
    mask = ids(*[[0, 0, 0, 1, 1, 1]] * 4)
    found = read_mask(tmp_path, encode_png(mask), image, 16)
    read = loading.read_images(pairs(tmp_path), 16)[0]
    assert np.array_equal(found, read[..., 0] // 255)


def test_a_mask_larger_than_its_image_is_scaled_to_it_by_coverage(tmp_path: Path) -> None:
    mask = ids([0, 0, 1, 1], [0, 0, 1, 0], [2, 2, 0, 0], [2, 0, 0, 0])
    source = pairs(tmp_path)
    found = read_mask(tmp_path, encode_png(mask), flat(1, 2, 2), 2)
    assert found.tolist() == [[0, 1], [2, 0]]
    (note,) = [n for n in inspection.inspect(source, 2, True).notes if "scaled" in n]
    assert note == (
        "1 mask is of another size than its image, in the same proportions: scaled to it."
    )


@pytest.mark.parametrize("shape", [(8, 9), (16, 19), (3, 5), (8, 4), (9, 8), (12, 12), (6, 6)])
def test_other_mask_sizes_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_png=encode_png(np.zeros(shape, np.uint8)))
    problem = only_problem(pairs(tmp_path))
    assert f"{shape[1]}x{shape[0]}" in problem and "8x8" in problem and "masks/a.png" in problem


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (encoded(np.zeros((8, 8), np.uint8), "JPEG"), "must be exact, and JPEG blurs"),
        (encoded(np.indices((8, 8, 3)).sum(0).astype(np.uint8)), "mode RGB has no class ids"),
        (encoded(Image.new("CMYK", (8, 8)), "TIFF"), "mode CMYK"),
        (encoded(Image.fromarray(np.full((8, 8), 256, np.uint16))), "ids 256 are not classes"),
        (b"", "empty file"),
        (encode_png(flat(0)[..., 0])[:44], "damaged"),
        (encode_png(flat(7)[..., 0]), "ids 7 are not classes: classes are 0..2"),
        (encode_png(np.arange(64, dtype=np.uint8).reshape(8, 8)), "and 53 more .were the edges"),
    ],
)
def test_masks_without_class_ids_are_refused(tmp_path: Path, mask: bytes, said: str) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_png=mask)
    with pytest.raises(UserError, match=said) as refusal:
        loading.read_labelled(pairs(tmp_path), 8)
    assert "masks/a.png" in str(refusal.value)


def test_two_bit_palette_masks_are_read(tmp_path: Path) -> None:
    mask = Image.fromarray(ids([0, 1], [2, 1]))
    mask.putpalette([0, 0, 0, 9, 9, 9, 99, 99, 99])
    data = encoded(mask, bits=2)
    assert data[24] == 2
    assert read_mask(tmp_path, data, flat(1, 2, 2), 2).tolist() == [[0, 1], [2, 1]]


def shallow_png(bits: int, *rows: bytes) -> bytes:
    """A PNG of 4 pixels a row, in grey of fewer bits than 8."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, len(rows), bits, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize(("bits", "row"), [(2, b"\x18"), (4, b"\x01\x20")])
def test_grey_of_few_bits_is_read_as_its_values_not_as_0_to_255(
    tmp_path: Path, bits: int, row: bytes
) -> None:
    found = read_mask(tmp_path, shallow_png(bits, *[row] * 4), flat(1, 4, 4), 4)
    assert found.tolist() == [[0, 1, 2, 0]] * 4


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([0, 128, 255], "ids 128 are.*values 0, 128, 255 stand for classes, write 0, 1, 2"),
        ([0, 127, 254], "ids 127, 254 are not classes.*write 0, 1, 2"),
        ([0, 254], "ids 254 are not classes.*values 0, 254 stand for classes, write 0, 1"),
    ],
)  # fmt: skip
def test_grey_levels_for_classes_are_refused_with_the_ids_to_write(
    tmp_path: Path, row: list[int], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        loading.read_labelled(put_masks(tmp_path, row, [0, 1, 1]), 1)


def test_a_jpeg_mask_is_refused_with_the_threshold(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_jpg=encoded(flat(255)[..., 0], "JPEG"))
    problem = only_problem(pairs(tmp_path, '["background", "road"]'))
    assert "JPEG blurs" in problem
    assert "`classes: [{name: background}, {name: road, above: 127}]`" in problem


def test_a_palette_whose_black_is_not_class_0_is_refused(tmp_path: Path) -> None:
    source = put_palettes(tmp_path, ([0, 1, 2], BLUE + RED + BLACK), ([0, 1, 1], BLUE + RED))
    problem = only_problem(source)
    assert "its palette has (0, 0, 200) at index 0 and black at index 2" in problem
    assert "Renumber the mask by class ids" in problem


def test_indices_beyond_the_classes_name_the_palette(tmp_path: Path) -> None:
    problem = only_problem(put_palettes(tmp_path, ([0, 3], BLACK + RED + BLUE + RED)))
    assert "ids 3 are not classes" in problem and "indices of its palette" in problem


def turned(pixels: UInt8, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(pixels, exif=exif)


@pytest.mark.parametrize(
    ("orientation", "shape"), [(6, (8, 8)), (3, (8, 8)), (3, (8, 12)), (4, (12, 8))]
)
def test_a_mask_that_fits_its_turned_image_both_ways_is_refused(
    tmp_path: Path, orientation: int, shape: tuple[int, int]
) -> None:
    put(tmp_path / "images", a_png=turned(flat(1, *shape), orientation))
    put(tmp_path / "masks", a_png=encode_png(np.zeros(shape, np.uint8)))
    problem = only_problem(pairs(tmp_path))
    assert problem.startswith(
        f"{tmp_path}/masks/a.png: the EXIF orientation of its image is {orientation}, its own 1"
    )
    for exif in ("apply_to_masks", "apply_to_images"):
        assert f"exif: {exif} if" in problem
        assert len(loading.read_labelled(pairs(tmp_path, exif=exif), 8)) == 1


@pytest.mark.parametrize(
    ("image", "mask", "shape"),
    [(1, 6, (8, 8)), (1, 2, (8, 12)), (6, 8, (8, 12)), (5, 6, (8, 8))],
)
def test_an_image_and_its_mask_that_are_turned_differently_but_lie_alike_are_refused(
    tmp_path: Path, image: int, mask: int, shape: tuple[int, int]
) -> None:
    put(tmp_path / "images", a_png=turned(flat(1, *shape), image))
    put(tmp_path / "masks", a_png=turned(np.zeros(shape, np.uint8), mask))
    problem = only_problem(pairs(tmp_path))
    assert f"the EXIF orientation of its image is {image}, its own {mask}" in problem


def test_a_size_that_only_turning_makes_wrong_names_the_orientations(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=turned(flat(1, 8, 12), 6))
    put(tmp_path / "masks", a_png=encode_png(np.zeros((9, 12), np.uint8)))
    assert "orientation of its image is 6, its own 1" in only_problem(pairs(tmp_path))


def test_a_mask_that_is_turned_itself_or_fits_one_way_is_read(tmp_path: Path) -> None:
    left = np.zeros((8, 8), np.uint8)
    left[:, :4] = 1
    put(tmp_path / "images", a_png=turned(flat(1), 6), b_png=turned(flat(1, 8, 12), 6))
    put(tmp_path / "masks", a_png=turned(left, 6), b_png=encode_png(np.zeros((12, 8), np.uint8)))
    read = loading.read_labelled(pairs(tmp_path), 8)
    assert read.masks[0].tolist() == [[1] * 8] * 4 + [[0] * 8] * 4


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_that_fits_only_as_its_image_is_stored_is_turned_as_that(
    tmp_path: Path, orientation: int
) -> None:
    stored = np.arange(96).reshape(8, 12).astype(np.uint8) % 2
    put(tmp_path / "images", a_png=turned(grey_image(stored), orientation))
    put(tmp_path / "masks", a_png=encode_png(stored))
    read = loading.read_labelled(pairs(tmp_path), 8)
    assert np.array_equal(read.images[0, ..., 0] // 255, read.masks[0])
    assert read.notes[0].startswith("1 mask without EXIF orientation: turned as the images are")


def grey_image(mask: UInt8) -> UInt8:
    return np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)


@pytest.mark.parametrize("shape", [(8, 8), (8, 12)])
@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_settings_of_exif_keep_masks_in_register_with_their_images(
    tmp_path: Path, orientation: int, shape: tuple[int, int]
) -> None:
    stored = np.random.default_rng(orientation).integers(0, 2, shape, np.uint8)
    upright = decoding.turned(Image.fromarray(stored), orientation)
    put(tmp_path / "images", a_png=turned(grey_image(stored), orientation))
    for exif, mask in (
        ("apply", turned(stored, orientation)),
        ("apply_to_masks", encode_png(stored)),
        ("apply_to_masks", turned(stored, orientation)),
        ("apply_to_images", encoded(upright)),
        ("ignore", encode_png(stored)),
        ("ignore", turned(stored, orientation)),
    ):
        put(tmp_path / "masks", a_png=mask)
        read = loading.read_labelled(pairs(tmp_path, exif=exif), 8)
        assert np.array_equal(read.images[0, ..., 0] // 255, read.masks[0])
        assert (exif == "ignore") == np.array_equal(read.masks[0], centre(stored))


def centre(mask: UInt8) -> UInt8:
    left = (mask.shape[1] - 8) // 2
    return mask[:, left : left + 8]
