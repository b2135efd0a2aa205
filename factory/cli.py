"""The `factory` command: a thin face over the functions of the package.

Exit codes: 0 complete, 1 failed, 2 usage or configuration, 3 incomplete but resumable,
130 and 143 for Ctrl-C and SIGTERM, 141 where whoever read the output went away.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from factory import __version__, commands, storage, streams
from factory.commands import failed
from factory.config import Config, dump_config, load_config, parse_override
from factory.config.recipes import recipe_file
from factory.errors import UserError, shown
from factory.progress import print_lines
from factory.signals import end_in_order

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


def _key(key: str, about: str) -> dict[str, Any]:
    """A flag that is the short name of a config key."""
    return {"dest": key, "metavar": "VALUE", "help": f"{about} ({key})"}


def _switch(key: str, about: str) -> dict[str, Any]:
    """A flag without a value that sets a config key to true."""
    return {"dest": key, "action": "store_const", "const": True, "help": f"{about} ({key})"}


_DDPM = _key("models.ddpm_url", "the DDPM's model folder")
_ENSEMBLE = _key("models.ensemble_url", "the ensemble's folder")
_PRESET = _key("preset", "image size, network and training: toy, 32px, 64px, 128px or 256px")
_DATASET: Options = {"url": {"help": "the dataset's folder or URL"}}
_LEVEL: Options = {
    "--level": {
        "choices": ("size", "hash", "decode"),
        "default": "hash",
        "help": "how closely shards are looked at",
    }
}
_LIST = [
    Command(
        "inspect",
        "check the images and masks of a config, naming every bad file",
        commands.inspect,
        {"--preset": _PRESET},
        commands.inspect,
    ),
    Command(
        "train",
        "stage 1: fit the DDPM on unlabelled images with Ray Train",
        commands.train,
        {
            "--preset": _PRESET,
            "--out": _key("train.url", "the run's folder or URL"),
            "--num-steps": _key("train.num_steps", "optimiser steps"),
            "--num-workers": _key("train.num_workers", "Ray Train workers"),
            "--batch-size": _key("train.batch_size", "images a step, over all workers"),
            "--resume-anyway": _switch(
                "train.resume_anyway",
                "go on with other workers, precision or rates; no longer bit-equal",
            ),
        },
        commands.check_train,
    ),
    Command(
        "fit",
        "stage 2: fit the ensemble on few labelled images",
        commands.fit,
        {
            "--ddpm": _DDPM,
            "--out": _key("models.ensemble_url", "where the ensemble is written"),
            "--num-members": _key("fit.num_members", "members of the ensemble"),
        },
        commands.check_fit,
    ),
    Command(
        "evaluate",
        "measure the ensemble on labelled images that it has not seen",
        commands.evaluate,
        {
            "--ddpm": _DDPM,
            "--ensemble": _ENSEMBLE,
            "--out": _key("evaluate.url", "where scores and pictures are written"),
        },
        commands.check_evaluate,
    ),
    Command(
        "generate",
        "stage 3: make image/mask pairs with Ray Data actors",
        commands.generate,
        {
            "--ddpm": _DDPM,
            "--ensemble": _ENSEMBLE,
            "--num": _key("generate.num", "pairs to make: 1000, 1e6, 10k"),
            "--out": _key("generate.url", "the dataset's folder or URL"),
            "--format": _key("generate.format", "parquet or webdataset"),
            "--samples-per-shard": _key("generate.samples_per_shard", "pairs a shard"),
            "--workers": _key(
                "generate.workers", "ray: a pool of actors; here: this process alone"
            ),
            "--min-actors": _key("generate.min_actors", "actors kept at least"),
            "--max-actors": _key("generate.max_actors", "actors at most"),
            "--seed": _key("generate.seed", "with the index, a pair's identity"),
            "--extend": _switch(
                "generate.extend", "let a smaller dataset of this plan grow to --num"
            ),
        },
        commands.check_generate,
    ),
    Command(
        "import",
        "make a model folder of published weights (DiffuseSeg's network, or its ten MLPs)",
        commands.import_weights,
        {
            "source": {"help": "the network's file, or the folder of mlp_1_best.pt and so on"},
            "--out": {"required": True, "metavar": "FOLDER", "help": "the new folder or URL"},
            "--ddpm": {
                "metavar": "FOLDER",
                "help": "of MLPs: the imported network they belong to",
            },
            "--dry-run": {"action": "store_true", "help": "check everything, write nothing"},
        },
    ),
    Command(
        "report",
        "write report/index.html into a finished dataset",
        commands.report,
        {**_DATASET, "--num": {"default": "64", "help": "samples shown"}},
    ),
    Command("status", "tell how far a dataset has come", commands.status, _DATASET),
    Command(
        "verify",
        "prove a dataset whole, or name every file that is not as it was written",
        commands.verify,
        {**_DATASET, **_LEVEL},
    ),
    Command(
        "repair",
        "make exactly the bad or missing files of a dataset again, byte for byte",
        commands.repair,
        {
            **_DATASET,
            **_LEVEL,
            "--config": {"metavar": "FILE", "help": "absent: the dataset's own config"},
            "--set": {
                "action": "append",
                "default": [],
                "metavar": "A.B=C",
                "help": "override a config key",
            },
        },
    ),
    Command(
        "gc",
        "delete what killed processes left behind, but no data",
        commands.gc,
        {**_DATASET, "--dry-run": {"action": "store_true", "help": "list, delete nothing"}},
    ),
]
COMMANDS = {command.name: command for command in _LIST}
"""All commands by name, in the order of the help."""
_NOT_ON_WINDOWS = (
    "Windows itself is not supported: the files, signals and compilers of Linux are needed. "
    "Run it in WSL2 (`wsl --install`, then install it there as README.md tells)."
)


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
    signalled = end_in_order()
    try:
        return _exit_code(COMMANDS[command], args)
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        terminated = signal.SIGTERM in signalled
        word = "terminated" if terminated else "interrupted"
        print(f"{word}; run the same command again to go on", file=sys.stderr)
        return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    except BrokenPipeError as error:
        return _unsaid(error)
    except _failures() as error:
        return failed(_line(error), resumable=command == "generate" and not _only_looks(args))


def _only_looks(args: argparse.Namespace) -> bool:
    """True if the command was only to be shown or checked."""
    return bool(args.print_config or args.dry_run)


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
    return command.run(config)


def _config(command: Command, args: argparse.Namespace) -> Config:
    """The config of a file or a recipe, with overrides and then with flags."""
    overrides = [parse_override(text) for text in args.set]
    keys = [options["dest"] for options in command.arguments.values()]
    overrides += [(key, value) for key in keys if (value := getattr(args, key)) is not None]
    return load_config(
        recipe_file(args.recipe) if args.recipe is not None else args.config, overrides
    )


def _line(error: BaseException) -> str:
    """Returns one line that says what went wrong, where, and whether to wait."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError):
        if error.filename and error.strerror:
            message = f"{error.filename}: {error.strerror}"
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


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
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
    source.add_argument("--config", metavar="FILE", help="a YAML file; absent: the toy domain")
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
