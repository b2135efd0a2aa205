"""The `factory` command: a thin face over the functions of the package.

Exit codes: 0 complete, 1 failed, 2 usage or configuration, 3 incomplete but resumable,
130 and 143 for Ctrl-C and SIGTERM, 141 where whoever read the output went away.
"""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from factory import __version__, storage
from factory.config import Config, dump_config, load_config, parse_count, parse_override, required
from factory.errors import GenerationFailed, Incomplete, TrainingFailed, UserError, shown
from factory.progress import print_lines

if TYPE_CHECKING:
    from factory.shards.verification import Verification

# Short names of keys, per command: {flag: (dotted key, help)}.
_MODELS = {
    "--ddpm": ("models.ddpm_url", "the DDPM's model folder"),
    "--ensemble": ("models.ensemble_url", "the ensemble's folder"),
}
_FLAGS: dict[str, dict[str, tuple[str, str]]] = {
    "inspect": {},
    "train": {
        "--out": ("train.url", "the run's folder or URL"),
        "--num-steps": ("train.num_steps", "optimiser steps"),
        "--num-workers": ("train.num_workers", "Ray Train workers"),
        "--batch-size": ("train.batch_size", "images a step, over all workers"),
    },
    "fit": {
        "--ddpm": _MODELS["--ddpm"],
        "--out": ("models.ensemble_url", "where the ensemble is written"),
        "--num-members": ("fit.num_members", "members of the ensemble"),
    },
    "evaluate": {
        **_MODELS,
        "--out": ("evaluate.url", "where scores and pictures are written"),
    },
    "generate": {
        **_MODELS,
        "--num": ("generate.num", "pairs to make: 1000, 1e6, 10k"),
        "--out": ("generate.url", "the dataset's folder or URL"),
        "--format": ("generate.format", "parquet or webdataset"),
        "--samples-per-shard": ("generate.samples_per_shard", "pairs a shard"),
        "--workers": ("generate.workers", "ray: a pool of actors; here: this process alone"),
        "--min-actors": ("generate.min_actors", "actors kept at least"),
        "--max-actors": ("generate.max_actors", "actors at most"),
        "--seed": ("generate.seed", "with the index, a pair's identity"),
    },
}
# Those that stand alone.
_SWITCHES = {
    "train": {
        "--resume-anyway": (
            "train.resume_anyway",
            "go on with other workers, precision or rates; no longer bit-equal",
        )
    },
    "generate": {
        "--extend": ("generate.extend", "let a smaller dataset of this plan grow to --num")
    },
}
_ABOUT = {
    "import": "make a model folder of published weights (DiffuseSeg's network, or its ten MLPs)",
    "inspect": "check the images and masks of a config, naming every bad file",
    "train": "stage 1: fit the DDPM on unlabelled images with Ray Train",
    "fit": "stage 2: fit the ensemble on few labelled images",
    "evaluate": "measure the ensemble on labelled images that it has not seen",
    "generate": "stage 3: make image/mask pairs with Ray Data actors",
    "report": "write report/index.html into a finished dataset",
    "status": "tell how far a dataset has come",
    "verify": "prove a dataset whole, or name every file that is not as it was written",
    "repair": "make exactly the bad or missing files of a dataset again, byte for byte",
    "gc": "delete what killed processes left behind, but no data",
}
_NOT_ON_WINDOWS = (
    "Windows itself is not supported: the files, signals and compilers of Linux are needed. "
    "Run it in WSL2 (`wsl --install`, then install it there as README.md tells)."
)
_LEVELS = ("size", "hash", "decode")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    _open_what_is_closed()
    parser = _parser()
    given = parser.parse_args(arguments)
    return run(given.command, given)


