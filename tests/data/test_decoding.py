"""Claims about factory.data.decoding: the rules by which an image is read, or refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.png import encode_png
from tests.data.inputs import (
    encoded,
    flat,
    folder,
    ids,
    only_problem,
    put,
    read_one,
)


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = flat(0)
    pixels[:, :4] = 255  # bright on the left, and on top when turned
    exif = Image.Exif()
    exif[0x0112] = 6
    read = read_one(tmp_path, encoded(pixels, exif=exif), 8)
    assert read[:4].min() == 255 and read[4:].max() == 0


def test_grey_is_replicated_and_16_bits_keep_their_range(tmp_path: Path) -> None:
    levels = np.array([[0, 257 * 100], [257 * 200, 65535]], np.uint16)
    read = read_one(tmp_path, encoded(Image.fromarray(levels)), 2)
    assert read[..., 0].tolist() == [[0, 100], [200, 255]]
    assert np.array_equal(read[..., 0], read[..., 2])


def test_palette_images_show_their_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(ids([0, 1], [1, 0]))
    picture.putpalette([9, 8, 7, 60, 50, 40])
    read = read_one(tmp_path, encoded(picture), 2)
    assert read[0].tolist() == [[9, 8, 7], [60, 50, 40]]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_show_white(tmp_path: Path, mode: str) -> None:
    if mode == "P":
        data = encoded(Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P"), transparency=0)
    else:
        data = encoded(Image.new(mode, (4, 4)))
    assert read_one(tmp_path, data, 4).min() == 255


def test_the_centred_square_is_scaled(tmp_path: Path) -> None:
    pixels = flat(0, 8, 16)
    pixels[:, 4:12] = 90
    assert np.array_equal(read_one(tmp_path, encode_png(pixels), 8), pixels[:, 4:12])
    small = read_one(tmp_path, encode_png(pixels), 4)  # smoothing sees a little beyond the square
    assert small.shape == (4, 4, 3) and small.min() > 80


@pytest.mark.parametrize("top", [255, 1023, 4095])
def test_few_values_in_16_bits_are_refused_with_the_levels_that_would_be_left(
    tmp_path: Path, top: int
) -> None:
    values = np.arange(top + 1, dtype=np.uint16)
    put(tmp_path, a_png=encoded(Image.fromarray(np.resize(values, (64, 64)))))
    problem = only_problem(folder(tmp_path), labelled=False)
    left = len(np.unique(np.rint(values / 257)))
    assert f"uses 0..{top} of 0..65535: of its {top + 1} grey levels {left} would" in problem
    assert "Spread the values that matter over 0..65535" in problem


def test_a_16_bit_image_that_loses_no_level_is_read_however_few_it_has(tmp_path: Path) -> None:
    values = np.array([[0, 257 * 3], [257 * 3, 0]], np.uint16)
    assert read_one(tmp_path, encoded(Image.fromarray(values)), 2)[0, 1, 0] == 3


def colours_of_16_bits(top: int) -> bytes:
    """4x4 pixels of 0..top in 16 bits a channel, which Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = np.linspace(0, top, 48).astype(">u2").reshape(4, 12)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(body))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def test_dark_colours_of_16_bits_are_refused_bright_ones_read(tmp_path: Path) -> None:
    assert read_one(tmp_path, colours_of_16_bits(65535), 4).max() == 255
    put(tmp_path, a_png=colours_of_16_bits(1023))
    problem = only_problem(folder(tmp_path), labelled=False)
    assert "16-bit colours that all lie below 1024 of 65535" in problem and "at most 4" in problem
