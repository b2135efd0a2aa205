"""Compares two nested JSON values, and names each difference by its dotted path."""

import json
from typing import Any


def flatten(content: object, path: str = "") -> dict[str, Any]:
    """Turns {"a": {"b": [1]}} into {"a.b.0": 1}; empty objects and lists stay as they are."""
    if isinstance(content, dict) and content:
        parts = [(str(name), part) for name, part in content.items()]
    elif isinstance(content, (list, tuple)) and content:
        parts = [(str(i), part) for i, part in enumerate(content)]
    else:
        return {path: content}
    prefix = f"{path}." if path else ""
    return {k: v for name, part in parts for k, v in flatten(part, prefix + name).items()}


def differences(existing: object, current: object) -> list[str]:
    """A line for each value that differs: 'a.b: there 1, here 2'. As in JSON, 1 is not 1.0."""
    old, new = flatten(existing), flatten(current)

    def spelled(side: dict[str, Any], name: str) -> str:
        return json.dumps(side[name]) if name in side else "nothing"

    return [
        f"{name}: there {spelled(old, name)}, here {spelled(new, name)}"
        for name in dict.fromkeys([*old, *new])
        if spelled(old, name) != spelled(new, name)
    ]
