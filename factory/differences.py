"""What differs between two nested JSON values, by dotted place."""

import json
from typing import Any


def flatten(content: object, place: str = "") -> dict[str, Any]:
    """{"a": {"b": [1]}} -> {"a.b.0": 1}; empty objects and lists stay as they are."""
    if isinstance(content, dict) and content:
        parts = [(str(name), part) for name, part in content.items()]
    elif isinstance(content, (list, tuple)) and content:
        parts = [(str(i), part) for i, part in enumerate(content)]
    else:
        return {place: content}
    prefix = f"{place}." if place else ""
    return {k: v for name, part in parts for k, v in flatten(part, prefix + name).items()}


def differences(there: object, here: object) -> list[str]:
    """One line a value that differs: 'a.b: there 1, here 2'. By JSON's spelling: 1 is not 1.0."""
    old, new = flatten(there), flatten(here)

    def told(side: dict[str, Any], name: str) -> str:
        return json.dumps(side[name]) if name in side else "nothing"

    return [
        f"{name}: there {told(old, name)}, here {told(new, name)}"
        for name in dict.fromkeys([*old, *new])
        if told(old, name) != told(new, name)
    ]
