"""Claims about factory.data.pixels.decoding: the rules by which an image is read, or refused."""

import io
import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from factory.data import loading
from factory.data.pixels import intact, tiffs
from factory.data.pixels.decoding import decode_image, image_size, open_file
from factory.data.pixels.reading import Reading
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


def npy_file(array: np.ndarray) -> bytes:
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


FLOATS = (COLOURS / 255).astype(np.float32)
APART: dict[str, object] = {"photometric": "rgb", "planarconfig": "separate"}
OF_TIFFFILE: dict[str, tuple[np.ndarray, dict[str, object]]] = {
    "float32 RGB": (FLOATS, {"photometric": "rgb"}),
    "float32 RGB, tiles": (FLOATS, {"photometric": "rgb", "tile": (16, 16)}),
    "float32 RGB, big-endian": (FLOATS, {"photometric": "rgb", "byteorder": ">"}),
    "float32 RGB, BigTIFF": (FLOATS, {"photometric": "rgb", "bigtiff": True}),
    "float32, channels apart": (np.moveaxis(FLOATS, -1, 0), APART),
    "float16 RGB": (FLOATS.astype(np.float16), {"photometric": "rgb"}),
    "float64 RGB": (COLOURS / 255, {"photometric": "rgb"}),
    "float32, 3 channels": (FLOATS, {"photometric": "minisblack", "planarconfig": "contig"}),
    "uint8, channels apart": (np.moveaxis(COLOURS, -1, 0), APART),
    "uint16, channels apart": (np.moveaxis(COLOURS, -1, 0) * np.uint16(257), APART),
    "uint32 RGB": (COLOURS.astype(np.uint32) * 257, {"photometric": "rgb"}),
}


@pytest.mark.parametrize("case", OF_TIFFFILE)
def test_tiffs_that_pillow_does_not_open_are_read_by_tifffile(case: str) -> None:
    array, options = OF_TIFFFILE[case]
    assert np.abs(pixels_of(tiff(array, **options)).astype(int) - COLOURS).max() <= 1
    turned = tiff(array, extratags=[(274, 3, 1, 3, True)], **options)
    assert np.array_equal(pixels_of(turned), pixels_of(tiff(array, **options))[::-1, ::-1])
    assert np.array_equal(pixels_of(turned, exif="ignore"), pixels_of(tiff(array, **options)))


def test_floats_of_64_bits_are_grey() -> None:
    assert np.array_equal(pixels_of(tiff(GREY / 255)), grey(GREY))


@pytest.mark.parametrize(
    ("array", "options", "said"),
    [
        (np.dstack([COLOURS, GREY, GREY]), {"planarconfig": "contig"}, "5 channels of uint8"),
        (np.dstack([FLOATS, GREY]), {"photometric": "rgb"}, "4 channels of float32"),
        (np.stack([FLOATS, FLOATS]), {"photometric": "rgb"}, "several pages"),
        (GREY.astype(complex), {}, "a TIFF of complex128 values"),
        (
            np.stack([GREY] * 16),
            {"volumetric": True, "tile": (16, 16, 16)},
            "a volume of 16 slices",
        ),
        (GREY / 255, {"photometric": "miniswhite"}, "in which 0 is white"),
        (FLOATS, {"photometric": "cielab"}, "in colours other than RGB"),
        (GREY.astype(np.uint32) + 2**31, {}, "beyond 2147483647.*as .npy"),
    ],
)
def test_tiffs_that_nothing_reads_are_told_with_what_they_are(
    array: np.ndarray, options: dict[str, object], said: str
) -> None:
    with pytest.raises(UnreadableImage, match=said):
        decode_image(tiff(array, **options))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_tiff_of_floats_that_is_cut_off_is_refused(kept: float) -> None:
    data = tiff(FLOATS, photometric="rgb")
    with pytest.raises(UnreadableImage, match="damaged image"):
        decode_image(data[: int(len(data) * kept)])


