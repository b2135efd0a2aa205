"""What a dataset's place must hold, what it holds, and the order in which it comes to hold it.

A run writes its plan first, create-only; then each shard once, create-only, complete and checked,
then the shard's receipt; then manifest and card; `_SUCCESS` last. So whoever finds `_SUCCESS` finds
everything, and whoever finds less may run the same plan again. A larger dataset of the same plan
adds to a finished or unfinished one: each extension is a small create-only file, too. Nothing is
ever deleted.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ValidationError

from factory import __version__, faults, storage
from factory.differences import differences
from factory.errors import Incomplete, ShardConflict, UserError
from factory.shards.plan import Plan, ShardSpec
from factory.shards.receipts import (
    SHARDS,
    MadeWith,
    Manifest,
    Receipt,
    fits,
    fitting_receipt,
    fitting_receipts,
    kinds,
    measure,
    read_model,
    receipt_name,
    root_of,
    to_json,
)
from factory.shards.schema import dataset_card
from factory.storage import hub

__all__ = [
    "Incomplete",
    "Manifest",
    "Plan",
    "Receipt",
    "ShardConflict",
    "ShardSpec",
    "files_of",
    "finish_run",
    "pending_shards",
    "publish",
    "read_manifest",
    "read_plan",
    "read_receipts",
    "read_shard",
    "resolve_plan",
    "start_run",
]

MAX_DIFFERENCES_TOLD = 20
_NUM_HASHERS = 4
"""Each holds a shard in memory."""

RUN = "_factory/run.json"
EXTENSIONS = "_factory/extensions"
CONFIG = "_factory/config.yaml"
ENVIRONMENT = "_factory/env.json"
HARDWARE = "_factory/hardware.json"
MANIFEST = "_factory/manifest.json"
SUCCESS = "_SUCCESS"


class Extension(BaseModel, frozen=True, extra="forbid"):
    """The content of a file in EXTENSIONS."""

    num: int
    """Samples in all from then on."""


class Hardware(BaseModel, frozen=True, extra="forbid"):
    """The content of HARDWARE: what the first process had that came to make shards."""

    probe: str
    """sha256 of what it made of a small batch: who gets another one rounds otherwise."""
    made_with: MadeWith
    host: str


def resolve_plan(url: str, plan: Plan, extend: bool = False) -> Plan:
    """The plan as the dataset at url will hold it: with the extensions that were made, or will be.

    Writes nothing. Raises UserError where another plan is there, telling each difference; where it
    holds more samples, or fewer and extend is not given; where the ledger is damaged; and where
    files of unknown origin lie in `data/`.
    """
    # Data first: a run writes its plan before its data, so data without a plan is foreign.
    foreign = storage.list_files(storage.join(url, "data"), recursive=True)
    try:
        there = _read_plan(url)
    except FileNotFoundError:
        if storage.exists(storage.join(url, MANIFEST)):
            raise UserError(f"{url}: {RUN} is lost. `factory repair {url}` restores it.") from None
        if foreign:
            raise UserError(
                f"{url}: holds {len(foreign)} files in data/ (such as "
                f"{storage.name_of(foreign[0])}) but no {RUN}: not made by this factory. "
                "Choose another --out."
            ) from None
        return plan
    if there.method != plan.method:
        raise UserError(
            f"{url}: holds a dataset that cannot be added to: "
            f"{made_by_another(there, plan.method)} Or choose another --out."
        )
    # By id: to Python, 1 and 1.0 would be equal.
    if there.run_id != plan.run_id:
        raise UserError(
            f"{url}: holds a dataset of another plan. Choose another --out, or go back to the old "
            "settings to resume it. The difference:\n  " + "\n  ".join(_told(there, plan))
        )
    if plan.num < there.num:
        raise UserError(
            f"{url}: holds a dataset of {there.num:,} pairs, {plan.num:,} are asked for. "
            f"Give --num {there.num}, or choose another --out."
        )
    if plan.num > there.num and not extend:
        raise UserError(
            f"{url}: holds a dataset of {there.num:,} pairs, {plan.num:,} are asked for. "
            f"Add --extend to make the {plan.num - there.num:,} that are missing."
        )
    return there if plan.num == there.num else _extended(url, there, plan.num)


def made_by_another(there: Plan, method: object) -> str:
    """Why a dataset of another method than the one that is installed is read, but never mixed."""
    # Its _factory/env.json does not tell.
    known = there.is_of_version_0_1
    version = "version 0.1.0" if known else "the version that _factory/env.json names"
    return (
        f"{version} of this package made it (method {there.method}), and {__version__} makes other "
        f"bytes of the same settings (method {method}). Both read and verify it; to resume, extend "
        f"or repair it, install {version}."
    )


def _extended(url: str, there: Plan, num: int) -> Plan:
    try:
        return there.extended(num)
    except ValidationError as error:
        told = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"{url}: cannot be extended to {num:,} pairs: {told}") from None


def _told(there: Plan, plan: Plan) -> list[str]:
    found = differences(
        *(each.model_dump(mode="json", exclude={"extended_from"}) for each in (there, plan))
    )
    more = len(found) - MAX_DIFFERENCES_TOLD
    return found[:MAX_DIFFERENCES_TOLD] + ([f"... and {more} more"] if more > 0 else [])


def start_run(url: str, plan: Plan, config_yaml: str, environment: Mapping[str, str]) -> bool:
    """Claims the place for the plan: True if it was free, False if the same plan is resumed.

    plan: as `resolve_plan` gives it. Any number of runs of one plan may start at once. Raises
    UserError as `resolve_plan` does, and where another run was faster with another plan.
    """
    resolve_plan(url, plan, extend=bool(plan.extended_from))
    claimed = [_create(url, name, content) for name, content in plan_files(plan).items()]
    if plan_files(_read_plan(url)) != plan_files(plan):
        resolve_plan(url, plan)
        raise UserError(f"{url}: another run extends this dataset. Run the same command again.")
    _create(url, CONFIG, config_yaml.encode())
    _create(url, ENVIRONMENT, to_json(dict(environment)))
    return claimed[0]


def _create(url: str, name: str, content: bytes) -> bool:
    """Whether the file was not there."""
    with suppress(FileExistsError):
        storage.write_new(storage.join(url, name), content)
        return True
    return False


def read_hardware(url: str) -> Hardware | None:
    """What the dataset's first process had; None before one came, and where older code made it.

    Raises UserError where the file is damaged.
    """
    try:
        return read_model(url, HARDWARE, Hardware)
    except FileNotFoundError:
        return None


def claim_hardware(url: str, mine: Hardware) -> Hardware:
    """mine, where it is the first to come; else what the first had. Raises UserError as above."""
    _create(url, HARDWARE, to_json(mine.model_dump()))
    return read_model(url, HARDWARE, Hardware)


def last_receipt(url: str, plan: Plan) -> Receipt | None:
    """Of the shards that lie there, the last one's; None where none is there. One listing."""
    places = sorted(storage.list_files(storage.join(url, SHARDS), suffixes=[".json"]))
    names = (storage.join(SHARDS, storage.name_of(place)) for place in reversed(places))
    found = (fitting_receipt(url, name, plan) for name in names)
    return next((receipt for receipt in found if receipt is not None), None)


