"""Pictures and masks as people bring them, and what is said of a source of them."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.data import loading
from factory.data.items import Source
from factory.data.kinds.folder import FolderSource
from factory.data.kinds.pairs import PairsSource
from factory.errors import UserError
from factory.images import UInt8
from factory.png import encode_png

SHARED_DATA = Path(__file__).parents[2] / "../shared/data"
"""Photographs beside the checkout, on machines that have them: some must not be copied."""
needs_shared_data = pytest.mark.skipif(
    not SHARED_DATA.is_dir(), reason="needs the folder ../shared/data"
)

BLACK, RED, BLUE = [0, 0, 0], [200, 0, 0], [0, 0, 200]


def encoded(picture: Image.Image | UInt8, form: str = "PNG", **options: object) -> bytes:
    """The picture as a file of Pillow's."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def too_large(form: str = "PNG") -> bytes:
    """A small file, a PNG or a TIFF, that claims to be an image of 20,000 x 20,000 pixels."""
    data, side = bytearray(encoded(flat(0, 1, 1), form)), 20_000
    if form == "PNG":
        struct.pack_into(">II", data, 16, side, side)
        struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
        return bytes(data)
    (start,) = struct.unpack_from("<I", data, 4)
    (num,) = struct.unpack_from("<H", data, start)
    for at in range(start + 2, start + 2 + 12 * num, 12):
        (tag,) = struct.unpack_from("<H", data, at)
        if tag in (256, 257):  # width and height
            struct.pack_into("<HHII", data, at, tag, 4, 1, side)
    return bytes(data)


def flat(value: int, height: int = 8, width: int = 8) -> UInt8:
    """(height, width, 3) of one grey."""
    return np.full((height, width, 3), value, np.uint8)


def ids(*rows: list[int]) -> UInt8:
    """A mask of these rows."""
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


def read_mask(tmp_path: Path, mask: bytes, image: UInt8, size: int) -> UInt8:
    put(tmp_path / "images", a_png=encode_png(image))
    put(tmp_path / "masks", a_png=mask)
    return np.asarray(loading.read_labelled(pairs(tmp_path), size).masks[0])


def put_masks(folder: Path, *rows: list[int]) -> PairsSource:
    """A source of masks a, b, c, ... of one row each, beside flat images."""
    for name, row in zip("abcdefgh", rows, strict=False):
        put(folder / "images", **{f"{name}_png": encode_png(flat(1, 1, len(row)))})
        put(folder / "masks", **{f"{name}_png": encode_png(ids(row))})
    return pairs(folder)


def put_palettes(folder: Path, *masks: tuple[list[int], list[int]]) -> PairsSource:
    """A source of palette masks of one row each, with these palettes."""
    for name, (row, palette) in zip("abcdefgh", masks, strict=False):
        mask = Image.fromarray(ids(row))
        mask.putpalette(palette)
        put(folder / "images", **{f"{name}_png": encode_png(flat(1, 1, len(row)))})
        put(folder / "masks", **{f"{name}_png": encoded(mask)})
    return pairs(folder)
