"""Values in one line of YAML, as messages propose them and new configs have them."""

import json
from collections.abc import Mapping
from typing import Any

_WORDS = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
"""Words that YAML, or older versions of it, read as something else than text."""


def as_yaml(keys: Mapping[str, Any]) -> str:
    """A section in one line of YAML."""
    return f"{{{', '.join(f'{key}: {value_as_yaml(value)}' for key, value in keys.items())}}}"


def value_as_yaml(value: object) -> str:
    """A value in one line of YAML: as JSON, without quotes where words need none."""
    if isinstance(value, Mapping):
        return as_yaml(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(value_as_yaml, value))}]"
    if isinstance(value, str) and _is_plain(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    """True of words that YAML reads as they are, in lists, too."""
    begins = text[:1].isalpha() or text.startswith(("_", "/", "./", "../"))
    allowed = all(c.isalnum() or c in "_-./@+ " for c in text) and not text.endswith(" ")
    return begins and allowed and text.lower() not in _WORDS
