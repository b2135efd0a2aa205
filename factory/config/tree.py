"""Nested mappings of a config that is not parsed yet, by dotted key."""

from collections.abc import Mapping
from typing import Any


def value_at(tree: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, None if it is absent."""
    value: Any = tree
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def set_value(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value of a dotted key; what is no section on the way to it is replaced by one."""
    *sections, last = key.split(".")
    for section in sections:
        if not isinstance(tree.get(section), dict):
            tree[section] = {}
        tree = tree[section]
    tree[last] = value


def set_default(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets the value of a dotted key if it is absent; leaves alone what is no section."""
    *sections, last = key.split(".")
    for section in sections:
        below = tree.setdefault(section, {})
        if not isinstance(below, dict):
            return
        tree = below
    tree.setdefault(last, value)
