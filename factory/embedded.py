"""The toy domain's trained models, which ship with the package: used where none are named."""

from pathlib import Path

_TOY = Path(__file__).parent / "assets" / "toy"

DDPM_URL = str(_TOY / "ddpm")
ENSEMBLE_URL = str(_TOY / "ensemble")
