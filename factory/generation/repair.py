"""Makes a damaged dataset what it was: exactly the bad files are made again, byte for byte."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from factory import storage
from factory.config import Config, check_section, dump_config, load_config
from factory.config.generate import MAX_DRAWS
from factory.errors import DamagedShard, UserError, counted, shown, some
from factory.generation.command import complete, environment, make_shards
from factory.generation.planning import Stage, planned
from factory.generation.recipe import RECIPE_VERSION, load_models
from factory.progress import tell
from factory.shards import tar_metadata
from factory.shards.conflicts import made_by_another
from factory.shards.layout import CONFIG, SOURCE, receipt_name
from factory.shards.ledger import Ledger
from factory.shards.manifest import Manifest, known_files, sha256
from factory.shards.plan import Plan
from factory.shards.reading import read_file, read_plan, receipt_of
from factory.shards.receipts import kinds
from factory.shards.verification import Level, Verification, verify


def repair(
    url: str,
    level: Level = "hash",
    config_file: str | None = None,
    overrides: Sequence[tuple[str, Any]] = (),
) -> Verification:
    """Restores what `verify` finds at this level; returns what it finds afterwards.

    The config is the dataset's own, unless a file is named. Small files come back from the
    manifest, tables beside tars from these, shards from the models, and both only where that gives
    the very bytes that the receipt is for. Files of unknown origin are left alone, and so are
    shards that were never made. Raises UserError where plan, config or models are lost or others,
    or another version of this package made the dataset and more than the manifest knows is lost;
    GenerationFailed, Incomplete; OSError from the storage.
    """
    before = verify(url, level)
    names = {finding.name for finding in before.findings}
    _restore(url, before.manifest, names)
    tables = _tables_again(url, before)
    if tables and tables == names and not before.unproven:
        return verify(url, level)
    if before.plan is not None and before.plan.method != RECIPE_VERSION:
        return _without_models(url, level)
    stage: Stage = "label" if read_plan(url).command == "label" else "generate"
    config = _config(url, stage, config_file, overrides)
    lists_anew = SOURCE in names
    wanted = planned(config, stage, load_models(config), lists_anew)
    ledger = Ledger.resolve(url, wanted.plan)
    ledger.start(dump_config(config), environment())
    wanted.keep(url, replace=lists_anew)
    shards = _shards_to_make(ledger.plan, before, names - tables)
    found = counted(len(names), "file is not as it was", "files are not as they were")
    tell(f"repair | {found}, {counted(len(shards), 'shard')} to make again")
    if shards:
        for kind in _made_with(ledger, shards):
            tell(shown(f"repair | made with {kind}"))
        make_shards(_drawing_enough(config), ledger.plan, shards, replace=True)
    if (names or shards) and not ledger.pending():
        complete(_drawing_enough(config), ledger, proven=shards)
    return verify(url, level)


def _without_models(url: str, level: Level) -> Verification:
    """Repairs as far as possible if the installed version gives other bytes."""
    after = verify(url, level)
    if after.findings and after.plan:
        names = ", ".join(finding.name for finding in after.findings[:3])
        raise UserError(
            f"{url}: cannot make {names} again: {made_by_another(after.plan, RECIPE_VERSION)}"
        )
    return after


def _restore(url: str, manifest: Manifest | None, names: Collection[str]) -> None:
    """Writes again what the manifest holds word for word."""
    if manifest is None:
        return
    known = known_files(manifest)
    for name in set(names) & set(known):
        storage.write(storage.join(url, name), known[name])


def _tables_again(url: str, found: Verification) -> set[str]:
    """Writes the tables again whose tars are whole; returns their names.

    Only where this gives the bytes that the receipt is for: another version of pyarrow may not.
    """
    bad = {finding.name for finding in found.findings}
    made: dict[str, bytes] = {}
    for shard in sorted({each.shard for each in found.findings if each.shard is not None}):
        plan = found.plan
        assert plan is not None, "shards were checked by a plan"
        receipt, tables = receipt_of(url, plan, shard), plan.shard(shard).tables
        files = {} if receipt is None else {file.path: file for file in receipt.files}
        for path in files.keys() & tables.keys() & bad:
            with suppress(UserError, DamagedShard):  # The tar is damaged, too.
                tar = tables[path]
                data = read_file(url, files[tar])
                table = tar_metadata.encode(data, tar, plan.classes, plan.run, plan.columns)
                if sha256(table) == files[path].sha256:
                    made[path] = table
    for path, table in made.items():
        storage.write(storage.join(url, path), table)
    if made:
        which = f"{counted(len(made), 'table')} from the tars beside: {some(sorted(made))}"
        tell(shown(f"repair | made again {which}"))
    return set(made)


def _config(
    url: str, stage: Stage, config_file: str | None, overrides: Sequence[tuple[str, Any]]
) -> Config:
    """Loads the config, with the URL and the size that the dataset has."""
    own: list[tuple[str, Any]] = [(f"{stage}.url", url)]
    if stage == "generate":
        own.append(("generate.num", read_plan(url).num))
    try:
        file = storage.join(url, CONFIG) if config_file is None else config_file
        config = load_config(file, [*overrides, *own])
        check_section(config, stage)
    except UserError as error:
        if config_file is not None:
            raise
        remedy = "Name the settings of the dataset with --config FILE."
        raise UserError([f"{problem} {remedy}" for problem in error.problems]) from None
    return config


def _drawing_enough(config: Config) -> Config:
    """The config with the most draws: what was made before needs as many as it needed then, which
    may be more than the dataset was begun with."""
    generate = config.generate.model_copy(update={"max_draws": MAX_DRAWS})
    return config.model_copy(update={"generate": generate})


def _made_with(ledger: Ledger, shards: Sequence[int]) -> list[str]:
    """Returns what the shards were made with, for whoever looks for a machine that gives the same
    bytes."""
    found = (receipt_of(ledger.url, ledger.plan, shard) for shard in shards)
    return kinds(receipt for receipt in found if receipt is not None)


def _shards_to_make(plan: Plan, found: Verification, names: Collection[str]) -> list[int]:
    """Returns the shards with bad bytes, with a bad receipt that no manifest restores, or without a
    receipt.

    names: those of the bad files, without what is whole again.
    """
    bad = [finding for finding in found.findings if finding.name in names]
    shards = {finding.shard for finding in bad if finding.shard is not None}
    shards.update(found.unproven)
    if found.manifest is None:
        shards |= {spec.shard for spec in plan.shards() if receipt_name(spec.shard) in names}
    return sorted(shards)
