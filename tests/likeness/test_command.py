"""Claims about factory.likeness.command, the command `factory fingerprint`."""

from pathlib import Path

import pytest
from PIL import Image

from factory.cli import main
from factory.config import Config, parse_config
from factory.data.toy import drawing
from factory.errors import UserError
from factory.likeness.command import fingerprint
from factory.likeness.training_images import FILE, read_training_images
from tests import tiny
from tests.folders import contents


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A config of a DDPM and of a folder of nine images."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for index in range(9):
        Image.fromarray(drawing.draw(1, index, 24)[0]).save(photos / f"{index}.png")
    source = {"kind": "folder", "url": str(photos)}
    return parse_config(
        {
            **tiny.TREE,
            "data": {"image_size": 16, "unlabelled": source},
            "models": tiny.save_models(tmp_path),
        }
    )


def test_it_keeps_the_features_of_all_images_in_the_ddpms_folder(config: Config) -> None:
    ddpm_url = config.models.ddpm_url
    assert ddpm_url is not None and fingerprint(config) == f"{ddpm_url}/{FILE}"
    found = read_training_images(ddpm_url)
    assert found is not None and (len(found.layout), found.total) == (9, 9)
    before = contents(Path(ddpm_url))
    fingerprint(config)
    assert contents(Path(ddpm_url)) == before


def test_an_image_that_cannot_be_read_is_named_and_nothing_is_written(
    config: Config, tmp_path: Path
) -> None:
    (tmp_path / "photos" / "3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"3\.png"):
        fingerprint(config)
    assert not (tmp_path / "ddpm" / FILE).exists()


def test_the_embedded_model_has_no_folder_of_ones_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fingerprint", "--ddpm", "toy"]) == 2
    assert "models.ddpm_url: toy is an embedded model" in capsys.readouterr().err
