"""Checks what programs hand to `factory`: arrays of images, paths, settings by key.

Shapes: N images, S image size, C channels: 3 for RGB, 1 for grey.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from factory.config import Config, parse_config
from factory.data.arrays import ArraySource
from factory.data.classes import class_forms
from factory.errors import Problems, UserError
from factory.images import UInt8

Location = str | os.PathLike[str]
"""A path, or a URL of a store such as s3://bucket/prefix."""
Images = UInt8 | Sequence[UInt8]
"""One array, or a list of arrays of one shape."""
ClassForm = Sequence[str | Mapping[str, Any]] | Mapping[str, Any]
"""Names of classes, or another form of `factory.data.classes.class_forms`."""
NOT_OF_SAMPLE = {
    "url": "pairs are kept in memory",
    "format": "pairs are kept in memory",
    "license": "pairs are kept in memory",
    "val_fraction": "pairs are kept in memory",
    "extend": "pairs are kept in memory",
    "samples_per_shard": "all pairs are made as one shard",
    **dict.fromkeys(
        (
            "workers",
            "min_actors",
            "max_actors",
            "max_shard_retries",
            "max_failed_shards",
            "shard_deadline_seconds",
            "no_progress_timeout_seconds",
            "allow_unlike_hardware",
            "progress_seconds",
        ),
        "pairs are made in this process",
    ),
}
"""Settings of section `generate` without effect on `sample`, with the reason of each."""


def config_of(function: str, **sections: Mapping[str, Any]) -> Config:
    """Returns a config of these sections; raises UserError that names the function."""
    return parse_config(sections, f"factory.{function}")


def refuse(settings: Mapping[str, Any], function: str, **reasons: str) -> None:
    """Raises UserError for settings that the function decides itself, with the reason of each."""
    problems = Problems()
    for key in sorted(settings.keys() & reasons.keys()):
        problems.add(
            f"factory.{function}: {key}: is no setting here: {reasons[key]}. Leave it out."
        )
    problems.raise_if_any()


def path_of(location: Location, name: str) -> str:
    """Returns a path or URL as text; raises UserError where it is neither."""
    check_type(name, location, str, os.PathLike)
    return os.fspath(location)


def check_type(name: str, value: object, *types: type) -> None:
    """Raises UserError where a value is of none of these types."""
    if not isinstance(value, types):
        wanted = " or ".join(each.__name__ for each in types)
        raise UserError(f"{name}: must be of type {wanted}, got {type(value).__name__}.")


def array_of(values: Images, name: str) -> UInt8:
    """Returns the values as one array; raises UserError where they have no common shape."""
    try:
        return np.asarray(values)
    except ValueError:
        raise UserError(f"{name}: differ in shape. Crop and scale them to one size.") from None


def pixels_of(images: Images, image_size: int | None = None, channels: int | None = None) -> UInt8:
    """Returns images as one array (N, S, S, C) uint8; C is 1 where they are (N, S, S).

    Raises UserError where they are something else, of another size than image_size, of other
    channels than these, 3 or 1 if absent, or none.
    """
    pixels = array_of(images, "images")
    if pixels.shape[:1] == (0,):
        raise UserError("images: are none. Give one image at least.")
    size = image_size or (pixels.shape[1] if pixels.ndim > 1 else "S")
    forms = {3: f"(N, {size}, {size}, 3)", 1: f"grey (N, {size}, {size}) or (N, {size}, {size}, 1)"}
    allowed = [channels] if channels else list(forms)
    stacked = pixels[..., None] if pixels.ndim == 3 else pixels
    if pixels.dtype != np.uint8 or stacked.shape[1:] not in [(size, size, c) for c in allowed]:
        raise UserError(
            f"images: must be uint8 of shape {' or '.join(forms[c] for c in allowed)}, got "
            f"{pixels.dtype} of shape {pixels.shape}. `factory.load_images` crops and scales files."
        )
    return stacked


def labelled_source(images: Images, masks: Images, class_names: ClassForm) -> ArraySource:
    """Returns a source of images (N, S, S, C) and their masks, of values or of colours.

    Raises UserError where shapes, types or classes do not fit.
    """
    pixels, values = pixels_of(images), array_of(masks, "masks")
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise UserError(f"class_names: must be a list of names, got {class_names!r}.")
    form = class_names if isinstance(class_names, Mapping) else list(class_names)
    rules = class_forms.parse_rules(form, "class_names")
    shapes = [pixels.shape[:3], *([(*pixels.shape[:3], 3)] if rules.by_color else [])]
    whole = values.dtype == np.uint8 or (not rules.by_color and values.dtype == np.uint16)
    if not whole or values.shape not in shapes:
        types = "uint8" if rules.by_color else "uint8 or uint16"
        raise UserError(
            f"masks: must be {types} of shape {' or '.join(map(str, shapes))}, as the images are, "
            f"got {values.dtype} of shape {values.shape}."
        )
    return ArraySource(pixels, values, rules)
