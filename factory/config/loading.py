"""Reads a config: YAML over the defaults, under overrides; and writes it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from factory.config.messages import problem_lines
from factory.config.older import modern
from factory.config.schema import OF_FILE, Config
from factory.config.tree import set_value
from factory.errors import UserError
from factory.yaml_reading import parse_yaml, read_yaml


def load_config(file: str | None, overrides: Sequence[tuple[str, Any]] = ()) -> Config:
    """The defaults, under a YAML file, under (dotted key, value) overrides; later ones win.

    Raises UserError with all problems at once.
    """
    tree = read_tree(file)
    for key, value in overrides:
        set_value(tree, key, value)
    return parse_tree(tree, file)


def read_tree(file: str | None) -> dict[str, Any]:
    """The keys of a config file, not checked yet; none without a file. Raises UserError."""
    return {} if file is None else modern(read_yaml(file))


def parse_tree(tree: Mapping[str, Any], file: str | None) -> Config:
    """A Config from the keys of a file, with others set. Raises as `parse_config` does."""
    return parse_config(tree) if file is None else parse_config(tree, file, OF_FILE)


def parse_config(
    tree: Mapping[str, Any], source: str = "config", context: str | None = None
) -> Config:
    """A Config from nested mappings; source: where they come from, for messages; context: OF_FILE
    for those of a file.

    Raises UserError with all problems at once.
    """
    try:
        return Config.model_validate(tree, context=context)
    except ValidationError as error:
        raise UserError(problem_lines(error, source, Config)) from None


def dump_config(config: Config) -> str:
    """The resolved config as YAML; `load_config` reads it back to an equal one."""
    text: str = yaml.safe_dump(config_tree(config), sort_keys=False)
    return text


def config_tree(config: Config) -> dict[str, Any]:
    """The resolved config as nested values that JSON has; `parse_config` makes an equal one of it.

    What is not set is left out.
    """
    return config.model_dump(mode="json", exclude_none=True)


def parse_override(text: str) -> tuple[str, Any]:
    """'a.b=c' -> ('a.b', c), the value read as YAML. Raises UserError, which repeats no value."""
    key, separator, value = text.partition("=")
    key = key.strip()
    if not separator or not re.fullmatch(r"\w+(\.\w+)*", key):
        raise UserError("--set: write it as section.key=value, such as generate.num=1000.")
    try:
        return key, parse_yaml(value)
    except UserError as error:
        raise UserError(f"--set {key}=...: {error}") from None
    except (yaml.YAMLError, ValueError):
        raise UserError(f"--set {key}=...: the value is not YAML; quote it.") from None
