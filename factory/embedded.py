"""The toy domain's trained models, which ship with the package."""

from pathlib import Path

from factory.values import TOY

_TOY = Path(__file__).parent / "assets" / "toy"

DDPM_URL = str(_TOY / "ddpm")
ENSEMBLE_URL = str(_TOY / "ensemble")


def ddpm_url(url: str) -> str:
    """The folder of a DDPM: the embedded one for `toy`, else the URL itself."""
    return DDPM_URL if url == TOY else url
