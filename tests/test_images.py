"""Claims about factory.images."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from factory import images
from factory.classes import Classes
from factory.errors import UnreadableImage

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


def pictures() -> list[images.UInt8]:
    """Noise, one colour and slopes, of many shapes, RGB and ids."""
    found = []
    for height, width in [(1, 1), (1, 9), (9, 1), (5, 7), (64, 64), (300, 257)]:
        noisy = noise(height, width)
        slope = (np.arange(noisy.size) // 40 % 256).astype(np.uint8).reshape(noisy.shape)
        found += [noisy, np.full_like(noisy, 255), slope]
    return found + [picture[..., 0].copy() for picture in found]


def test_others_read_the_pixels_of_our_png() -> None:
    for pixels in pictures():
        read = Image.open(io.BytesIO(images.encode_png(pixels)), formats=["PNG"])
        assert read.mode == ("RGB" if pixels.ndim == 3 else "L")
        assert np.array_equal(np.asarray(read), pixels)


def test_png_gives_the_pixels_back_and_the_same_bytes_each_time() -> None:
    for pixels in pictures():
        data = images.encode_png(pixels)
        assert np.array_equal(images.decode_png(data), pixels)
        assert images.encode_png(pixels.copy()) == data


def test_what_lay_in_memory_before_changes_no_byte_of_a_png() -> None:
    generator = np.random.default_rng(0)
    slope = np.indices((24, 24, 3)).sum(axis=0).astype(np.uint8)
    expected = images.encode_png(slope)
    for _ in range(200):
        dirt = [generator.integers(0, 256, 2**power, dtype=np.uint8) for power in range(10, 19)]
        del dirt
        assert images.encode_png(slope.copy()) == expected


@pytest.mark.parametrize(
    "view",
    [
        lambda pixels: pixels[::2, ::-1],
        lambda pixels: pixels.transpose(1, 0, 2),
        lambda pixels: pixels[..., 1],
        lambda pixels: np.asfortranarray(pixels),
        lambda pixels: np.broadcast_to(pixels[:1], pixels.shape),
    ],
)
def test_views_are_encoded_as_their_copies_are(view: Callable[..., images.UInt8]) -> None:
    pixels = view(noise(6, 8))
    assert images.encode_png(pixels) == images.encode_png(np.ascontiguousarray(pixels))


@pytest.mark.parametrize(("shape", "color", "filter"), [((5, 7, 3), 2, 2), ((5, 7), 0, 0)])
def test_a_png_is_plain(shape: tuple[int, ...], color: int, filter: int) -> None:
    data = images.encode_png(np.zeros(shape, np.uint8))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, start = {}, 8
    while start < len(data):
        (length,) = struct.unpack_from(">I", data, start)
        named = data[start + 4 :][: length + 4]
        assert struct.pack(">I", zlib.crc32(named)) == data[start + 8 + length :][:4]
        chunks[named[:4]] = named[4:]
        start += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (7, 5, 8, color, 0, 0, 0)
    lines = zlib.decompress(chunks[b"IDAT"])
    assert len(lines) == 5 * (1 + 7 * np.prod(shape[2:], dtype=int))
    assert set(lines[:: len(lines) // 5]) == {filter}


def test_pngs_of_others_decode_to_the_same_pixels() -> None:
    for pixels in pictures():
        for options in ({}, {"compress_level": 0}, {"optimize": True}):
            data = encoded(Image.fromarray(pixels), format="PNG", **options)
            assert np.array_equal(images.decode_png(data), pixels)


@pytest.mark.parametrize("pixels", [noise(5, 7), noise(5, 7)[..., 0]], ids=["RGB", "L"])
def test_a_cut_png_of_ours_is_refused_unless_all_pixels_are_there(pixels: images.UInt8) -> None:
    data = images.encode_png(pixels)
    refused = 0
    for length in range(len(data)):
        try:
            assert np.array_equal(images.decode_png(data[:length]), pixels)
        except UnreadableImage:
            refused += 1
    assert refused >= len(data) - 24  # checksums and the end mark


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
        (b"\x89PNG\r\n\x1a\n\0\0", "damaged image .in its header"),
        (b"\xff\xd8\xff\xe0", "damaged image"),
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


def test_the_pictures_behind_a_cameras_jpeg_are_left_aside() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    data = encoded(frames[0], format="MPO", save_all=True, append_images=frames[1:])
    red, _, blue = np.asarray(images.open_image(data).convert("RGB"))[0, 0]
    assert red > 200 and blue < 50


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
