"""What is said of a command of `factory`: what it is for, its arguments, and what runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from factory.config import Config

Options = Mapping[str, Mapping[str, Any]]
"""Arguments by name, each with what `ArgumentParser.add_argument` takes beside it."""


@dataclass(frozen=True)
class Command:
    """One command of `factory`."""

    name: str
    about: str
    run: Callable[..., int]
    """Does it and returns the exit code. Takes the config, or without check the arguments."""
    arguments: Options = field(default_factory=dict)
    check: Callable[[Config], object] | None = None
    """The check of --dry-run; it raises UserError for all that would stop the command."""
    takes_file: bool = False
    """True if run takes the file of the config, too, None without one."""
