"""The `factory` command: a thin face over the functions of the package.

Exit codes: 0 complete, 1 failed, 2 usage or configuration, 3 incomplete but resumable,
130 and 143 for Ctrl-C and SIGTERM, 141 where whoever read the output went away.
"""

import argparse
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

from factory import __version__, storage, streams
from factory.command import Command
from factory.command_table import COMMANDS
from factory.commands import failed
from factory.config import Config, dump_config, parse_override, parse_tree, read_tree
from factory.config.label_images import in_place_of
from factory.config.recipes import recipe_file
from factory.config.tree import set_value, value_at
from factory.errors import UserError, shown
from factory.next_commands import commands_after
from factory.progress import print_lines, tell
from factory.signals import end_in_order

_NOT_ON_WINDOWS = (
    "Windows itself is not supported: the files, signals and compilers of Linux are needed. "
    "Run it in WSL2 (`wsl --install`, then install it there as README.md tells)."
)

_RESUMABLE = ("generate", "label", "export")
"""The commands of which the same one makes what is still missing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Raises SystemExit where none was to be run."""
    streams.open_closed()
    try:
        args = parser().parse_args(arguments)
    except SystemExit as end:
        sys.exit(_ended(int(end.code or 0)))
    except OSError as error:
        sys.exit(_ended(_unsaid(error)))
    return _ended(_run(args.command, args))


def job(command: str) -> NoReturn:
    """Runs a command as a script of its own, as `ray job submit` does."""
    sys.exit(main([command, *sys.argv[1:]]))


def _ended(code: int) -> int:
    """The exit code, after all that the command says is written, or is told to be lost."""
    error = streams.finish_stdout()
    return _unsaid(error) if error and not code else code


def _unsaid(error: OSError) -> int:
    """The exit code where stdout does not take what the command says."""
    if isinstance(error, BrokenPipeError):  # Of `| head`, which has seen enough.
        return 128 + signal.SIGPIPE
    return failed(f"stdout: {error.strerror}")


def _run(command: str, args: argparse.Namespace) -> int:
    """Runs the command, and tells its errors as the exit codes promise."""
    if sys.platform == "win32":
        print(f"error: {_NOT_ON_WINDOWS}", file=sys.stderr)
        return 2
    print_lines()
    # Pillow's, of an image that is refused by its name and size in any case.
    warnings.filterwarnings("ignore", "Image size .* could be decompression bomb")
    signalled = end_in_order()
    try:
        return _exit_code(COMMANDS[command], args)
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        # CPython remembers an interrupt that passed through exec(), as while modules are imported,
        # and would end the process by SIGINT whatever code it exits with. The next exec() forgets.
        exec("")
        terminated = signal.SIGTERM in signalled
        word = "terminated" if terminated else "interrupted"
        print(f"{word}; run the same command again to go on", file=sys.stderr)
        return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    except BrokenPipeError as error:
        return _unsaid(error)
    except storage.NEVER_ANSWERED as error:  # So nothing was begun.
        print(f"error: {_line(error)}", file=sys.stderr)
        return 2
    except _failures() as error:
        return failed(_line(error), resumable=command in _RESUMABLE and not _only_looks(args))


def _only_looks(args: argparse.Namespace) -> bool:
    """True if the command was only to be shown or checked."""
    return bool(getattr(args, "print_config", False) or getattr(args, "dry_run", False))


def _exit_code(command: Command, args: argparse.Namespace) -> int:
    """The exit code of a command; one that reads a config may only show or check it."""
    if command.check is None:
        return command.run(args)
    config = _config(command, args)
    if args.print_config:
        print(dump_config(config), end="")
        return 0
    if args.dry_run:
        command.check(config)
        print("everything that can be checked beforehand is fine; nothing was started")
        return 0
    code = command.run(config, args.config) if command.takes_file else command.run(config)
    if not code:
        _tell_next(command, config, args)
    return code


