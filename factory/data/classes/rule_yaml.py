"""The rules of classes in words, and as people write them in a config: what messages propose."""

from collections.abc import Iterable, Sequence

from factory.classes import IGNORE_ID, Color
from factory.data.classes.class_rules import NO_RULE, ClassRules, Rule
from factory.errors import some
from factory.yaml_writing import value_as_yaml

_MAX_LISTED = 20
_REST = "all others"
_MAX_LENGTH, _NUM_SHOWN = 240, 2
"""The most characters of a line of classes; the first classes of a longer one show the form."""


def classes_key(names: Sequence[str], rules: Sequence[Rule]) -> str:
    """The key `classes` of a source's section, as one line of YAML.

    Many classes of a value each are {value: name, ...}, which is shorter. A line that people would
    not read shows the first of them, and says where all are.
    """
    entries = [_entry(name, rule) for name, rule in zip(names, rules, strict=True)]
    line = f"classes: [{', '.join(entries)}]"
    if len(line) > _MAX_LENGTH and _are_ascending(rules):
        pairs = zip(names, rules, strict=True)
        line = f"classes: {{{', '.join(f'{r.ids[0]}: {value_as_yaml(n)}' for n, r in pairs)}}}"
    if len(line) > _MAX_LENGTH:
        rest = f"... and {len(entries) - _NUM_SHOWN} more, which factory init writes"
        line = f"classes: [{', '.join([*entries[:_NUM_SHOWN], rest])}]"
    return line


def _are_ascending(rules: Sequence[Rule]) -> bool:
    """True if each class is one value, and they are in the order of their values."""
    values = [rule.ids[0] for rule in rules if rule == Rule(ids=rule.ids) and len(rule.ids) == 1]
    return len(values) == len(rules) and values == sorted(values)


def with_ids(names: Sequence[str], values: Iterable[int]) -> str:
    """The key for classes that are one value each."""
    return classes_key(names, [Rule(ids=(value,)) for value in values])


def with_thresholds(names: Sequence[str], brightest: float) -> str:
    """The key for classes that are steps of grey from 0 to the brightest value: of two classes, the
    second is all above the half of it."""
    step = brightest / max(1, len(names) - 1)
    rules = [Rule(above=int((i - 0.5) * step)) for i in range(1, len(names))]
    return classes_key(names, [NO_RULE, *rules])


def with_colors(names: Sequence[str], colors: Sequence[Color] = ()) -> str:
    """The key for classes that are a colour each; without colours its form, which people have to
    fill in."""
    if colors:
        return classes_key(names, [Rule(colors=(color,)) for color in colors])
    return classes_key(names, [NO_RULE] * len(names)).replace("}", ", colors: [[R, G, B]]}")


def ignore_key(
    ids: Sequence[int] = (), colors: Sequence[Color] = (), parts: Sequence[str] = ()
) -> str:
    """The key `ignore` of a source's section, as one line of YAML."""
    return f"ignore: {{{_values(Rule(tuple(ids), tuple(colors), parts=tuple(parts)))}}}"


def sentence(rules: ClassRules) -> str:
    """How values, colours or parts of masks become classes."""
    if rules.by_part:
        return _sentence_of_parts(rules)
    kind = "colours" if rules.by_color else "values"
    if rules.divisor is not None:
        small = " and those below it" if rules.smaller == "classes" else ""
        kind = f"of values divided by {rules.divisor}{small},"
    names, words = rules.classes.names, [_in_words(rule) for rule in rules.spelt_out]
    if all(_num_named(rule) == 1 for rule in rules.spelt_out):
        told = f"{kind} {_list(words)} are classes {_list(names)}"
    else:
        owners = sorted(zip(words, names, strict=True), key=lambda owner: owner[0] == _REST)
        told = f"{kind} {_list([f'{word} are class {name}' for word, name in owners])}"
    if not rules.ignored.is_empty:
        is_one = _num_named(rules.ignored) == 1
        told += f"; {_in_words(rules.ignored)} {'is' if is_one else 'are'} ignored"
    return f"{told}."


def _sentence_of_parts(rules: ClassRules) -> str:
    names = rules.classes.names
    if all(rule.parts in ((), (name,)) for name, rule in zip(names, rules.rules, strict=True)):
        told = "each part is the class of its name"
    else:
        owners = [
            f"{_list(rule.parts)} {'is' if len(rule.parts) == 1 else 'are'} class {name}"
            for name, rule in zip(names, rules.rules, strict=True)
            if rule.parts
        ]
        told = f"of the parts of masks, {_list(owners)}"
    rest = rules.class_of_rest
    others = "is ignored" if rest == IGNORE_ID else f"is class {names[rest]}"
    ignored = f"; {_list(rules.ignored.parts)} ignored" if rules.ignored.parts else ""
    return f"{told}, later classes over earlier ones; what no part covers {others}{ignored}."


def _num_named(rule: Rule) -> int:
    return len(rule.ids) + len(rule.colors)


def _in_words(rule: Rule) -> str:
    exact = [*map(str, rule.ids), *map(str, rule.colors)]
    above = [] if rule.above is None else [f"above {rule.above:g}"]
    return " and ".join([*([_list(exact)] if exact else []), *above]) or _REST


def _list(words: Sequence[str]) -> str:
    return some(words, _MAX_LISTED)


def _entry(name: str, rule: Rule) -> str:
    parts = [f"name: {value_as_yaml(name)}", _values(rule)]
    return f"{{{', '.join(filter(None, parts))}}}"


def _values(rule: Rule) -> str:
    parts = []
    if rule.ids:
        parts.append(f"ids: {list(rule.ids)}")
    if rule.colors:
        parts.append(f"colors: {list(map(list, rule.colors))}")
    if rule.other_colors:
        parts.append("colors: others")
    if rule.above is not None:
        parts.append(f"above: {rule.above:g}")
    if rule.parts:
        parts.append(f"parts: {value_as_yaml(rule.parts)}")
    return ", ".join(parts)