WRITTEN: dict[str, tuple[np.ndarray, dict[str, object]]] = {
    **{
        f"float32, {name}": (FLOATS, {"compression": name, "predictor": predictor})
        for name, predictor in (("zlib", 3), ("lzw", 3), ("zstd", 1), ("lzma", 3), ("packbits", 1))
    },
    "float32, tiles of deflate": (FLOATS, {"compression": "zlib", "tile": (16, 16)}),
    "float32, BigTIFF of LZW": (FLOATS, {"compression": "lzw", "bigtiff": True, "predictor": 3}),
    "float32, big-endian": (FLOATS, {"compression": "zlib", "byteorder": ">", "predictor": 3}),
    "float16, LZW": (FLOATS.astype(np.float16), {"compression": "lzw", "predictor": 3}),
    "float64 grey, deflate": (GREY / 255, {"compression": "zlib", "predictor": 3}),
    "uint32, deflate": (COLOURS.astype(np.uint32) * 257, {"compression": "zlib", "predictor": 2}),
    "uint16, channels apart": (
        np.moveaxis(DEEP_COLOURS, -1, 0),
        {"compression": "lzw", "predictor": 2, "planarconfig": "separate"},
    ),
    "uint8, PackBits": (COLOURS, {"compression": "packbits", "predictor": 2}),
    **{f"{n} bits grey": (DEEP >> (16 - n), {"bitspersample": n}) for n in (10, 12, 14)},
    "12 bits": (DEEP_COLOURS >> 4, {"bitspersample": 12}),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_compressed_and_packed_tiffs_hold_the_values_that_were_written(case: str) -> None:
    pytest.importorskip("imagecodecs")
    array, options = WRITTEN[case]
    data = tiff(array, photometric="minisblack" if array.ndim == 2 else "rgb", **options)
    written = np.moveaxis(array, 0, -1) if "planarconfig" in options else array
    assert np.array_equal(tifffile.imread(io.BytesIO(data)), array)
    if tiffs.is_for_pillow(data):
        assert np.array_equal(np.asarray(open_file(data)), written)
    else:
        assert np.array_equal(tiffs.read(data)[0], written)
    high = float(array.max())
    scaled = np.rint(np.asarray(written, np.float64) / high * 255)
    told = pixels_of(data, intensity=(0.0, high))
    assert np.abs(told.astype(int) - (scaled if scaled.ndim == 3 else scaled[..., None])).max() <= 1


@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "lzma"])
def test_a_compressed_tiff_that_is_cut_off_is_refused(compression: str) -> None:
    pytest.importorskip("imagecodecs")
    data = tiff(FLOATS, photometric="rgb", compression=compression, rowsperstrip=7)
    for kept in range(8, len(data) - 1, 997):
        with pytest.raises(UnreadableImage, match=r"damaged|a TIFF"):
            decode_image(data[:kept])


