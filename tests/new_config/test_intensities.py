"""Claims about the intensity that `factory init` writes: one that reads all images."""

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from factory.cli import main
from factory.config import load_config
from factory.data import inspection, loading
from factory.data.pixels.reading import Intensity
from factory.png import encode_png
from tests.data.inputs import encoded
from tests.data.kinds.test_auto import mask, pairs_of
from tests.data.kinds.test_parquet import cells, write
from tests.data.kinds.test_webdataset import tar

Deep = npt.NDArray[np.uint16]


def ramp(low: int, high: int) -> Deep:
    """(16, 16) of values from low to high."""
    return np.linspace(low, high, 256).reshape(16, 16).astype(np.uint16)


def grey(values: Deep) -> bytes:
    return encoded(Image.fromarray(values))


def colors(values: Deep) -> bytes:
    """A PNG of 16 bits a channel, of which Pillow writes none."""
    height, width = values.shape
    rows = np.stack([values, values // 2, values // 3], axis=2).astype(">u2").tobytes()
    lines = b"".join(b"\0" + rows[i : i + 6 * width] for i in range(0, len(rows), 6 * width))
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0),
        b"IDAT": zlib.compress(lines),
        b"IEND": b"",
    }
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def in_folders(root: Path, pictures: Mapping[str, bytes]) -> None:
    pairs_of(root, *[mask(0, 1)] * len(pictures))
    for name, data in pictures.items():
        (root / f"images/{name}.png").write_bytes(data)


def in_parquet(root: Path, pictures: Mapping[str, bytes]) -> None:
    masks = cells(*[encode_png(mask(0, 1))] * len(pictures))
    write(root / "train.parquet", image=cells(*pictures.values()), mask=masks)


def in_tar(root: Path, pictures: Mapping[str, bytes]) -> None:
    root.mkdir()
    seg = {f"{name}.seg.png": encode_png(mask(0, 1)) for name in pictures}
    members = {f"{name}.png": data for name, data in pictures.items()} | seg
    (root / "0.tar").write_bytes(tar(dict(sorted(members.items()))))


@pytest.fixture
def intensities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[object]]:
    """The intensity of each section of the config that the command writes, all of whose images are
    then read."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> list[object]:
        assert main(["init", *arguments, "--out", "my.yaml"]) == 0
        data = load_config("my.yaml").data
        found = []
        for source, labelled in ((data.unlabelled, False), (data.labelled, True)):
            assert source is not None
            assert loading.load(source, 16, labelled).problems == ()
            found.append(getattr(source, "intensity", None))
        return found

    return run


@pytest.mark.parametrize("put", [in_folders, in_parquet, in_tar])
@pytest.mark.parametrize("encode", [grey, colors])
def test_images_of_12_bits_get_one_range_in_whatever_they_are_kept(
    put: Callable[[Path, Mapping[str, bytes]], None],
    encode: Callable[[Deep], bytes],
    intensities: Callable[..., list[object]],
    tmp_path: Path,
) -> None:
    tops = (900, 2805, 3000, 3905)
    put(tmp_path / "data", {str(i): encode(ramp(9, top)) for i, top in enumerate(tops)})
    found = intensities("data")
    assert found[0] == found[1] == ((9 if encode is grey else 3, 3905))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([ramp(0, 5000), ramp(0, 3000)], (0, 5119)),
        ([ramp(0, 65000), ramp(0, 900)], "percentiles"),
        ([ramp(0, 65000), ramp(0, 64000)], None),
    ],
)
def test_the_range_holds_images_that_would_be_read_without_and_is_left_out_where_none_does(
    values: list[Deep],
    expected: Intensity | None,
    intensities: Callable[..., list[object]],
    tmp_path: Path,
) -> None:
    in_folders(tmp_path / "data", {str(i): colors(each) for i, each in enumerate(values)})
    assert intensities("data") == [expected] * 2


def test_images_of_8_bits_among_others_are_read_by_percentiles(
    intensities: Callable[..., list[object]], tmp_path: Path
) -> None:
    small = encoded(np.arange(256, dtype=np.uint8).reshape(16, 16))
    in_folders(tmp_path / "data", {"0": grey(ramp(0, 900)), "1": small})
    assert intensities("data") == ["percentiles"] * 2


@pytest.mark.parametrize(
    ("top", "expected"),
    [(3000, [(0, 4000), (0, 4000)]), (60000, [None, (0, 4000)])],
)
def test_sections_of_similar_values_share_a_range_and_others_have_their_own(
    top: int,
    expected: list[object],
    intensities: Callable[..., list[object]],
    tmp_path: Path,
) -> None:
    in_folders(tmp_path / "labelled", {str(i): grey(ramp(0, 4000)) for i in range(3)})
    (tmp_path / "more").mkdir()
    for i in range(3):
        (tmp_path / f"more/{i}.png").write_bytes(grey(ramp(0, top)))
    assert intensities("labelled", "more") == expected


EIGHT = encode_png(np.resize(np.arange(256, dtype=np.uint8), (16, 16)))


@pytest.mark.parametrize(
    ("one", "others"), [(grey(ramp(100, 3000)), EIGHT), (EIGHT, grey(ramp(100, 3000)))]
)
def test_one_image_of_other_bits_among_many_decides_too(
    init: Callable[..., str], tmp_path: Path, one: bytes, others: bytes
) -> None:
    (tmp_path / "many").mkdir()
    for i in range(250):
        (tmp_path / f"many/{i:03}.png").write_bytes(one if i == 101 else others)
    said = init("many")
    source = load_config("my.yaml").data.unlabelled
    assert source is not None and source.intensity == "percentiles"
    assert loading.load(source, 16, labelled=False).problems == ()
    assert "250 images, of which 126 were looked into" in said
    assert "(by 126 of its 250 images; `factory inspect` reads all)" in said


def test_a_range_that_not_all_images_have_told_is_said_to_be_of_some(
    init: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "many").mkdir()
    bright = grey(ramp(100, 40_000))
    for i in range(250):
        picture = bright if i == 101 else grey(ramp(100, 3000))
        (tmp_path / f"many/{i:03}.png").write_bytes(picture)
    said = init("many")
    assert "100 becomes black, 3000 white (by 125 of its 250 images; `factory" in said
    source = load_config("my.yaml").data.unlabelled
    assert source is not None
    notes = inspection.inspect(source, 16, labelled=False).notes
    (told,) = [note for note in notes if "are mapped to 0..255" in note]
    assert "1 of them holds values far outside, 100..40000, which become black or white" in told


def test_all_of_few_images_are_looked_into_and_nothing_more_is_said(
    init: Callable[..., str], tmp_path: Path
) -> None:
    in_folders(tmp_path / "few", {str(i): grey(ramp(100, 3000 + i)) for i in range(4)})
    said = init("few")
    assert "100 becomes black, 3003 white\n" in said and "looked into" not in said
