"""Claims about pictures beside those that `factory init` takes: they are used or named, never
both."""

from collections.abc import Callable
from pathlib import Path

from factory.config import load_config
from tests.data.kinds.test_auto import mask, pairs_of
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
