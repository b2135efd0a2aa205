"""Claims about factory.data.loading: what is read, by which rule, and what is refused."""

import io
import json
import os
import struct
import uuid
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory import storage
from factory.data import loading
from factory.data.items import Source
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.pairs import PairsSource
from factory.data.kinds.toy import ToySource
from factory.errors import UserError
from factory.images import UInt8
from factory.png import encode_png

REAL = Path(__file__).parents[2] / "../shared/data"
real_data = pytest.mark.skipif(not REAL.is_dir(), reason="needs the folder ../shared/data")


def encoded(picture: Image.Image | UInt8, form: str = "PNG", **options: object) -> bytes:
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def flat(value: int, height: int = 8, width: int = 8) -> UInt8:
    return np.full((height, width, 3), value, np.uint8)


def ids(*rows: list[int]) -> UInt8:
    return np.array(rows, np.uint8)


def put(folder: Path, **files: bytes) -> None:
    """Writes files; `a_png` stands for a.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / ".".join(name.rsplit("_", 1))).write_bytes(data)


def folder(url: Path | str, **more: object) -> FolderSource:
    return FolderSource(url=str(url), **more)  # type: ignore[arg-type]


def pairs(
    url: Path, classes: str = '["background", "thing", "other"]', **more: object
) -> PairsSource:
    url.mkdir(exist_ok=True)
    (url / "classes.json").write_text(classes)
    more = {"classes_url": str(url / "classes.json"), **more}
    return PairsSource(url=str(url), **more)  # type: ignore[arg-type]


def problems_of(source: Source, labelled: bool = True) -> list[str]:
    with pytest.raises(UserError) as refusal:
        (loading.read_labelled if labelled else loading.read_images)(source, 8)
    return list(refusal.value.problems)


def only_problem(source: Source, labelled: bool = True) -> str:
    (problem,) = problems_of(source, labelled)
    return problem


def read_one(tmp_path: Path, data: bytes, size: int) -> UInt8:
    put(tmp_path, a_png=data)
    (pixels,) = loading.read_images(folder(tmp_path), size)
    return np.asarray(pixels)


# What is read


def test_drawings_are_labelled_and_depend_on_the_seed() -> None:
    drawn = loading.read_labelled(ToySource(num=2, seed=5), 16)
    assert drawn.images.shape == (2, 16, 16, 3) and drawn.masks.shape == (2, 16, 16)
    assert drawn.names == ("toy-5-000000", "toy-5-000001") and len(drawn) == 2
    assert drawn.masks.max() < len(drawn.classes)
    assert np.array_equal(loading.read_images(ToySource(num=2, seed=5), 16), drawn.images)
    assert not np.array_equal(loading.read_images(ToySource(num=2, seed=6), 16), drawn.images)


def test_a_folder_is_read_with_its_subfolders_sorted_by_name(tmp_path: Path) -> None:
    for value, name in enumerate(["b.png", "a/z.bmp", "c.webp", "a.JPG", "notes.txt", ".d.png"]):
        form = {"bmp": "BMP", "webp": "WEBP", "jpg": "JPEG"}.get(name[-3:].lower(), "PNG")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encoded(flat(value * 10), "WEBP" if "webp" in name else form))
    read = loading.read_images(folder(tmp_path), 8)
    assert read.shape == (4, 8, 8, 3) and read.dtype == np.uint8
    order = np.array(sorted([(b"a.JPG", 30), (b"a/z.bmp", 10), (b"b.png", 0), (b"c.webp", 20)]))
    assert np.abs(read[:, 4, 4, 0].astype(int) - order[:, 1].astype(int)).max() <= 2
    assert len(loading.read_images(folder(tmp_path, num=2), 8)) == 2


def test_any_storage_is_read() -> None:
    place = f"memory://{uuid.uuid4().hex}"
    storage.write(f"{place}/x/a.png", encode_png(flat(7)))
    assert loading.read_images(folder(place), 8)[0, 0, 0].tolist() == [7, 7, 7]


def test_pairs_match_by_stem_whatever_the_image_format(tmp_path: Path) -> None:
    put(tmp_path / "images", b_jpg=encoded(flat(200), "JPEG"), a_png=encode_png(flat(10)))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]), b_png=encode_png(flat(2)[..., 0]))
    read = loading.read_labelled(pairs(tmp_path), 8)
    assert read.names == ("a.png", "b.jpg")
    assert read.masks[:, 0, 0].tolist() == [1, 2] and read.images[0, 0, 0, 0] == 10
    assert read.classes.names == ("background", "thing", "other")
    assert np.array_equal(loading.read_images(pairs(tmp_path), 8), read.images)


def test_subfolders_of_pairs_can_be_named(tmp_path: Path) -> None:
    put(tmp_path / "photos/train", a_png=encode_png(flat(1)))
    put(tmp_path / "labels", a_png=encode_png(flat(1)[..., 0]))
    source = pairs(tmp_path, images="photos/train/", masks="./labels")
    assert loading.read_labelled(source, 8).names == ("a.png",)


def test_names_choose_files_and_num_the_first_of_the_list(tmp_path: Path) -> None:
    for name in "abcd":
        put(tmp_path / "images", **{f"{name}_png": encode_png(flat(1))})
    put(tmp_path / "masks", b_png=encode_png(flat(1)[..., 0]), d_png=encode_png(flat(1)[..., 0]))
    (tmp_path / "splits.json").write_text('{"train": ["d.png", "b.png"], "test": ["a.png"]}')
    source = pairs(tmp_path, names_url=str(tmp_path / "splits.json"), names_key="train")
    assert loading.read_labelled(source, 8).names == ("b.png", "d.png")
    first = source.model_copy(update={"num": 1})
    assert loading.read_labelled(first, 8).names == ("d.png",)
    assert len(loading.read_images(folder(tmp_path / "images", names_url=source.names_url,
                                          names_key="test"), 8)) == 1  # fmt: skip


# The rules for images


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


# The rules for masks


def read_mask(tmp_path: Path, mask: bytes, image: UInt8, size: int) -> UInt8:
    put(tmp_path / "images", a_png=encode_png(image))
    put(tmp_path / "masks", a_png=mask)
    return np.asarray(loading.read_labelled(pairs(tmp_path), size).masks[0])


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


@pytest.mark.parametrize("shape", [(8, 9), (16, 16), (5, 5), (8, 4)])
def test_other_mask_sizes_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_png=encode_png(np.zeros(shape, np.uint8)))
    problem = only_problem(pairs(tmp_path))
    assert f"{shape[1]}x{shape[0]}" in problem and "8x8" in problem and "masks/a.png" in problem


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (encoded(np.zeros((8, 8), np.uint8), "JPEG"), "must be PNG, this is JPEG"),
        (encoded(flat(0)), "mode RGB"),
        (encoded(Image.new("RGBA", (8, 8))), "mode RGBA"),
        (encoded(Image.fromarray(np.zeros((8, 8), np.uint16))), "mode I;16"),
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


def test_two_bit_grey_masks_are_refused_because_they_are_read_as_0_to_255(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, 2, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes([0, 0b00110011])))  # ids 0 3 0 3
    put(tmp_path / "images", a_png=encode_png(flat(1, 1, 4)))
    put(tmp_path / "masks", a_png=b"\x89PNG\r\n\x1a\n" + header + rows + chunk(b"IEND", b""))
    assert "2-bit grey" in only_problem(pairs(tmp_path))


def put_masks(folder: Path, *rows: list[int]) -> PairsSource:
    """A source of masks a, b, c, ... of one row each, beside flat images."""
    for name, row in zip("abcdefgh", rows, strict=False):
        put(folder / "images", **{f"{name}_png": encode_png(flat(1, 1, len(row)))})
        put(folder / "masks", **{f"{name}_png": encode_png(ids(row))})
    return pairs(folder)


def test_masks_of_0_and_255_alone_are_named_and_counted(tmp_path: Path) -> None:
    source = put_masks(tmp_path, [0, 255], [0, 1], [255, 255], [0, 0])
    problem = only_problem(source)
    assert "2 of 4 masks hold only 0 and 255" in problem and "(a.png, c.png)" in problem
    assert "Write 1 instead of 255" in problem


def test_one_mask_of_ids_does_not_hide_the_white_ones(tmp_path: Path) -> None:
    assert "1 of 2 masks" in only_problem(put_masks(tmp_path, [0, 255], [1, 1]))


def test_where_others_ignore_255_a_mask_of_0_and_255_is_told_not_refused(tmp_path: Path) -> None:
    read = loading.read_labelled(put_masks(tmp_path, [0, 255], [0, 1], [2, 255]), 1)
    assert len(read) == 3
    assert any("1 of 3 masks hold only 0 and 255" in note for note in read.notes)


def test_a_few_masks_that_ignore_255_do_not_hide_that_most_are_white(tmp_path: Path) -> None:
    problem = only_problem(put_masks(tmp_path, [0, 255], [0, 255], [1, 255], [255, 0]))
    assert "3 of 4 masks hold only 0 and 255" in problem


def test_a_mask_that_is_the_file_of_its_image_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(ids([0, 1])), b_png=encode_png(ids([0, 2])))
    put(tmp_path / "masks", a_png=encode_png(ids([0, 1])), b_png=encode_png(ids([0, 1])))
    problem = only_problem(pairs(tmp_path))
    assert problem.startswith(f"{tmp_path}/masks/a.png: is the same file as its image")


def test_palette_masks_are_told_with_the_colour_that_each_class_has(tmp_path: Path) -> None:
    mask = Image.fromarray(ids([0, 1, 1]))
    mask.putpalette([0, 0, 0, 200, 10, 10, 10, 10, 200])
    put(tmp_path / "images", a_png=encode_png(flat(1, 1, 3)))
    put(tmp_path / "masks", a_png=encoded(mask))
    told = " ".join(loading.read_labelled(pairs(tmp_path), 1).notes)
    assert "1 masks have palettes" in told
    assert "background (0, 0, 0), thing (200, 10, 10)." in told and "other" not in told


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
    assert "this is JPEG" in (problem := only_problem(pairs(tmp_path))) and "above 127" in problem


def put_palettes(folder: Path, *masks: tuple[list[int], list[int]]) -> PairsSource:
    """A source of palette masks of one row each, with these palettes."""
    for name, (row, palette) in zip("abcdefgh", masks, strict=False):
        mask = Image.fromarray(ids(row))
        mask.putpalette(palette)
        put(folder / "images", **{f"{name}_png": encode_png(flat(1, 1, len(row)))})
        put(folder / "masks", **{f"{name}_png": encoded(mask)})
    return pairs(folder)


BLACK, RED, BLUE = [0, 0, 0], [200, 0, 0], [0, 0, 200]


def test_palettes_that_differ_from_file_to_file_are_refused(tmp_path: Path) -> None:
    source = put_palettes(
        tmp_path,
        ([0, 1, 2], BLACK + RED + BLUE),
        ([0, 1, 2], BLACK + BLUE + RED),
        ([0, 1, 1], BLACK + RED),
    )
    problem = only_problem(source)
    assert problem.startswith(
        f"{tmp_path}/masks/b.png: the palettes of these masks differ: index 1"
    )
    assert "(0, 0, 200) here and (200, 0, 0) in" in problem and "masks/a.png" in problem


def test_a_colour_of_two_indices_in_two_files_is_refused(tmp_path: Path) -> None:
    source = put_palettes(
        tmp_path, ([0, 1], BLACK + RED), ([0, 0], BLACK), ([0, 2], BLACK + BLUE + RED)
    )
    assert "colour (200, 0, 0) is index 2 here and 1 in" in only_problem(source)


def test_a_palette_whose_black_is_not_class_0_is_refused(tmp_path: Path) -> None:
    source = put_palettes(tmp_path, ([0, 1, 2], BLUE + RED + BLACK), ([0, 1, 1], BLUE + RED))
    problem = only_problem(source)
    assert "its palette has (0, 0, 200) at index 0 and black at index 2" in problem
    assert "Renumber the mask by class ids" in problem


def test_palettes_that_hold_more_colours_than_are_used_may_differ_there(tmp_path: Path) -> None:
    source = put_palettes(
        tmp_path,
        ([0, 1], BLACK + RED + BLUE),
        ([0, 1, 255, 1], (BLACK + RED) * 128),
        ([1, 1], BLACK + RED + BLACK),
    )
    assert len(loading.read_labelled(source, 1)) == 3


def test_indices_beyond_the_classes_name_the_palette(tmp_path: Path) -> None:
    problem = only_problem(put_palettes(tmp_path, ([0, 3], BLACK + RED + BLUE + RED)))
    assert "ids 3 are not classes" in problem and "indices of its palette" in problem


def test_classes_that_mean_ignored_are_told(tmp_path: Path) -> None:
    source = put_masks(tmp_path, [0, 1])
    (tmp_path / "classes.json").write_text('["Unlabelled", "thing"]')
    note = loading.read_labelled(source, 2).notes[0]
    assert note.startswith("class Unlabelled (id 0) is learned like any other")


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
    assert "Save both without EXIF orientation" in problem


@pytest.mark.parametrize(
    ("image", "mask", "shape"),
    [(1, 6, (8, 8)), (1, 2, (8, 12)), (6, 8, (8, 12)), (5, 6, (8, 8)), (6, 1, (8, 12))],
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


def test_small_objects_and_wide_ones_that_are_lost_are_told(tmp_path: Path) -> None:
    wide = np.zeros((8, 24), np.uint8)
    wide[:, :4] = 2
    wide[3:5, 11:13] = 1
    put(tmp_path / "images", a_png=encode_png(flat(1, 8, 24)))
    put(tmp_path / "masks", a_png=encode_png(wide))
    read = loading.read_labelled(pairs(tmp_path), 2)
    told = " ".join(read.notes)
    assert "class thing: 1 of 1 connected regions vanish when they are scaled to 2 px" in told
    assert "class other: 100.00% of its pixels lie outside the centred square" in told
    assert loading.read_labelled(pairs(tmp_path, num=1), 8).notes[0].startswith("class background")


# What is refused


def test_a_few_pictures_that_are_not_read_are_told_with_their_endings(tmp_path: Path) -> None:
    for name in "abc":
        put(tmp_path, **{f"{name}_png": encode_png(flat(1)), f"{name}_txt": b"x"})
    put(tmp_path, d_tif=b"x", e_TIF=b"x", f_npy=b"x", g_db=b"x")
    put(tmp_path / "__MACOSX", h_tif=b"x")
    put(tmp_path / ".ipynb_checkpoints", i_tif=b"x")
    (tmp_path / "._j.tif").write_bytes(b"x")
    content = loading.load(folder(tmp_path), 8, labelled=False)
    assert not content.problems and len(content.images) == 3
    assert content.notes[0].startswith(f"{tmp_path}: 2 .tif, 1 .npy are not read.")
    (tmp_path / "names.json").write_text('["a.png"]')
    listed = folder(tmp_path, names_url=str(tmp_path / "names.json"))
    assert loading.load(listed, 8, labelled=False).notes == ()


def test_rare_endings_and_files_without_one_are_told(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)), b_png=encode_png(flat(1)), c_JPE=b"x", d_dib=b"x")
    (tmp_path / "0001").write_bytes(b"x")
    (told,) = loading.load(folder(tmp_path), 8, labelled=False).notes
    assert "1 .jpe, 1 .dib, 1 without ending are not read" in told


def test_links_to_folders_are_told_since_they_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "elsewhere", b_png=encode_png(flat(2)))
    (tmp_path / "images/more").symlink_to(tmp_path / "elsewhere")
    (told,) = loading.load(folder(tmp_path / "images"), 8, labelled=False).notes
    assert "links to folders are not followed: more" in told
    (tmp_path / "images/a.png").unlink()
    problem = only_problem(folder(tmp_path / "images"), labelled=False)
    assert "but links to folders, which are not followed: more. Put the images there" in problem


def test_images_of_pairs_in_sub_folders_are_told_since_they_are_not_read(tmp_path: Path) -> None:
    for part, pixels in (("images", flat(1)), ("masks", flat(1)[..., 0])):
        put(tmp_path / part, a_png=encode_png(pixels))
        put(tmp_path / part / "night", b_png=encode_png(pixels))
    told = loading.read_labelled(pairs(tmp_path), 8).notes[0]
    assert f"{tmp_path}/images: 1 pictures in its sub-folders night are not read" in told


def test_masks_in_a_sub_folder_of_the_images_are_not_missed(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]))
    assert loading.read_labelled(pairs(tmp_path, images="."), 8).notes == ()


def test_more_pictures_that_are_not_read_than_are_is_refused(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)), b_dcm=b"x", c_dcm=b"x")
    problem = only_problem(folder(tmp_path), labelled=False)
    assert "2 .dcm are not read, and only 1 other images are" in problem and "PNG" in problem


def test_a_partner_that_is_not_read_is_named(tmp_path: Path) -> None:
    put(tmp_path / "images", a_tif=b"x", b_png=encode_png(flat(1)), c_png=encode_png(flat(1)))
    mask = encode_png(flat(1)[..., 0])
    put(tmp_path / "masks", a_png=mask, b_png=mask, c_tif=b"x")
    missing, stray = problems_of(pairs(tmp_path))
    assert "c.png: has no mask c.png" in missing and "Did you mean c.tif?" in missing
    assert "mask without an image. There is a.tif, whose ending is not read." in stray


def test_an_image_is_never_its_own_mask(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)[..., 0]), b_png=encode_png(flat(1)[..., 0]))
    problem = only_problem(pairs(tmp_path, images="", masks="."))
    assert "each image would be its own mask" in problem and "`masks:`" in problem


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    good = encode_png(flat(1))
    put(tmp_path / "images", a_png=good, b_png=good, c_png=good[:44], d_png=b"<html>", e_png=good)
    mask = encode_png(flat(1)[..., 0])
    put(tmp_path / "masks", a_png=mask, c_png=mask[:44], d_png=mask, e_png=encode_png(flat(1)),
        z_png=mask)  # fmt: skip
    problems = "\n".join(problems_of(pairs(tmp_path, classes='{"0": "a"}')))
    for part in (
        "classes.json: needs 2",
        "images/b.png: has no mask b.png",
        "images/c.png: damaged",
        "masks/c.png: damaged",
        "images/d.png: not a PNG",
        "masks/e.png: a mask of mode",
        "masks/z.png: mask without an image",
    ):
        assert part in problems
    assert problems.count("\n") == 6


def test_a_missing_folder_is_named_with_what_it_must_hold(tmp_path: Path) -> None:
    problem = only_problem(folder(tmp_path / "nope"), labelled=False)
    assert f"{tmp_path}/nope: no such folder" in problem and ".jpeg" in problem


def test_a_folder_without_images_says_which_endings_are_read(tmp_path: Path) -> None:
    put(tmp_path, a_tif=b"x")
    assert ".png .jpg .jpeg .webp .bmp" in only_problem(folder(tmp_path), labelled=False)


def test_pairs_elsewhere_are_pointed_at(tmp_path: Path) -> None:
    put(tmp_path / "photos", a_png=encode_png(flat(1)))
    put(tmp_path / "labels", a_png=encode_png(flat(1)[..., 0]))
    images_missing, masks_missing = problems_of(pairs(tmp_path))
    assert "There are images in labels, photos: set `images:`" in images_missing
    assert "masks: no such folder" in masks_missing and "set `masks:`" in masks_missing


def test_a_folder_of_pairs_is_not_read_as_images(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]))
    problem = only_problem(folder(tmp_path), labelled=False)
    assert "kind: pairs" in problem and f"url: {tmp_path}/images" in problem
    assert "Use kind: pairs" in only_problem(folder(tmp_path), labelled=True)


def test_equal_stems_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)), a_bmp=encoded(flat(1), "BMP"))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]))
    places = f"{tmp_path}/images/a.bmp, {tmp_path}/images/a.png"
    assert only_problem(pairs(tmp_path)).startswith(f"{places}: have the same stem a")


def test_a_mask_in_other_case_is_proposed(tmp_path: Path) -> None:
    put(tmp_path / "images", IMG_png=encode_png(flat(1)))
    put(tmp_path / "masks", img_png=encode_png(flat(1)[..., 0]))
    missing, stray = problems_of(pairs(tmp_path))
    assert "Did you mean img.png?" in missing and "mask without an image" in stray


@pytest.mark.parametrize(
    ("content", "key", "said"),
    [
        ('["a.jpg"]', None, "names a.jpg, .* Did you mean a.png?"),
        ('["../classes.json"]', None, "names ../classes.json, which is not in"),
        ('["a.png", "a.png"]', None, "names a.png 2 times"),
        ('{"train": ["a.png"]}', "test", "holds the lists train. Set names_key to one, not 'test'"),
        ('{"train": ["a.png"]}', None, "holds the lists train"),
        ('["a.png"]', "test", "without keys"),
        ("[]", None, "one or more file names"),
        ('{"test": [1]}', "test", "file names at test"),
        ("a.png", None, "must be a JSON list"),
        ("\xff", None, "must be a JSON list"),
        (None, None, "No such file"),
    ],
)
def test_bad_name_lists_are_refused(
    tmp_path: Path, content: str | None, key: str | None, said: str
) -> None:
    put(tmp_path, a_png=encode_png(flat(1)))
    if content is not None:
        (tmp_path / "names.json").write_bytes(content.encode("latin-1"))
    source = folder(tmp_path, names_url=str(tmp_path / "names.json"), names_key=key)
    with pytest.raises(UserError, match=said) as refusal:
        loading.read_images(source, 8)
    assert "names.json" in str(refusal.value) and len(refusal.value.problems) == 1


@pytest.mark.parametrize("content", [None, b"\xff", b"{", b'["a", "a"]'])
def test_bad_class_files_are_refused(tmp_path: Path, content: bytes | None) -> None:
    put(tmp_path / "images", a_png=encode_png(flat(1)))
    put(tmp_path / "masks", a_png=encode_png(flat(1)[..., 0]))
    source = pairs(tmp_path)
    (tmp_path / "classes.json").unlink()
    if content is not None:
        (tmp_path / "classes.json").write_bytes(content)
    assert only_problem(source).startswith(f"{tmp_path}/classes.json: ")


def test_many_problems_end_with_their_number(tmp_path: Path) -> None:
    for i in range(53):
        put(tmp_path, **{f"{i}_png": b""})
    problems = problems_of(folder(tmp_path), labelled=False)
    assert len(problems) == 51 and problems[-1] == "... and 3 more."


def test_names_that_are_no_text_can_be_told(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(b"")
    assert r"\udcff.png: empty" in only_problem(folder(tmp_path), labelled=False).encode().decode()


def test_a_dangling_link_is_a_problem_of_its_file(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(1)))
    (tmp_path / "b.png").symlink_to(tmp_path / "nope")
    assert only_problem(folder(tmp_path), labelled=False).startswith(f"{tmp_path}/b.png: cannot")


# Real data


@real_data
def test_real_faces_are_read_by_their_split() -> None:
    place = REAL / "faces64"
    source = PairsSource(
        url=str(place / "labeled"), classes_url=str(place / "classes.json"),
        names_url=str(place / "splits.json"), names_key="train_100",
    )  # fmt: skip
    faces = loading.read_labelled(source, 64)
    split = json.loads((place / "splits.json").read_text())
    assert faces.names == tuple(sorted(split["train_100"]))
    twenty = source.model_copy(update={"num": 20})
    assert loading.read_labelled(twenty, 64).names == tuple(sorted(split["train_20"]))
    assert faces.masks.max() == len(faces.classes) - 1 == 18