def _open_what_is_closed() -> None:
    """Where the shell closed stdin, stdout or stderr (`>&-`), what is printed there goes nowhere.

    Else the next file that is opened would have the number of the closed one.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # Takes the lowest number that is free.
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, mode))


def job(command: str) -> NoReturn:
    """Runs a command as a script of its own, as `ray job submit` does."""
    sys.exit(main([command, *sys.argv[1:]]))


def run(command: str, given: argparse.Namespace) -> int:
    """The command, with its errors told as the exit codes promise."""
    if sys.platform == "win32":
        print(f"error: {_NOT_ON_WINDOWS}", file=sys.stderr)
        return 2
    print_lines()
    signalled = _ends_by_signals()
    try:
        code = _COMMANDS[command](given)
        sys.stdout.flush()
        return code
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        terminated = signal.SIGTERM in signalled
        word = "terminated" if terminated else "interrupted"
        print(f"{word}; run the same command again to go on", file=sys.stderr)
        return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    except BrokenPipeError:
        # Of `| head`, which has seen enough; Python would complain when it empties its buffer.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        return _failed(command, _line(error))
    except _rays_errors() as error:
        return _failed(command, _line(error))


def _failed(command: str, why: object) -> int:
    """Tells why a command failed after it was begun; its exit code."""
    print(f"error: {why}", file=sys.stderr)
    if command != "generate":
        return 1
    print("finished shards are kept; run the same command again to resume", file=sys.stderr)
    return 3


def _line(error: BaseException) -> str:
    """What went wrong, where, and whether to wait, on one line."""
    told = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError):
        if error.filename and error.strerror:
            told = f"{error.filename}: {error.strerror}"
        if storage.is_transient(error):
            told = f"{told.rstrip('.')}. Run the same command again when it can be reached."
    return shown(told)


def _rays_errors() -> tuple[type[BaseException], ...]:
    """None where Ray was not even imported."""
    ray = sys.modules.get("ray")
    return (ray.exceptions.RayError,) if ray else ()


def _ends_by_signals() -> list[int]:
    """Lets SIGTERM end the process as Ctrl-C does, in order; the list grows by what was received.

    Ending in order takes Ray some seconds: who signals again does not want to wait. In another
    thread than the main one, signals are the business of whoever started it.
    """
    signalled: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        return signalled

    def end(number: int, frame: Any) -> NoReturn:
        signalled.append(number)
        _both(lambda number, frame: os._exit(128 + number))
        # Ray lets it through; of a SystemExit it would make one with another code.
        raise KeyboardInterrupt

    _both(end)
    return signalled


def _both(handler: Callable[[int, Any], Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="factory", description="A factory of labelled images.")
    parser.add_argument("--version", action="version", version=f"factory {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, flags in _FLAGS.items():
        sub = commands.add_parser(name, help=_ABOUT[name], description=_ABOUT[name])
        sub.add_argument("--config", metavar="FILE", help="a YAML file; absent: the toy domain")
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="A.B=C",
            help="override a config key",
        )
        sub.add_argument("--print-config", action="store_true", help="show it and stop")
        sub.add_argument("--dry-run", action="store_true", help="check everything, start nothing")
        for flag, (key, about) in flags.items():
            sub.add_argument(flag, metavar="VALUE", dest=key, help=f"{about} ({key})")
        for flag, (key, about) in _SWITCHES.get(name, {}).items():
            sub.add_argument(
                flag, action="store_const", const=True, dest=key, help=f"{about} ({key})"
            )
    _add_import(commands)
    report = _on_dataset(commands, "report")
    report.add_argument("--num", default="64", help="samples shown")
    _on_dataset(commands, "status")
    for name in ("verify", "repair"):
        _on_dataset(commands, name).add_argument(
            "--level", choices=_LEVELS, default="hash", help="how closely shards are looked at"
        )
    repair = commands.choices["repair"]
    repair.add_argument("--config", metavar="FILE", help="absent: the dataset's own config")
    repair.add_argument("--set", action="append", default=[], metavar="A.B=C", help="override")
    gc = _on_dataset(commands, "gc")
    gc.add_argument("--dry-run", action="store_true", help="list, delete nothing")
    return parser


def _add_import(commands: Any) -> None:
    sub = commands.add_parser("import", help=_ABOUT["import"], description=_ABOUT["import"])
    sub.add_argument("source", help="the network's file, or the folder of mlp_1_best.pt and so on")
    sub.add_argument("--out", required=True, metavar="FOLDER", help="the new folder or URL")
    sub.add_argument(
        "--ddpm", metavar="FOLDER", help="of MLPs: the imported network they belong to"
    )
    sub.add_argument("--dry-run", action="store_true", help="check everything, write nothing")


def _on_dataset(commands: Any, name: str) -> argparse.ArgumentParser:
    """A command whose one argument is a dataset."""
    sub: argparse.ArgumentParser = commands.add_parser(
        name, help=_ABOUT[name], description=_ABOUT[name]
    )
    sub.add_argument("url", help="the dataset's folder or URL")
    return sub


def _config(given: argparse.Namespace) -> Config:
    overrides = [parse_override(text) for text in given.set]
    flags = {**_FLAGS[given.command], **_SWITCHES.get(given.command, {})}
    named = [(key, getattr(given, key)) for key, _ in flags.values()]
    overrides += [(key, value) for key, value in named if value is not None]
    return load_config(given.config, overrides)


def _with_config(
    command: Callable[[Config], int], check: Callable[[Config], Any]
) -> Callable[[argparse.Namespace], int]:
    """Adds --print-config and --dry-run to a command."""

    def wrapped(given: argparse.Namespace) -> int:
        config = _config(given)
        if given.print_config:
            print(dump_config(config), end="")
            return 0
        if given.dry_run:
            check(config)
            print("everything that can be checked beforehand is fine; nothing was started")
            return 0
        return command(config)

    return wrapped


# Each command imports what it needs when it runs: a mistake in a config is answered at once.


def _import(given: argparse.Namespace) -> int:
    from factory.importing import import_weights

    url = import_weights(given.source, given.out, given.ddpm, given.dry_run)
    print("the weights can be imported; nothing was written" if given.dry_run else url)
    return 0


def _inspect(config: Config) -> int:
    from factory.data.inspection import between, inspect, lines

    named = {name: getattr(config.data, name) for name in ("unlabelled", "labelled", "test")}
    if not any(named.values()):
        required(config, *(f"data.{name}" for name in named))
    required(config, "data.image_size")
    found = {}
    for name, source in named.items():
        if source is None:
            print(f"data.{name} is not set")
            continue
        found[name] = inspect(source, config.data.side, labelled=name != "unlabelled")
        print(f"data.{name}:")
        print("\n".join(f"  {line}" for line in lines(found[name])), flush=True)
    notes, problems = between(found)
    told = [*(f"note: {note}" for note in notes), *(f"problem: {line}" for line in problems)]
    print("".join(f"{shown(line)}\n" for line in told), end="")
    return 2 if problems or any(each.problems for each in found.values()) else 0


def _train(config: Config) -> int:
    from factory.diffusion.training import train

    _check_outlives("train.url", config.train.url)
    try:
        print(train(config))
    except TrainingFailed as error:
        return _failed("train", f"training failed: {error}")
    return 0


def _check_train(config: Config) -> None:
    from factory.diffusion.training import check

    _check_outlives("train.url", config.train.url)
    check(config)


def _check_outlives(key: str, url: str) -> None:
    """Raises UserError where what Ray's workers write would be lost to all others."""
    if not storage.outlives_this_process(url):
        raise UserError(
            f"{key}: {url}: memory:// is gone with the process that wrote it. "
            "Name a path or a bucket."
        )


