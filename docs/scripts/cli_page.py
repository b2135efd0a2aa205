"""The reference page of the command line, made from the parser that reads it."""

import argparse

from factory.cli import parser

INTRODUCTION = """\
# Command line

`factory COMMAND --help` says the same. Whatever a command is for: to resume it, run it again.

Exit codes: 0 complete, 1 failed, 2 usage or configuration (nothing was started), 3 incomplete but
resumable, 130 Ctrl-C, 143 SIGTERM.

*This page is made from the program's own parser when the site is built.*
"""


def page() -> str:
    """The page in Markdown: a part for each command."""
    return "\n".join([INTRODUCTION, *(_command(name, parser) for name, parser in commands())])


def commands() -> list[tuple[str, argparse.ArgumentParser]]:
    """Each command with its parser."""
    (subparsers,) = [
        action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)
    ]
    return list(subparsers.choices.items())


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    about = (parser.description or "").strip().rstrip(".")
    lines = [f"## factory {name}", "", f"{about[:1].upper()}{about[1:]}.", ""]
    lines += ["| argument | meaning |", "|---|---|"]
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            lines.append(f"| {_written(action)} | {_meaning(action)} |")
    return "\n".join([*lines, ""])


def _written(action: argparse.Action) -> str:
    """An argument as one writes it, such as `--num VALUE`."""
    if not action.option_strings:
        return f"`{action.dest.upper()}`"
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    return f"`{', '.join(action.option_strings)}{value}`"


def _meaning(action: argparse.Action) -> str:
    """The help of an argument, with what may be chosen and what is when it is absent."""
    more = []
    if action.choices:
        more.append(" or ".join(f"`{choice}`" for choice in action.choices))
    if action.default not in (None, False, True, argparse.SUPPRESS, []):
        more.append(f"default: `{action.default}`")
    extra = f" ({'; '.join(more)})" if more else ""
    return f"{action.help or ''}{extra}".replace("|", "\\|")