def plan_files(plan: Plan) -> dict[str, bytes]:
    """The files that hold the plan, by name: the first one and its extensions."""
    nums = [*plan.extended_from, plan.num]
    first = plan.model_copy(update={"num": nums[0], "extended_from": ()})
    files = {RUN: to_json(first.model_dump(mode="json"))}
    for i, num in enumerate(nums[1:], start=1):
        files[f"{EXTENSIONS}/{i:05d}.json"] = to_json(Extension(num=num).model_dump())
    return files


def pending_shards(url: str, plan: Plan) -> list[ShardSpec]:
    """Shards of which file or receipt is missing or empty, in order.

    Costs two listings, however many there are; what receipts say is read when the run finishes.
    """
    return list(pending_among(plan, published(url)))


def published(url: str) -> dict[str, storage.Entry]:
    """The files in data/ and the receipts, by name; two listings."""
    return {
        f"{folder}/{entry.name}": entry
        for folder in ("data", SHARDS)
        for entry in storage.entries(storage.join(url, folder))
    }


def pending_among(plan: Plan, there: Mapping[str, storage.Entry]) -> Iterator[ShardSpec]:
    """`pending_shards` of what is `published`, one by one."""
    filled = {name for name, entry in there.items() if entry.size}
    for spec in map(plan.shard, range(plan.num_shards)):
        if spec.path not in filled or receipt_name(spec.shard) not in filled:
            yield spec