def test_a_tile_that_unpacks_to_more_than_its_pixels_is_refused() -> None:
    pytest.importorskip("imagecodecs")
    packed = zlib.compress(bytes(10**7))
    data = bytearray(tiff(FLOATS, photometric="rgb", compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        tags = file.pages[0].tags
    for number, value in ((273, len(data)), (279, len(packed))):
        struct.pack_into("<I", data, tags[number].valueoffset, value)
    with pytest.raises(UnreadableImage, match=r"damaged image.*SPACE"):
        decode_image(bytes(data) + packed)


@pytest.mark.parametrize(
    ("array", "options", "said"),
    [
        (FLOATS, {"compression": "jpegxr"}, "compression that is not read. Save it with deflate"),
        (COLOURS // 16, {"bitspersample": 4}, "3 x 4 bits. Save it with 8 bits"),
    ],
)
def test_other_compressions_and_few_bits_are_told_with_how_to_save_them(
    array: np.ndarray, options: dict[str, object], said: str
) -> None:
    pytest.importorskip("imagecodecs")
    with pytest.raises(UnreadableImage, match=said):
        decode_image(tiff(array, photometric="rgb", **options))


def test_without_imagecodecs_its_extra_is_named_where_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(
        UnreadableImage, match=r"compressed or packed, which needs the extra `tiff`"
    ):
        decode_image(tiff(FLOATS, photometric="rgb", compression="zlib"))
    assert np.array_equal(pixels_of(tiff(FLOATS, photometric="rgb")), COLOURS)


def test_without_tifffile_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(UnreadableImage, match=r"extra `tiff`: pip install -e '\.\[tiff\]'"):
        decode_image(tiff(FLOATS, photometric="rgb"))
    assert np.array_equal(pixels_of(tiff(COLOURS, photometric="rgb")), COLOURS)


def pages(*kinds: int) -> bytes:
    """A TIFF whose first page is COLOURS, and pages of these kinds behind it."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(COLOURS, photometric="rgb")
        for kind in kinds:
            of_mask = bool(kind & 4)
            page = COLOURS[::2, ::2, 0] > 99 if of_mask else COLOURS[::2, ::2]
            photometric = "minisblack" if of_mask else "rgb"
            writer.write(page, photometric=photometric, subfiletype=kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kinds", [(1,), (1, 1, 1), (1, 5), (4,)])
def test_smaller_copies_behind_the_page_of_a_tiff_are_passed_over(kinds: tuple[int, ...]) -> None:
    assert np.array_equal(pixels_of(pages(*kinds)), COLOURS)


@pytest.mark.parametrize("kinds", [(0,), (1, 0), (2,), (1,) * 40])
def test_further_pages_of_a_tiff_are_refused_unless_the_first_is_wanted(
    kinds: tuple[int, ...],
) -> None:
    with pytest.raises(UnreadableImage, match=r"a file of several pages.*Or set frames: first"):
        decode_image(pages(*kinds))
    assert np.array_equal(pixels_of(pages(*kinds), frames="first"), COLOURS)


def test_the_first_page_of_a_tiff_has_all_its_bits() -> None:
    floats = tiff(np.stack([FLOATS, FLOATS[::-1]]), photometric="rgb")
    assert np.array_equal(pixels_of(floats, frames="first"), COLOURS)
    deep = tiff(np.stack([DEEP_COLOURS, DEEP_COLOURS[::-1]]), photometric="rgb")
    window = pixels_of(deep, frames="first", intensity=(1000.0, 1255.0))
    assert np.array_equal(window, (DEEP_COLOURS.astype(int) - 1000).clip(0, 255))


def test_smaller_copies_of_floats_are_passed_over() -> None:
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        writer.write(FLOATS, photometric="rgb")
        writer.write(FLOATS[::2, ::2], photometric="rgb", subfiletype=1)
    assert np.array_equal(pixels_of(buffer.getvalue()), COLOURS)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "AVIF"])
def test_of_an_animation_the_first_frame_is_read_if_it_is_wanted(form: str) -> None:
    frames = [Image.fromarray(np.full((8, 9, 3), shade, np.uint8)) for shade in (200, 10, 90)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    for check in (decode_image, intact.check_image):
        with pytest.raises(UnreadableImage, match=r"an animation of .*Or set frames: first"):
            check(data)
    assert np.abs(pixels_of(data, frames="first").astype(int) - 200).max() <= 2
    intact.check_image(data, Reading(frames="first"))
    still = encoded(frames[0], form)
    assert np.array_equal(pixels_of(still), pixels_of(still, frames="first"))


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
        (COLOURS > 99, np.where(COLOURS > 99, 255, 0).astype(np.uint8)),
        (DEEP, grey(np.rint(DEEP / 257).astype(np.uint8))),
        (DEEP.astype(">i8"), grey(np.rint(DEEP / 257).astype(np.uint8))),
        (DEEP_COLOURS, np.rint(DEEP_COLOURS / 257).astype(np.uint8)),
        (COLOURS / 255, COLOURS),
        ((GREY / 255).astype(np.float32), grey(GREY)),
        (np.moveaxis(COLOURS, -1, 0), COLOURS),
        (np.moveaxis(FLOATS, -1, 0), COLOURS),
        (GREY[None], grey(GREY)),
        (COLOURS[None], COLOURS),
        (np.moveaxis(COLOURS, -1, 0)[None], COLOURS),
        (np.dstack([COLOURS, np.full((37, 50), 255, np.uint8)]), COLOURS),
        (COLOURS[:3], COLOURS[:3]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_of_numpys_files_are_read_by_the_rules_of_images(
    array: np.ndarray, truth: UInt8
) -> None:
    assert np.array_equal(pixels_of(npy_file(array)), truth)
    height, width = truth.shape[:2]
    assert image_size(npy_file(array)[:200]) == (width, height)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (
            FLOATS[..., [0, 1, 2, 2]],
            r"\(37, 50, 4\) of float32, whose last channel may be anything",
        ),
        (COLOURS[..., :2], r"\(37, 50, 2\), not \(height, width\)"),
        (np.stack([COLOURS, COLOURS]), r"\(2, 37, 50, 3\), not"),
    ],
)
def test_arrays_of_other_shapes_are_refused(array: np.ndarray, said: str) -> None:
    with pytest.raises(UnreadableImage, match=said):
        decode_image(npy_file(array))


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def test_an_archive_of_one_array_is_that_array() -> None:
    assert np.array_equal(pixels_of(npz(arr_0=COLOURS)), COLOURS)
    with pytest.raises(UnreadableImage, match=r"an archive of image.npy, label.npy, not of one"):
        decode_image(npz(image=COLOURS, label=GREY))
    for kept in (0.5, 0.9):
        data = npz(a=COLOURS)
        with pytest.raises(UnreadableImage, match="damaged archive of arrays"):
            decode_image(data[: int(kept * len(data))])


@pytest.mark.parametrize(
    ("array", "window"),
    [(2 * FLOATS - 1, "[-1, 1]"), (FLOATS * 255, "[0, 255]"), (FLOATS * 4000, "[0, 65535]")],
)
def test_the_window_that_programs_use_is_proposed_for_floats(
    array: np.ndarray, window: str
) -> None:
    with pytest.raises(UnreadableImage, match=re.escape(f"Set intensity: {window}")):
        decode_image(npy_file(array))


@pytest.mark.parametrize(
    "ending", ["tif", "gif", "jp2", "avif", "ppm", "pgm", "jfif", "npy", "npz"]
)
def test_files_of_these_endings_are_among_the_images_of_a_folder(
    tmp_path: Path, ending: str
) -> None:
    form = {"jp2": "JPEG2000", "tif": "TIFF", "jfif": "JPEG", "pgm": "PPM"}.get(ending, ending)
    arrays = {"npy": npy_file(flat(9)), "npz": npz(image=flat(9))}
    data = arrays[ending] if ending in arrays else encoded(flat(9), form)
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
