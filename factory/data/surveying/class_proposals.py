"""What the values of masks are likely to mean, where nobody has said it: classes to write down."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from factory.classes import IGNORE_ID
from factory.data.classes.class_lookup import Value
from factory.data.surveying.mask_sampling import MaskSample

_BLACK = (0, 0, 0)
_VOC_BORDER = (224, 224, 192)
_MAX_IDS = 64
"""More values than these are objects, or edges that were smoothed."""
_MIN_OBJECTS = 6
"""Values from 1 on without gaps in each mask, so many in one and fewer in another, are objects."""
_MIN_STEP = 8
"""Values that lie further apart are grey levels."""
MIN_BLURRED = 32
"""Black that was saved with loss is darker than this."""
_BLUR = 8
"""Compression changes most pixels by less."""
_MIN_LEVEL, _MIN_OF_REST = 0.005, 0.15
"""The least share of pixels near a level of grey, of all and of those that are near no other."""
_SMOOTHED_SHARE = 0.9
"""The least share of pixels at both ends of the values where the others are smoothed edges."""


@dataclass(frozen=True)
class Proposal:
    """Classes, and which values or colours are which."""

    classes: tuple[str | Mapping[str, Any], ...]
    """The key `classes` of a section."""
    ignore: Mapping[str, Any]
    """The key `ignore`; empty if nothing is."""
    seen: str
    """What was found, in a few words: the values 0 and 255."""
    doubt: str = ""
    """What people should look at; empty if there is hardly another meaning."""


def propose(sample: MaskSample, names: Sequence[str] = ()) -> Proposal | None:
    """The likeliest meaning of a sample; None if the masks have no two classes.

    names: the names of the classes, if they are known and only their values are not; they are used
    if they are as many as the classes.
    """
    pixels = sample.pixels
    found: Proposal | None
    if sample.is_blurred:
        found = _blurred(pixels)
    elif sample.is_colored:
        found = _colors(pixels, sample.palettes_differ)
    else:
        found = _ids(sample, names)
    if found is None or len(found.classes) < 2:
        return None
    return _named(found, names)


def _named(found: Proposal, names: Sequence[str]) -> Proposal:
    """The proposal with the names of the classes, if they are as many."""
    if not names:
        return found
    if len(names) != len(found.classes):
        doubt = f"{len(names)} names of classes, and {found.seen}"
        return replace(found, doubt=", and ".join(filter(None, (found.doubt, doubt))))
    plain = [{"name": entry} if isinstance(entry, str) else dict(entry) for entry in found.classes]
    entries = [{**entry, "name": name} for entry, name in zip(plain, names, strict=True)]
    short = tuple(entry["name"] if len(entry) == 1 else entry for entry in entries)
    doubt = found.doubt
    if any("colors" in entry for entry in entries):
        doubt = "which colour belongs to which name of a class"
    return replace(found, classes=short, doubt=doubt)


def _blurred(pixels: Counter[Value]) -> Proposal | None:
    """Classes that are steps of grey, between the levels that most pixels are near to; None if
    these are too close to black to be told apart."""
    seen, doubt = "greys, which compression has blurred,", "whether dark is the background"
    levels = _levels(pixels)
    if len(levels) > 2:
        steps = [(low + high) // 2 for low, high in pairwise(levels)]
        doubt += f", and each of the levels {_listed(levels)} a class"
    else:
        brightest = max(value for value in pixels if isinstance(value, int))
        steps = [127 if brightest > 191 else brightest // 2]
    if steps[0] < MIN_BLURRED:
        return None
    classes = [{"name": _name(i + 1), "above": step} for i, step in enumerate(steps)]
    return Proposal(("background", *classes), {}, seen, doubt)


def _levels(pixels: Counter[Value]) -> list[int]:
    """The greys that many pixels have, or have nearly, in their order: two, and those that have
    more of the rest than edges have of any grey."""
    counts = Counter({value: num for value, num in pixels.items() if isinstance(value, int)})
    rest = counts.total()
    levels: list[int] = []
    for value, _ in counts.most_common():
        near = sum(counts[other] for other in range(value - _BLUR, value + _BLUR + 1))
        is_one = len(levels) < 2 or near >= max(_MIN_LEVEL * counts.total(), _MIN_OF_REST * rest)
        if is_one and all(abs(value - level) >= 2 * MIN_BLURRED - 1 for level in levels):
            levels.append(value)
            rest -= near if len(levels) <= 2 else 0
    return sorted(levels)


def _colors(pixels: Counter[Value], palettes_differ: bool) -> Proposal | None:
    """Classes of colours: black is the background, the others in the order of their areas."""
    if len(pixels) > _MAX_IDS:
        return None
    ignored = [color for color in pixels if color == _VOC_BORDER]
    colors = [color for color, _ in pixels.most_common() if color not in ignored]
    colors.sort(key=lambda color: color != _BLACK)
    classes = tuple(
        {"name": _name(i, has_background=_BLACK in colors), "colors": [list(color)]}
        for i, color in enumerate(colors)
        if isinstance(color, tuple)
    )
    ignore = {"colors": [list(_VOC_BORDER)]} if ignored else {}
    palettes = " of palettes whose indices are no classes" if palettes_differ else ""
    return Proposal(classes, ignore, f"{len(pixels)} colours{palettes}", "the names of the classes")


def _ids(sample: MaskSample, names: Sequence[str]) -> Proposal | None:
    pixels = sample.pixels
    values = sorted(value for value in pixels if isinstance(value, int))
    if len(values) < 2:
        return None
    seen = f"the values {_listed(values)}"
    if (two := of_two(sample)) is not None and (len(names) == 2 or _must_be_two(sample)):
        meaning, above = two
        return Proposal(_above(above), {}, seen, f"whether {meaning}")
    if values in ([0, IGNORE_ID], [0, 1, IGNORE_ID]) and is_255_a_class(sample):
        return Proposal(_above(0), {}, seen)
    return _distinct(values, seen, names) if len(values) <= _MAX_IDS else None


def of_two(sample: MaskSample) -> tuple[str, int] | None:
    """What values may mean if there are but two classes, the end of a sentence that begins with
    if or whether, and the threshold between them; None if they are too few for it."""
    pixels = sample.pixels
    values = sorted(value for value in pixels if isinstance(value, int))
    if _is_smoothed(pixels, values):
        return "the values between are smoothed edges", (values[0] + values[-1]) // 2
    objects = [value for value in values if value not in (0, IGNORE_ID)]
    if 0 in values and objects and (len(objects) > 2 or objects[-1] > IGNORE_ID):
        return "all values but 0 are objects of one class", 0
    return None


def _must_be_two(sample: MaskSample) -> bool:
    """True if values are too many for classes, or numbered anew in each mask, as objects are."""
    pixels = sample.pixels
    values = sorted(value for value in pixels if isinstance(value, int))
    if len(values) > _MAX_IDS or values[-1] > IGNORE_ID or _is_smoothed(pixels, values):
        return True
    counts = {len(set(file) - {0}) for file in sample.files}
    anew = all(set(file) - {0} == set(range(1, len(set(file) - {0}) + 1)) for file in sample.files)
    return anew and len(counts) > 1 and max(counts) >= _MIN_OBJECTS


def _above(value: int) -> tuple[str | Mapping[str, Any], ...]:
    return ("background", {"name": "class_1", "above": value})


def _is_smoothed(pixels: Counter[Value], values: Sequence[int]) -> bool:
    """True if there are many values of which nearly all pixels have the first or the last."""
    ends = pixels[values[0]] + pixels[values[-1]]
    return len(values) > 16 and ends >= _SMOOTHED_SHARE * pixels.total()


def is_255_a_class(sample: MaskSample) -> bool:
    """True if masks hold 255, and none of them beside another value than 0."""
    others = [set(file) - {0, IGNORE_ID} for file in sample.files if IGNORE_ID in file]
    return bool(others) and not any(others)


def _distinct(values: Sequence[int], seen: str, names: Sequence[str]) -> Proposal:
    """Classes that are one value each."""
    are_levels = min(b - a for a, b in pairwise(values)) >= _MIN_STEP
    ignored = [IGNORE_ID] if IGNORE_ID in values and not are_levels else []
    meant = [value for value in values if value not in ignored]
    ignore: dict[str, Any] = {}
    doubt = "whether 255 is ignored, or a class" if ignored else ""
    if are_levels:
        doubt = "whether each of these values is a class"
    if 0 in meant and len(meant) - 1 == len(names):
        meant, ignore = meant[1:], {"ids": [0]}
        doubt = "whether 0 is of no class"
    if meant == list(range(len(meant))):
        return Proposal(tuple(_name(i) for i in meant), ignore, seen, doubt)
    has_background = 0 in meant
    classes = tuple(
        {"name": _name(i, has_background), "ids": [value]} for i, value in enumerate(meant)
    )
    return Proposal(classes, ignore, seen, doubt)


def _name(position: int, has_background: bool = True) -> str:
    if has_background:
        return f"class_{position}" if position else "background"
    return f"class_{position + 1}"


def _listed(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return f"{shown} and {len(values) - 8} more" if len(values) > 8 else shown
