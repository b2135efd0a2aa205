"""YAML that is read as it is written, and that nothing in it can make grow or run."""

import re
from typing import Any

import yaml

from factory import storage
from factory.errors import UserError

MAX_YAML_BYTES = 2**18
MAX_YAML_DEPTH = 20


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads words as they are written, and refuses what grows without end.

    As in YAML 1.2, only true and false are booleans (not yes, no, on, off), and only decimals are
    numbers (010 and 1:30 are text). Refused are keys given twice, aliases, and deep nesting.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - its own, not SafeLoader's
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            raise UserError(f"line {line}: aliases (*name) are not read. Write the value itself.")
        if self.depth == MAX_YAML_DEPTH:
            raise UserError(f"line {line}: is nested too deep. Write sections such as `generate:`.")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise UserError(f"line {line}: key {key!r} is given twice. Keep one.")
            seen.add(key)
        return super().construct_mapping(node, deep)


# What a plain word is, by its tag: how it is written, and the characters that it may start with.
for _tag, _word, _starts in (
    ("null", "(?:~|null|Null|NULL|)$", [*"~nN", ""]),
    ("merge", "<<$", ["<"]),
    ("bool", "(?:true|True|TRUE|false|False|FALSE)$", [*"tTfF"]),
    ("int", "[-+]?(?:0|[1-9][0-9]*(?:_[0-9]+)*)$", [*"-+0123456789"]),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", [*"-+.0123456789"]),
    ("float", r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", [*"-+."]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_word), _starts)


def parse_yaml(text: str) -> Any:
    if len(text) > MAX_YAML_BYTES:
        raise UserError(
            f"has more than {MAX_YAML_BYTES} bytes. Write a page of sections such as `generate:`."
        )
    return yaml.load(text, _Loader)


def read_yaml(file: str) -> dict[str, Any]:
    """Raises UserError, which repeats nothing of the file: it may be another one, with secrets."""
    url = storage.normalize(file)
    try:
        content = parse_yaml(storage.read_text(url))
    except FileNotFoundError:
        raise UserError(f"{file}: no such config file.") from None
    except IsADirectoryError:
        raise UserError(f"{file}: is a folder; name a YAML file.") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({storage.describe(error)}).") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: is not text in UTF-8; a config is a YAML file.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{file}: not readable as YAML: {_yaml_reason(error)}.") from None
    except UserError as error:
        raise UserError([f"{file}: {problem}" for problem in error.problems]) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise UserError(
            f"{file}: expected sections such as `generate:`, got a value of type {kind}."
        )
    return content


def _yaml_reason(error: Exception) -> str:
    """Returns what is wrong and where, without the line itself."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"{error.problem}, line {mark.line + 1}, column {mark.column + 1}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"{error.reason}, position {error.position}"
    return "a value does not fit its tag"
