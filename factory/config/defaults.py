"""Fills in what a config leaves out: from the toy domain, a preset, or what the config names."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from pydantic_core import PydanticCustomError

from factory import storage
from factory.config.presets import PRESETS, attention_levels, nearest, widths
from factory.config.train import TrainConfig
from factory.config.tree import set_default, value_at
from factory.values import TOY, parse_count, parse_url

_OWN = (
    *("data.unlabelled", "data.labelled", "data.test", "label.source", "suggest.source"),
    *("models.ddpm_url", "models.ensemble_url"),
    *("train.url", "train.initial_model_url"),
)
"""Keys that name something of one's own, unless they name what is the toy domain's."""
_TOY: dict[str, Any] = {
    "data.unlabelled": {"kind": "toy", "num": 20_000, "seed": 1},
    "data.labelled": {"kind": "toy", "num": 20, "seed": 2},
    "data.test": {"kind": "toy", "num": 100, "seed": 3},
    "models.ddpm_url": TOY,
    "models.ensemble_url": TOY,
    "train.url": "out/toy/ddpm",
    "probe.url": "out/toy/probe",
    "evaluate.url": "out/toy/evaluation",
    "curve.url": "out/toy/curve",
    "generate.url": "out/toy/dataset",
    "label.source": {"kind": "toy", "num": 100, "seed": 3},
    "label.url": "out/toy/labels",
    "sample.url": "out/toy/samples",
    "segment.url": "out/toy/segmenter",
    "prove.url": "out/toy/proof",
    "suggest.url": "out/toy/suggestions",
    "adopt.url": "out/toy/adopted",
}


def with_defaults(tree: Mapping[str, Any], is_of_file: bool = False) -> dict[str, Any]:
    """The tree with those defaults that depend on what it names.

    is_of_file: a file that names nothing is not meant for the toy domain, unless it says so.
    """
    full = _copied(tree)
    is_toy = not is_of_file or _names_toy(full)
    if is_toy and not any(_is_own(value_at(full, key)) for key in _OWN):
        _fill(full, _TOY)
    unlabelled = value_at(full, "data.unlabelled")
    if unlabelled is None or _is_own(unlabelled):
        _fill(full, {"generate.num": 1000})
    else:
        _fill(full, {"preset": TOY})
    if value_at(full, "label.at") == "original":
        _fill(full, {"label.samples_per_shard": 100})
    _fill(full, _shape(full))
    _fill(full, _below_run(value_at(full, "train.url")))
    with suppress(PydanticCustomError):  # A wrong generate.url is reported where it is.
        dataset_url = parse_url(value_at(full, "generate.url"))
        _fill(full, {f"{name}.dataset_url": dataset_url for name in ("segment", "prove")})
    return full


def _copied(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that may be filled; a section whose keys are all commented out is empty, not None."""
    full = {name: _copied_section(value) for name, value in tree.items() if name != "preset"}
    return full if (preset := tree.get("preset")) is None else {"preset": preset, **full}


def _copied_section(value: Any) -> Any:
    if not isinstance(value, Mapping | None):
        return value
    section = dict(value or {})
    for name in {"unet", "diffusion"} & section.keys():
        section[name] = _copied_section(section[name])
    return section


def _fill(tree: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    for key, value in defaults.items():
        set_default(tree, key, value)


def _is_own(value: Any) -> bool:
    """True if the value of one of the keys _OWN is not the toy domain's."""
    kind = value.get("kind", TOY) if isinstance(value, Mapping) else getattr(value, "kind", value)
    return kind is not None and kind != TOY


def _names_toy(tree: Mapping[str, Any]) -> bool:
    """True if the tree says that it is of the toy domain, or of a part of it."""
    named = [value for key in _OWN if (value := value_at(tree, key)) is not None]
    return value_at(tree, "preset") == TOY or any(not _is_own(value) for value in named)


def _shape(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the preset, or if only a size is named, of the one that is nearest to it.

    Nothing if there is neither, or if one is wrong, which is reported where it is.
    """
    name, size = value_at(tree, "preset"), value_at(tree, "data.image_size")
    preset = PRESETS.get(str(name))
    if size is None and preset is not None:
        size = preset.image_size
    with suppress(ValueError):
        size = parse_count(size)
        row = {**(preset or nearest(size)).keys(), "data.image_size": size}
        channels = value_at(tree, "train.unet.block_out_channels")
        if channels is None:
            channels = widths(size) if preset is None else preset.block_out_channels
        else:
            # The groups of a preset divide its own widths only.
            del row["train.unet.norm_num_groups"]
        row["train.unet.block_out_channels"] = channels
        if isinstance(channels, list | tuple):
            row["train.unet.attention_levels"] = attention_levels(size, channels)
        return row
    return {}


def _below_run(url: Any) -> dict[str, str]:
    """The URLs that lie below train.url if they are not named."""
    run = TrainConfig.model_fields["url"].default
    with suppress(PydanticCustomError):  # A wrong train.url is reported where it is.
        run = run if url is None else parse_url(url)
    return {
        "train.url": run,
        "probe.url": storage.join(run, "probe"),
        "evaluate.url": storage.join(run, "evaluation"),
        "curve.url": storage.join(run, "curve"),
        "generate.url": storage.join(run, "dataset"),
        "label.url": storage.join(run, "labels"),
        "sample.url": storage.join(run, "samples"),
        "segment.url": storage.join(run, "segmenter"),
        "prove.url": storage.join(run, "proof"),
        "suggest.url": storage.join(run, "suggestions"),
        "adopt.url": storage.join(run, "adopted"),
    }
