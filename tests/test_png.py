"""Claims about factory.png."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from factory import png
from factory.errors import UnreadableImage
from factory.images import UInt8, pillow_image
from tests.test_images import encoded, noise


def samples() -> list[UInt8]:
    """Noise, one colour and slopes, of many shapes, RGB and ids."""
    found = []
    for height, width in [(1, 1), (1, 9), (9, 1), (5, 7), (64, 64), (300, 257)]:
        noisy = noise(height, width)
        slope = (np.arange(noisy.size) // 40 % 256).astype(np.uint8).reshape(noisy.shape)
        found += [noisy, np.full_like(noisy, 255), slope]
    grey = [picture[..., :1].copy() for picture in found]
    return [*found, *grey, *(picture[..., 0] for picture in grey)]


def test_others_read_the_pixels_of_our_png() -> None:
    for pixels in samples():
        read = Image.open(io.BytesIO(png.encode_png(pixels)), formats=["PNG"])
        assert read.mode == ("RGB" if pixels.shape[2:] == (3,) else "L")
        assert np.array_equal(np.asarray(read).reshape(pixels.shape), pixels)


def test_png_gives_the_pixels_back_and_the_same_bytes_each_time() -> None:
    for pixels in samples():
        data = png.encode_png(pixels)
        assert np.array_equal(png.decode_png(data).reshape(pixels.shape), pixels)
        assert png.encode_png(pixels.copy()) == data


def test_what_lay_in_memory_before_changes_no_byte_of_a_png() -> None:
    generator = np.random.default_rng(0)
    slope = np.indices((24, 24, 3)).sum(axis=0).astype(np.uint8)
    expected = png.encode_png(slope)
    for _ in range(200):
        dirt = [generator.integers(0, 256, 2**power, dtype=np.uint8) for power in range(10, 19)]
        del dirt
        assert png.encode_png(slope.copy()) == expected


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
def test_views_are_encoded_as_their_copies_are(view: Callable[..., UInt8]) -> None:
    pixels = view(noise(6, 8))
    assert png.encode_png(pixels) == png.encode_png(np.ascontiguousarray(pixels))


@pytest.mark.parametrize(
    ("shape", "color", "filter"), [((5, 7, 3), 2, 2), ((5, 7, 1), 0, 2), ((5, 7), 0, 0)]
)
def test_a_png_is_plain(shape: tuple[int, ...], color: int, filter: int) -> None:
    data = png.encode_png(np.zeros(shape, np.uint8))
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
    for pixels in samples():
        for options in ({}, {"compress_level": 0}, {"optimize": True}):
            data = encoded(pillow_image(np.atleast_3d(pixels)), format="PNG", **options)
            assert np.array_equal(png.decode_png(data).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("pixels", [noise(5, 7), noise(5, 7)[..., 0]], ids=["RGB", "L"])
def test_a_cut_png_of_ours_is_refused_unless_all_pixels_are_there(pixels: UInt8) -> None:
    data = png.encode_png(pixels)
    refused = 0
    for length in range(len(data)):
        try:
            assert np.array_equal(png.decode_png(data[:length]), pixels)
        except UnreadableImage:
            refused += 1
    assert refused >= len(data) - 24  # checksums and the end mark


def test_a_palette_shows_the_ids_in_its_colours_and_keeps_them() -> None:
    colors = [(i, 255 - i, i // 2) for i in range(256)]
    for ids in samples():
        if ids.ndim == 3:
            continue
        for data in (png.encode_png(ids), encoded(Image.fromarray(ids), format="PNG")):
            read = Image.open(io.BytesIO(png.with_palette(data, colors)), formats=["PNG"])
            assert read.mode == "P"
            assert np.array_equal(np.asarray(read), ids)
            expected = np.array(colors, np.uint8)[ids]
            assert np.array_equal(np.asarray(read.convert("RGB")), expected)


def test_only_ids_get_a_palette() -> None:
    pixels = noise(5, 7)
    jpeg = encoded(Image.fromarray(pixels), format="JPEG")
    for data in (png.encode_png(pixels), b"", b"no picture", jpeg):
        with pytest.raises(UnreadableImage):
            png.with_palette(data, [(0, 0, 0)])


@pytest.mark.parametrize("made_by", ["us", "Pillow"])
@pytest.mark.parametrize("pixels", [noise(5, 7), noise(5, 7)[..., 0]], ids=["RGB", "L"])
def test_a_flipped_bit_of_a_png_is_refused_or_changes_no_pixel(pixels: UInt8, made_by: str) -> None:
    ours = made_by == "us"
    data = png.encode_png(pixels) if ours else encoded(Image.fromarray(pixels), format="PNG")
    refused = 0
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert np.array_equal(png.decode_png(bytes(flipped)), pixels)
        except UnreadableImage:
            refused += 1
    assert refused >= 8 * (len(data) - 12), "all but the end mark has a checksum"
