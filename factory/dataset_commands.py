"""The commands for a dataset that is there: what it has, and whether it is whole.

As in `factory.commands`, modules that a command needs are imported when it runs.
"""

from argparse import Namespace
from typing import TYPE_CHECKING

from factory import storage
from factory.commands import failed
from factory.config import parse_override
from factory.errors import GenerationFailed, Incomplete, counted, shown

if TYPE_CHECKING:
    from factory.shards.plan import Plan
    from factory.shards.verification import Verification


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