def publish(
    url: str,
    plan: Plan,
    spec: ShardSpec,
    data: bytes,
    *,
    seconds: float,
    host: str,
    made_with: MadeWith | None = None,
    redrawn: int = 0,
    replace: bool = False,
) -> Receipt:
    """Checks the shard's bytes by decoding them, then makes them visible, then their receipt.

    Safe to call again, from anywhere, at the same time: the first writer wins, the others find
    equal bytes. replace: other bytes at the shard's name give way, as a repair wants it, unless
    the receipt is for bytes that these are not. Returns the receipt that lies there. Raises
    DamagedShard where the bytes do not keep the plan; ShardConflict where other bytes lie there;
    OSError from the storage.
    """
    receipt = Receipt(
        **measure(plan, spec, data),
        redrawn=redrawn,
        seconds=seconds,
        host=host,
        made_with=made_with,
    )
    place = storage.join(url, spec.path)
    known = fitting_receipt(url, receipt_name(spec.shard), plan)
    if known is not None and known.sha256 != receipt.sha256:
        _check_receipt_is_wrong(place, known, receipt)
    try:
        storage.write_new(place, data)
    except FileExistsError:
        # Of a write whose answer was lost, too.
        there = storage.sha256_of(place)
        if there != receipt.sha256:
            if not replace:
                raise ShardConflict(_conflict(url, place, there, receipt, known)) from None
            storage.write(place, data)
    faults.hit("shard.written")
    return _publish_receipt(url, plan, receipt)


def _check_receipt_is_wrong(place: str, known: Receipt, made: Receipt) -> None:
    try:
        there = storage.sha256_of(place)
    except FileNotFoundError:
        there = None
    if there != made.sha256:
        raise ShardConflict(
            f"{place}: its receipt is for other bytes (sha256 {known.sha256}) than this run made "
            f"(sha256 {made.sha256}). {_both_sides('It', known.made_with, made.made_with)}"
        )


def _conflict(url: str, place: str, there: str, made: Receipt, known: Receipt | None) -> str:
    told = f"{place}: holds other bytes (sha256 {there}) than this run made (sha256 {made.sha256})"
    if known is not None:
        return (
            f"{told}, which its receipt is for. So the file was altered: `factory repair` makes it "
            "anew."
        )
    first = read_hardware(url)
    sides = _both_sides("The dataset", first.made_with if first else None, made.made_with)
    return (
        f"{told}, and has no receipt. Either it was altered (`factory repair` makes it anew), or "
        f"made otherwise. {sides}"
    )


def _both_sides(what: str, there: MadeWith | None, here: MadeWith | None) -> str:
    """Why the same plan may have given other bytes: what differs between there and here."""
    if there is None:
        return f"Nothing tells what hardware made it; {ENVIRONMENT} tells what the first run had."
    if told := differences(there, here or {}):
        return f"{what} was made with other hardware or versions: {'; '.join(told)}."
    return f"{what} was made with hardware and versions of the same names as here."


def _publish_receipt(url: str, plan: Plan, receipt: Receipt) -> Receipt:
    name = receipt_name(receipt.shard)
    content = to_json(receipt.model_dump(mode="json"))
    try:
        storage.write_new(storage.join(url, name), content)
    except FileExistsError:
        there = fitting_receipt(url, name, plan)
        if there is not None and there.content == receipt.content:
            return there
        # It says what is not so: damaged, or of another run.
        storage.write(storage.join(url, name), content)
    return receipt


