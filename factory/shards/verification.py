"""Whether a dataset is whole: every file of it against manifest, receipts and plan.

Nothing is trusted that contradicts the rest: the manifest is held against its own sums, against
`_SUCCESS`, and, where these two disagree, against all the other files. Needs no network beyond the
dataset's own place, and changes nothing.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from pydantic import ValidationError

from factory import storage
from factory.errors import DamagedShard, UserError
from factory.shards.ledger import (
    CONFIG,
    ENVIRONMENT,
    HARDWARE,
    MANIFEST,
    RUN,
    SUCCESS,
    files_of,
    known_files,
    plan_files,
    read_plan,
    success_of,
)
from factory.shards.plan import Plan
from factory.shards.receipts import (
    NUM_READERS,
    Manifest,
    Receipt,
    fitting_receipt,
    measure,
    receipt_name,
    root_of,
    to_json,
)

Level = Literal["size", "hash", "decode"]
T = TypeVar("T")

LEFTOVER = re.compile(r"(^|/)(\..+\.[0-9a-f]{32}\.tmp|probe-[0-9a-f]{32})$")
"""Names of what a killed process may leave behind; no reader takes it for data."""
_NOT_OURS = re.compile(r"(^|/)\.|^report/")
"""Hidden files, and the report that `factory report` adds."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    name: str
    """Of the file, relative to the dataset's place."""
    what: str
    shard: int | None = None
    """The shard whose bytes are at fault, if they are."""


@dataclass(frozen=True)
class Verification:
    """What `verify` found."""

    plan: Plan | None
    """None where it is lost everywhere."""
    manifest: Manifest | None
    """None where there is none that can be trusted."""
    finished: bool
    num_shards: int
    """That were looked at."""
    num_bytes: int
    findings: list[Finding]
    unproven: list[int]
    """Shards that lie there without a receipt to hold them against: in the making, or foreign."""


def verify(url: str, level: Level = "hash") -> Verification:
    """Looks at every file. Levels: shards are there in their size; with their sha256; and each
    sample decodes and adds up to the receipt. All small files are compared byte for byte.

    Raises UserError where there is no dataset; OSError where the storage cannot be reached, while a
    single file that cannot be read is a finding.
    """
    there = {entry.name: entry for entry in files_of(url)}
    manifest, findings = _manifest(url, there)
    plan, of_plan = _plan(url, manifest, {finding.name for finding in findings})
    findings += of_plan
    if plan is None:
        return Verification(None, None, False, 0, 0, findings, [])
    receipts = {receipt.shard: receipt for receipt in manifest.receipts} if manifest else {}
    if manifest is None or manifest.plan.num < plan.num:
        more, of_receipts = _receipts(url, plan, there)
        receipts = {**more, **receipts}
        # With a manifest, those of an extension may be in the making.
        findings += [] if manifest else of_receipts
    findings += _shards(url, plan, receipts.values(), there, level)
    findings += _strangers(plan, manifest, there)
    unique = {finding.name: finding for finding in reversed(findings)}
    return Verification(
        plan=plan,
        manifest=manifest,
        finished=SUCCESS in there
        and MANIFEST in there
        and len(receipts) == plan.num_shards
        and (manifest is None or manifest.plan.num == plan.num),
        num_shards=len(receipts),
        num_bytes=sum(receipt.bytes for receipt in receipts.values()),
        findings=sorted(unique.values(), key=lambda finding: finding.name),
        unproven=[s.shard for s in plan.shards() if s.path in there and s.shard not in receipts],
    )


def _manifest(url: str, there: dict[str, storage.Entry]) -> tuple[Manifest | None, list[Finding]]:
    """The manifest if it is to be believed, and what is wrong with the files that it tells of."""
    if MANIFEST not in there:
        lost = [Finding(MANIFEST, "missing")] if SUCCESS in there else []
        return None, lost
    content = _read(url, MANIFEST)
    if isinstance(content, Finding):
        return None, [content]
    manifest = _consistent(content)
    if manifest is None:
        return None, [Finding(MANIFEST, "altered")]
    findings = list(_small_files(url, manifest))
    if SUCCESS not in there:
        return manifest, [*findings, Finding(SUCCESS, "missing")]
    success = _read(url, SUCCESS)
    if isinstance(success, Finding):
        return manifest, [*findings, success]
    if success == success_of(manifest):
        return manifest, findings
    if findings:
        # One of two is wrong, and the other files are against this one.
        return None, [Finding(MANIFEST, f"altered: contradicts {SUCCESS} and {findings[0].name}")]
    return manifest, [Finding(SUCCESS, "altered")]


def _consistent(content: bytes) -> Manifest | None:
    """The manifest, if it agrees with itself and is spelled as the ledger spells it."""
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError:
        return None
    receipts = manifest.receipts
    known = known_files(manifest)
    agrees = (
        to_json(manifest.model_dump(mode="json")) == content
        and manifest.root == root_of(receipts)
        and manifest.run_id == manifest.plan.run_id
        and manifest.rows == sum(receipt.rows for receipt in receipts) == manifest.plan.num
        and manifest.bytes == sum(receipt.bytes for receipt in receipts)
        and [receipt.path for receipt in receipts] == [s.path for s in manifest.plan.shards()]
        and all(
            manifest.files.get(name) == hashlib.sha256(content).hexdigest()
            for name, content in known.items()
        )
    )
    return manifest if agrees else None


