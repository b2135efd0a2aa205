"""Writes the files of an export: those of each pair, or files of many pairs."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from factory.exporting.format import HUB_SPLITS, PairFormat, ShardFormat
from factory.exporting.ledger import DATA, ExportLedger, ShardRecord, add_counts
from factory.exporting.options import ExportSplit, Options
from factory.exporting.pairs import Dataset, Shard
from factory.progress import tracked
from factory.shards.schema import EncodedSample
from factory.threads import ahead

_NUM_WRITERS = 16
"""Threads that write small files, most of whose time is waiting for the storage."""
_NUM_WAITING = 2 * _NUM_WRITERS
"""Small files that wait for a thread; each is in memory."""
_MEGABYTE = 10**6
_FEWEST_DIGITS = 5


def write_pairs(dataset: Dataset, form: PairFormat, ledger: ExportLedger) -> None:
    """Writes the files of each pair of all shards that are not done yet.

    Raises UserError if a shard is damaged, OSError from the storage.
    """
    with ThreadPoolExecutor(_NUM_WRITERS) as pool:
        for shard in _pending(dataset, ledger):
            record = ShardRecord()
            with shard.named_in_errors():
                files = _files_of_pairs(shard, form, record)
                for _ in ahead(pool, lambda file: ledger.folder.write(*file), files, _NUM_WAITING):
                    pass
            ledger.record(shard.spec.shard, record)


def _files_of_pairs(
    shard: Shard, form: PairFormat, record: ShardRecord
) -> Iterator[tuple[str, bytes]]:
    """The names and the contents of the files of a shard's pairs; adds what they tell to
    the record."""
    for pair in shard.pairs():
        made = form.pair_files(pair)
        record.num[pair.split] = record.num.get(pair.split, 0) + 1
        for name, lines in made.lines.items():
            record.lines.setdefault(name, []).extend(lines)
        add_counts(record.counts, made.counts)
        yield from made.files


def write_shards(
    dataset: Dataset, form: ShardFormat, options: Options, ledger: ExportLedger
) -> None:
    """Writes a file of each split for each shard that is not done yet; none where a shard has no
    pair of it.

    Raises as `write_pairs` does.
    """
    digits = dataset.manifest.plan.num_digits
    for shard in _pending(dataset, ledger):
        record = ShardRecord()
        for split in options.splits:
            rows = _numbered(_rows(form, split, [shard]), shard.spec.shard, form, options)
            files = _write_files(rows, form, split, digits, ledger)
            record.num[split] = sum(file.num for file in files)
        ledger.record(shard.spec.shard, record)


def write_resized(
    dataset: Dataset, form: ShardFormat, options: Options, ledger: ExportLedger
) -> None:
    """Writes the files of each split that are not done yet, of another size than the shards.

    The dataset is read once for each split. Raises as `write_pairs` does.
    """
    plan = dataset.manifest.plan
    digits = max(_FEWEST_DIGITS, len(str(plan.num - 1)))
    for split in options.splits:
        number, start = ledger.next_file(split)
        left = [spec.shard for spec in plan.shards() if spec.stop > start]
        shards = tracked(dataset.shards(left), f"export {split}", len(left), "shards")
        rows = _numbered(_rows(form, split, shards, start), number, form, options)
        for file in _write_files(rows, form, split, digits, ledger):
            ledger.record_file(split, file.number, file.num, file.stop)


def _pending(dataset: Dataset, ledger: ExportLedger) -> Iterator[Shard]:
    """The shards that are not done yet."""
    pending = ledger.pending(range(dataset.manifest.plan.num_shards))
    return tracked(dataset.shards(pending), "export", len(pending), "shards")


@dataclass(frozen=True, eq=False)
class _Row:
    """A row of a file, and the index of its pair."""

    index: int
    encoded: EncodedSample


def _rows(
    form: ShardFormat, split: ExportSplit, shards: Iterable[Shard], start: int = 0
) -> Iterator[_Row]:
    """The rows of the pairs of a split in some shards, from the pair of index start on."""
    for shard in shards:
        with shard.named_in_errors():
            for pair in shard.pairs(split, start):
                yield _Row(pair.index, form.row(pair))


def _numbered(
    rows: Iterable[_Row], number: int, form: ShardFormat, options: Options
) -> Iterator[tuple[int, _Row]]:
    """Each row with the number of its file, which for the first one is given. A file ends where the
    options say so, if they do; it has at least one row."""
    most_bytes = None if options.shard_megabytes is None else options.shard_megabytes * _MEGABYTE
    num = size = 0
    for row in rows:
        more = 0 if most_bytes is None else form.size_of(row.encoded)
        is_full = num == options.samples_per_shard
        if num and (is_full or (most_bytes is not None and size + more > most_bytes)):
            number += 1
            num = size = 0
        num += 1
        size += more
        yield number, row


@dataclass
class _File:
    """A file of many pairs, of which so much is written."""

    number: int
    num: int = 0
    """The number of its pairs."""
    stop: int = 0
    """The index behind that of its last pair."""

    def count(self, rows: Iterable[tuple[int, _Row]]) -> Iterator[EncodedSample]:
        """Counts its rows while they are written."""
        for _, row in rows:
            self.num += 1
            self.stop = row.index + 1
            yield row.encoded


def _write_files(
    rows: Iterable[tuple[int, _Row]],
    form: ShardFormat,
    split: ExportSplit,
    digits: int,
    ledger: ExportLedger,
) -> Iterator[_File]:
    """Writes files of rows with their numbers; yields each when it is written."""
    for number, group in groupby(rows, key=itemgetter(0)):
        file = _File(number)
        name = f"{DATA}/{HUB_SPLITS[split]}-{number:0{digits}d}{form.ending}"
        ledger.folder.write_chunks(name, form.chunks(file.count(group)))
        yield file