def finish_run(
    url: str, plan: Plan, description: str, license: str, proven: Collection[int] = ()
) -> Manifest:
    """Checks that every shard is there as its receipt has it, and completes the dataset.

    `_SUCCESS` comes last. Safe to call again. proven: shards whose bytes need no reading, as they
    were just written; in a dataset that was completed before, none is read. Raises Incomplete;
    UserError where the dataset was extended meanwhile.
    """
    if plan_files(_read_plan(url)) != plan_files(plan):
        resolve_plan(url, plan)
    done, there = fitting_receipts(url, plan), published(url)
    missing = [
        spec.shard
        for spec in map(plan.shard, range(plan.num_shards))
        if spec.shard not in done
        or spec.path not in there
        or there[spec.path].size != done[spec.shard].bytes
    ]
    if missing:
        raise _incomplete(url, plan, missing)
    receipts = [done[i] for i in range(plan.num_shards)]
    if read_success(url).get("root") != root_of(receipts):
        known = frozenset(proven)
        altered = _altered(url, [r for r in receipts if r.shard not in known])
        if altered:
            raise _incomplete(url, plan, altered)
    config_yaml, env_json = (
        storage.read_text(storage.join(url, name)) for name in (CONFIG, ENVIRONMENT)
    )
    hardware_json = _text_if_there(url, HARDWARE)
    files = _descriptions(plan, description, license, receipts)
    told = _word_for_word(plan, config_yaml, env_json, hardware_json)
    manifest = Manifest(
        run_id=plan.run_id,
        rows=sum(receipt.rows for receipt in receipts),
        bytes=sum(receipt.bytes for receipt in receipts),
        root=root_of(receipts),
        plan=plan,
        config_yaml=config_yaml,
        env_json=env_json,
        hardware_json=hardware_json,
        files={
            name: hashlib.sha256(content).hexdigest() for name, content in {**told, **files}.items()
        },
        receipts=receipts,
    )
    assert manifest.rows == plan.num, (manifest.rows, plan.num)
    summary = to_json(manifest.model_dump(mode="json"))
    success = _success(manifest, summary)
    for name, content in {**files, MANIFEST: summary, SUCCESS: success}.items():
        storage.write(storage.join(url, name), content)
    later = _read_plan(url)
    if plan_files(later) != plan_files(plan):
        # Extended, and perhaps finished, while these were written over the larger one's files.
        with suppress(Incomplete):
            finish_run(url, later, description, license, proven)
    return manifest


def _incomplete(url: str, plan: Plan, shards: Sequence[int]) -> Incomplete:
    some = ", ".join(plan.shard(i).path for i in shards[:5]) + (", ..." * (len(shards) > 5))
    return Incomplete(
        f"{url}: {len(shards)} of {plan.num_shards} shards are missing or altered: {some}", shards
    )


def _altered(url: str, receipts: Sequence[Receipt]) -> list[int]:
    """Shards whose bytes are not those that their receipts are for."""

    def is_altered(receipt: Receipt) -> bool:
        place = storage.join(url, receipt.path)
        return storage.sha256_of(place) != receipt.sha256

    with ThreadPoolExecutor(_NUM_HASHERS) as pool:
        found = pool.map(is_altered, receipts)
        return [receipt.shard for receipt, bad in zip(receipts, found, strict=True) if bad]


def _descriptions(
    plan: Plan, description: str, license: str, receipts: Sequence[Receipt]
) -> dict[str, bytes]:
    labels = plan.classes.id2label
    facts = {"num": str(plan.num), **plan.run, "made with": "; ".join(kinds(receipts))}
    return {
        "id2label.json": to_json(labels),
        "label2id.json": to_json({label: int(i) for i, label in labels.items()}),
        "palette.json": to_json(plan.palette),
        "README.md": dataset_card(plan.classes, plan.num, license, description, facts).encode(),
    }


def known_files(manifest: Manifest) -> dict[str, bytes]:
    """What a manifest holds word for word, by name: plan, config, environment and hardware."""
    return _word_for_word(
        manifest.plan, manifest.config_yaml, manifest.env_json, manifest.hardware_json
    )


def _word_for_word(
    plan: Plan, config_yaml: str, env_json: str, hardware_json: str | None
) -> dict[str, bytes]:
    texts = {CONFIG: config_yaml, ENVIRONMENT: env_json, HARDWARE: hardware_json}
    files = {name: text.encode() for name, text in texts.items() if text is not None}
    return {**plan_files(plan), **files}


def _text_if_there(url: str, name: str) -> str | None:
    with suppress(FileNotFoundError):
        return storage.read_text(storage.join(url, name))
    return None


def success_of(manifest: Manifest) -> bytes:
    """The content of `_SUCCESS`."""
    return _success(manifest, to_json(manifest.model_dump(mode="json")))


