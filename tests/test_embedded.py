"""Claims about factory.embedded: the models that ship with the package."""

from pathlib import Path

import pytest

from factory import embedded
from factory.config import parse_config
from factory.diffusion.checkpoints import load_model
from factory.labeling.commands import load_models
from factory.values import EMBEDDED


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_name_of_an_embedded_model_opens_a_ddpm_and_the_ensemble_that_was_fitted_on_it(
    name: str,
) -> None:
    config = parse_config({"models": {"ddpm_url": name, "ensemble_url": name}})
    ddpm, ensemble, _ = load_models(config)
    assert ensemble.config.ddpm_hash == ddpm.model_hash
    assert ensemble.config.class_names[:2] == ("background", "skin")


def test_they_draw_32_and_64_pixels() -> None:
    sizes = [load_model(embedded.ddpm_url(name)).image_size for name in EMBEDDED]
    assert sizes == [32, 64]


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_folder_of_theirs_has_its_name_back_and_another_keeps_its_url(name: str) -> None:
    assert embedded.ddpm_name(embedded.ddpm_url(name)) == name
    assert embedded.ddpm_name("s3://bucket/toy") == "s3://bucket/toy"
    assert embedded.ddpm_url("/models/toy") == embedded.ensemble_url("/models/toy") == "/models/toy"


@pytest.mark.parametrize("name", EMBEDDED)
def test_they_are_small(name: str) -> None:
    folder = Path(embedded.ddpm_url(name)).parent
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 12e6
