"""Messages about what is wrong with a config, a line a key: where, what, and the nearest name."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from factory.config.older import is_moved, new_names
from factory.values import Section, what_is_wrong

_GOT, _SHOULD_BE = ", got ", "input should be "
_MAX_OTHERS = 3
"""A key that more sections have is not looked for there."""
_INSTEAD = {
    "label.val_fraction": (
        "Labels are not split when they are made: `factory export --val 0.1` does it, by the same "
        "rule as generate.val_fraction."
    )
}
"""What does the work of a key that people look for in a section."""


def problem_lines(error: ValidationError, source: str, root: type[Section]) -> list[str]:
    """The problems that pydantic found in a config of type root, one line a key.

    source: the file, or whatever else the config came from; every line begins with it.
    """
    by_key: dict[str, tuple[str, list[str]]] = {}
    for problem in error.errors():
        where = _locate(problem["loc"], root)
        if problem["type"] == "extra_forbidden" and is_moved(where.path):
            moved = _moved(where.path, problem["input"], root)
            by_key.update({path: (path, [message]) for path, message in moved.items()})
            continue
        path, message = _message(problem, where, root)
        by_key.setdefault(where.path, (path, []))[1].extend(message.splitlines())
    lines = []
    for path, messages in by_key.values():
        # A key that takes values of several kinds has one problem for each kind.
        messages = [_either(messages)] if path else messages
        lines += [f"{source}: {path}{': ' if path else ''}{message}" for message in messages]
    return lines


def _either(messages: Sequence[str]) -> str:
    """The messages of a value that is of none of several kinds as one, with the value once."""
    parts = [message.partition(_GOT) for message in messages]
    if len(parts) == 1 or len({rest for _, _, rest in parts}) > 1:
        return "; or ".join(messages)
    first, *others = (what for what, _, _ in parts)
    said = [first, *(f", or {other.removeprefix(_SHOULD_BE)}" for other in others)]
    return f"{''.join(said)}{parts[0][1]}{parts[0][2]}"


@dataclass(frozen=True)
class _Location:
    """The location of a problem in a config."""

    keys: tuple[str, ...]
    """The keys that lead there, without what pydantic names beside them: the kind of a section, and
    the type of a value."""
    parent: type[Section]
    """The section in which the last key lies."""
    sections: tuple[type[Section], ...]
    """The section that lies there, or all its kinds if it names none of them; empty for values."""

    @property
    def path(self) -> str:
        """The keys with dots between them."""
        return ".".join(self.keys)


def _locate(location: Sequence[int | str], root: type[Section]) -> _Location:
    """Returns the location in the config that pydantic's location of a problem names."""
    keys: list[str] = []
    parent = root
    sections: tuple[type[Section], ...] = (root,)
    for part in location:
        if len(sections) > 1:  # The part is the kind of the section.
            sections = tuple(section for section in sections if _kind(section) == part)
            continue
        if not sections and isinstance(part, str):
            break
        keys.append(str(part))
        if sections:
            parent, sections = sections[0], _children(sections[0], part)
    return _Location(tuple(keys), parent, sections)


def _message(problem: Any, where: _Location, root: type[Section]) -> tuple[str, str]:
    """The path of the key with a problem, and what is wrong with it and what to do."""
    path, last = where.path, where.keys[-1] if where.keys else ""
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        return path, f"unknown key.{_did_you_mean(where, root)}"
    if problem["type"] == "missing" and last in where.parent.model_fields:
        wanted = where.parent.model_fields[last].description
        return path.rpartition(".")[0], f"kind {_kind(where.parent)} needs {last}: {wanted}"
    if problem["type"].startswith("union_tag"):
        *most, final = [repr(_kind(section)) for section in where.sections]
        value = problem["input"].get("kind")
        return f"{path}.kind", f"input should be {', '.join(most)} or {final}, got {value!r}"
    message = what_is_wrong(problem)
    if not path or problem["type"] == "url":
        return path, message
    if problem["type"] in ("model_type", "model_attributes_type"):
        keys = list(where.sections[-1].model_fields)
        return path, f"is a section: write keys below it, such as {' and '.join(keys[:2])}."
    value = problem["input"]
    quoted = "" if repr(str(value)) in message or isinstance(value, dict) else f", got {value!r}"
    remedy = ". Quote it." if problem["type"] == "string_type" else ""
    return path, f"{message[:1].lower()}{message[1:]}{quoted}{remedy}"


def _moved(section: str, keys: Any, root: type[Section]) -> dict[str, str]:
    """Messages for a section that only older versions had, one for each of its keys."""
    paths = [f"{section}.{key}" for key in keys] if isinstance(keys, Mapping) else []
    return {path: _new_name(path, root) for path in paths or [section]}


def _new_name(path: str, root: type[Section]) -> str:
    found = [_locate(name.split("."), root) for name in new_names(path)]
    if all(where.keys[-1] in where.parent.model_fields for where in found):
        return f"is called {' and '.join(where.path for where in found)} now."
    return f"unknown key.{_did_you_mean(found[0], root)}"


def _children(section: type[Section], part: int | str) -> tuple[type[Section], ...]:
    """The section of this name in a section, or its kinds; empty if it is none."""
    field = section.model_fields.get(str(part))
    return tuple(_sections(field.annotation)) if field else ()


def _sections(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a type names, also within unions."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in get_args(annotation):
        yield from _sections(part)


def _kind(section: type[Section]) -> Any:
    """The kind of a section that is one of several."""
    return section.model_fields["kind"].default


def _did_you_mean(where: _Location, root: type[Section]) -> str:
    """The nearest known name and other sections that have the key, or all names that are known in
    the same section."""
    if where.path in _INSTEAD:
        return f" {_INSTEAD[where.path]}"
    name, names = where.keys[-1], list(where.parent.model_fields)
    others = [
        f"{section}.{name}"
        for section in root.model_fields
        for kind in _children(root, section)
        if len(where.keys) > 1 and name in kind.model_fields
    ]
    if len(others) > _MAX_OTHERS:
        others = []  # Such as url, which says nothing.
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6 if others else 0.5)
    there = f" Other sections have it: {', '.join(others)}." if others else ""
    if near:
        return f" Did you mean {'.'.join([*where.keys[:-1], near[0]])}?{there}"
    return there or f" Known here: {', '.join(names)}."
