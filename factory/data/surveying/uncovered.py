"""Values and colours of masks that are of no class: one problem a source, with what covers them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from factory import storage
from factory.classes import IGNORE_ID, Color
from factory.data.classes import rule_yaml
from factory.data.classes.class_lookup import Value
from factory.data.classes.class_rules import NO_RULE, ClassRules, Rule
from factory.data.masks.mask_decoding import MaskFacts
from factory.data.masks.mask_values import MASK_REMEDY
from factory.data.surveying import class_proposals, object_ids
from factory.data.surveying.mask_sampling import MaskSample
from factory.errors import some

_NUM_SHOWN, _NUM_NAMES = 8, 3
"""Of more values and of more masks than these, the first are named."""
_MAX_IGNORED = 12
"""More values than these are not proposed to be ignored: they mean something."""
_NEAREST = ", or take each for the nearest colour that is named: `nearest_colors: true`"
_MIN_GREY = 100
"""Values from this one on look like grey levels."""


def uncovered_problems(every: Sequence[MaskFacts], rules: ClassRules) -> Iterator[str]:
    """At most a line on values and a line on colours of all masks of a source."""
    values = [mask for mask in every if any(isinstance(v, int) for v in mask.uncovered)]
    colors = [mask for mask in every if any(isinstance(v, tuple) for v in mask.uncovered)]
    if values and rules.divisor is not None:
        yield from (f"{_where(values)}: {told}" for told in _divided(values, len(every), rules))
    elif values:
        yield f"{_where(values)}: {_values(values, len(every), rules)}"
    if colors and rules.by_color:
        yield f"{_where(colors)}: {_colors(colors, len(every), rules)}"
    elif colors:
        yield f"{_where(colors)}: {_colors_without_rules(colors, len(every), rules)}"


def _values(masks: Sequence[MaskFacts], num_masks: int, rules: ClassRules) -> str:
    """What is wrong with values that no rule covers, and what to do."""
    pixels = _pixels(masks)
    found = sorted(value for value in pixels if isinstance(value, int))
    known = ""
    if rules.are_positions:
        known = f": classes are 0..{len(rules.classes) - 1}, {IGNORE_ID} is ignored"
    hint = _hint(masks, found, rules)
    ignore = f"`{rule_yaml.ignore_key(found)}`" if len(found) <= _MAX_IGNORED else ""
    advice = (
        "Renumber the mask, name these classes, too, or name the values of each class as its ids"
        f"{f'; those of no class: {ignore}' if ignore else ''}."
    )
    if hint and not ignore:
        advice = "Renumber the mask, or name the values of each class."
    return (
        f"ids {_listed(found)} are not classes{known} ({_extent(masks, num_masks, pixels)}). "
        f"{advice}{hint}"
    )


def _divided(masks: Sequence[MaskFacts], num_masks: int, rules: ClassRules) -> Iterator[str]:
    """What is wrong with values that are divided, and what to do."""
    assert rules.divisor is not None
    pixels = _pixels(masks)
    found = sorted(value for value in pixels if isinstance(value, int))
    extent = _extent(masks, num_masks, pixels)
    small = [v for v in found if 0 < v < rules.divisor] if rules.smaller is None else []
    if small:
        yield (
            f"values {_listed(small)} are below `ids_divided_by: {rules.divisor}` ({extent}). Set "
            "`smaller_ids: classes` if they are ids by themselves, as in Cityscapes' instanceIds, "
            "or `smaller_ids: objects` if they number objects of class 0."
        )
    if ids := sorted({rules.id_of(value) for value in found if value not in small}):
        ignore = f": `{rule_yaml.ignore_key(ids)}`" if len(ids) <= _MAX_IGNORED else ""
        yield (
            f"ids {_listed(ids)}, of values divided by {rules.divisor}, are not classes "
            f"({extent}). Name these classes, too, or ignore them{ignore}."
        )


def _hint(masks: Sequence[MaskFacts], found: Sequence[int], rules: ClassRules) -> str:
    """What the values may be meant as; begins with a space, or is empty."""
    names = rules.classes.names
    if any(mask.colors for mask in masks):
        return (
            " They are indices of its palette, whose colours are not read: do its indices number "
            "colours instead of classes? Then name the colour of each class: "
            f"`{rule_yaml.with_colors(names)}`."
        )
    if division := object_ids.division_of([mask.values for mask in masks]):
        keys = " and ".join(f"`{key}: {value}`" for key, value in division.keys.items())
        return f" If they tell a class and the number of an object in one, set {keys}."
    present = sorted({value for mask in masks for value in mask.values})
    if not rules.are_positions or len(present) < 2:
        return ""
    if len(present) <= len(names) and found[-1] >= _MIN_GREY:
        levels, ids = ", ".join(map(str, present)), ", ".join(map(str, range(len(present))))
        return f" If the values {levels} stand for classes, write {ids}, or {_set(names, present)}."
    hint = ""
    for ignored in ([IGNORE_ID], [0, IGNORE_ID]):
        meant = [value for value in present if value not in ignored]
        if len(meant) == len(names) and not hint:
            levels = ", ".join(map(str, meant))
            more = f" with `{rule_yaml.ignore_key([0])}`" if 0 in ignored and 0 in present else ""
            hint = f" If {levels} stand for the classes in this order, {_set(names, meant)}{more}."
    return hint + _threshold(masks, names)


def _threshold(masks: Sequence[MaskFacts], names: Sequence[str]) -> str:
    """The threshold of two classes where masks may have a number for each object, or soft edges;
    begins with a space, or is empty."""
    files = [{**mask.values, **mask.uncovered} for mask in masks]
    found = class_proposals.of_two(MaskSample(files, len(files)))
    if found is None or len(names) != 2:
        return ""
    meaning, above = found
    key = rule_yaml.classes_key(names, [NO_RULE, Rule(above=above)])
    return f" If {meaning}, set `{key}`."


def _set(names: Sequence[str], values: Sequence[int]) -> str:
    """Advises the rules by which these values are the first classes, in this order."""
    if len(names) == 2 and values[0] == 0:
        return f"set `{rule_yaml.with_thresholds(names, 0)}`"
    return f"set `{rule_yaml.with_ids(names[: len(values)], values)}`"


def _colors(masks: Sequence[MaskFacts], num_masks: int, rules: ClassRules) -> str:
    pixels = _pixels(masks)
    colors = [color for color in pixels if isinstance(color, tuple)]
    few = len(colors) <= _MAX_IGNORED
    ignore = f", or ignore them: `{rule_yaml.ignore_key(colors=colors)}`" if few else ""
    others = f"{ignore}{'' if few else _NEAREST}"
    return (
        f"colours {_listed(colors)} are of no class ({_extent(masks, num_masks, pixels)}). Add "
        f"them to the colors of their classes{others}.{_greys(colors, rules)}"
    )


def _greys(colors: Sequence[Color], rules: ClassRules) -> str:
    """What greys may be meant as beside classes of other colours; begins with a space, or is
    empty."""
    have_tones = any(len(set(color)) > 1 for color in rules.class_of_color)
    if not have_tones or any(len(set(color)) > 1 for color in colors):
        return ""
    names = rules.classes.names
    key = rule_yaml.with_ids(names, range(len(names)))
    return f" If these greys are values, name that of each class, such as `{key}`."


def _colors_without_rules(masks: Sequence[MaskFacts], num_masks: int, rules: ClassRules) -> str:
    modes = " or ".join(sorted({mask.mode for mask in masks}))
    pixels = _pixels(masks)
    counts = some([f"{color}: {num:,} pixels" for color, num in pixels.items()], _NUM_SHOWN)
    smoothed = " (were the edges smoothed?)" if len(pixels) > len(rules.classes) + 1 else ""
    names = some([storage.name_of(mask.url) for mask in masks], _NUM_NAMES)
    palette = rules.classes.palette
    edges = ", and set `nearest_colors: true` for those of edges" if smoothed else ""
    key = rule_yaml.with_colors(rules.classes.names, palette if set(pixels) <= set(palette) else ())
    return (
        f"a mask of mode {modes} has no class ids, but colours, in {len(masks):,} of "
        f"{num_masks:,} masks: {names}: {counts}{smoothed}. {MASK_REMEDY} Or name the colours of "
        f"each class: `{key}`{edges}."
    )


def _pixels(masks: Sequence[MaskFacts]) -> dict[Value, int]:
    """Value -> number of its pixels in all masks, the most frequent first."""
    counts: Counter[Value] = Counter()
    for mask in masks:
        counts.update(mask.uncovered)
    return dict(counts.most_common())


def _extent(masks: Sequence[MaskFacts], num_masks: int, pixels: Mapping[Value, int]) -> str:
    """How many pixels the most frequent values have, and in which masks."""
    shown = [f"{value}: {count:,} pixels" for value, count in pixels.items()]
    names = some([storage.name_of(mask.url) for mask in masks], _NUM_NAMES)
    return f"{some(shown, _NUM_NAMES)}; in {len(masks):,} of {num_masks:,} masks: {names}"


def _listed(values: Sequence[Value]) -> str:
    text = ", ".join(map(str, values[:_NUM_SHOWN]))
    if len(values) > _NUM_SHOWN:
        text += f" and {len(values) - _NUM_SHOWN} more (were the edges smoothed?)"
    return text


def _where(masks: Sequence[MaskFacts]) -> str:
    """The mask, or the folder of several ones."""
    url = masks[0].url
    return url if len(masks) == 1 else url.rpartition("/")[0] or url
