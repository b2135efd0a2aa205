"""A bad input, and what the message about it must say."""

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.images import UInt8
from factory.png import encode_png

Problem = tuple[str, ...]
"""Words of one line: which file or key, what is wrong with it, what to do; and more."""


@dataclass(frozen=True)
class Case:
    """make(folder) puts the input there; what it returns is its module's to use."""

    name: str
    make: Callable[[Path], object]
    problems: tuple[Problem, ...]


def case(name: str, make: Callable[[Path], object], *problems: Problem) -> Case:
    """A bad input that is answered with one line for each of the problems, and no other line."""
    return Case(name, make, problems)


def table(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """One test a case, by its name."""
    rows = list(cases)
    assert len({row.name for row in rows}) == len(rows), "names of a table differ"
    return pytest.mark.parametrize("case", rows, ids=lambda row: row.name.replace(" ", "-"))


def put(folder: Path, name: str | bytes, data: bytes | str | object) -> Path:
    """Writes bytes, text, or anything else as JSON; folders on the way are made."""
    file = folder / (name if isinstance(name, str) else name.decode(errors="surrogateescape"))
    file.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(data, bytes | str):
        data = json.dumps(data)
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


def files(**content: bytes | str | object) -> Callable[[Path], None]:
    """A builder of files in the folder; `a_png` stands for a.png."""

    def make(folder: Path) -> None:
        for name, data in content.items():
            put(folder, ".".join(name.rsplit("_", 1)), data)

    return make


def noise(height: int = 16, width: int = 16, seed: int = 0) -> UInt8:
    """(height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def ids(height: int = 16, width: int = 16, value: int = 0) -> UInt8:
    """(height, width) of the two classes by halves, or of one value."""
    mask = np.full((height, width), value, np.uint8)
    if not value:
        mask[:, width // 2 :] = 1
    return mask


def encoded(picture: Image.Image | UInt8, form: str = "PNG", **options: object) -> bytes:
    """The picture as a file of Pillow's."""
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of exactly these chunks, their checksums right."""

    def whole(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    return b"\x89PNG\r\n\x1a\n" + b"".join(whole(kind, body) for kind, body in chunks)


def header(width: int, height: int, depth: int = 8, color: int = 0) -> tuple[bytes, bytes]:
    """PNG's first chunk; color 0 is grey, 2 RGB."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)


END = (b"IEND", b"")
IMAGE = encode_png(noise())
MASK = encode_png(ids())
