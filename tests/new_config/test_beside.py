"""Claims about pictures beside those that `factory init` takes: they are used or named, never
both."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from factory.config import load_config
from factory.png import encode_png
from tests.data.kinds.test_auto import mask, pairs_of
from tests.data.recognizing.test_recognition import photograph
from tests.new_config.test_command import images, names


def test_images_of_test_without_masks_are_learned_from_though_they_repeat_names(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data/train", *[mask(0, 1)] * 4)
    for i, path in enumerate(sorted((tmp_path / "data/train/images").iterdir())):
        path.rename(path.with_name(f"u{i}.png"))
        mask_ = tmp_path / f"data/train/masks/{path.name}"
        mask_.rename(mask_.with_name(f"u{i}.png"))
    images(tmp_path / "data/test/images", 4, start=10)
    said = init("data")
    assert len(names(load_config("my.yaml"))["unlabelled"]) == 4
    assert "data.unlabelled: data/test: taken as kind folder" in said
    assert "are needed, too" not in said, "as they are used"


def test_pictures_in_no_folder_are_named_themselves(
    init: Callable[..., str], tmp_path: Path
) -> None:
    pairs_of(tmp_path / "data", *[mask(0, 1)] * 4)
    images(tmp_path / "data", 1)
    assert "whether pictures below data are needed, too: u0.png" in init("data")


def test_masks_that_are_half_transparent_are_refused_by_their_names_and_as_such(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    for i in range(3):
        for folder in ("images", "masks"):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / f"data/images/{i}.png").write_bytes(encode_png(photograph(i)))
        numbered = np.zeros((16, 16, 4), np.uint8)
        numbered[4 : 8 + i] = (13, 0, 0, 1)
        Image.fromarray(numbered).save(tmp_path / f"data/masks/{i}.png")
    said = refused("data", "--out", "my.yaml")
    assert "half transparent (" in said and "masks/0.png" in said and "JPEG" not in said


def test_volumes_that_are_packed_are_told_by_both_endings(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/brain.nii.gz").write_bytes(b"x")
    assert "holds 1 .nii.gz, and no images" in refused("data", "--out", "my.yaml")