def _fit(config: Config) -> int:
    from factory.labeling.commands import fit

    print(fit(config))
    return 0


def _check_fit(config: Config) -> None:
    from factory.labeling.commands import check_fit

    check_fit(config)


def _evaluate(config: Config) -> int:
    from factory.labeling.commands import evaluate

    print("\n".join(evaluate(config)))
    return 0


def _check_evaluate(config: Config) -> None:
    from factory.labeling.commands import check_evaluate

    check_evaluate(config)


def _generate(config: Config) -> int:
    from factory.generation.command import generate

    _check_outlives("generate.url", config.generate.url)
    try:
        generate(config)
    except (GenerationFailed, Incomplete) as error:
        return _failed("generate", error)
    return 0


def _check_generate(config: Config) -> None:
    from factory.generation.command import check

    _check_outlives("generate.url", config.generate.url)
    check(config)


def _report(given: argparse.Namespace) -> int:
    from factory.report import write_report

    try:
        num = parse_count(given.num)
    except ValueError as error:
        raise UserError(f"--num: {error}") from None
    print(write_report(given.url, num))
    return 0


def _status(given: argparse.Namespace) -> int:
    from factory.progress import duration
    from factory.shards.receipts import described
    from factory.shards.status import status

    told = status(storage.normalize(given.url))
    plan, rate, left = told.plan, told.pairs_per_second, told.seconds_left
    print(f"run      {plan.run_id}, {plan.format}")
    print(f"shards   {told.shards_done:,} done, {plan.num_shards - told.shards_done:,} missing")
    print(f"pairs    {told.pairs_done:,} of {plan.num:,}")
    print(f"rate     {f'{rate:.2f} pairs/s over the last shards' if rate else 'unknown'}")
    if told.hardware is not None:
        print(shown(f"begun    on {told.hardware.host}: {described(told.hardware.made_with)}"))
    if told.finished:
        print("complete")
        return 0
    print(f"left     {duration(left) if left else 'unknown'} at that rate")
    print("unfinished; the same `factory generate` goes on")
    return 3


