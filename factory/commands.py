"""The commands: each does its work with its config or arguments, and returns its exit code.

Modules that a command needs are imported when it runs, so that a mistake in a config is answered
at once.
"""

import os
import sys
from argparse import Namespace

from factory import storage
from factory.config import Config, load_config, required
from factory.errors import GenerationFailed, Incomplete, TrainingFailed, UserError, shown
from factory.values import parse_count


def failed(reason: object, resumable: bool = False) -> int:
    """Prints why a command failed after it was begun; returns its exit code.

    resumable: True if finished shards are kept, and only those missing are made the next time.
    """
    print(f"error: {reason}", file=sys.stderr)
    if not resumable:
        return 1
    print(
        "finished shards are kept; once what is said above is mended, run the same command again "
        "to resume",
        file=sys.stderr,
    )
    return 3


def import_weights(args: Namespace) -> int:
    from factory import importing

    url = importing.import_weights(args.source, args.out, args.ddpm, args.dry_run)
    print("the weights can be imported; nothing was written" if args.dry_run else url)
    return 0


def init(args: Namespace) -> int:
    from factory.new_config import command
    from factory.new_config.roles import ROLES

    named = {role: url for role in ROLES if (url := getattr(args, role)) is not None}
    print("\n".join(map(shown, command.init(args.folders, named, args.out, args.preset))))
    return 0


def inspect(config: Config, file: str | None = None) -> int:
    # Read when numpy is imported. Images are decoded by threads of ours; where these keep the
    # processors busy, numpy's own would wait for each other, which takes several times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from factory.data import inspection

    named = {name: getattr(config.data, name) for name in ("unlabelled", "labelled", "test")}
    if not any(named.values()):
        required(config, *(f"data.{name}" for name in named))
    required(config, "data.image_size")
    found = {}
    for name, source in named.items():
        if source is None:
            print(f"data.{name} is not set")
            continue
        print(shown(f"data.{name}: {inspection.title(source)}"), flush=True)
        labelled, channels = name != "unlabelled", config.data.num_channels
        found[name] = inspection.inspect(source, config.data.side, labelled, channels)
        print("\n".join(f"  {line}" for line in inspection.lines(found[name])), flush=True)
    notes, problems = inspection.between(found)
    lines = [*(f"note: {note}" for note in notes), *(f"problem: {line}" for line in problems)]
    if file is not None and (sheet := inspection.write_sheet(found, file)):
        lines.append(sheet)
    print("".join(f"{shown(line)}\n" for line in lines), end="")
    return 2 if problems or any(each.problems for each in found.values()) else 0


def train(config: Config) -> int:
    from factory.diffusion import training

    storage.check_outlives("train.url", config.train.url)
    try:
        print(training.train(config))
    except TrainingFailed as error:
        return failed(f"training failed: {error}")
    return 0


def check_train(config: Config) -> None:
    from factory.diffusion.training import check

    storage.check_outlives("train.url", config.train.url)
    check(config)


def fingerprint(config: Config) -> int:
    from factory.likeness import command

    print(command.fingerprint(config))
    return 0


def check_fingerprint(config: Config) -> None:
    from factory.likeness.command import check

    check(config)


def probe(config: Config) -> int:
    from factory.labeling import commands

    print("\n".join(commands.probe(config)))
    return 0


def check_probe(config: Config) -> None:
    from factory.labeling import commands

    commands.check_probe(config)


def curve(config: Config) -> int:
    from factory.labeling import curve_command

    print("\n".join(map(shown, curve_command.curve(config))))
    return 0


def check_curve(config: Config) -> None:
    from factory.labeling import curve_command

    curve_command.check_curve(config)


def fit(config: Config) -> int:
    from factory.labeling import commands

    print(commands.fit(config))
    return 0


def check_fit(config: Config) -> None:
    from factory.labeling import commands

    commands.check_fit(config)


def evaluate(config: Config) -> int:
    from factory.labeling import commands

    print("\n".join(commands.evaluate(config)))
    return 0


def check_evaluate(config: Config) -> None:
    from factory.labeling import commands

    commands.check_evaluate(config)


def label(config: Config) -> int:
    from factory.generation import command

    storage.check_outlives("label.url", config.label.url)
    try:
        command.label(config)
    except (GenerationFailed, Incomplete) as error:
        return failed(error, resumable=True)
    return 0


def check_label(config: Config) -> None:
    from factory.generation.command import check

    storage.check_outlives("label.url", config.label.url)
    check(config, "label")


def sample(config: Config) -> int:
    from factory.generation import sampling

    storage.check_outlives("sample.url", config.sample.url)
    try:
        print(sampling.sample(config))
    except GenerationFailed as error:
        return failed(error)
    return 0


def check_sample(config: Config) -> None:
    from factory.generation.sampling import check

    storage.check_outlives("sample.url", config.sample.url)
    check(config)


def generate(config: Config) -> int:
    from factory.generation import command

    storage.check_outlives("generate.url", config.generate.url)
    try:
        command.generate(config)
    except (GenerationFailed, Incomplete) as error:
        return failed(error, resumable=True)
    return 0


def check_generate(config: Config) -> None:
    from factory.generation.command import check

    storage.check_outlives("generate.url", config.generate.url)
    check(config)


def segment(config: Config) -> int:
    from factory.segmentation import training

    storage.check_outlives("segment.url", config.segment.url)
    try:
        print(training.segment(config))
    except TrainingFailed as error:
        return failed(f"training failed: {error}")
    return 0


def check_segment(config: Config) -> None:
    from factory.segmentation.training import check

    storage.check_outlives("segment.url", config.segment.url)
    check(config)


def prove(config: Config) -> int:
    from factory.proving import command

    storage.check_outlives("prove.url", config.prove.url)
    try:
        print("\n".join(command.prove(config)))
    except TrainingFailed as error:
        return failed(f"training failed: {error}")
    except (GenerationFailed, Incomplete) as error:
        return failed(error, resumable=True)
    return 0


def check_prove(config: Config) -> None:
    from factory.proving.command import check

    storage.check_outlives("prove.url", config.prove.url)
    check(config)


def suggest(config: Config) -> int:
    from factory.suggesting import command

    print("\n".join(command.suggest(config)))
    return 0


def check_suggest(config: Config) -> None:
    from factory.suggesting.command import check

    check(config)


def adopt(config: Config) -> int:
    from factory.suggesting import adopting

    print("\n".join(map(shown, adopting.adopt(config))))
    return 0


def check_adopt(config: Config) -> None:
    from factory.suggesting.adopting import check

    check(config)


def report(args: Namespace) -> int:
    from factory.report import write_report

    try:
        num = parse_count(args.num)
    except ValueError as error:
        raise UserError(f"--num: {error}") from None
    print(write_report(args.url, num, args.config and load_config(args.config)))
    return 0


def export(args: Namespace) -> int:
    from factory.exporting.command import export

    storage.check_outlives("--out", storage.normalize(args.out))
    named = vars(args)
    export(**{name: value for name, value in named.items() if name != "command"})
    return 0
