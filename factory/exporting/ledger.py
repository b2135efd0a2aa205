"""The ledger of an export: what lies at its URL, and which shards are done. Nothing is deleted
but what killed runs left half written.

`_export/export.json` comes first, create-only, and says of what and how the export is made. The
files of each shard follow, then that shard's record, so that whoever finds a record finds the
files. Where files have another size than the dataset's shards, each file has a record, which says
where the next one begins. The files that sum all up come last, and then `_export/complete.json`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any

from factory import faults
from factory.differences import differences
from factory.errors import UserError
from factory.exporting.format import HUB_SPLITS, Summary
from factory.exporting.options import ExportSplit
from factory.shards.free_place import check_free
from factory.shards.layout import to_json
from factory.storage import TEMPORARY, Folder, is_local, remove_abandoned, to_user_error

LEDGER = "_export"
IDENTITY = f"{LEDGER}/export.json"
SHARDS = f"{LEDGER}/shards"
COMPLETE = f"{LEDGER}/complete.json"
DATA = "data"
"""The folder of files of many pairs."""


@dataclass
class ShardRecord:
    """What is known of a shard whose files are written."""

    num: dict[str, int] = field(default_factory=dict)
    """The number of its pairs of each split."""
    lines: dict[str, list[str]] = field(default_factory=dict)
    """Those of `PairFiles` of all its pairs."""
    counts: dict[str, list[int]] = field(default_factory=dict)
    """The sums of those of `PairFiles` of all its pairs."""


@dataclass(frozen=True)
class ExportLedger:
    """An export at a URL, as the runs of one command make it."""

    url: str
    identity: Mapping[str, Any]
    """All that decides the export's bytes, as JSON: its dataset, its format, its options."""

    @property
    def folder(self) -> Folder:
        """The files of the export."""
        return Folder(self.url)

    def check(self) -> None:
        """Raises UserError if the URL holds another export, or anything that is none, or if it
        cannot be read."""
        try:
            existing = self._existing()
        except OSError as error:
            remedy = "Name a place that you may read and write."
            raise to_user_error(self.url, error, "read", remedy) from None
        if existing and (found := differences(existing, dict(self.identity))):
            raise UserError(
                f"{self.url}: holds another export. Choose another --out, or go back to its "
                "settings to go on with it. The difference:\n  " + "\n  ".join(found)
            )

    def _existing(self) -> dict[str, Any] | None:
        """The identity of the export at the URL, None if it is empty. Raises UserError if it holds
        anything else."""
        try:
            return self._read(IDENTITY)
        except FileNotFoundError:
            names = self.folder.entries()
        if IDENTITY in names:
            # Another command has just begun.
            return self._read(IDENTITY)
        check_free(self.url, names)
        return None

    def claim(self) -> None:
        """Writes what the export is, or finds it written; removes what killed runs left half
        written. Raises UserError if that cannot be done, or if another command was faster."""
        try:
            with suppress(FileExistsError):
                self.folder.write_new(IDENTITY, to_json(dict(self.identity)))
        except OSError as error:
            remedy = "Name a place that you may write to."
            raise to_user_error(self.url, error, "written", remedy) from None
        self.check()
        if is_local(self.url):
            remove_abandoned(self.url)

    def pending(self, shards: range) -> list[int]:
        """The numbers of the shards that are not done, in order. Costs one listing."""
        done = self._records()
        return [shard for shard in shards if _record(shard) not in done]

    def record(self, shard: int, content: ShardRecord) -> None:
        """Says that a shard is done; all its files must be there."""
        faults.hit("export.written")
        self.folder.write(_record(shard), to_json({"shard": shard, **asdict(content)}))

    def next_file(self, split: ExportSplit) -> tuple[int, int]:
        """The number of the first file of a split that is not done, and the index of the first pair
        that is not in a file before it. Costs one listing."""
        done = self._records()
        number = next(i for i in count() if _record_of_file(split, i) not in done)
        if number == 0:
            return 0, 0
        return number, int(self._read(_record_of_file(split, number - 1))["stop"])

    def record_file(self, split: ExportSplit, number: int, num: int, stop: int) -> None:
        """Says that a file of a split is done; all of its num pairs must be in it.

        stop: the index behind that of its last pair.
        """
        faults.hit("export.written")
        content = {"split": split, "file": number, "num": num, "stop": stop}
        self.folder.write(_record_of_file(split, number), to_json(content))

    def _records(self) -> set[str]:
        """The names of all records; what a store has of one that was not written is empty."""
        return {name for name, entry in self.folder.entries(SHARDS).items() if entry.size}

    def summary_of_files(self, splits: Sequence[ExportSplit]) -> Summary:
        """What the records of all files tell together."""
        num: dict[str, int] = {
            split: sum(
                self._read(_record_of_file(split, number))["num"]
                for number in range(self.next_file(split)[0])
            )
            for split in splits
        }
        return Summary(num, {}, lambda name: iter(()))

    def summary(self, shards: range, splits: Sequence[ExportSplit]) -> Summary:
        """What the records of all shards tell together; one of them is in memory."""
        num: dict[str, int] = dict.fromkeys(splits, 0)
        counts: dict[str, list[int]] = {}
        for record in map(self._read_record, shards):
            for split, more in record["num"].items():
                num[split] += more
            add_counts(counts, record["counts"])

        def read_lines(name: str) -> Iterator[str]:
            for shard in shards:
                yield from self._read_record(shard)["lines"].get(name, [])

        return Summary(num, counts, read_lines)

    def num_bytes(self, splits: Sequence[ExportSplit]) -> dict[str, int]:
        """The size of the files of many pairs of each split. Costs one listing."""
        files = self.folder.entries(DATA)
        return {
            split: sum(
                entry.size
                for name, entry in files.items()
                if name.startswith(f"{DATA}/{HUB_SPLITS[split]}-") and not TEMPORARY.search(name)
            )
            for split in splits
        }

    def completed(self) -> dict[str, Any] | None:
        """What `complete` wrote; None before."""
        try:
            return self._read(COMPLETE)
        except FileNotFoundError:
            return None

    def complete(self, num: Mapping[str, int], notes: Sequence[str]) -> dict[str, Any]:
        """Says that all files are there; returns what it wrote."""
        content = {"num": dict(num), "notes": list(notes)}
        self.folder.write(COMPLETE, to_json(content))
        return content

    def _read_record(self, shard: int) -> dict[str, Any]:
        return self._read(_record(shard))

    def _read(self, name: str) -> dict[str, Any]:
        """A file of the ledger. Raises FileNotFoundError; UserError if it is damaged."""
        try:
            content = json.loads(self.folder.read_bytes(name))
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise UserError(
                f"{self.folder.url_of(name)}: is damaged. Export to another --out, or restore it."
            )
        return content


def add_counts(sums: dict[str, list[int]], more: Mapping[str, Sequence[int]]) -> None:
    """Adds numbers to the sums of their names."""
    for name, values in more.items():
        before = sums.get(name, [0] * len(values))
        sums[name] = [a + b for a, b in zip(before, values, strict=True)]


def _record(shard: int) -> str:
    """The name of the record of a shard."""
    return f"{SHARDS}/{shard:05d}.json"


def _record_of_file(split: ExportSplit, number: int) -> str:
    """The name of the record of a file. `datasets` would take one that has the split as a word for
    data of that split."""
    return f"{SHARDS}/{split[0]}-{number:05d}.json"
