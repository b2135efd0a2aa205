"""Parts of masks: what the files of an image's mask are, and whether the classes know them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from factory.data.classes import rule_yaml
from factory.data.classes.class_rules import ANY_PART, NO_RULE, ClassRules, Rule
from factory.errors import counted, some


class Part(NamedTuple):
    """The file of a part of an image's mask."""

    name: str
    """What stands for {part} in the file's name."""
    path: str
    """The file's name in its tree."""


def part_problems(
    rules: ClassRules, masks: str, has_parts: bool, num_files: Mapping[str, int]
) -> list[str]:
    """What parts and classes do not know of each other, a sentence each.

    masks: the key of a section, as messages have it. has_parts: whether it has parts. num_files:
    part -> number of its files.
    """
    if has_parts and not rules.by_part:
        return [
            f"{masks}: the files of the parts {some(list(num_files))} are of no class. Say which "
            f"parts each class is; later classes are drawn over earlier ones: "
            f"`{_proposed(rules.classes.names, list(num_files))}`."
        ]
    if rules.by_part and not has_parts:
        return [
            f"{masks}: classes have parts, and nothing here says which file is which part. Write "
            '{part} for what tells them apart, such as masks: "masks/{stem}_{part}.png".'
        ]
    unknown = [part for part in num_files if rules.class_of_part(part) is None] if has_parts else []
    if not unknown:
        return []
    files = [f"{part}: {counted(num_files[part], 'file')}" for part in unknown]
    return [
        f"{masks}: parts that are of no class ({some(files)}). Add them to the parts of a class, "
        f"or ignore their pixels: `{rule_yaml.ignore_key(parts=unknown)}`."
    ]


def part_notes(rules: ClassRules, num_files: Mapping[str, int]) -> list[str]:
    """A sentence on classes of which there is no file, if there are any."""
    found = {rules.class_of_part(part) for part in num_files}
    absent = [
        name if tuple(rule.parts) == (name,) else f"{name} ({', '.join(rule.parts)})"
        for i, (name, rule) in enumerate(zip(rules.classes.names, rules.rules, strict=True))
        if rule.parts and i not in found
    ]
    what = "class" if len(absent) == 1 else "the classes"
    return [f"no image has a file of {what} {some(absent)}."] if absent else []


def _proposed(names: Sequence[str], parts: Sequence[str]) -> str:
    """The key `classes` by which parts are the classes of their names, or all are the second."""
    if len(names) == 2:
        return rule_yaml.classes_key(names, [NO_RULE, Rule(parts=(ANY_PART,))])
    known = {part.casefold(): part for part in parts}
    rules = [NO_RULE, *(Rule(parts=(known.get(name.casefold(), name),)) for name in names[1:])]
    return rule_yaml.classes_key(names, rules)
