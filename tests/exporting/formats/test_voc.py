"""Claims about `--to voc`, read as VOC's own tools do: indices of palette pictures, by lists."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import factory
from factory.classes import Classes
from factory.exporting.formats.voc import COLORS
from factory.shards.schema import Sample
from tests.exporting import made


@pytest.fixture
def export(dataset: str, tmp_path: Path) -> Callable[..., Path]:
    def run(url: str = dataset, **options: Any) -> Path:
        factory.export(url, "voc", tmp_path / "out", **options)
        return tmp_path / "out"

    return run


def read(root: Path, image_set: str, ending: str) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """The key, the image and the mask of each line of a list."""
    for key in (root / "ImageSets" / "Segmentation" / f"{image_set}.txt").read_text().split():
        image = Image.open(root / "JPEGImages" / f"{key}.{ending}")
        yield key, image, Image.open(root / "SegmentationClass" / f"{key}.png")


def test_every_pixel_is_read_back(export: Callable[..., Path], samples: list[Sample]) -> None:
    root = export(val=0.3)
    sets: dict[str, list[str]] = {}
    for name in ("train", "val", "trainval"):
        sets[name] = []
        for key, image, mask in read(root, name, "png"):
            sample = samples[int(key)]
            assert mask.mode == "P"
            assert np.array_equal(np.asarray(mask), sample.mask)
            assert np.array_equal(np.asarray(image), sample.image)
            sets[name].append(key)
    assert sets["trainval"] == [sample.key for sample in samples]
    assert sorted(sets["train"] + sets["val"]) == sets["trainval"]
    assert sets["train"] and sets["val"]


def test_without_a_split_there_is_no_list_for_validation(export: Callable[..., Path]) -> None:
    found = sorted(path.name for path in (export() / "ImageSets" / "Segmentation").iterdir())
    assert found == ["train.txt", "trainval.txt"]


def test_masks_have_the_colours_of_voc_and_a_white_border(
    export: Callable[..., Path], samples: list[Sample]
) -> None:
    # The colours of background, aeroplane, ..., tvmonitor, and of the border, by VOC's own table.
    known = "000000 800000 008000 808000 000080 800080 008080 808080 400000 c00000 408000 c08000"
    known += " 400080 c00080 408080 c08080 004000 804000 00c000 80c000 004080"
    assert [bytes(color).hex() for color in COLORS[:21]] == known.split()
    assert COLORS[255] == (224, 224, 192) and len(COLORS) == len(set(COLORS)) == 256
    for key, _, mask in read(export(), "train", "png"):
        expected = np.array(COLORS, np.uint8)[samples[int(key)].mask]
        assert np.array_equal(np.asarray(mask.convert("RGB")), expected)


def test_the_label_map_names_the_colours_that_are_in_the_masks(
    export: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (export() / "labelmap.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [
        "# label:color_rgb:parts:actions",
        "background:0,0,0::",
        "cat_ 'big':128,0,0::",
        "nuclei ä:0,128,0::",
        "line:128,128,0::",
    ]
    assert "\"cat: 'big'\" is \"cat_ 'big'\" there" in capsys.readouterr().out


def test_names_that_the_label_map_cannot_hold_do_not_become_those_of_other_classes(
    tmp_path: Path, export: Callable[..., Path]
) -> None:
    names = ("a:b", "a_b", "a  b", "#b", "_b", "a:b_0", "a b")
    palette = Classes.named(names).palette
    url = str(tmp_path / "named")
    made.write(url, class_names=names, palette=palette)
    lines = (export(url) / "labelmap.txt").read_text().splitlines()[1:]
    labels = [line.split(":")[0] for line in lines]
    assert [labels[i] for i in (1, 4, 6)] == ["a_b", "_b", "a b"]
    assert len(set(labels)) == len(names)


def test_images_are_jpeg_where_that_is_asked_for(
    export: Callable[..., Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    smooth = made.write(str(tmp_path / "smooth"), size=(64, 64))
    root = export(str(tmp_path / "smooth"), jpeg=True)
    assert "need --jpeg" not in capsys.readouterr().out
    for key, image, mask in read(root, "train", "jpg"):
        assert image.format == "JPEG" and image.size == (64, 64)
        assert np.array_equal(np.asarray(mask), smooth[int(key)].mask)
        off = np.abs(np.asarray(image).astype(int) - smooth[int(key)].image)
        assert off.mean() < 8, "even noise is nearly kept"


def test_that_images_are_png_is_told(
    export: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    export()
    assert (
        "readers that look for .jpg, such as torchvision's, need --jpeg" in capsys.readouterr().out
    )
