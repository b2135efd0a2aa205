"""The ledger: in which order a dataset's URL comes to hold its files.

A run writes its plan first, create-only; then each shard once, create-only, complete and checked,
then the shard's receipt; then manifest and card; `_SUCCESS` last. So whoever finds `_SUCCESS` finds
everything, and whoever finds less may run the same plan again. A larger dataset of the same plan
adds to a finished or unfinished one: each extension is a small create-only file, too. Nothing is
ever deleted.
"""

from array import array
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass

from factory import faults
from factory.errors import Incomplete, ShardConflict, UserError, counted
from factory.shards.conflicts import agreed_plan, receipt_conflict, shard_conflict
from factory.shards.free_place import plan_at
from factory.shards.layout import (
    CONFIG,
    ENVIRONMENT,
    HARDWARE,
    MANIFEST,
    SOURCE,
    SUCCESS,
    plan_files,
    receipt_name,
    to_json,
)
from factory.shards.manifest import (
    Manifest,
    describe,
    make_manifest,
    manifest_content,
    receipt_content,
    root_of,
    sha256,
    success_content,
)
from factory.shards.measuring import measure
from factory.shards.plan import Plan, ShardSpec
from factory.shards.reading import (
    find_plan,
    last_receipt,
    pending_shards,
    published_files,
    read_hardware,
    read_model,
    read_success,
    receipt_of,
    receipts_of,
)
from factory.shards.receipts import Circumstances, Hardware, MadeWith, Receipt
from factory.storage import Folder

_NUM_HASHERS = 4
"""Threads that hash shards; each holds one in memory."""
_NUM_WRITERS = 16
"""Threads that write the files of a shard."""


