"""The forms in which classes are written, in a file or in a config, to `ClassRules`.

Of names: [name, ...]. Of ids: {"0": name, ...}, {name: 0, ...}, also below `id2label` or
`label2id`, as a model's config has them. Of colours: {"#ff8000": name, ...}, {name: "#ff8000",
...}. With rules: [{name, ids | colors | above | parts, color}, ...], names among them, also as
{classes: [...], ignore: {ids, colors, parts}, ids_divided_by, smaller_ids}.
`factory.data.classes.class_files` makes them of other files.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from factory.classes import IGNORE_ID, MAX_CLASSES, Classes, Color, distinct_colors
from factory.data.classes.class_rules import (
    MAX_VALUE,
    MIN_VALUE,
    ClassRules,
    Rule,
    SmallerIds,
)
from factory.data.classes.written_colors import color_of, colors_of
from factory.errors import UserError, nearest, some
from factory.values import Number, Section, what_is_wrong

FORM = (
    'Write {"0": "background", "1": "cat", ...}, or ["background", "cat", ...], or '
    '[{"name": "background", "ids": [0]}, ...].'
)
_TABLE = "is no object of ids and names, and no list of names"
_CLASSES, _IGNORE = "classes", "ignore"
_LABELME_IGNORED = "__ignore__"
_BY_ID, _BY_NAME = "id2label", "label2id"
_IGNORED_NAMES = {
    *("ignore", "ignored", "void", "unlabelled", "unlabeled", "notlabelled", "notlabeled"),
    *("dontcare", "nolabel", "nodata"),
}
_OTHERS = "others"
"""Stands for all colours that no class names."""
_T = TypeVar("_T", bound=Section)


def _values(value: object) -> object:
    """A value by itself stands for a list of one."""
    if isinstance(value, str):
        raise ValueError("is a text: write a number, or a list of numbers")
    return [value] if isinstance(value, int) else value


def _texts(value: object) -> object:
    """A text by itself stands for a list of one."""
    return [value] if isinstance(value, str) else value


def _color(value: object) -> object:
    """A colour as three numbers, however it is written."""
    if color := color_of(value, is_color=True):
        return color
    if isinstance(value, list | tuple) and len(value) == len("RGB"):
        return value  # A number of the three that is wrong is named by itself.
    raise ValueError('is no color: write [R, G, B], each 0..255, or "#RRGGBB"')


def _colors(value: object) -> object:
    """A colour by itself stands for a list of one."""
    alone = isinstance(value, list | tuple) and value and isinstance(value[0], int)
    return [value] if alone or isinstance(value, str) else value


Value = Annotated[int, Field(strict=True, ge=MIN_VALUE, le=MAX_VALUE)]
Divisor = Annotated[int, Field(ge=2, le=MAX_VALUE)]
Channel = Annotated[int, Field(strict=True, ge=0, le=255)]
Rgb = Annotated[tuple[Channel, Channel, Channel], BeforeValidator(_color)]
Values = Annotated[tuple[Value, ...], BeforeValidator(_values)]
Parts = Annotated[tuple[Annotated[str, Field(strict=True)], ...], BeforeValidator(_texts)]
Rgbs = Annotated[tuple[Rgb, ...], BeforeValidator(_colors)]
Labels = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class Ignored(Section):
    """What in a mask is of no class: neither learned from nor counted."""

    ids: Values = ()
    """Values of such pixels, -32768..65535; 255 is ignored without being named, unless a class has
    it."""
    colors: Rgbs = ()
    """Colours of such pixels, each [R, G, B] or "#ff8000", where the classes have colours."""
    labels: Labels = ()
    """Labels of such shapes, where masks are drawn of shapes."""
    parts: Parts = ()
    """Parts whose pixels are such, unless a class covers them, where the classes have parts."""

    @property
    def rule(self) -> Rule:
        """The values as a rule."""
        return Rule(self.ids, self.colors, labels=self.labels, parts=self.parts)


class Division(Section):
    """How values that tell a class and an object in one number become ids of classes."""

    ids_divided_by: Divisor | None = None
    """Values of masks are divided by this number to be ids of classes, and what is left over
    numbers objects: 256 where values are 256 times the class and the object, as in KITTI."""
    smaller_ids: SmallerIds | None = None
    """What values below ids_divided_by are, other than 0: `classes` where they are ids by
    themselves, as in Cityscapes' instanceIds, `objects` where they number objects of class 0.
    Absent: they are refused."""


_DIVISION = tuple(Division.model_fields)


class _Entry(Section):
    """A class, as an object of a list has it."""

    name: Annotated[str, Field(strict=True)]
    ids: Values = ()
    colors: Rgbs = ()
    other_colors: bool = False
    above: Annotated[Number, Field(ge=0, lt=MAX_VALUE)] | None = None
    labels: Labels = ()
    parts: Parts = ()
    color: Rgb | None = None

    @property
    def rule(self) -> Rule:
        return Rule(self.ids, self.colors, self.above, self.other_colors, self.labels, self.parts)


ENTRY_KEYS = (*_Entry.model_fields, "id")
"""The keys of a class."""


def means_ignored(name: str) -> bool:
    """True of names that people give to what is of no class."""
    return re.sub("[^a-z]", "", name.lower()) in _IGNORED_NAMES


def parse_rules(content: object, location: str, ignored: Ignored | None = None) -> ClassRules:
    """The rules that one of the forms stands for.

    location: where it is from, for messages. ignored: what else is of no class. Raises UserError
    with all problems: names or values that belong to two classes, rules that cannot stand together.
    """
    entries, also_ignored = _entries(content, location)
    names = [entry.name for entry in entries]
    if problems := [f"{location}: {problem}" for problem in _name_problems(names)]:
        raise UserError(problems)
    both = [part.rule for part in (also_ignored, ignored) if part]
    rules = ClassRules(
        Classes(tuple(names), _palette(entries)),
        tuple(entry.rule for entry in entries),
        Rule(
            tuple(dict.fromkeys(value for rule in both for value in rule.ids)),
            tuple(dict.fromkeys(color for rule in both for color in rule.colors)),
            labels=tuple(dict.fromkeys(label for rule in both for label in rule.labels)),
            parts=tuple(dict.fromkeys(part for rule in both for part in rule.parts)),
        ),
        shown=_shown(entries),
    )
    if problems := [f"{location}: {problem}" for problem in rules.problems()]:
        raise UserError(problems)
    division = content if isinstance(content, Mapping) and _CLASSES in content else {}
    of_file = _parsed(Division, {k: v for k, v in division.items() if k in _DIVISION}, location)
    return rules.divided(of_file.ids_divided_by, of_file.smaller_ids, location)


def _palette(entries: Sequence[_Entry]) -> tuple[Color, ...]:
    """The colour that shows each class: the one that is named, else its first in masks."""
    others = distinct_colors(len(entries))
    return tuple(
        entry.color or next(iter(entry.colors), other)
        for entry, other in zip(entries, others, strict=True)
    )


def _shown(entries: Sequence[_Entry]) -> tuple[Color, ...]:
    """The colours that show the classes, if each has one of its own and no class is read by
    colours."""
    colors = [entry.color for entry in entries if entry.color and not entry.rule.has_colors]
    return tuple(colors) if len(set(colors)) == len(entries) else ()


def _name_problems(names: Sequence[str]) -> list[str]:
    if blank := [str(i) for i, name in enumerate(names) if not name.strip()]:
        return [f"id {some(blank)} has no name. {FORM}"]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        places = ["/".join(str(i) for i, n in enumerate(names) if n == name) for name in repeated]
        return [
            f"{some(repeated)} is the name of several ids ({some(places)}). Give each id another "
            "name, or name a class once, with all of its ids or colors."
        ]
    if not 2 <= len(names) <= MAX_CLASSES:
        return [
            f"needs 2 to {MAX_CLASSES} classes, the background among them, got {len(names)}. {FORM}"
        ]
    return []


def _entries(content: object, location: str) -> tuple[list[_Entry], Ignored | None]:
    """The classes, and what is ignored. Raises UserError."""
    ignored = None
    if isinstance(content, Mapping):
        for key in (_BY_ID, _BY_NAME):
            if isinstance(content.get(key), Mapping):
                return _by_id(content[key], location), None
        if _CLASSES not in content:
            return _by_id(content, location), None
        known = (_CLASSES, _IGNORE, *_DIVISION)
        if unknown := [str(key) for key in content if key not in known]:
            raise UserError(
                f"{location}: has {some(unknown)} beside {_CLASSES}. Leave all out but "
                f"{some(known)}."
            )
        ignored = _parsed(Ignored, content.get(_IGNORE) or {}, f"{location}: {_IGNORE}")
        content = content[_CLASSES]
        if isinstance(content, Mapping):
            return _by_id(content, location), ignored
    if not isinstance(content, list | tuple):
        raise UserError(f"{location}: {_TABLE}. {FORM}")
    if not all(isinstance(entry, str | Mapping) for entry in content):
        raise UserError(f"{location}: {_TABLE}. Quote names that look like numbers. {FORM}")
    # In labelme's lists the first label is of no class, and the second one has the value 0.
    named = content[1:] if content and content[0] == _LABELME_IGNORED else content
    return [_entry(entry, f"{location}: class {i}") for i, entry in enumerate(named)], ignored


def _entry(entry: str | Mapping[str, Any], location: str) -> _Entry:
    if isinstance(entry, str):
        return _Entry(name=entry)
    found = {str(key): value for key, value in entry.items() if value is not None}
    if "id" in found and "ids" not in found:
        found["ids"] = found.pop("id")
    if found.get("colors") == _OTHERS:
        found["colors"], found["other_colors"] = (), True
    return _parsed(_Entry, found, location)


def _by_id(content: Mapping[Any, Any], location: str) -> list[_Entry]:
    """The classes of {id: name} or {name: id}, in the order of the ids, or of {colour: name} or
    {name: colour}. Raises UserError."""
    by_id = {str(key): value for key, value in content.items()}
    if by_color := _by_color(by_id, location):
        return by_color
    if all(isinstance(value, str) for value in by_id.values()) and all(map(_is_id, by_id)):
        pairs = [(int(key), name) for key, name in by_id.items()]
    elif all(type(value) is int for value in by_id.values()) and not any(map(_is_id, by_id)):
        pairs = [(value, key) for key, value in by_id.items()]
    else:
        inner = [key for key, value in by_id.items() if isinstance(value, Mapping | list)]
        remedy = f"If {some(inner)} holds the classes, let the file be what is in it alone. "
        raise UserError(
            f"{location}: ids must be whole numbers, each with a name, got {some(list(by_id))}. "
            f"{remedy if inner else ''}{FORM}"
        )
    if (last := max(pairs, default=(0, "")))[0] == IGNORE_ID and means_ignored(last[1]):
        raise UserError(
            f'{location}: class {last[1]} has the id {IGNORE_ID}. Leave "{IGNORE_ID}" out: pixels '
            f"of {IGNORE_ID} are of no class in any case."
        )
    return [
        _parsed(_Entry, {"name": name, "ids": [i]}, f"{location}: class {name}")
        for i, name in sorted(pairs)
    ]


def _by_color(content: Mapping[str, Any], location: str) -> list[_Entry]:
    """The classes of {colour: name} or {name: colour}; none of others. Raises UserError for colours
    without names."""
    keys, values = colors_of([*content]), colors_of([*content.values()])
    if not keys and not values:
        return []
    are_names = all(isinstance(value, str) for value in content.values()) and not values
    if (keys and not are_names) or (values and all(map(_is_id, content))):
        raise UserError(
            f"{location}: has colours beside {some([str(v) for v in content.values()])} and no "
            'names. Write {"#ff8000": "cat", ...}, or [{"name": "cat", "ids": [1], "color": '
            '"#ff8000"}, ...].'
        )
    names = [*content] if values else [*content.values()]
    return [
        _Entry(name=name, colors=(color,))
        for name, color in zip(names, values or keys or (), strict=True)
    ]


def _is_id(key: str) -> bool:
    return re.fullmatch("[0-9]+", key) is not None


def _parsed(section: type[_T], content: object, location: str) -> _T:
    """The section that an object is. Raises UserError with a line a key."""
    if not isinstance(content, Mapping):
        raise UserError(f"{location}: must be an object of {', '.join(section.model_fields)}.")
    try:
        return section.model_validate(dict(content))
    except ValidationError as error:
        raise UserError([_told(problem, section, location) for problem in error.errors()]) from None


def _told(problem: Any, section: type[Section], location: str) -> str:
    """What is wrong with a key of an object."""
    key = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        return f"{location}: unknown key {key}. {nearest(key, section.model_fields)}"
    if problem["type"] == "missing":
        return f"{location}: has no {key}. {FORM}"
    message = what_is_wrong(problem)
    return f"{location}: {key}: {message[:1].lower()}{message[1:]}, got {problem['input']!r}."
