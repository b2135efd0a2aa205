"""What the values of masks are likely to mean, where nobody has said it: classes to write down."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from factory.classes import IGNORE_ID, Color
from factory.data.classes import rule_yaml
from factory.data.classes.class_lookup import Value
from factory.data.classes.class_rules import MAX_VALUE, NO_RULE, Rule
from factory.data.surveying import class_names, color_proposals, object_ids
from factory.data.surveying.mask_sampling import MaskSample
from factory.data.surveying.proposal import Proposal, name_of
from factory.errors import some

_MAX_IDS = 64
"""More values than these are objects, or edges that were smoothed."""
_MIN_OBJECTS, _MIN_DOUBTED = 6, 3
"""Values that masks begin anew, so many in one and fewer in another, are objects, or may be."""
_MAX_DEEP_LEVELS = 16
"""More values of 16 bits than these are no grey levels."""
_OF_CUT = (
    "whether numbers above 65535 tell classes, too: they are all read as one. Then save the masks "
    "as class ids of 8 bits"
)
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


def propose(
    sample: MaskSample,
    names: Sequence[str] = (),
    of_colors: Mapping[Color, str] | None = None,
) -> Proposal | None:
    """The likeliest meaning of a sample; None if the masks have no two classes.

    names: the names of the classes, if they are known and only their values are not; they are used
    if they are as many as the classes. of_colors: the names of colours that are known.
    """
    pixels = sample.pixels
    found: Proposal | None
    if sample.are_fractions:
        found = _fractions(pixels)
    elif sample.is_colored:
        found = color_proposals.propose(sample)
    elif sample.is_blurred:
        found = _blurred(sample)
    else:
        found = _ids(sample, names)
    if found is None or len(found.classes) < 2:
        return None
    return class_names.named(found, names, of_colors)


def why_none(sample: MaskSample) -> str:
    """Why no classes are proposed, and what to do: the rest of a sentence after a place."""
    values = ", ".join(map(str, list(sample.pixels)[:8]))
    if sample.is_blurred and not sample.is_colored and sample.transparent:
        return (
            f"pixels of its masks are half transparent ({some(sample.transparent, 3)}), and shown "
            f"on black they hold {values}, of which no two classes can be made: alpha may number "
            "objects there. Name other masks in `masks:`, or save these without alpha, value = "
            "class id."
        )
    if sample.is_blurred and not sample.is_colored:
        return (
            f"its masks are stored with loss, as JPEG does, and hold {values}: ids so close to "
            "each other cannot be told apart any more. Save them anew from what they were made of, "
            "as PNG."
        )
    return (
        f"its masks hold {values}, of which no two classes can be made. Write what they mean, such "
        "as `classes: [background, thing]`."
    )


def _blurred(sample: MaskSample) -> Proposal | None:
    """Classes that are steps of grey, between the levels that most pixels are near to; None if
    these are too close to black to be told apart."""
    why = (
        "of which some are half transparent"
        if sample.transparent
        else "which compression has blurred"
    )
    seen, pixels = f"greys, {why},", sample.pixels
    levels = _levels(pixels)
    if len(levels) > 2:
        steps = [(low + high) // 2 for low, high in pairwise(levels)]
        of_levels = f", and each of the levels {_listed(levels)} a class"
    else:
        brightest = max(value for value in pixels if isinstance(value, int))
        steps, of_levels = [127 if brightest > 191 else brightest // 2], ""
    if steps[0] < MIN_BLURRED:
        return None
    doubt = f"whether dark is the background{of_levels}"
    if len(steps) == 1:
        return _of_threshold(sample, steps[0], seen, doubt)
    classes = [{"name": name_of(i + 1), "above": step} for i, step in enumerate(steps)]
    return Proposal(("background", *classes), {}, seen, (doubt,))


def _fractions(pixels: Counter[Value]) -> Proposal:
    """Two classes, of which one is all above the half of the range."""
    brightest = max(value for value in pixels if isinstance(value, int))
    classes = ("background", {"name": name_of(1), "above": max(brightest, 1) / 2})
    doubt = "whether fractions above the half are class_1"
    return Proposal(classes, {}, f"fractions from 0 to {max(brightest, 1)}", (doubt,))


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


def _ids(sample: MaskSample, names: Sequence[str]) -> Proposal | None:
    every = sorted(value for value in sample.pixels if isinstance(value, int))
    negative = [value for value in every if value < 0]
    if negative:
        return _ignoring(negative, _ids(without(negative, sample), names))
    values = every
    if len(values) < 2:
        return None
    seen = f"the values {_listed(values)}"
    is_white = values in ([0, IGNORE_ID], [0, 1, IGNORE_ID]) and is_255_a_class(sample)
    if is_white or (len(values) == 2 and values[0] == 0 and values[1] > IGNORE_ID):
        doubt = _OF_CUT if sample.are_cut else ""
        return _of_threshold(sample, 0, seen, doubt)
    if len(names) != 2 and (division := object_ids.division_of(sample.files)):
        return _divided(division, seen)
    if (
        (two := of_two(sample)) is not None
        and not _are_deep_levels(values)
        and (len(names) == 2 or _must_be_two(sample))
    ):
        meaning, above = two
        found = _of_threshold(sample, above, seen, f"whether {meaning}")
        objects = _OF_CUT if sample.are_cut else _of_objects(values)
        return found if above else replace(found, doubts=(*found.doubts, objects))
    if values == [0, 1] and sample.is_bright_around and not names:
        return _of_white_ground(seen)
    if len(values) > _MAX_IDS:
        return None
    found = _distinct(sample, values, seen, names)
    more = []
    if object_ids.most_numbered_anew(sample.files) >= _MIN_DOUBTED and not names:
        key = rule_yaml.with_thresholds(("background", "class_1"), 0)
        more.append(f"whether values are classes: if they number the objects of one, write `{key}`")
    return replace(found, doubts=(*found.doubts, *more))


def _of_threshold(sample: MaskSample, above: int, seen: str, doubt: str = "") -> Proposal:
    """Two classes, of which the bright one is the background where it lies around the other."""
    doubts = (doubt,) if doubt else ()
    classes: tuple[Mapping[str, Any], ...] = ({"name": "class_1", "above": above},)
    if not sample.is_bright_around:
        return Proposal(("background", *classes), {}, seen, doubts)
    key = rule_yaml.classes_key(("background", "class_1"), (NO_RULE, Rule(above=above)))
    white = (
        "whether black is the object: white is most of the masks, and lies along their borders. If "
        f"white is the object, write `{key}`"
    )
    return Proposal(({"name": "background", "above": above}, "class_1"), {}, seen, (*doubts, white))


def _divided(division: object_ids.Division, seen: str) -> Proposal:
    """Classes whose values tell an object, too."""
    entries = [{"name": f"class_{i}", "ids": [i]} for i in division.classes]
    ground = [{"name": name_of(0), "ids": [0]}] if division.has_0 else []
    doubts = (about_division(division),)
    return Proposal((*ground, *entries), {}, seen, doubts, division_keys=division.keys)


def about_division(division: object_ids.Division) -> str:
    """What people should look at where values are taken for a class and an object in one number."""
    key = rule_yaml.with_thresholds(("background", "class_1"), 0)
    small = ""
    if division.smaller == "classes":
        small = f", and those below {division.divisor} classes by themselves"
    return (
        f"whether values are {division.divisor} times a class and the number of an object{small}: "
        f"if all are objects of one class, write `{key}` alone"
    )


def _of_white_ground(seen: str) -> Proposal:
    """Two classes of masks of 0 and 1, of which 1 lies around the other."""
    key = rule_yaml.with_ids(("background", "class_1"), (0, 1))
    doubt = (
        "whether 0 is the object: 1 is most of the masks, and lies along their borders. If 1 is "
        f"the object, write `{key}`"
    )
    classes = ({"name": "background", "ids": [1]}, {"name": "class_1", "ids": [0]})
    return Proposal(classes, {}, seen, (doubt,))


def _of_objects(values: Sequence[int]) -> str:
    """What to write if values that are taken for objects of one class are of several."""
    names = ("background", "class_1", "class_2")
    steps = [NO_RULE, *(Rule(above=value - 1) for value in (values[1], values[-1]))]
    return (
        "whether some values are of another class: then give each class the values from one on, "
        f"such as `{rule_yaml.classes_key(names, steps)}`, or its `ids`"
    )


def _ignoring(negative: Sequence[int], found: Proposal | None) -> Proposal | None:
    """A proposal of other values, by which negative ones are ignored, too."""
    if found is None:
        return None
    ids = [*negative, *found.ignore.get("ids", [])]
    seen = found.seen.replace("the values ", f"the values {_listed(negative)}, ", 1)
    told = f"whether {_listed(negative)} stands for not labelled"
    doubts = (*found.doubts, told)
    return replace(found, ignore={**found.ignore, "ids": ids}, seen=seen, doubts=doubts)


def without(values: Collection[Value], sample: MaskSample) -> MaskSample:
    """The sample without these values."""
    files = [{v: num for v, num in file.items() if v not in values} for file in sample.files]
    return replace(sample, files=files)


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


def _are_deep_levels(values: Sequence[int]) -> bool:
    """True of few values of 16 bits that lie as far apart as no numbers of objects do: grey levels,
    such as 0, 32767 and 65535."""
    is_few = 2 < len(values) <= _MAX_DEEP_LEVELS and values[-1] >= MAX_VALUE // 2
    return is_few and min(b - a for a, b in pairwise(values)) >= values[-1] // (2 * len(values))


def _must_be_two(sample: MaskSample) -> bool:
    """True if values are too many for classes, or numbered anew in each mask, as objects are."""
    pixels = sample.pixels
    values = sorted(value for value in pixels if isinstance(value, int))
    if len(values) > _MAX_IDS or values[-1] > IGNORE_ID or _is_smoothed(pixels, values):
        return True
    return object_ids.most_numbered_anew(sample.files) >= _MIN_OBJECTS


def _is_smoothed(pixels: Counter[Value], values: Sequence[int]) -> bool:
    """True if there are many values of which nearly all pixels have the first or the last."""
    ends = pixels[values[0]] + pixels[values[-1]]
    return len(values) > 16 and ends >= _SMOOTHED_SHARE * pixels.total()


def is_255_a_class(sample: MaskSample) -> bool:
    """True if masks hold 255, and none of them beside another value than 0."""
    others = [set(file) - {0, IGNORE_ID} for file in sample.files if IGNORE_ID in file]
    return bool(others) and not any(others)


def _inverted(values: Sequence[int], seen: str) -> Proposal:
    """Classes of files that store white as 0, where 0, 1, 2 are shown as 255, 254, 253."""
    classes = tuple({"name": name_of(i), "ids": [v]} for i, v in enumerate(reversed(values)))
    doubt = (
        f"whether {IGNORE_ID} is the background: files store white as 0, and ids as what is left"
    )
    return Proposal(classes, {}, seen, (doubt,))


def _distinct(
    sample: MaskSample, values: Sequence[int], seen: str, names: Sequence[str]
) -> Proposal:
    """Classes that are one value each."""
    if sample.is_inverted and values[-1] == IGNORE_ID and values[0] > IGNORE_ID // 2:
        return _inverted(values, seen)
    are_levels = min(b - a for a, b in pairwise(values)) >= _MIN_STEP
    ignored = [IGNORE_ID] if IGNORE_ID in values and not are_levels else []
    meant = [value for value in values if value not in ignored]
    doubts = ["whether 255 is ignored, or a class"] if ignored else []
    if are_levels:
        doubts = ["whether each of these values is a class"]
    elif names and meant[0] in (0, 1) and meant[-1] == len(names):
        return _from_1(names, meant[0] == 0, seen, doubts)
    elif meant[0] == 0 and len(meant) > 2 and not names:
        key = rule_yaml.with_ids([name_of(i) for i in range(1, len(meant))], meant[1:])
        doubts.append(
            "whether 0 is the background: if it means not labelled, write "
            f"`{key}` and `{rule_yaml.ignore_key([0])}`"
        )
    if meant == list(range(len(meant))):
        return Proposal(tuple(name_of(i) for i in meant), {}, seen, tuple(doubts))
    has_background = 0 in meant
    classes = tuple(
        {"name": name_of(i, has_background), "ids": [value]} for i, value in enumerate(meant)
    )
    return Proposal(classes, {}, seen, tuple(doubts))


def _from_1(names: Sequence[str], has_0: bool, seen: str, doubts: Sequence[str]) -> Proposal:
    """Classes whose ids begin with 1, as there are as many names: 0 is of none of them."""
    classes = tuple({"name": name, "ids": [i]} for i, name in enumerate(names, 1))
    if not has_0:
        return Proposal(classes, {}, seen, tuple(doubts))
    key = rule_yaml.classes_key(("background", *names), (NO_RULE,) * (len(names) + 1))
    doubt = f"whether 0 is of no class: if it is the background, write `{key}` and no `ignore`"
    return Proposal(classes, {"ids": [0]}, seen, (*doubts, doubt))


def _listed(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:8]))
    return f"{shown} and {len(values) - 8} more" if len(values) > 8 else shown
