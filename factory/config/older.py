"""The present locations of the keys of older versions.

A dataset keeps the config that it was made with. One that an older version stored is whole: it has
every section and every key, so it is known by that, and read as it was meant. Of a config that
people write, keys that have moved are refused with their new names.
"""

from collections.abc import Mapping
from typing import Any

from factory.config.tree import set_value
from factory.values import TOY

_SECTIONS = {
    *("data", "unet", "diffusion", "train", "models"),
    *("features", "ensemble", "evaluate", "generate"),
}
"""All that versions 0.1.0 and 0.2.0 had."""
_KEYS = {
    "features.source": ("generate.feature_source",),
    "ensemble.vote": ("generate.vote", "evaluate.vote"),
}
_MOVED = {
    "unet": "train.unet",
    "diffusion": "train.diffusion",
    "features": "fit",
    "ensemble": "fit",
}


def new_names(key: str) -> tuple[str, ...]:
    """The present names of a key below a section that has moved; a section has one name."""
    section, _, name = key.partition(".")
    return _KEYS.get(key) or (".".join(filter(None, [_MOVED[section], name])),)


def is_moved(section: str) -> bool:
    """True if older versions had a section of this name, and this one has not."""
    return section in _MOVED


def modern(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree; if an older version stored it, with the keys that this version has."""
    if not tree.keys() >= _SECTIONS or not all(isinstance(tree[key], Mapping) for key in _SECTIONS):
        return tree
    found = {name: dict(section) for name, section in tree.items()}
    # Version 0.1.0 stored nothing for the embedded models.
    found["models"] = {k: TOY if url is None else url for k, url in found["models"].items()}
    for section in filter(is_moved, tree):
        for name, value in tree[section].items():
            for key in new_names(f"{section}.{name}"):
                set_value(found, key, value)
                found[section].pop(name, None)
        if not found[section]:
            del found[section]
    return found
