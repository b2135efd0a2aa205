"""Claims about folders that show masks once more, as tools write them to look at: they are left
alone and named, and nothing is asked about them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from factory.images import UInt8
from factory.png import encode_png
from tests.data.inputs import encoded
from tests.data.recognizing.test_recognition import photograph
from tests.new_config.test_renderings import area, put

PALETTE = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)


def ids(i: int) -> UInt8:
    """(16, 16) three classes."""
    return np.where(area(i + 2) > 0, np.uint8(2), area(i))


def overlay(i: int) -> UInt8:
    """The image in grey, half of it in the colours of the classes."""
    grey = photograph(i).mean(axis=2, keepdims=True)
    return np.asarray((grey + PALETTE[ids(i)]) / 2, np.uint8)


def put_voc(root: Path) -> None:
    """Images and masks as labelme2voc writes them."""
    put(root, "JPEGImages/#.png", photograph)
    put(root, "SegmentationClass/#.png", ids)
    put(root, "SegmentationClassVisualization/#.png", overlay)
    (root / "SegmentationClassNpy").mkdir()
    for i in range(8):
        np.save(root / f"SegmentationClassNpy/{i:03}.npy", ids(i).astype(np.int32))
    (root / "class_names.txt").write_text("_background_\ncat\ndog\n")


def test_what_labelme2voc_writes_beside_is_left_alone(
    init: Callable[..., str], tmp_path: Path
) -> None:
    put_voc(tmp_path / "data")
    said = init("data")
    assert (
        "left alone below data: SegmentationClassNpy (the same masks) and "
        "SegmentationClassVisualization (masks drawn over the images)"
    ) in said
    assert "are needed, too" not in said and "are meant" not in said


def test_arrays_of_the_masks_that_are_read_as_pictures_are_left_alone(
    init: Callable[..., str], tmp_path: Path
) -> None:
    put_voc(tmp_path / "data")
    (tmp_path / "data/SegmentationClass").rename(tmp_path / "data/SegmentationClassPNG")
    (tmp_path / "data/SegmentationClassNpy").rename(tmp_path / "data/SegmentationClass")
    said = init("data")
    assert "left alone below data: SegmentationClass (the same masks)" in said
    assert "are needed, too" not in said and "are meant" not in said


@pytest.mark.parametrize("form", ["colours", "other values", "palettes"])
def test_the_same_masks_in_other_colours_or_values_are_left_alone(
    init: Callable[..., str], tmp_path: Path, form: str
) -> None:
    put(tmp_path / "data", "images/#.png", photograph)
    put(tmp_path / "data", "masks/#.png", ids)
    write = {"colours": lambda i: PALETTE[ids(i)], "other values": lambda i: ids(i) * np.uint8(100)}
    put(tmp_path / "data", "shown/#.png", write.get(form, ids))
    if form == "palettes":
        for i in range(8):
            picture = Image.fromarray(ids(i))
            picture.putpalette(PALETTE.ravel().tolist())
            (tmp_path / f"data/shown/{i:03}.png").write_bytes(encoded(picture))
    said = init("data")
    assert "left alone below data: shown (the same masks)" in said
    assert "are needed, too" not in said


OTHERS: dict[str, Callable[[int], UInt8]] = {
    "fewer classes": lambda i: ids(i).clip(max=1),
    "masks of other people": lambda i: np.roll(ids(i), 1, axis=0),
    "other photographs": lambda i: photograph(90 + i),
    "the same photographs": photograph,
    "depths": lambda i: np.asarray(ids(i) * 80.0 + photograph(50 + i)[..., 0] / 8, np.uint8),
}


@pytest.mark.parametrize("other", OTHERS)
def test_pictures_that_show_something_else_are_asked_about(
    init: Callable[..., str], tmp_path: Path, other: str
) -> None:
    put(tmp_path / "data", "images/#.png", photograph)
    put(tmp_path / "data", "masks/#.png", ids)
    put(tmp_path / "data", "others/#.png", OTHERS[other])
    said = init("data")
    assert "left alone" not in said and "are needed, too: others" in said


def test_a_damaged_picture_shows_nothing_once_more(
    init: Callable[..., str], tmp_path: Path
) -> None:
    put_voc(tmp_path / "data")
    damaged = encode_png(overlay(0))[:60]
    (tmp_path / "data/SegmentationClassVisualization/000.png").write_bytes(damaged)
    assert "are needed, too: SegmentationClassVisualization" in init("data")
