"""The ledger of an export: what lies at its URL, and which shards are done. Nothing is deleted.

`_export/export.json` comes first, create-only, and says of what and how the export is made. The
files of each shard follow, then that shard's record, so that whoever finds a record finds the
files. The files that sum all up come last, and then `_export/complete.json`.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from factory import faults
from factory.differences import differences
from factory.errors import UserError, some
from factory.exporting.format import ShardFiles, Summary
from factory.exporting.pairs import Pair
from factory.shards.layout import to_json
from factory.shards.verification import TEMPORARY
from factory.storage import Folder, to_user_error

LEDGER = "_export"
IDENTITY = f"{LEDGER}/export.json"
SHARDS = f"{LEDGER}/shards"
COMPLETE = f"{LEDGER}/complete.json"
_OF_STORES = (".gitattributes",)
"""Files that a new repository of the Hugging Face Hub has."""


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
        if found := [n for n in names if not TEMPORARY.search(n) and n not in _OF_STORES]:
            raise UserError(
                f"{self.url}: is not empty ({some(found)}), and holds no export. Choose "
                "another --out."
            )
        return None

    def claim(self) -> None:
        """Writes what the export is, or finds it written. Raises UserError if that cannot be done,
        or if another command was faster."""
        try:
            with suppress(FileExistsError):
                self.folder.write_new(IDENTITY, to_json(dict(self.identity)))
        except OSError as error:
            remedy = "Name a place that you may write to."
            raise to_user_error(self.url, error, "written", remedy) from None
        self.check()

    def pending(self, shards: range) -> list[int]:
        """The numbers of the shards that are not done, in order. Costs one listing."""
        done = {name for name, entry in self.folder.entries(SHARDS).items() if entry.size}
        return [shard for shard in shards if _record(shard) not in done]

    def record(self, shard: int, pairs: Sequence[Pair], made: ShardFiles) -> None:
        """Says that a shard is done; all its files must be there."""
        faults.hit("export.written")
        num = Counter(pair.split for pair in pairs)
        content = {"shard": shard, "num": dict(num), "lines": made.lines, "counts": made.counts}
        self.folder.write(_record(shard), to_json(content))

    def summary(self, shards: range, splits: Sequence[str]) -> Summary:
        """What the records of all shards tell together; one of them is in memory."""
        num = dict.fromkeys(splits, 0)
        counts: dict[str, list[int]] = {}
        for record in map(self._read_record, shards):
            for split, more in record["num"].items():
                num[split] += more
            for name, values in record["counts"].items():
                before = counts.get(name, [0] * len(values))
                counts[name] = [a + b for a, b in zip(before, values, strict=True)]

        def read_lines(name: str) -> Iterator[str]:
            for shard in shards:
                yield from self._read_record(shard)["lines"].get(name, [])

        return Summary(num, counts, read_lines)

    def completed(self) -> dict[str, Any] | None:
        """What `complete` wrote; None before."""
        try:
            return self._read(COMPLETE)
        except FileNotFoundError:
            return None

    def complete(self, num: Mapping[str, int], notes: Sequence[str]) -> None:
        """Says that all files are there."""
        self.folder.write(COMPLETE, to_json({"num": dict(num), "notes": list(notes)}))

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


def _record(shard: int) -> str:
    """The name of the record of a shard."""
    return f"{SHARDS}/{shard:05d}.json"
