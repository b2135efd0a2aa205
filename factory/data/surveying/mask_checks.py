"""Checks of all masks of a source together: white foreground, palettes that are no classes."""

from collections.abc import Sequence

from factory import storage
from factory.alike import of_file
from factory.classes import IGNORE_ID, Classes, Color
from factory.data.classes import rule_yaml
from factory.data.classes.class_forms import means_ignored
from factory.data.classes.class_rules import NO_RULE, ClassRules, Rule
from factory.data.masks.mask_decoding import MaskFacts
from factory.data.masks.mask_values import MASK_REMEDY
from factory.data.surveying.uncovered import uncovered_problems
from factory.errors import Problems, counted, some


def check_masks(
    masks: Sequence[MaskFacts], rules: ClassRules | None, problems: Problems
) -> list[str]:
    """Adds what is wrong with the masks together to problems; returns notes, a sentence each.

    rules: None if the classes could not be read, so that it is not known what values mean.
    """
    if rules is None:
        return []
    notes = [*_check_white(masks, rules, problems), *_below_thresholds(masks, rules)]
    _check_palettes(masks, rules.classes, problems)
    for problem in uncovered_problems(masks, rules):
        problems.add(problem)
    notes += [
        f"class {name} (id {i}) is learned like any other. Where nothing is to be learned, "
        f"write {IGNORE_ID}, or leave the class out: {_without(i, rules)}."
        for i, name in enumerate(rules.classes.names)
        if means_ignored(name)
    ]
    return [*notes, *_palette_notes(masks, rules), *_inverted_notes(masks), *_unseen_notes(masks)]


def _check_white(masks: Sequence[MaskFacts], rules: ClassRules, problems: Problems) -> list[str]:
    """Refuses masks of 0 and 255 alone: foreground written as white, which would be ignored.

    Where at least as many masks have 255 beside a class other than 0, it is meant as ignored: that
    is noted.
    """
    if rules.by_color or rules.has_thresholds or IGNORE_ID in rules.class_of_id or rules.divisor:
        return []  # The rules say what 255 means.
    ids = [set(mask.values) for mask in masks]
    white = [
        mask.url
        for mask, present in zip(masks, ids, strict=True)
        if IGNORE_ID in present <= {0, IGNORE_ID}
    ]
    if not white:
        return []
    message = (
        f"{len(white):,} of {len(masks):,} masks hold only 0 and 255, and 255 means ignore "
        f"({some(list(map(storage.name_of, white)))})"
    )
    ignoring = [IGNORE_ID in present and bool(present - {0, IGNORE_ID}) for present in ids]
    if sum(ignoring) >= len(white):
        return [f"{message}: nothing but class 0 is learned from them."]
    folder = white[0].rpartition("/")[0] or white[0]
    problems.add(
        f"{folder}: {message}: nothing but class 0 would be learned from them. Write 1 instead of "
        f"255, or set `{_white_as_class(rules.classes.names)}`, or list the images to use in "
        "names_url."
    )
    return []


def _without(i: int, rules: ClassRules) -> str:
    """The settings by which a class becomes ignored pixels, and the others stay what they are."""
    names, spelt = rules.classes.names, rules.spelt_out
    key = rule_yaml.classes_key([*names[:i], *names[i + 1 :]], [*spelt[:i], *spelt[i + 1 :]])
    return f"`{key}` and `{rule_yaml.ignore_key(spelt[i].ids, spelt[i].colors, spelt[i].parts)}`"


def _below_thresholds(masks: Sequence[MaskFacts], rules: ClassRules) -> list[str]:
    """A note on masks of 0 and 1 beside brighter ones, where all classes begin above 1."""
    if not rules.has_thresholds or 1 in rules.class_of_id or rules.thresholds[0][0] < 1:
        return []
    lowest, i = rules.thresholds[0]
    dark = [mask.url for mask in masks if 1 in mask.values and set(mask.values) <= {0, 1}]
    if not dark or len(dark) == len(masks):
        return []
    return [
        f"{len(dark):,} of {len(masks):,} masks hold only 0 and 1, and class "
        f"{rules.classes.names[i]} begins above {lowest:g}: it is not in them "
        f"({some(list(map(storage.name_of, dark)))}). If 1 is meant as it, write `above: 0`."
    ]


