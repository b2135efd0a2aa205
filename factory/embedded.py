"""The trained models of drawn faces, which ship with the package: `toy` draws 32 px, `toy64` 64."""

from pathlib import Path

from factory.values import EMBEDDED, TOY

_ASSETS = Path(__file__).parent / "assets"
_DDPMS, _ENSEMBLES = (
    {name: str(_ASSETS / name / part) for name in EMBEDDED} for part in ("ddpm", "ensemble")
)

DDPM_URL = _DDPMS[TOY]
ENSEMBLE_URL = _ENSEMBLES[TOY]


def ddpm_url(url: str) -> str:
    """The folder of a DDPM: that of an embedded one for its name, else the URL itself."""
    return _DDPMS.get(url, url)


def ensemble_url(url: str) -> str:
    """The folder of an ensemble: that of an embedded one for its name, else the URL itself."""
    return _ENSEMBLES.get(url, url)


def ddpm_name(url: str) -> str:
    """The name of the embedded DDPM that lies in a folder, else the folder's URL: it lies elsewhere
    on another machine."""
    return next((name for name, folder in _DDPMS.items() if folder == url), url)