def _verify(given: argparse.Namespace) -> int:
    from factory.shards.verification import verify

    return _told(verify(storage.normalize(given.url), given.level), given)


def _repair(given: argparse.Namespace) -> int:
    from factory.generation.repair import repair

    overrides = [parse_override(text) for text in given.set]
    try:
        found = repair(storage.normalize(given.url), given.level, given.config, overrides)
    except (GenerationFailed, Incomplete) as error:
        return _failed("repair", error)
    return _told(found, given)


def _told(found: "Verification", given: argparse.Namespace) -> int:
    """Prints what was found; the exit code for it."""
    for finding in found.findings:
        print(f"{finding.name}: {finding.what}")
    print(
        f"{found.num_shards:,} shards, {found.num_bytes:,} bytes looked at ({given.level}): "
        + (
            f"{len(found.findings)} files are not as they were written"
            if found.findings
            else "whole"
        )
    )
    if found.findings:
        if given.command == "verify":
            print(f"`factory repair {given.url}` makes them again; foreign files it leaves alone")
        return 1
    if not found.finished:
        if found.unproven:
            print(f"{len(found.unproven):,} shards lie there without a receipt, unproven")
        print("unfinished; the same `factory generate` goes on")
        return 3
    return 0


def _gc(given: argparse.Namespace) -> int:
    from factory.shards.leftovers import leftovers, remove_leftovers

    url = storage.normalize(given.url)
    found = leftovers(url) if given.dry_run else remove_leftovers(url)
    for entry in found:
        print(f"{entry.name}: {entry.size:,} bytes")
    done = "would be deleted" if given.dry_run else "deleted"
    print(f"{len(found)} leftovers older than a day {done}; nothing else is touched")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "import": _import,
    "inspect": _with_config(_inspect, _inspect),
    "train": _with_config(_train, _check_train),
    "fit": _with_config(_fit, _check_fit),
    "evaluate": _with_config(_evaluate, _check_evaluate),
    "generate": _with_config(_generate, _check_generate),
    "report": _report,
    "status": _status,
    "verify": _verify,
    "repair": _repair,
    "gc": _gc,
}


if __name__ == "__main__":
    sys.exit(main())
