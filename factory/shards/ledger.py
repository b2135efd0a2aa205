"""What a dataset's place must hold, what it holds, and the order in which it comes to hold it.

A run writes its plan first, create-only; then each shard once, create-only, complete and checked,
then the shard's receipt; then manifest and card; `_SUCCESS` last. So whoever finds `_SUCCESS` finds
everything, and whoever finds less may run the same plan again. Nothing is ever deleted.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress

from factory import storage
from factory.differences import differences
from factory.errors import UserError
from factory.shards.plan import Plan, ShardSpec
from factory.shards.receipts import (
    Manifest,
    Receipt,
    fitting_receipt,
    fitting_receipts,
    measure,
    read_model,
    receipt_name,
    root_of,
    to_json,
)
from factory.shards.schema import dataset_card

__all__ = [
    "Incomplete",
    "Manifest",
    "Plan",
    "Receipt",
    "ShardConflict",
    "ShardSpec",
    "check_run",
    "finish_run",
    "pending_shards",
    "publish",
    "read_manifest",
    "read_plan",
    "read_receipts",
    "read_shard",
    "start_run",
]

MAX_DIFFERENCES_TOLD = 20

RUN = "_factory/run.json"
MANIFEST = "_factory/manifest.json"
SUCCESS = "_SUCCESS"


class ShardConflict(Exception):
    """At a shard's name lie other bytes: made otherwise, or altered since."""


class Incomplete(Exception):
    """Shards of the plan are missing; says which."""


def check_run(url: str, plan: Plan) -> bool:
    """Whether the same plan is there already; writes nothing.

    Raises UserError where another plan is there, telling each difference; where run.json is
    damaged; and where shards of unknown origin lie in `data/`.
    """
    # Data first: a run writes its plan before its data, so data without a plan is foreign.
    foreign = storage.list_files(storage.join(url, "data"), recursive=True)
    try:
        there = read_model(url, RUN, Plan)
    except FileNotFoundError:
        if foreign:
            raise UserError(
                f"{url}: holds {len(foreign)} files in data/ (such as "
                f"{storage.name_of(foreign[0])}) but no {RUN}: not made by this factory. "
                "Choose another --out."
            ) from None
        return False
    # By id: to Python, 1 and 1.0 would be equal.
    if there.run_id != plan.run_id:
        found = differences(there.model_dump(mode="json"), plan.model_dump(mode="json"))
        told = found[:MAX_DIFFERENCES_TOLD]
        if len(found) > len(told):
            told.append(f"... and {len(found) - len(told)} more")
        raise UserError(
            f"{url}: holds a dataset of another plan. Choose another --out, or go back to the old "
            "settings to resume it. The difference:\n  " + "\n  ".join(told)
        )
    return True


def start_run(url: str, plan: Plan, config_yaml: str, environment: Mapping[str, str]) -> bool:
    """Claims the place for the plan: True if it was free, False if the same plan is resumed.

    Any number of runs of one plan may start at once. Raises UserError as `check_run` does.
    """
    resumed = check_run(url, plan)
    if not resumed:
        try:
            storage.write_new(storage.join(url, RUN), to_json(plan.model_dump(mode="json")))
        except FileExistsError:
            # Another run was faster: fine, if it is of the same plan.
            resumed = check_run(url, plan)
    notes = {
        "config.yaml": config_yaml.encode(),
        "env.json": to_json(dict(environment)),
    }
    for name, content in notes.items():
        with suppress(FileExistsError):
            storage.write_new(storage.join(url, "_factory", name), content)
    return not resumed


def pending_shards(url: str, plan: Plan) -> list[ShardSpec]:
    """Shards without a receipt that fits the plan, in order. Costs one listing, and one small
    read a receipt, many at once."""
    done = fitting_receipts(url, plan)
    return [spec for spec in plan.shards() if spec.shard not in done]


def publish(
    url: str,
    plan: Plan,
    spec: ShardSpec,
    data: bytes,
    *,
    seconds: float,
    host: str,
    redrawn: int = 0,
) -> Receipt:
    """Checks the shard's bytes by decoding them, then makes them visible, then their receipt.

    Safe to call again, from anywhere, at the same time: the first writer wins, the others find
    equal bytes. Returns the receipt that lies there. Raises DamagedShard where the bytes do not
    keep the plan; ShardConflict where other bytes lie there; OSError from the storage.
    """
    receipt = Receipt(**measure(plan, spec, data), redrawn=redrawn, seconds=seconds, host=host)
    place = storage.join(url, spec.path)
    try:
        storage.write_new(place, data)
    except FileExistsError:
        there = hashlib.sha256(storage.read_bytes(place)).hexdigest()
        if there != receipt.sha256:
            raise ShardConflict(
                f"{place}: holds other bytes (sha256 {there}) than this run made "
                f"(sha256 {receipt.sha256}). Either the file was altered, or the same plan does "
                "not give the same bytes on this hardware or with these versions."
            ) from None
    return _publish_receipt(url, plan, receipt)


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


def finish_run(url: str, plan: Plan, description: str, license: str) -> Manifest:
    """Checks that every shard has its receipt, and completes the dataset; `_SUCCESS` comes last.

    Safe to call again. Raises Incomplete naming the shards that are missing.
    """
    done = fitting_receipts(url, plan)
    missing = [spec.path for spec in plan.shards() if spec.shard not in done]
    if missing:
        some = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise Incomplete(f"{url}: {len(missing)} of {plan.num_shards} shards are missing: {some}")
    receipts = [done[i] for i in range(plan.num_shards)]
    rows = sum(receipt.rows for receipt in receipts)
    assert rows == plan.num, (rows, plan.num)
    manifest = Manifest(
        run_id=plan.run_id,
        rows=rows,
        bytes=sum(receipt.bytes for receipt in receipts),
        root=root_of(receipts),
        receipts=receipts,
    )
    labels = plan.classes.id2label
    card = dataset_card(plan.classes, plan.num, license, description, plan.run)
    success = {"run_id": plan.run_id, "rows": rows, "root": manifest.root}
    for name, content in {
        "id2label.json": to_json(labels),
        "label2id.json": to_json({label: int(i) for i, label in labels.items()}),
        "palette.json": to_json(plan.palette),
        MANIFEST: to_json(manifest.model_dump(mode="json")),
        "README.md": card.encode(),
        SUCCESS: to_json(success),
    }.items():
        storage.write(storage.join(url, name), content)
    return manifest


def read_plan(url: str) -> Plan:
    """The plan of the dataset there. Raises UserError where there is none, or it is damaged."""
    try:
        return read_model(url, RUN, Plan)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{url}: holds no dataset of this factory (no {RUN}). "
            "Check the place, or make one with `factory generate`."
        ) from None


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
    if manifest is None or manifest.root != root_of(manifest.receipts):
        raise UserError(
            f"{url}: {MANIFEST} is missing or altered. "
            "Run the same `factory generate` again to write it anew."
        )
    return manifest


def read_shard(url: str, receipt: Receipt) -> bytes:
    """The bytes that the receipt is for. Raises UserError where they are missing or altered."""
    place = storage.join(url, receipt.path)
    remedy = "Run `factory repair` on the dataset."
    try:
        data = storage.read_bytes(place)
    except FileNotFoundError:
        raise UserError(f"{place}: is missing. {remedy}") from None
    if hashlib.sha256(data).hexdigest() != receipt.sha256:
        raise UserError(f"{place}: is damaged, its sha256 is not its receipt's. {remedy}")
    return data
