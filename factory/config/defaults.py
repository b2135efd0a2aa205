"""What is left out of a config: the toy domain's, or what follows from what is named."""

import math
from collections.abc import Mapping, Set
from contextlib import suppress
from typing import Any

from pydantic_core import PydanticCustomError

from factory import storage
from factory.config.data import DataConfig
from factory.config.stages import TrainConfig
from factory.values import TOY, parse_count, parse_url

_OWN = (
    *("data.unlabelled", "data.labelled", "data.test"),
    *("models.ddpm_url", "models.ensemble_url"),
    *("train.url", "train.initial_model_url"),
)
"""Keys that name something of one's own, unless they name what is the toy domain's."""
_TOY: dict[str, dict[str, Any]] = {
    "data": {
        "unlabelled": {"kind": "toy", "num": 20_000, "seed": 1},
        "labelled": {"kind": "toy", "num": 20, "seed": 2},
        "test": {"kind": "toy", "num": 100, "seed": 3},
    },
    "models": {"ddpm_url": TOY, "ensemble_url": TOY},
    "train": {"url": "out/toy/ddpm"},
    "evaluate": {"url": "out/toy/evaluation"},
    "generate": {"url": "out/toy/dataset"},
}
_TOY_NETWORK = {
    "block_out_channels": (32, 64, 128),
    "attention_levels": (1, 2),
    "norm_num_groups": 16,
}
_OWN_IMAGES: dict[str, dict[str, Any]] = {
    "data": {"image_size": 64},
    "train": {"num_steps": 20_000, "learning_rate": 2e-4, "warmup_steps": 500},
    "generate": {"num": 1000},
}
_LEAST_PIXELS, _MOST_LEVELS, _ATTENTION_PIXELS = 8, 6, 16


def with_defaults(tree: Mapping[str, Any], sections: Set[str]) -> dict[str, Any]:
    """The tree with those defaults that depend on what it names."""
    # A section whose keys are all commented out is there, and empty.
    full = {
        name: dict(section or {}) if isinstance(section, Mapping | None) else section
        for name, section in tree.items()
    }
    models = full.get("models")
    if isinstance(models, dict) and full.keys() >= sections:
        # Whole, as version 0.1 stored it: there, nothing was the embedded model.
        models.update({key: TOY for key, url in models.items() if url is None})
    if not any(_is_own(_at(full, *key.split("."))) for key in _OWN):
        _fill(full, _TOY)
    unlabelled = _at(full, "data", "unlabelled")
    own_images = unlabelled is None or _is_own(unlabelled)
    if own_images:
        _fill(full, _OWN_IMAGES)
    size, widths = _at(full, "data", "image_size"), _at(full, "unet", "block_out_channels")
    if own_images or widths is not None:
        size = DataConfig.model_fields["image_size"].default if size is None else size
        _fill(full, {"unet": _network(size, widths)})
    else:
        _fill(full, {"unet": _TOY_NETWORK})
    _fill(full, _below_run(_at(full, "train", "url")))
    return full


def _at(tree: Mapping[str, Any], section: str, key: str) -> Any:
    """The value of a key, None where there is none."""
    there = tree.get(section)
    return there.get(key) if isinstance(there, Mapping) else getattr(there, key, None)


def _fill(tree: dict[str, Any], defaults: Mapping[str, Mapping[str, Any]]) -> None:
    """Sets what is absent."""
    for section, values in defaults.items():
        there = tree.setdefault(section, {})
        if isinstance(there, dict):
            tree[section] = {**values, **there}


def _is_own(value: Any) -> bool:
    """Whether the value of one of the keys _OWN is not the toy domain's."""
    kind = value.get("kind", TOY) if isinstance(value, Mapping) else getattr(value, "kind", value)
    return kind is not None and kind != TOY


def _network(image_size: Any, widths: Any) -> dict[str, Any]:
    """The section unet for images of a size, of these widths if they are given."""
    try:
        size = parse_count(image_size)
    except ValueError:
        return {}  # which is told where the size is
    if not isinstance(widths, list | tuple):
        levels = min(_MOST_LEVELS, 1 + int(math.log2(max(1, size / _LEAST_PIXELS))))
        widths = tuple(64 * min(level + 1, 4) for level in range(levels))
    small = (level for level in range(len(widths)) if size / 2**level <= _ATTENTION_PIXELS)
    return {"block_out_channels": widths, "attention_levels": tuple(small)}


def _below_run(url: Any) -> dict[str, dict[str, Any]]:
    """The places that lie below train.url where they are not named."""
    run = TrainConfig.model_fields["url"].default
    with suppress(PydanticCustomError):  # which is told where the url is
        run = run if url is None else parse_url(url)
    return {
        "train": {"url": run},
        "evaluate": {"url": storage.join(run, "evaluation")},
        "generate": {"url": storage.join(run, "dataset")},
    }