def _white_as_class(names: Sequence[str]) -> str:
    """The rules by which white is class 1, and 0 and 1 are what they were."""
    if len(names) == 2:
        return rule_yaml.classes_key(names, [NO_RULE, Rule(above=0)])
    return rule_yaml.classes_key(
        names, [NO_RULE, Rule(ids=(1, IGNORE_ID)), *[NO_RULE] * len(names[2:])]
    )


def _palette_notes(masks: Sequence[MaskFacts], rules: ClassRules) -> list[str]:
    """The colour that each class has in the palettes: only people know whether it is right."""
    class_of = rules.class_of_id
    colors = {
        class_of[value]: color
        for mask in masks
        for value, color in mask.colors.items()
        if class_of.get(value, IGNORE_ID) != IGNORE_ID
    }
    if not colors:
        return []
    names = rules.classes.names
    listed = ", ".join(f"{names[i]} {color}" for i, color in sorted(colors.items()))
    indexed = counted(sum(bool(m.colors) for m in masks), "mask has", "masks have")
    return [f"{indexed} palettes, whose indices are read, not their colours: {listed}."]


def _inverted_notes(masks: Sequence[MaskFacts]) -> list[str]:
    """A note on masks that store white as 0, as ImageJ does with an inverting table of colours."""
    inverted = [mask.url for mask in masks if mask.is_inverted]
    if not inverted:
        return []
    stored = counted(len(inverted), "mask stores", "masks store")
    return [
        f"{stored} white as 0 ({some(list(map(storage.name_of, inverted)))}): read is what is "
        "shown, black as 0. If the stored values are meant, exchange the rules of the classes."
    ]


def _check_palettes(masks: Sequence[MaskFacts], classes: Classes, problems: Problems) -> None:
    """Refuses masks whose palettes number the same colours differently from file to file."""
    color_of: dict[int, tuple[Color, str]] = {}
    index_of: dict[Color, tuple[int, str]] = {}
    for mask in masks:
        repeated = len(set(mask.colors.values())) < len(mask.colors)
        for i, color in mask.colors.items():
            known, first = color_of.setdefault(i, (color, mask.url))
            if known != color:
                problem = f"index {i} is the colour {color} here and {known} in {first}"
                break
            other, first = index_of.setdefault(color, (i, mask.url))
            if other != i and not repeated:
                problem = f"the colour {color} is index {i} here and {other} in {first}"
                break
        else:
            continue
        told = (
            f"the palettes of these masks differ: {problem}, so the indices number colours, not "
            f"classes. Renumber the masks by class ids. {MASK_REMEDY} Or name the colour of each "
            f"class: `{rule_yaml.with_colors(classes.names)}`."
        )
        problems.add(of_file(mask.url, told, kind="palettes differ"))


def _unseen_notes(masks: Sequence[MaskFacts]) -> list[str]:
    """Notes on pixels that are no numbers, that are transparent, or of no colour that is named."""
    missing = [mask for mask in masks if mask.num_missing]
    found = []
    if missing:
        num = sum(mask.num_missing for mask in missing)
        have = counted(len(missing), "mask has", "masks have")
        found.append(
            f"{have} pixels that are no numbers (NaN; {num:,} pixels, such as in "
            f"{storage.name_of(missing[0].url)}): they are ignored."
        )
    if transparent := [mask.url for mask in masks if mask.is_transparent]:
        have = counted(len(transparent), "mask has", "masks have")
        found.append(
            f"{have} transparent pixels ({some(list(map(storage.name_of, transparent)))}): they "
            "are read as black; a mask that shows black alone is read as white on black."
        )
    if nearest := [mask for mask in masks if mask.num_nearest]:
        num = sum(mask.num_nearest for mask in nearest)
        share = num / sum(mask.num_pixels for mask in masks)
        have = counted(len(nearest), "mask has", "masks have")
        found.append(
            f"{have} colours that no class names, and each is of the class of the nearest one "
            f"({num:,} pixels, {share:.1%} of all)."
        )
    return found