@dataclass(frozen=True)
class Ledger:
    """A dataset at a URL as the runs of a plan make it; any number of them may work at once."""

    url: str
    plan: Plan

    @property
    def folder(self) -> Folder:
        """The files of the dataset."""
        return Folder(self.url)

    @classmethod
    def resolve(cls, url: str, plan: Plan, extend: bool = False) -> "Ledger":
        """The ledger with the plan as the dataset at url will hold it, its extensions included.

        Writes nothing. Raises UserError if another plan is there, telling each difference; if it
        holds more samples, or fewer and extend is not given; if the ledger is damaged; and if the
        place is not free, as `plan_at` does.
        """
        existing = plan_at(url)
        if existing is None:
            return cls(url, plan)
        return cls(url, agreed_plan(url, existing, plan, extend))

    def start(self, config_yaml: str, environment: Mapping[str, str]) -> None:
        """Claims the URL for the plan, or resumes it; the plan is one that `resolve` returned.

        Raises UserError if another run was faster with another plan or extension.
        """
        for name, content in plan_files(self.plan).items():
            self._create(name, content)
        self._check_plan()
        self._create(CONFIG, config_yaml.encode())
        self._create(ENVIRONMENT, to_json(dict(environment)))

    def _create(self, name: str, content: bytes) -> None:
        """Writes a file unless there is one."""
        with suppress(FileExistsError):
            self.folder.write_new(name, content)

    def _check_plan(self) -> None:
        """Raises UserError if the dataset does not hold exactly this plan."""
        if plan_files(find_plan(self.url)) != plan_files(self.plan):
            Ledger.resolve(self.url, self.plan)
            raise UserError(
                f"{self.url}: another run extends this dataset. Run the same command again."
            )

    def claim_hardware(self, mine: Hardware) -> Hardware:
        """The hardware of the dataset's first process: mine if none came before.

        Raises UserError if its file is damaged.
        """
        self._create(HARDWARE, to_json(mine.model_dump()))
        return read_model(self.url, HARDWARE, Hardware)

    def unproven_hardware(self) -> MadeWith | None:
        """Hardware and versions of the last published shard if HARDWARE, which would tell what the
        dataset was begun with, is lost; None if it is not lost, or no receipt tells."""
        if read_hardware(self.url) is not None:
            return None
        receipt = last_receipt(self.url, self.plan)
        # The receipt may be of a process that came in the meantime, and wrote HARDWARE first.
        if receipt is None or read_hardware(self.url) is not None:
            return None
        return receipt.made_with

    def pending(self) -> Sequence[int]:
        """Numbers of the shards that are missing, in order; of a million, four megabytes.

        Costs two listings, however many shards there are.
        """
        pending = pending_shards(self.plan, published_files(self.url, self.plan))
        return array("I", (spec.shard for spec in pending))

    def publish(
        self,
        spec: ShardSpec,
        files: Mapping[str, bytes],
        circumstances: Circumstances,
        replace: bool = False,
    ) -> Receipt:
        """Checks the shard's bytes by decoding them, then makes them visible, then their receipt.

        files: all files of the shard, by name; the one that it is named by comes last.

        Safe to call again, from anywhere, at the same time: the first writer wins, the others find
        equal bytes. replace: other bytes at the shard's names give way, as a repair wants it,
        unless the receipt is for bytes that these are not. Returns the receipt that is in force.
        Raises DamagedShard if the bytes do not keep the plan; ShardConflict if one of the shard's
        names holds other bytes; OSError from the storage.
        """
        measured = measure(self.plan, spec, files, files.__getitem__)
        receipt = Receipt(**{**measured, **asdict(circumstances)})
        known = receipt_of(self.url, self.plan, spec.shard)
        if known is not None and known.files != receipt.files:
            self._check_receipt_is_wrong(known, receipt)
        further = [name for name in files if name != spec.path]

        def publish(name: str) -> None:
            self._publish_file(name, files[name], receipt, known, replace)

        with ThreadPoolExecutor(_NUM_WRITERS) as pool:
            list(pool.map(publish, further))
        publish(spec.path)
        faults.hit("shard.written")
        return self._publish_receipt(receipt)

    def _publish_file(
        self, name: str, content: bytes, new: Receipt, known: Receipt | None, replace: bool
    ) -> None:
        """Writes a file of a shard; raises ShardConflict if another one is there."""
        try:
            self.folder.write_new(name, content)
        except FileExistsError:
            existing, wanted = self.folder.sha256_of(name), sha256(content)
            if existing == wanted:
                return
            if not replace:
                raise ShardConflict(self._conflict(name, existing, wanted, new, known)) from None
            self.folder.write(name, content)

    def _check_receipt_is_wrong(self, known: Receipt, new: Receipt) -> None:
        """Raises ShardConflict unless the shard's files hold the bytes that this run made."""
        for file in new.files:
            try:
                existing = self.folder.sha256_of(file.path)
            except FileNotFoundError:
                existing = None
            if existing != file.sha256:
                raise ShardConflict(receipt_conflict(self.url, known, new))

    def _conflict(
        self, name: str, existing: str, wanted: str, new: Receipt, known: Receipt | None
    ) -> str:
        first = read_hardware(self.url)
        url = self.folder.url_of(name)
        return shard_conflict(url, existing, wanted, new, known, first.made_with if first else None)

    def _publish_receipt(self, receipt: Receipt) -> Receipt:
        name, content = receipt_name(receipt.shard), receipt_content(receipt)
        try:
            self.folder.write_new(name, content)
        except FileExistsError:
            existing = receipt_of(self.url, self.plan, receipt.shard)
            if existing is not None and existing.content == receipt.content:
                return existing
            # The existing receipt is damaged or of another run.
            self.folder.write(name, content)
        return receipt

    def finish(self, description: str, license: str, proven: Collection[int] = ()) -> Manifest:
        """Checks that every shard is there as its receipt has it, and completes the dataset.

        `_SUCCESS` comes last. Safe to call again. proven: shards whose bytes need no reading, as
        they were just written; in a dataset that was completed before, none is read. Raises
        Incomplete; UserError if the dataset was extended in the meantime.
        """
        self._check_plan()
        receipts = self._complete_receipts(frozenset(proven))
        descriptions = describe(self.plan, receipts, description, license)
        hashes = {SOURCE: self.folder.sha256_of(SOURCE)} if self.plan.lists_source else {}
        manifest = make_manifest(self.plan, receipts, self._texts(), descriptions, hashes)
        content = manifest_content(manifest)
        last = {MANIFEST: content, SUCCESS: success_content(manifest, content)}
        for name, data in {**descriptions, **last}.items():
            self.folder.write(name, data)
        self._finish_extension(description, license, proven)
        return manifest

    def _complete_receipts(self, proven: Collection[int]) -> list[Receipt]:
        """The receipts of all shards, in order. Raises Incomplete if one is missing, or if bytes
        that nobody has proven are not those of their receipt."""
        receipts = receipts_of(self.url, self.plan)
        published = published_files(self.url, self.plan)
        missing = [
            spec.shard
            for spec in map(self.plan.shard, range(self.plan.num_shards))
            if spec.shard not in receipts
            or not all(
                file.path in published and published[file.path].size == file.bytes
                for file in receipts[spec.shard].files
            )
        ]
        if missing:
            raise self._incomplete(missing)
        ordered = [receipts[i] for i in range(self.plan.num_shards)]
        if read_success(self.url).get("root") != root_of(ordered):
            altered = self._altered([r for r in ordered if r.shard not in proven])
            if altered:
                raise self._incomplete(altered)
        return ordered

    def _altered(self, receipts: Sequence[Receipt]) -> list[int]:
        """Shards whose bytes are not those that their receipts are for."""
        files = [(receipt.shard, file) for receipt in receipts for file in receipt.files]
        with ThreadPoolExecutor(_NUM_HASHERS) as pool:
            found = pool.map(self.folder.sha256_of, [file.path for _, file in files])
            altered = {
                shard
                for (shard, file), digest in zip(files, found, strict=True)
                if digest != file.sha256
            }
        return sorted(altered)

    def _incomplete(self, shards: Sequence[int]) -> Incomplete:
        paths = ", ".join(self.plan.shard(i).path for i in shards[:5])
        return Incomplete(
            f"{self.url}: {len(shards)} of {counted(self.plan.num_shards, 'shard')} are missing "
            f"or altered: {paths}{', ...' * (len(shards) > 5)}",
            shards,
        )

    def _texts(self) -> dict[str, str]:
        """The files of the run that the manifest holds word for word, by name."""
        texts = {name: self.folder.read_text(name) for name in (CONFIG, ENVIRONMENT)}
        with suppress(FileNotFoundError):
            texts[HARDWARE] = self.folder.read_text(HARDWARE)
        return texts

    def _finish_extension(self, description: str, license: str, proven: Collection[int]) -> None:
        """Finishes the dataset anew if it was extended, and perhaps finished, while the last files
        of this plan were written over those of the larger one."""
        later = find_plan(self.url)
        if plan_files(later) != plan_files(self.plan):
            with suppress(Incomplete):
                Ledger(self.url, later).finish(description, license, proven)
