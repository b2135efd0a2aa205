"""Checks every file of a dataset against manifest, receipts and plan.

Nothing is trusted that contradicts the rest: the manifest is compared with its own sums, with
`_SUCCESS`, and, if these two disagree, with all the other files. The check needs no network beyond
the dataset's own URL, and changes nothing.
"""

import re
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from pydantic import ValidationError

from factory import storage
from factory.errors import DamagedShard, UserError, counted
from factory.progress import tracked
from factory.shards import mask_files
from factory.shards.layout import (
    CONFIG,
    DESCRIPTIONS,
    ENVIRONMENT,
    HARDWARE,
    MANIFEST,
    REPORT,
    RUN,
    SCORES,
    SOURCE,
    SUCCESS,
    plan_files,
    receipt_name,
)
from factory.shards.manifest import (
    Manifest,
    known_files,
    manifest_content,
    sha256,
    success_content,
)
from factory.shards.mask_files import MaskFile, Read
from factory.shards.measuring import measure
from factory.shards.plan import Plan
from factory.shards.reading import NUM_READERS, all_files, read_plan, receipt_of
from factory.shards.receipts import Receipt
from factory.storage import TEMPORARY, Entry, Folder

FOREIGN = "foreign: not of this dataset"
"""What is wrong with a file that no run of the plan writes, and no repair touches."""
Level = Literal["size", "hash", "decode"]
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """A file that is not as it was written."""

    name: str
    """The file's name relative to the dataset's URL."""
    what: str
    """The fault of the file, such as "missing"."""
    shard: int | None = None
    """The shard whose bytes are at fault, if they are."""


@dataclass(frozen=True)
class Verification:
    """The result of `verify`."""

    plan: Plan | None
    """None if it is lost everywhere."""
    manifest: Manifest | None
    """None if there is none that can be trusted."""
    finished: bool
    num_shards: int
    """The number of shards that were checked."""
    num_bytes: int
    findings: list[Finding]
    unproven: list[int]
    """Shards without a receipt to check them against: still being made, or foreign."""


def verify(url: str, level: Level = "hash") -> Verification:
    """Checks every file. Levels: the sizes of shards; their sha256; and whether each sample decodes
    and adds up to the receipt. All small files are compared byte for byte.

    Raises UserError if there is no dataset; OSError if the storage cannot be reached, while a
    single file that cannot be read is a finding.
    """
    dataset = _Dataset(Folder(url), all_files(url))
    manifest, findings = dataset.check_manifest()
    plan, of_plan = dataset.check_plan(manifest, {finding.name for finding in findings})
    findings += of_plan
    if plan is None:
        return Verification(None, None, False, 0, 0, findings, [])
    receipts, of_receipts = dataset.check_receipts(plan, manifest)
    findings += of_receipts
    findings += dataset.check_shards(plan, receipts.values(), level)
    findings += dataset.unknown_files(plan, manifest, receipts.values())
    unique = {finding.name: finding for finding in reversed(findings)}
    listing = dataset.listing
    return Verification(
        plan=plan,
        manifest=manifest,
        finished=SUCCESS in listing
        and MANIFEST in listing
        and len(receipts) == plan.num_shards
        and (manifest is None or manifest.plan.num == plan.num),
        num_shards=len(receipts),
        num_bytes=sum(receipt.num_bytes for receipt in receipts.values()),
        findings=sorted(unique.values(), key=lambda finding: finding.name),
        unproven=[
            spec.shard
            for spec in plan.shards()
            if spec.shard not in receipts and not listing.keys().isdisjoint(spec.paths)
        ],
    )


def faults_of_shards(url: str, manifest: Manifest) -> list[Finding]:
    """The files of shards, masks too, that are missing or have another size. Raises OSError."""
    dataset = _Dataset(Folder(url), all_files(url))
    return dataset.check_shards(manifest.plan, manifest.receipts, "size")