def _success(manifest: Manifest, summary: bytes) -> bytes:
    """summary: the content of the manifest's file."""
    return to_json(
        {
            "run_id": manifest.run_id,
            "rows": manifest.rows,
            "root": manifest.root,
            "manifest_sha256": hashlib.sha256(summary).hexdigest(),
        }
    )


def read_success(url: str) -> dict[str, Any]:
    """What `_SUCCESS` says; nothing where it is missing or damaged."""
    try:
        content = json.loads(storage.read_bytes(storage.join(url, SUCCESS)))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_plan(url: str) -> Plan:
    """Raises FileNotFoundError; UserError where it is damaged."""
    plan = read_model(url, RUN, Plan)
    places = storage.list_files(storage.join(url, EXTENSIONS), suffixes=[".json"])
    for place in places:
        name = storage.join(EXTENSIONS, storage.name_of(place))
        try:
            plan = plan.extended(read_model(url, name, Extension).num)
        except ValidationError as error:
            told = error.errors(include_url=False)[0]["msg"]
            raise UserError(f"{place}: is damaged ({told}). Restore the file.") from None
    return plan


def read_plan(url: str) -> Plan:
    """The plan of the dataset there. Raises UserError where there is none, or it is damaged."""
    try:
        return _read_plan(url)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{url}: holds no dataset of this factory (no {RUN}). {_remedy(url)}"
        ) from None


def _remedy(url: str) -> str:
    """What to do about a place that holds no dataset."""
    above = url
    for _ in range(2):
        above = storage.parent(above) or above
        if storage.exists(storage.join(above, RUN)):
            return f"It is a part of one: name {above}."
    if place := hub.url_of_name(url, "datasets/"):
        return f"For a dataset of the Hugging Face Hub write {place}."
    return "Check the place, or make one with `factory generate`."


def files_of(url: str) -> list[storage.Entry]:
    """All files below the place, hidden ones too. Raises UserError where there is no dataset."""
    there = storage.entries(url)
    if not any(entry.name.startswith("_factory/") for entry in there):
        read_plan(url)
    return there


def read_receipts(url: str) -> dict[int, Receipt]:
    """Receipts that fit the plan, by shard number. Raises UserError as `read_plan` does."""
    return fitting_receipts(url, read_plan(url))


def read_manifest(url: str) -> Manifest:
    """The manifest of a finished dataset.

    Raises UserError where there is no dataset, or an unfinished or damaged one.
    """
    plan = read_plan(url)
    if not storage.exists(storage.join(url, SUCCESS)):
        done = len(fitting_receipts(url, plan))
        raise UserError(
            f"{url}: is unfinished, {done} of {plan.num_shards} shards are done. "
            "Run the same `factory generate` again to complete it."
        )
    try:
        manifest = read_model(url, MANIFEST, Manifest)
    except FileNotFoundError:
        manifest = None
    if manifest is None or not _is_sound(manifest, plan.run_id):
        raise UserError(
            f"{url}: {MANIFEST} is missing or altered. "
            "Run the same `factory generate` again to write it anew."
        )
    return manifest


def _is_sound(manifest: Manifest, run_id: str) -> bool:
    """Whether it is of this run, and names the files of its plan and no others."""
    plan, receipts = manifest.plan, manifest.receipts
    return (
        manifest.root == root_of(receipts)
        and plan.run_id == run_id
        and [receipt.shard for receipt in receipts] == list(range(plan.num_shards))
        and all(fits(receipt, plan) for receipt in receipts)
    )


def read_shard(url: str, receipt: Receipt) -> bytes:
    """The bytes that the receipt is for. Raises UserError where they are missing or altered."""
    place = storage.join(url, receipt.path)
    remedy = "Run `factory repair` on the dataset."
    try:
        data = storage.read_bytes(place)
    except FileNotFoundError:
        raise UserError(f"{place}: is missing. {remedy}") from None
    if problem := hub.pointer_problem(data):
        raise UserError(f"{place}: {problem}")
    if hashlib.sha256(data).hexdigest() != receipt.sha256:
        raise UserError(f"{place}: is damaged, its sha256 is not its receipt's. {remedy}")
    return data
