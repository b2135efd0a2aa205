"""Ray as it is installed."""

from functools import cache
from pathlib import Path

import ray

FOLDER = Path(ray.__file__).parent


@cache
def content(file: str) -> bytes:
    """Returns a file of the installed package."""
    return (FOLDER / file).read_bytes()
