"""Labels of shapes to class ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from factory.classes import IGNORE_ID, MAX_CLASSES, Classes
from factory.data.classes.class_rules import NO_RULE, ClassRules, Rule
from factory.errors import UserError, counted, some

_BACKGROUND, _IGNORED = "_background_", "__ignore__"
"""The names by which labelme's lists of labels mean pixels without a shape, and those to ignore."""
_BACKGROUNDS = {"background", _BACKGROUND}


def is_background(name: str) -> bool:
    """True if a class of this name is what no shape covers."""
    return name.lower() in _BACKGROUNDS


@dataclass(frozen=True)
class LabelIds:
    """The classes of a source of shapes, and which of its labels are which of them."""

    classes: Classes
    id_of: Mapping[str, int]
    """Label -> class id; 255 of labels that are ignored."""

    @property
    def rules(self) -> ClassRules:
        """Masks are drawn in class ids, and 255 is what is ignored, whatever else is there."""
        rules = (NO_RULE,) * len(self.classes)
        return ClassRules(self.classes, rules, Rule(ids=(IGNORE_ID,)))


def of_labels(
    labels: Sequence[str],
    background: str,
    location: str,
    counts: Mapping[str, int] = MappingProxyType({}),
    ignored: Rule = NO_RULE,
) -> LabelIds:
    """Each label a class, in this order, behind the background, but for those that are ignored and
    other names of a background, such as labelme's.

    counts: label -> number of its shapes. Raises UserError.
    """
    _check_ignored(ignored, location)
    known = {*labels, *counts, _IGNORED}
    if absent := [label for label in ignored.labels if label not in known]:
        raise UserError(
            f"{location}: `ignore` names the labels {some(absent)}, but there are "
            f"{some(sorted(known - {_IGNORED}), 12)}. Name those."
        )
    same = {label for label in labels if is_background(label) and is_background(background)}
    out = {background, _IGNORED, *ignored.labels, *same}
    names = [background, *(label for label in dict.fromkeys(labels) if label not in out)]
    if not 2 <= len(names) <= MAX_CLASSES:
        raise UserError(
            f"{location}: has {counted(len(names) - 1, 'label')}, but there are 1 to "
            f"{MAX_CLASSES - 1} classes beside the background. Name the classes in `classes:`, "
            "each with its `labels`."
        )
    ids = {name: i for i, name in enumerate(names)}
    ids |= dict.fromkeys(same, 0)
    ids |= dict.fromkeys((*ignored.labels, _IGNORED), IGNORE_ID)
    _check_all_known(counts, ids, location)
    return LabelIds(Classes.named(names), ids)


def of_rules(rules: ClassRules, counts: Mapping[str, int], location: str) -> LabelIds:
    """The classes that people name, each with its labels, or with its own name as its label.

    counts: label -> number of its shapes, 0 if it was not counted. Raises UserError that begins
    with location for labels without a class, and if the first class, which takes the pixels without
    a shape, means a label.
    """
    entries = list(zip(rules.classes.names, rules.classes.palette, rules.rules, strict=True))
    entries = [entry for entry in entries if entry[0] != _IGNORED]
    entries.sort(key=lambda entry: entry[0] != _BACKGROUND)
    ignored = rules.ignored
    _check_ignored(ignored, location, rules.has_thresholds)
    id_of = dict.fromkeys((*ignored.labels, _IGNORED), IGNORE_ID)
    for i, (name, _, rule) in enumerate(entries):
        id_of.update(dict.fromkeys(rule.labels or (name,), i))
    first, _, first_rule = entries[0]
    if not first_rule.labels and first in counts and first not in _BACKGROUNDS:
        raise UserError(
            f"{location}: the first class takes all pixels without a shape, but {first} is the "
            "label of shapes. Put a class before it, such as background."
        )
    _check_all_known(counts, id_of, location)
    classes = Classes(tuple(e[0] for e in entries), tuple(e[1] for e in entries))
    return LabelIds(classes, id_of)


def _check_ignored(ignored: Rule, location: str, has_thresholds: bool = False) -> None:
    """Raises UserError for rules on the values of masks."""
    if has_thresholds or ignored.ids or ignored.colors:
        raise UserError(
            f"{location}: masks are drawn of shapes, which have labels, not values. Leave `above` "
            "out, and name what is ignored as `ignore: {labels: [...]}`."
        )


def _check_all_known(counts: Mapping[str, int], id_of: Mapping[str, int], location: str) -> None:
    """Raises UserError for labels of shapes without a class."""
    if unknown := [label for label in counts if label not in id_of]:
        listed = some([_counted(label, counts[label]) for label in unknown], 12)
        raise UserError(
            f"{location}: the labels {listed} are of no class. Add them to `classes`, to the "
            "`labels` of a class, or ignore them: "
            f"`ignore: {{labels: [{', '.join(unknown[:6])}]}}`."
        )


def _counted(label: str, num: int) -> str:
    return f"{label} ({counted(num, 'shape')})" if num else label