@dataclass(frozen=True)
class _Dataset:
    """A dataset and the listing of its files; each check returns what it found."""

    folder: Folder
    listing: Mapping[str, Entry]

    def check_manifest(self) -> tuple[Manifest | None, list[Finding]]:
        """The manifest if it can be trusted, and the faults of the files that it tells of."""
        if MANIFEST not in self.listing:
            lost = [Finding(MANIFEST, "missing")] if SUCCESS in self.listing else []
            return None, lost
        content = self._read(MANIFEST)
        if isinstance(content, Finding):
            return None, [content]
        manifest = _trusted(content)
        if manifest is None:
            return None, [Finding(MANIFEST, "altered")]
        findings = self._check_small_files(manifest)
        if SUCCESS not in self.listing:
            return manifest, [*findings, Finding(SUCCESS, "missing")]
        success = self._read(SUCCESS)
        if isinstance(success, Finding):
            return manifest, [*findings, success]
        if success == success_content(manifest, content):
            return manifest, findings
        if findings:
            # One of the two is wrong, and the other files contradict the manifest.
            contradicted = f"altered: contradicts {SUCCESS} and {findings[0].name}"
            return None, [Finding(MANIFEST, contradicted)]
        return manifest, [Finding(SUCCESS, "altered")]

    def _check_small_files(self, manifest: Manifest) -> list[Finding]:
        """Faults of the files of the ledger and of the card, receipts included."""
        known = {name: sha256(content) for name, content in known_files(manifest).items()}
        expected = {**manifest.files, **known}
        with ThreadPoolExecutor(NUM_READERS) as pool:
            found = zip(expected.items(), pool.map(self._sha256, expected), strict=True)
            return [
                digest if isinstance(digest, Finding) else Finding(name, "altered")
                for (name, wanted), digest in found
                if digest != wanted
            ]

    def check_plan(
        self, manifest: Manifest | None, bad: Collection[str]
    ) -> tuple[Plan | None, list[Finding]]:
        """The plan; that of the manifest if one of the plan's own files is among the bad ones."""
        if manifest and not plan_files(manifest.plan).keys().isdisjoint(bad):
            return manifest.plan, []
        try:
            plan = _attempt(RUN, partial(read_plan, self.folder.url))
        except UserError as error:
            plan = Finding(RUN, str(error))
        if isinstance(plan, Plan):
            return plan, []
        # With a manifest, a later extension is at fault, which is an unknown file to it.
        return (manifest.plan, []) if manifest else (None, [plan])

    def check_receipts(
        self, plan: Plan, manifest: Manifest | None
    ) -> tuple[dict[int, Receipt], list[Finding]]:
        """The receipts by shard, those of the manifest first, and the faults of the others."""
        known = {receipt.shard: receipt for receipt in manifest.receipts} if manifest else {}
        if manifest and manifest.plan.num == plan.num:
            return known, []
        names = {receipt_name(spec.shard): spec.shard for spec in plan.shards()}
        existing = [name for name in names if name in self.listing]

        def check(name: str) -> Receipt | Finding:
            found = _attempt(name, partial(receipt_of, self.folder.url, plan, names[name]))
            return found or Finding(name, "altered: it does not fit the plan")

        with ThreadPoolExecutor(NUM_READERS) as pool:
            found = list(pool.map(check, existing))
        receipts = {each.shard: each for each in found if isinstance(each, Receipt)}
        # With a manifest, the receipts of an extension may still be written: that is no damage.
        faults = [] if manifest else [each for each in found if isinstance(each, Finding)]
        return {**receipts, **known}, faults

    def check_shards(
        self, plan: Plan, receipts: Collection[Receipt], level: Level
    ) -> list[Finding]:
        """Faults of the shards that have a receipt."""

        def check(receipt: Receipt) -> list[Finding]:
            if receipt.told_splits != plan.shard(receipt.shard).splits:
                return [Finding(receipt.path, "altered: not of its keys' splits", receipt.shard)]
            found, read = self._faults(receipt, level)
            if plan.format == "png":
                # The hashes of its masks are in a table, which has to be whole to be asked.
                found = found or self._masks_at_fault(receipt, level)
            if not found and level == "decode":
                what = _difference(plan, receipt, read, self.folder.read_bytes)
                found = {receipt.path: what} if what else {}
            return [Finding(name, what, receipt.shard) for name, what in found.items()]

        with ThreadPoolExecutor(NUM_READERS) as pool:
            found = tracked(pool.map(check, receipts), "verify", len(receipts), "shards")
            return [finding for findings in found for finding in findings]

    def _masks_at_fault(self, receipt: Receipt, level: Level) -> dict[str, str]:
        """What is wrong with the masks of a shard, which is whole itself, by name."""
        found = {}
        for file in self.masks_of(receipt):
            if what := self._fault(file.name, file.bytes, None if level == "size" else file.sha256):
                found[file.name] = what
        return found

    def masks_of(self, receipt: Receipt) -> list[MaskFile]:
        """The files beside a shard; none if it is lost or damaged, which is a fault of its own."""
        data = self._read(receipt.path)
        try:
            return [] if isinstance(data, Finding) else mask_files.files(data)
        except DamagedShard:
            return []

    def _faults(self, receipt: Receipt, level: Level) -> tuple[dict[str, str], dict[str, bytes]]:
        """What is wrong with the files of a shard, by name; and the bytes of those that are to be
        decoded, each of which is read once.

        Of several files their hashes tell which one is altered; of one, what it holds tells more.
        """
        found, read = {}, {}
        for file in receipt.files:
            what = self._fault(file.path, file.bytes, file.sha256 if level == "hash" else None)
            if what is None and level == "decode":
                data = self._read(file.path)
                if isinstance(data, Finding):
                    what = data.what
                elif len(receipt.paths) > 1:
                    what = _unlike(sha256(data), file.sha256)
                if isinstance(data, bytes):
                    read[file.path] = data
            if what is not None:
                found[file.path] = what
        return found, read

    def _fault(self, name: str, num_bytes: int, wanted: str | None) -> str | None:
        """Returns what is wrong with a file; None if nothing is. wanted: its sha256, if asked."""
        entry = self.listing.get(name)
        if entry is None:
            return "missing"
        if entry.size != num_bytes:
            return f"altered: {counted(entry.size, 'byte')}, {num_bytes:,} were written"
        if wanted is None:
            return None
        digest = self._sha256(name)
        return digest.what if isinstance(digest, Finding) else _unlike(digest, wanted)

    def unknown_files(
        self, plan: Plan, manifest: Manifest | None, receipts: Collection[Receipt]
    ) -> list[Finding]:
        """Files that no run of the plan writes. A shard without a receipt is none of them, as it
        may still be made."""
        ours = {MANIFEST, SUCCESS, CONFIG, ENVIRONMENT, HARDWARE, *DESCRIPTIONS, *plan_files(plan)}
        ours |= set(manifest.files) if manifest else set()
        ours |= {SOURCE} if plan.lists_source else set()
        ours |= {SCORES} if plan.is_scored else set()
        for spec in plan.shards():
            ours |= {*spec.paths, receipt_name(spec.shard)}
        ours |= self._masks(plan, receipts)
        return [
            Finding(name, FOREIGN)
            for name in self.listing
            if name not in ours and not TEMPORARY.search(name) and not _BESIDE.search(name)
        ]

    def _masks(self, plan: Plan, receipts: Collection[Receipt]) -> set[str]:
        """The masks of a dataset of mask files; those that may still be made are among them."""
        if plan.format != "png":
            return set()
        if len(receipts) < plan.num_shards:
            return {name for name in self.listing if name.startswith(f"{mask_files.MASKS}/")}
        return {file.name for receipt in receipts for file in self.masks_of(receipt)}

    def _sha256(self, name: str) -> str | Finding:
        return _attempt(name, partial(self.folder.sha256_of, name))

    def _read(self, name: str) -> bytes | Finding:
        return _attempt(name, partial(self.folder.read_bytes, name))