def _tell_next(command: Command, config: Config, args: argparse.Namespace) -> None:
    """Prints the commands that may come next; those that read a config only where it says all that
    they need, and nothing of it was given for this command alone."""
    words: list[str] = []
    if args.recipe is not None:
        words = ["--recipe", args.recipe]
    elif args.config is not None:
        words = ["--config", args.config]
    # Fewer images of a source are no other ones.
    keys = {key for key, _ in _overrides(command, args) if not key.endswith(".num")}
    if any(key == "train.url" or key.startswith(("data", "models")) for key in keys):
        words = []
    if words and command.name == "inspect" and "preset" in keys:
        words += ["--preset", str(config.preset)]
    if lines := commands_after(command.name, config, words):
        print("\n".join(["next:", *(f"  {shown(line)}" for line in lines)]))


def _overrides(command: Command, args: argparse.Namespace) -> list[tuple[str, Any]]:
    """The keys that are set by --set and by flags, with their values, in the order in which they
    count."""
    # An argument without a flag is called as its key.
    keys = [options.get("dest", name) for name, options in command.arguments.items()]
    flags = [(key, value) for key in keys if (value := getattr(args, key)) is not None]
    return _in_order([parse_override(text) for text in args.set], flags)


def _config(command: Command, args: argparse.Namespace) -> Config:
    """The config of a file or a recipe, with overrides and then with flags."""
    file = recipe_file(args.recipe) if args.recipe is not None else args.config
    tree = read_tree(file)
    for key, value in _overrides(command, args):
        if isinstance(value, Mapping) and key in command.arguments:  # Images without a flag.
            value, note = in_place_of(value_at(tree, key), value)
            if note is not None and not args.print_config:
                tell(shown(note))
        set_value(tree, key, value)
    return parse_tree(tree, file)


def _in_order(
    overrides: Sequence[tuple[str, Any]], flags: Sequence[tuple[str, Any]]
) -> list[tuple[str, Any]]:
    """Overrides, then flags, then overrides of keys in a section that a flag names.

    Raises UserError where both name the same section: one of them would be for nothing.
    """
    sections = [key for key, value in flags if isinstance(value, Mapping)]
    for key, _ in overrides:
        if key in sections:
            raise UserError(f"--set {key}=...: an argument of the command names it, too. Drop one.")
    inner = [one for one in overrides if one[0].startswith(tuple(f"{key}." for key in sections))]
    return [*(one for one in overrides if one not in inner), *flags, *inner]


def _line(error: BaseException) -> str:
    """Returns one line that says what went wrong, where, and whether to wait."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError):
        # Whoever prints does not say that it was stdout which took nothing.
        where = error.filename or (streams.finish_stdout() and "stdout")
        if where and error.strerror:
            message = f"{where}: {error.strerror}"
        if storage.is_transient(error):
            message = f"{message.rstrip('.')}. Run the same command again when it can be reached."
    return shown(message)


def _failures() -> tuple[type[BaseException], ...]:
    """The errors of work that was begun: the system's, and Ray's where it was imported at all."""
    ray = sys.modules.get("ray")
    return (OSError, ray.exceptions.RayError) if ray else (OSError,)


class _Parser(argparse.ArgumentParser):
    """A parser whose --help and --version raise OSError where stdout does not take them."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)


@cache
def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line, which a process makes once."""
    whole = _Parser(prog="factory", description="A factory of labelled images.")
    whole.add_argument("--version", action="version", version=f"factory {__version__}")
    subparsers = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS.values():
        sub = subparsers.add_parser(command.name, help=command.about, description=command.about)
        if command.check is not None:
            _add_config(sub)
        for name, options in command.arguments.items():
            sub.add_argument(name, **options)
    return whole


def _add_config(sub: argparse.ArgumentParser) -> None:
    """Adds what all commands have that read a config."""
    source = sub.add_mutually_exclusive_group()
    source.add_argument("--config", metavar="FILE", help="a YAML file; absent: the defaults")
    source.add_argument(
        "--recipe",
        metavar="NAME",
        nargs="?",
        const="",
        help="a config that ships with the package; without a name, all are listed",
    )
    sub.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="override a config key"
    )
    sub.add_argument("--print-config", action="store_true", help="show it and stop")
    sub.add_argument("--dry-run", action="store_true", help="check everything, start nothing")


if __name__ == "__main__":
    sys.exit(main())
