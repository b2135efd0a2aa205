"""Claims about factory.images."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from factory import images
from factory.errors import UnreadableImage


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


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "PPM", "AVIF"])
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
            "not a PNG/JPEG/WEBP/BMP/TIFF/GIF/PPM/JPEG2000/AVIF image .starts with b'<html>",
        ),
        (encoded(Image.new("L", (4, 4)), format="ICO"), "not a PNG"),
        (encoded(Image.new("L", (4, 4)), format="PDF"), "not a PNG"),
        (b"II*\0", "damaged image .in its header, or a kind of TIFF that is not read."),
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
