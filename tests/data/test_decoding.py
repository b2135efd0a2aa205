"""Claims about factory.data.decoding: the rules by which an image is read, or refused."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from factory.data import loading
from factory.data.decoding import decode_image
from factory.data.reading import Reading
from factory.errors import UnreadableImage
from factory.images import UInt8
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
    assert f"uses 0..{top} of 0..65535: of its {top + 1} levels {left} would be left" in problem
    assert f"Set intensity: [0, {top}]" in problem


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
    assert "Set intensity: [0, 1023]" in problem
    told = loading.read_images(folder(tmp_path, intensity=[0, 1023]), 4)[0]
    assert (told.min(), told.max(), len(np.unique(told))) == (0, 255, 48)


def tiff(pixels: np.ndarray, **options: object) -> bytes:
    """A TIFF that Pillow did not write."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def pixels_of(data: bytes, **keys: object) -> UInt8:
    return np.asarray(decode_image(data, Reading(**keys)).image)  # type: ignore[arg-type]


RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (37, 50), np.uint8)
COLOURS = RANDOM.integers(0, 256, (37, 50, 3), np.uint8)
DEEP = RANDOM.integers(0, 2**16, (37, 50), np.uint16)
DEEP_COLOURS = RANDOM.integers(0, 2**16, (37, 50, 3), np.uint16)
LAYOUTS: list[dict[str, object]] = [
    {},
    {"byteorder": ">"},
    {"tile": (16, 16)},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": True, "tile": (16, 16)},
    {"rowsperstrip": 5},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_tiffs_of_another_writer_are_read_as_it_reads_them(layout: dict[str, object]) -> None:
    for pixels in (GREY, COLOURS):
        data = tiff(pixels, **layout)
        truth = tifffile.imread(io.BytesIO(data))
        assert np.array_equal(pixels_of(data), truth if truth.ndim == 3 else grey(truth))
    data = tiff(DEEP, **layout)
    assert np.array_equal(pixels_of(data), grey(np.rint(DEEP / 257).astype(np.uint8)))
    share = (DEEP / 65535).astype(np.float32)  # tifffile itself writes no predictor of floats
    data = tiff(share, **{key: value for key, value in layout.items() if key != "predictor"})
    assert np.array_equal(pixels_of(data), grey(np.rint(share * 255).astype(np.uint8)))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_deep_colours_of_a_tiff_keep_all_their_bits_where_a_window_needs_them(
    layout: dict[str, object],
) -> None:
    data = tiff(DEEP_COLOURS, photometric="rgb", **layout)
    assert np.array_equal(pixels_of(data), DEEP_COLOURS >> 8)
    window = pixels_of(data, intensity=(1000.0, 1255.0))
    assert np.array_equal(window, (DEEP_COLOURS.astype(int) - 1000).clip(0, 255))


def test_deep_colours_with_each_channel_apart_are_refused() -> None:
    planes = tiff(np.moveaxis(DEEP_COLOURS, -1, 0), photometric="rgb", planarconfig="separate")
    with pytest.raises(UnreadableImage, match=r"each channel lies apart.*as .npy of shape"):
        decode_image(planes)
    planes = tiff(np.moveaxis(COLOURS, -1, 0), photometric="rgb", planarconfig="separate")
    assert np.array_equal(pixels_of(planes), COLOURS)


def test_deep_grey_in_which_0_is_white_is_refused() -> None:
    with pytest.raises(UnreadableImage, match=r"0 is white.*Save it with 0 as black"):
        decode_image(tiff(DEEP, photometric="miniswhite"))
    assert np.array_equal(pixels_of(tiff(GREY, photometric="miniswhite")), grey(255 - GREY))


def grey(pixels: UInt8) -> UInt8:
    return np.repeat(pixels[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("array", "truth"),
    [
        (GREY, grey(GREY)),
        (GREY[..., None], grey(GREY)),
        (COLOURS, COLOURS),
        (np.asfortranarray(COLOURS), COLOURS),
        (GREY > 99, grey(np.where(GREY > 99, 255, 0).astype(np.uint8))),
        (DEEP, grey(np.rint(DEEP / 257).astype(np.uint8))),
        (DEEP.astype(">i8"), grey(np.rint(DEEP / 257).astype(np.uint8))),
        (DEEP_COLOURS, np.rint(DEEP_COLOURS / 257).astype(np.uint8)),
        (COLOURS / 255, COLOURS),
        ((GREY / 255).astype(np.float32), grey(GREY)),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_of_numpys_files_are_read_by_the_rules_of_images(
    array: np.ndarray, truth: UInt8
) -> None:
    assert np.array_equal(pixels_of(npy(array)), truth)


@pytest.mark.parametrize("ending", ["tif", "gif", "jp2", "avif", "ppm", "pgm", "jfif", "npy"])
def test_files_of_these_endings_are_among_the_images_of_a_folder(
    tmp_path: Path, ending: str
) -> None:
    form = {"jp2": "JPEG2000", "tif": "TIFF", "jfif": "JPEG", "pgm": "PPM"}.get(ending, ending)
    data = npy(flat(9)) if ending == "npy" else encoded(flat(9), form)
    put(tmp_path, **{f"a_{ending}": data})
    assert abs(int(loading.read_images(folder(tmp_path), 8)[0, 4, 4, 0]) - 9) <= 2


def test_a_still_gif_shows_its_colours() -> None:
    picture = Image.fromarray(ids([0, 1], [1, 0]))
    picture.putpalette([9, 8, 7, 60, 50, 40])
    assert pixels_of(encoded(picture, "GIF"))[0].tolist() == [[9, 8, 7], [60, 50, 40]]


def test_a_tiff_is_turned_by_its_orientation_or_not_as_any_other() -> None:
    left = flat(0)
    left[:, :4] = 255
    data = tiff(left, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    assert pixels_of(data)[:4].min() == 255 and pixels_of(data)[4:].max() == 0
    assert np.array_equal(pixels_of(data, exif="ignore"), left)
    deep = tiff(left.astype(np.uint16) * 257, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    assert np.array_equal(pixels_of(deep, intensity=(0.0, 65535.0)), pixels_of(data))


def test_formats_that_pillow_lacks_here_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("PIL.features.check", lambda name: name != "avif")
    with pytest.raises(UnreadableImage, match=r"; Pillow is built without AVIF here. Replace"):
        decode_image(b"\0\0\0\x18ftypavix" + bytes(40))


def test_signed_values_of_8_bits_are_refused() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(buffer, "TIFF", tiffinfo={339: 2})
    with pytest.raises(UnreadableImage, match=r"signed values of 8 bits.*Save them as \.npy"):
        decode_image(buffer.getvalue())
