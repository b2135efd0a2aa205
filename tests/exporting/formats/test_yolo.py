"""Claims about `--to yolo`, as supervision reads it, and by the rules of ultralytics' labels."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw

import factory
from factory.images import UInt8
from factory.shards.schema import Sample
from tests.exporting import made


@pytest.fixture(scope="module")
def supervision() -> Any:
    with warnings.catch_warnings():
        # It says that it does without OpenCV.
        warnings.simplefilter("ignore")
        import supervision
    return supervision


@pytest.fixture
def export(dataset: str, tmp_path: Path) -> Callable[..., Path]:
    def run(**options: Any) -> Path:
        factory.export(dataset, "yolo", tmp_path / "out", **options)
        return tmp_path / "out"

    return run


def without_ignored(sample: Sample) -> UInt8:
    """Its mask, in which YOLO knows no ignored pixels: they are background."""
    return np.where(sample.mask == 255, 0, sample.mask)


def test_supervision_finds_every_pixel(
    supervision: Any, export: Callable[..., Path], samples: list[Sample]
) -> None:
    folder, seen = export(val=0.3), []
    for split in ("train", "val"):
        read = supervision.DetectionDataset.from_yolo(
            images_directory_path=str(folder / "images" / split),
            annotations_directory_path=str(folder / "labels" / split),
            data_yaml_path=str(folder / "data.yaml"),
            force_masks=True,
        )
        assert read.classes == list(made.NAMES[1:])
        for path, image, found in read:
            sample = samples[int(Path(path).stem)]
            mask = np.zeros(sample.mask.shape, np.uint8)
            # It has none where there is no polygon.
            masks = [] if found.mask is None else found.mask
            for class_id, pixels in zip(found.class_id, masks, strict=True):
                assert not mask[pixels].any(), "no pixel is of two polygons"
                mask[pixels] = class_id + 1
            assert np.array_equal(mask, without_ignored(sample))
            # It reads images as OpenCV does, blue first.
            assert np.array_equal(image[..., ::-1], sample.image)
            seen.append(sample.key)
    assert sorted(seen) == [sample.key for sample in samples]


def as_ultralytics(label: Path, height: int, width: int) -> UInt8:
    """What ultralytics makes of a label by its documentation: vertices are shares of the image's
    width and height, in float32, which are cut to whole pixels; polygons are filled with their
    borders."""
    picture = Image.new("L", (width, height))
    pen = ImageDraw.Draw(picture)
    for line in label.read_text().splitlines():
        class_id, *values = line.split()
        shares = np.array(values, np.float32).reshape(-1, 2)
        assert len(shares) >= 3 and (shares >= 0).all() and (shares <= 1).all()
        corners = (shares * np.array([width, height], np.float32)).astype(np.int32)
        pen.polygon([(int(x), int(y)) for x, y in corners], fill=int(class_id) + 1, outline=None)
        pen.polygon([(int(x), int(y)) for x, y in corners], outline=int(class_id) + 1)
    return np.asarray(picture)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(13, 17), (100, 300), (7, 1000)])
def test_ultralytics_finds_every_pixel(tmp_path: Path, size: tuple[int, int]) -> None:
    samples = made.write(str(tmp_path / "dataset"), num=3, size=size)
    factory.export(tmp_path / "dataset", "yolo", tmp_path / "out")
    for sample in samples:
        label = tmp_path / "out" / "labels" / "train" / f"{sample.key}.txt"
        assert np.array_equal(as_ultralytics(label, *size), without_ignored(sample))


def test_the_description_names_both_splits_and_the_classes(export: Callable[..., Path]) -> None:
    told = yaml.safe_load((export(val=0.3) / "data.yaml").read_text(encoding="utf-8"))
    assert told == {
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(made.NAMES[1:])),
    }


def test_without_a_split_the_training_images_stand_for_both_and_that_is_told(
    export: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    told = yaml.safe_load((export() / "data.yaml").read_text(encoding="utf-8"))
    assert told["val"] == told["train"] == "images/train"
    printed = capsys.readouterr().out
    assert "names the training images for validation, too" in printed
    assert "as ultralytics fills them: mean 1.0000; cat: 'big' 1.0000" in printed


def test_a_split_of_which_no_pair_is_kept_is_not_named(export: Callable[..., Path]) -> None:
    folder = export(val=0.3, keep=0.1)
    told = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert told["train"] == told["val"] and any((folder / told["val"]).iterdir())


def test_an_image_of_background_has_an_empty_label(export: Callable[..., Path]) -> None:
    assert (export() / "labels" / "train" / "000000000.txt").read_text() == ""


def test_the_background_is_a_class_where_it_is_asked_for(
    export: Callable[..., Path], samples: list[Sample]
) -> None:
    folder = export(background=True)
    told = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert told["names"] == dict(enumerate(made.NAMES))
    label = folder / "labels" / "train" / "000000001.txt"
    read = as_ultralytics(label, *samples[1].mask.shape)
    assert np.array_equal(read, np.where(samples[1].mask == 255, 0, samples[1].mask + 1))
