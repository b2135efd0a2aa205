"""Claims about factory.data.tiles: images that are cut into squares, each an item of its own."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from factory.data import inspection, loading
from factory.data.cache.decoded import find
from factory.data.kinds.parquet import ParquetSource
from factory.data.pixels import decoding
from factory.errors import Problems
from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import (
    encoded,
    flat,
    folder,
    only_problem,
    pairs,
    problems_of,
    put,
    too_large,
)

WIDE: UInt8 = np.random.default_rng(0).integers(0, 256, (16, 40, 3), np.uint8)
IDS: UInt8 = np.random.default_rng(1).integers(0, 3, (16, 40), np.uint8)


def test_an_image_becomes_tiles_that_are_named_by_their_places(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(WIDE), b_png=encode_png(WIDE[:, :16]))
    put(tmp_path / "masks", a_png=encode_png(IDS), b_png=encode_png(IDS[:, :16]))
    read = loading.read_labelled(pairs(tmp_path, fit="tile"), 16)
    assert read.names == ("a.png@0,0", "a.png@12,0", "a.png@24,0", "b.png@0,0")
    for i, left in enumerate((0, 12, 24, 0)):
        assert np.array_equal(read.images[i], WIDE[:, left : left + 16])
        assert np.array_equal(read.masks[i], IDS[:, left : left + 16])
    assert "2 images are cut into 4 tiles." in read.notes


def test_tiles_of_a_set_size_are_scaled(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(flat(7, 16, 40)))
    assert loading.read_images(folder(tmp_path, fit="tile", tile_size=8), 4).shape == (10, 4, 4, 3)


def test_a_tile_that_does_not_fit_names_the_size_that_does(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(WIDE), b_png=encode_png(flat(1, 64, 64)))
    problem = only_problem(folder(tmp_path, fit="tile", tile_size=32), labelled=False)
    assert (
        problem.startswith(f"{tmp_path}/a.png: has 40x16 pixels")
        and "tile_size: 16 or less" in problem
    )
    assert len(loading.read_images(folder(tmp_path, fit="tile", tile_size=16), 8)) == 3 + 16
    assert len(loading.read_images(folder(tmp_path, fit="tile"), 8)) == 3 + 1


def test_tile_size_without_tiles_is_refused() -> None:
    with pytest.raises(ValueError, match="tile_size needs fit: tile"):
        folder("/a", tile_size=8)


def test_a_file_is_decoded_once_for_all_of_its_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abcd":
        put(tmp_path, **{f"{name}_png": encode_png(WIDE)})
    decoded, decode = [], decoding.decode_image
    monkeypatch.setattr(decoding, "decode_image", lambda *a: (decoded.append(a), decode(*a))[1])
    source = folder(tmp_path, fit="tile", tile_size=4)
    items = source.find(False, Problems()).items
    assert len(items) == 4 * 40 and not decoded
    for _ in range(2):
        for item in items:
            item.image(4)
    assert len(decoded) == 2 * 4


def test_a_damaged_file_is_one_problem_and_not_one_a_tile(tmp_path: Path) -> None:
    data = encode_png(WIDE)
    put(tmp_path, a_png=data[: len(data) // 2], b_png=b"", c_png=data)
    (tmp_path / "d.png").symlink_to(tmp_path / "nowhere")
    problems = problems_of(folder(tmp_path, fit="tile"), labelled=False)
    assert [problem.split("/")[-1][:5] for problem in problems] == ["a.png", "b.png", "d.png"]


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "GIF", "JPEG2000", "PPM"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_header_tells_the_size_of_the_upright_image(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {} if form in ("GIF", "JPEG2000", "PPM") else {"exif": exif}
    data = encoded(WIDE, form, **options)
    assert decoding.image_size(data) == decoding.decode_image(data).image.size
    buffer = io.BytesIO()
    np.save(buffer, WIDE)
    assert decoding.image_size(buffer.getvalue()[:200]) == (40, 16)


def test_an_image_of_too_many_pixels_is_named_and_others_are_cut(tmp_path: Path) -> None:
    put(tmp_path, a_png=encoded(WIDE), b_png=too_large(), c_tif=too_large("TIFF"))
    found = problems_of(folder(tmp_path, fit="tile"), labelled=False)
    assert len(found) == 1 and "more than 64000000" in found[0] and "1 other: c.tif." in found[0]


def test_a_size_that_is_told_far_into_a_file_is_found(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (160, 400, 3), np.uint8)
    put(tmp_path, a_tif=encoded(noise, "TIFF", compression="tiff_lzw"))
    put(tmp_path, b_jpg=encoded(noise, "JPEG", icc_profile=bytes(200_000)))
    assert len(loading.read_images(folder(tmp_path, fit="tile"), 16)) == 2 * 3


def test_each_tile_has_a_key_of_its_own_in_the_cache(tmp_path: Path) -> None:
    put(tmp_path, a_png=encode_png(WIDE))
    keys = {find(folder(tmp_path, fit="tile", tile_size=size), 8).key for size in (4, 8, 16)} | {
        find(folder(tmp_path, fit="tile"), 8).key,
        find(folder(tmp_path), 8).key,
    }
    assert len(keys) == 5


def test_inspect_counts_files_and_tells_how_many_tiles_they_are(tmp_path: Path) -> None:
    put(tmp_path / "images", a_png=encode_png(WIDE[..., 0]))
    put(tmp_path / "masks", a_png=encode_png(np.zeros((16, 40), np.uint8)))
    report = "\n".join(
        inspection.lines(inspection.inspect(pairs(tmp_path, fit="tile"), 32, labelled=True))
    )
    assert "1 image of mode L" in report and "1 image is cut into 3 tiles." in report
    assert "sizes    40x16: 1" in report and "3 images smaller than 32 pixels" in report
    assert "oblong" not in report and "outside the centred square" not in report


@pytest.mark.parametrize("fit", ["pad", "stretch", "tile"])
def test_classes_at_the_sides_of_wide_images_are_kept_by_each_fit_but_crop(
    tmp_path: Path, fit: str
) -> None:
    mask = np.zeros((16, 64), np.uint8)
    mask[:, :8], mask[:, 56:] = 1, 2
    put(tmp_path / "images", a_png=encode_png(flat(1, 16, 64)))
    put(tmp_path / "masks", a_png=encode_png(mask))
    crop = " ".join(loading.read_labelled(pairs(tmp_path), 16).notes)
    assert crop.count("100.00% of its pixels lie outside the centred square") == 2
    kept = loading.read_labelled(pairs(tmp_path, fit=fit), 16)
    assert set(np.unique(kept.masks).tolist()) - {255} == {0, 1, 2}
    assert "outside" not in " ".join(kept.notes)
    report = inspection.inspect(pairs(tmp_path), 16, labelled=True).notes
    assert any("set fit: pad, stretch or tile to use all" in note for note in report)


def test_images_that_are_no_files_of_their_own_are_cut_too(tmp_path: Path) -> None:
    images = [encode_png(WIDE), encode_png(WIDE[:, :16])]
    masks = [encode_png(IDS), encode_png(IDS[:, :16])]
    pq.write_table(pa.table({"image": images, "label": masks}), tmp_path / "a.parquet")
    source = ParquetSource(url=str(tmp_path), classes=["a", "b", "c"], fit="tile")
    read = loading.read_labelled(source, 16)
    assert [name.rpartition("#")[2] for name in read.names] == [
        "0@0,0",
        "0@12,0",
        "0@24,0",
        "1@0,0",
    ]
    for i, left in enumerate((0, 12, 24, 0)):
        assert np.array_equal(read.images[i], WIDE[:, left : left + 16])
        assert np.array_equal(read.masks[i], IDS[:, left : left + 16])
    assert len(find(source, 16).items) == 4
