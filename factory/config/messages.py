"""What is wrong with a config, a line a key: where, what, and the nearest name."""

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import ValidationError

from factory.config.values import Section


def problem_lines(error: ValidationError, source: str, root: type[Section]) -> list[str]:
    """The problems that pydantic found in a config of type root, one line a key.

    source: the file, or whatever else the config came from; every line begins with it.
    """
    by_path: dict[str, list[str]] = {}
    for problem in error.errors():
        path = ".".join(_path(problem["loc"], root))
        by_path.setdefault(path, []).extend(_message(problem, path, root).splitlines())
    lines = []
    for path, messages in by_path.items():
        # A key that takes values of several kinds has one problem for each kind.
        messages = ["; or ".join(messages)] if path else list(dict.fromkeys(messages))
        lines += [f"{source}: {path}{': ' if path else ''}{message}" for message in messages]
    return lines


def _path(location: Sequence[int | str], root: type[Section]) -> list[str]:
    """The path of a key, without the kinds of value that pydantic names behind it."""
    path: list[str] = []
    section: type[Section] | None = root
    for part in location:
        if section is None and isinstance(part, str):
            break
        path.append(str(part))
        section = _child(section, part)
    return path


def _message(problem: Any, path: str, root: type[Section]) -> str:
    """What is wrong with a key, and what to do."""
    if problem["type"] in ("extra_forbidden", "invalid_key"):
        return f"unknown key.{_did_you_mean(path.split('.'), root)}"
    message: str = problem["msg"].removeprefix("Value error, ")
    if not path or problem["type"] == "url":
        return message
    if problem["type"] in ("model_type", "model_attributes_type"):
        keys = list((_section(path, root) or root).model_fields)
        return f"is a section: write keys below it, such as {' and '.join(keys[:2])}."
    value = problem["input"]
    quoted = "" if repr(str(value)) in message or isinstance(value, dict) else f", got {value!r}"
    remedy = ". Quote it." if problem["type"] == "string_type" else ""
    return f"{message[:1].lower()}{message[1:]}{quoted}{remedy}"


def _child(section: type[Section] | None, part: int | str) -> type[Section] | None:
    """The section of this name in a section, if it is one."""
    field = section.model_fields.get(str(part)) if section else None
    types = (field.annotation, *get_args(field.annotation)) if field else ()
    return next((kind for kind in types if _is_section(kind)), None)


def _section(path: str, root: type[Section]) -> type[Section] | None:
    """The section at a dotted path, None if there is none."""
    section: type[Section] | None = root
    for part in filter(None, path.split(".")):
        section = _child(section, part)
    return section


def _did_you_mean(path: Sequence[str], root: type[Section]) -> str:
    """The nearest known name, or all names that are known in the same section."""
    parents = ".".join(path[:-1])
    names = list((_section(parents, root) or root).model_fields)
    near = difflib.get_close_matches(path[-1], names, n=1, cutoff=0.5)
    if near:
        return f" Did you mean {'.'.join(filter(None, [parents, near[0]]))}?"
    return f" Known here: {', '.join(names)}."


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)
