"""Files of classes: JSON, YAML, names a line, tables, CVAT's labelmap.txt, and those of other tools
(`factory.data.classes.class_exports`).

Which of them a file is, its content says, and where that leaves it open its ending does. All become
forms of `factory.data.classes.class_forms`.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import yaml

from factory.data.classes import class_exports, class_lines, class_tables
from factory.data.classes.class_forms import FORM, Ignored, parse_rules
from factory.data.classes.class_rules import ClassRules
from factory.errors import UserError
from factory.yaml_reading import parse_yaml

_STRUCTURED = (".json", ".yaml", ".yml")
_PLAIN = (".txt", ".csv", ".tsv")
_LABELMAP = re.compile(r"(?P<name>[^#].*?):(?P<color>\d+, ?\d+, ?\d+)?:[^:]*:[^:]*")
"""A line of CVAT's labelmap.txt: label:color_rgb:parts:actions."""


def read_rules(text: str, location: str, ignored: Ignored | None = None) -> ClassRules:
    """The rules that a file of classes holds. Raises UserError that begins with its location."""
    # Editors on Windows write a byte order mark, which neither JSON nor a name has.
    content = class_exports.plain(_content(text.removeprefix("\ufeff"), location), location)
    return parse_rules(content, location, ignored)


def _content(text: str, location: str) -> object:
    """What the file holds, in one of the forms of `factory.data.classes.class_forms`."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UserError(f"{location}: is empty. {FORM}")
    if lines[0][0] in "[{":
        return _json_or_yaml(text, location)
    told = [line for line in lines if not class_lines.is_comment(line)] or lines
    if all(map(_LABELMAP.fullmatch, told)):
        return _of_labelmap(told, location)
    if not location.lower().endswith(_STRUCTURED):
        if table := class_tables.of_header(told, location):
            return table
        if location.lower().endswith(_PLAIN):
            return class_lines.of_lines(told, location)
    content = _yaml(text, location)
    if isinstance(content, str) and not location.lower().endswith(_STRUCTURED):
        return class_lines.of_lines(told, location)
    return content


def _json_or_yaml(text: str, location: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except _Repeated as error:
        raise UserError(f"{location}: {error}. {FORM}") from None
    except ValueError as error:
        try:
            # [background, cat] needs no quotes there, but tabs are no spaces.
            return parse_yaml(text.expandtabs())
        except (yaml.YAMLError, UserError, ValueError):
            raise UserError(f"{location}: not JSON ({error}). {FORM}") from None


def _yaml(text: str, location: str) -> object:
    """What YAML holds; the text itself if it is none, which then is for its lines to say."""
    try:
        return parse_yaml(text)
    except UserError as error:
        raise UserError([f"{location}: {problem}" for problem in error.problems]) from None
    except (yaml.YAMLError, ValueError):
        return text


def _of_labelmap(lines: Sequence[str], location: str) -> list[dict[str, Any]]:
    found = [match for line in lines if (match := _LABELMAP.fullmatch(line))]
    if without := [match["name"] for match in found if not match["color"]]:
        raise UserError(
            f"{location}: class {without[0]} has no colour. Write its line as "
            "name:red,green,blue::, as others are."
        )
    return [
        {"name": match["name"], "colors": [[int(part) for part in match["color"].split(",")]]}
        for match in found
    ]


class _Repeated(ValueError):
    """An object of JSON has a key twice."""


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuses equal ids, of which json.loads would keep the last one silently."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise _Repeated(f"an id occurs twice in {[key for key, _ in pairs]}")
    return content
