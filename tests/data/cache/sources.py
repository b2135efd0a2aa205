"""Drawings to cache, what a cache holds, and how it refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.config import DataConfig
from factory.data.kinds.toy import ToySource
from factory.errors import UserError
from tests.folders import contents

TOY = ToySource(num=70, seed=4)
OF_TOY = 70 * 16 * 16 * 3


def entries(data: DataConfig) -> list[str]:
    """All that lies in the cache but the lock."""
    return sorted(
        {name.partition("/")[0] for name in contents(Path(str(data.cache_dir)))} - {"lock"}
    )


def refusal(work: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(UserError) as raised:
        work(*arguments)
    return str(raised.value)
