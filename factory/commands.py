"""The commands: each does its work with its config or arguments, and returns its exit code.

Modules that a command needs are imported when it runs, so that a mistake in a config is answered
at once.
"""

import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from factory import storage
from factory.config import Config, load_config, parse_override, required
from factory.errors import GenerationFailed, Incomplete, TrainingFailed, UserError, counted, shown
from factory.values import parse_count

if TYPE_CHECKING:
    from factory.shards.plan import Plan
    from factory.shards.verification import Verification


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


def status(args: Namespace) -> int:
    from factory.progress import duration
    from factory.shards.receipts import described
    from factory.shards.status import status as read_status

    found = read_status(storage.normalize(args.url))
    plan, rate, left = found.plan, found.pairs_per_second, found.seconds_left
    print(f"run      {plan.run_id}, {plan.format}")
    print(f"shards   {found.shards_done:,} done, {plan.num_shards - found.shards_done:,} missing")
    print(f"pairs    {found.pairs_done:,} of {plan.num:,}")
    print(f"rate     {f'{rate:.2f} pairs/s over the last shards' if rate else 'unknown'}")
    if found.hardware is not None:
        print(shown(f"begun    on {found.hardware.host}: {described(found.hardware.made_with)}"))
    if found.score is not None:
        print(
            "".join(f"scores   {shown(line)}\n" for line in found.score.lines(plan.classes)), end=""
        )
    if found.finished:
        print("complete")
        return 0
    print(f"left     {duration(left) if left else 'unknown'} at that rate")
    print(_unfinished(plan))
    return 3


def _unfinished(plan: "Plan | None") -> str:
    """What an unfinished dataset needs."""
    said = f"unfinished; the same `factory {plan.command if plan else 'generate'}` goes on"
    if plan is None or plan.choice is None:
        return said
    return f"{said}, and where too few draws were fit with a larger generate.max_draws"


def verify(args: Namespace) -> int:
    from factory.shards.verification import verify

    return _report_findings(verify(storage.normalize(args.url), args.level), args)


def repair(args: Namespace) -> int:
    from factory.generation.repair import repair

    overrides = [parse_override(text) for text in args.set]
    try:
        found = repair(storage.normalize(args.url), args.level, args.config, overrides)
    except (GenerationFailed, Incomplete) as error:
        return failed(error)
    return _report_findings(found, args)


def _report_findings(found: "Verification", args: Namespace) -> int:
    """Prints what was found; the exit code for it."""
    from factory.shards.verification import FOREIGN

    for finding in found.findings:
        print(f"{finding.name}: {finding.what}")
    num_foreign = sum(finding.what == FOREIGN for finding in found.findings)
    num_bad = len(found.findings) - num_foreign
    bad = counted(num_bad, "file is not as it was written", "files are not as they were written")
    foreign = counted(num_foreign, "file of other origin", "files of other origin")
    parts = [*([bad] if num_bad else []), *([foreign] if num_foreign else [])]
    print(
        f"{counted(found.num_shards, 'shard')}, {counted(found.num_bytes, 'byte')} looked at "
        f"({args.level}): {', '.join(parts) or 'whole'}"
    )
    if found.findings:
        if num_bad and args.command == "verify":
            print(f"`factory repair {args.url}` makes again what is not as it was written")
        if num_foreign:
            print("files of other origin are never touched: move or delete them yourself")
        return 1
    if not found.finished:
        if found.unproven:
            print(f"without a receipt, unproven: {counted(len(found.unproven), 'shard')}")
        print(_unfinished(found.plan))
        return 3
    return 0


def gc(args: Namespace) -> int:
    from factory.shards.leftovers import leftovers, remove_leftovers

    url = storage.normalize(args.url)
    found = leftovers(url) if args.dry_run else remove_leftovers(url)
    for entry in found:
        print(f"{entry.name}: {counted(entry.size, 'byte')}")
    done = "would be deleted" if args.dry_run else "deleted"
    print(f"{counted(len(found), 'leftover')} older than a day {done}; nothing else is touched")
    return 0