def _small_files(url: str, manifest: Manifest) -> Iterator[Finding]:
    """Those of the ledger and of the card, receipts included, that are not as the manifest says."""
    wanted = dict(manifest.files)
    for receipt in manifest.receipts:
        content = to_json(receipt.model_dump(mode="json"))
        wanted[receipt_name(receipt.shard)] = hashlib.sha256(content).hexdigest()
    with ThreadPoolExecutor(NUM_READERS) as pool:
        found = pool.map(partial(_sha256, url), wanted)
        for (name, sha256), seen in zip(wanted.items(), found, strict=True):
            if isinstance(seen, Finding):
                yield seen
            elif seen != sha256:
                yield Finding(name, "altered")


def _sha256(url: str, name: str) -> str | Finding:
    return _attempt(name, partial(storage.sha256_of, storage.join(url, name)))


def _read(url: str, name: str) -> bytes | Finding:
    return _attempt(name, partial(storage.read_bytes, storage.join(url, name)))


def _attempt(name: str, read: Callable[[], T]) -> T | Finding:
    """What reading a file gives. Raises OSError where it may be whole, but cannot be reached."""
    try:
        return read()
    except (FileNotFoundError, IsADirectoryError):
        return Finding(name, "missing")
    except OSError as error:
        if storage.is_transient(error):
            raise
        return Finding(name, f"cannot be read: {storage.describe(error)}")


def _plan(
    url: str, manifest: Manifest | None, bad: Collection[str]
) -> tuple[Plan | None, list[Finding]]:
    """The plan, of the manifest where the plan's own files are not to be believed."""
    if manifest and not plan_files(manifest.plan).keys().isdisjoint(bad):
        return manifest.plan, []
    try:
        plan = _attempt(RUN, partial(read_plan, url))
    except UserError as error:
        plan = Finding(RUN, str(error))
    if isinstance(plan, Plan):
        return plan, []
    # With a manifest, what is wrong is a later extension: a stranger, as far as that knows.
    return (manifest.plan, []) if manifest else (None, [plan])


def _receipts(
    url: str, plan: Plan, there: dict[str, storage.Entry]
) -> tuple[dict[int, Receipt], list[Finding]]:
    """Those that fit the plan, by shard, and what is wrong with the others that are there."""
    names = [receipt_name(spec.shard) for spec in plan.shards()]

    def look(name: str) -> Receipt | Finding:
        found = _attempt(name, lambda: fitting_receipt(url, name, plan))
        return found or Finding(name, "altered: it does not fit the plan")

    with ThreadPoolExecutor(NUM_READERS) as pool:
        found = list(pool.map(look, (name for name in names if name in there)))
    receipts = [receipt for receipt in found if isinstance(receipt, Receipt)]
    findings = [finding for finding in found if isinstance(finding, Finding)]
    return {receipt.shard: receipt for receipt in receipts}, findings


def _shards(
    url: str,
    plan: Plan,
    receipts: Iterable[Receipt],
    there: dict[str, storage.Entry],
    level: Level,
) -> list[Finding]:
    def look(receipt: Receipt) -> Finding | None:
        what = _fault(url, plan, receipt, there.get(receipt.path), level)
        return Finding(receipt.path, what, receipt.shard) if what else None

    with ThreadPoolExecutor(NUM_READERS) as pool:
        return [finding for finding in pool.map(look, receipts) if finding]


def _fault(
    url: str, plan: Plan, receipt: Receipt, entry: storage.Entry | None, level: Level
) -> str | None:
    """What is wrong with a shard's file."""
    if entry is None:
        return "missing"
    if entry.size != receipt.bytes:
        return f"altered: {entry.size:,} bytes, {receipt.bytes:,} were written"
    if level == "size":
        return None
    if level == "hash":
        sha256 = _sha256(url, receipt.path)
        if isinstance(sha256, Finding):
            return sha256.what
        return None if sha256 == receipt.sha256 else f"altered: sha256 is {sha256}"
    data = _read(url, receipt.path)
    if isinstance(data, Finding):
        return data.what
    try:
        measured = measure(plan, plan.shard(receipt.shard), data)
    except DamagedShard as error:
        return f"altered: {error}"
    wanted = receipt.content
    # A receipt of an older version tells less.
    wrong = sorted(key for key in measured.keys() & wanted.keys() if measured[key] != wanted[key])
    return f"altered: {', '.join(wrong)} as its receipt does not have it" if wrong else None


def _strangers(
    plan: Plan, manifest: Manifest | None, there: dict[str, storage.Entry]
) -> list[Finding]:
    """Files that no run of the plan writes; shards that lie there without a receipt may be in
    the making."""
    ours = {MANIFEST, SUCCESS, CONFIG, ENVIRONMENT, HARDWARE, *plan_files(plan)}
    ours |= {"README.md", "id2label.json", "label2id.json", "palette.json"}
    ours |= set(manifest.files) if manifest else set()
    for spec in plan.shards():
        ours |= {spec.path, receipt_name(spec.shard)}
    return [
        Finding(name, "foreign: not of this dataset")
        for name in there
        if name not in ours and not LEFTOVER.search(name) and not _NOT_OURS.search(name)
    ]