_BESIDE = re.compile(rf"(^|/)\.|^{REPORT.partition('/')[0]}/")
"""Hidden files, and the report that `factory report` adds: others than the ledger write them."""


def _trusted(content: bytes) -> Manifest | None:
    """The manifest if it agrees with itself and is spelled as the ledger spells it."""
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError:
        return None
    as_written = manifest_content(manifest) == content
    return manifest if as_written and manifest.agrees_with_itself else None


def _attempt(name: str, read: Callable[[], T]) -> T | Finding:
    """Reads a file. Raises OSError if it may be whole, but cannot be reached."""
    try:
        return read()
    except (FileNotFoundError, IsADirectoryError):
        return Finding(name, "missing")
    except OSError as error:
        if storage.is_transient(error):
            raise
        return Finding(name, f"cannot be read: {storage.describe(error)}")


def _unlike(digest: str, wanted: str) -> str | None:
    """What is wrong with a file of this sha256; None if it is the wanted one."""
    return None if digest == wanted else f"altered: sha256 is {digest}"


def _difference(plan: Plan, receipt: Receipt, files: Mapping[str, bytes], read: Read) -> str | None:
    """Returns what a shard's samples have otherwise than its receipt; None if nothing."""
    try:
        measured = measure(plan, plan.shard(receipt.shard), files, read)
    except DamagedShard as error:
        return f"altered: {error}"
    wanted = receipt.content
    # Receipts of older versions have fewer fields.
    wrong = sorted(key for key in measured.keys() & wanted.keys() if measured[key] != wanted[key])
    return f"altered: {', '.join(wrong)} as its receipt does not have it" if wrong else None
