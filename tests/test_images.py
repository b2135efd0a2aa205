"""Claims about factory.images."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from factory import images
from factory.classes import Classes
from factory.images import UnreadableImage

CLASSES = Classes.named(["background", "thing"], [(0, 0, 0), (250, 10, 20)])


def encoded(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def noise(height: int, width: int) -> images.UInt8:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims its size and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_every_byte_survives_the_way_to_signed_floats_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    signed = images.to_signed(every)
    assert signed.min() == -1 and signed.max() == 1
    assert torch.equal(images.to_uint8(signed), every)


def test_floats_outside_are_clipped() -> None:
    assert images.to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_channels_move_last() -> None:
    x_0 = torch.stack([torch.full((2, 3), value) for value in (-1.0, 0.0, 1.0)])[None]
    array = images.to_channels_last_arrays(x_0)
    assert array.shape == (1, 2, 3, 3)
    assert array[0, 0, 0].tolist() == [0, 128, 255]


def test_png_gives_the_pixels_back_and_the_same_bytes_each_time() -> None:
    pixels = noise(5, 7)
    data = images.encode_png(pixels)
    assert np.array_equal(np.asarray(images.open_image(data)), pixels)
    assert images.encode_png(pixels.copy()) == data
    ids = pixels[..., 0]
    mask = images.open_image(images.encode_png(ids))
    assert mask.mode == "L" and np.array_equal(np.asarray(mask), ids)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
def test_every_truncation_is_refused(form: str) -> None:
    data = encoded(Image.fromarray(noise(16, 16)), format=form)
    images.open_image(data)
    for length in range(0, len(data) - 32, 29):  # checksums and end marks may miss
        with pytest.raises(UnreadableImage):
            images.open_image(data[:length])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty file"),
        (
            b"<html>not found</html>",
            "not a PNG/JPEG/WEBP/BMP image .starts with b'<html>",
        ),
        (encoded(Image.new("L", (4, 4)), format="GIF"), "not a PNG"),
        (encoded(Image.new("L", (4, 4)), format="TIFF"), "not a PNG"),
        (png_header(9000, 8000), "9000x8000 pixels"),
        (png_header(60000, 60000), "pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_image_is_refused_with_the_reason(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableImage, match=said):
        images.open_image(data)


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_animations_are_refused(form: str) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    data = encoded(frames[0], format=form, save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImage, match="animation of 2 frames"):
        images.open_image(data)


def test_the_centre_is_kept_without_resampling_where_it_has_the_size() -> None:
    pixels = noise(4, 8)
    cropped = images.crop_and_resize(Image.fromarray(pixels), 4, Image.Resampling.BICUBIC)
    assert np.array_equal(np.asarray(cropped), pixels[:, 2:6])


def test_tall_images_lose_top_and_bottom() -> None:
    pixels = np.zeros((12, 4, 3), np.uint8)
    pixels[4:8] = 200
    small = images.crop_and_resize(Image.fromarray(pixels), 2, Image.Resampling.BOX)
    assert small.size == (2, 2)
    assert np.asarray(small).min() == 200


def test_overlay_blends_and_ignored_pixels_are_white() -> None:
    pixels = np.full((1, 3, 3), 100, np.uint8)
    mask = np.array([[0, 1, 255]], np.uint8)
    colors = images.colorize(mask, CLASSES)
    assert colors.tolist() == [[[0, 0, 0], [250, 10, 20], [255, 255, 255]]]
    half = images.overlay(pixels, mask, CLASSES, opacity=0.5)
    assert half[0, 1].tolist() == [175, 55, 60]
    assert np.array_equal(images.overlay(pixels, mask, CLASSES, opacity=0.0), pixels)


def test_heat_runs_from_black_to_white() -> None:
    shown = images.heat(np.array([[0.0, 1 / 3, 2 / 3, 1.0, 5.0]]), top=1.0)
    assert shown[0, [0, 1, 2, 3, 4]].tolist() == [
        [0, 0, 0], [255, 0, 0], [255, 255, 0], [255, 255, 255], [255, 255, 255]
    ]  # fmt: skip


def test_tile_places_cells_in_rows_with_a_white_gap() -> None:
    red, blue = np.zeros((2, 3, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = images.tile([[red, blue], [blue]], scale=2, gap=1)
    assert sheet.shape == (2 * 5 + 1, 2 * 7 + 1, 3)
    assert sheet[1, 1].tolist() == [255, 0, 0] and sheet[4, 6].tolist() == [255, 0, 0]
    assert sheet[1, 8].tolist() == [0, 0, 255] and sheet[6, 1].tolist() == [0, 0, 255]
    assert sheet[0].min() == 255 and sheet[6, 8].tolist() == [255, 255, 255]


def test_captions_stand_above_the_sheet() -> None:
    sheet = noise(20, 90)
    shown = images.captioned(sheet, ["image", "mask"])
    assert np.array_equal(shown[16:], sheet)
    assert shown[:16].min() < 128
