"""The export of a finished dataset: shard by shard, never the whole in memory."""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any

from factory import storage
from factory.arguments import Location, path_of
from factory.errors import DamagedShard, UnreadableImage, UserError, counted
from factory.exporting.format import Format, Source
from factory.exporting.ledger import ExportLedger
from factory.exporting.options import Options, read_options
from factory.exporting.pairs import pairs_of
from factory.exporting.table import FORMATS
from factory.progress import tell, tracked
from factory.shards.filtering import Uncertainties, limit_of
from factory.shards.manifest import Manifest
from factory.shards.reading import check_has_images, read_manifest, read_shard
from factory.shards.receipts import Receipt
from factory.shards.splits import split_problem

METHOD = 1
"""The version of how exports are made: another one makes other bytes of the same command."""
_NUM_WRITERS = 16
"""Threads that write small files, most of whose time is waiting for the storage."""
_NUM_AHEAD = 2
"""Shards that are read ahead; each is in memory."""


def export(url: Location, to: str, out: Location, **options: Any) -> dict[str, int]:
    """Writes the pairs of a finished dataset as another tool reads them, or what is still missing.

    to: folder, imagefolder, coco, yolo, voc, cityscapes, parquet, webdataset or hub. out: an empty
    folder or URL. options: `val` and `keep`, shares of the pairs for validation and of the most
    certain ones; `split`, the only one that is exported; `polygons`, `instances`, `background`,
    `jpeg` and `mask_column`, as the formats take them. Returns the number of pairs of each split.
    Raises UserError, with nothing written; OSError from the storage, after which the same call goes
    on.
    """
    takes = {name: kind.takes for name, kind in FORMATS.items()}
    chosen = read_options(to, takes, options)
    url = storage.normalize(path_of(url, "url"))
    out = storage.normalize(path_of(out, "out"))
    _check_places(url, to, out)
    manifest = read_manifest(url)
    check_has_images(url, manifest.plan)
    chosen = _with_splits_of(url, manifest, chosen)
    form = FORMATS[to](Source(manifest, chosen))
    if problems := form.problems():
        raise UserError([f"{url}: {problem}" for problem in problems])
    ledger = ExportLedger(out, _identity(manifest, to, chosen))
    ledger.check()
    completed = ledger.completed()
    if completed is None:
        completed = _write(url, manifest, form, chosen, ledger)
        tell(f"{_told(completed['num'])} -> {out}")
    else:
        tell(f"{out} is complete: {_told(completed['num'])}; nothing was written")
    for note in completed["notes"]:
        tell(note)
    return dict(completed["num"])


def _check_places(url: str, to: str, out: str) -> None:
    """Raises UserError if the export would lie in its dataset, or in a store that is not for it."""
    # A link may lead there, too.
    inner, outer = (
        os.path.realpath(each) if storage.is_local(each) else each for each in (out, url)
    )
    if f"{inner}/".startswith(f"{outer}/"):
        raise UserError(f"{out}: lies in the dataset that is exported. Choose another --out.")
    if to == "hub" and not out.startswith("hf://datasets/"):
        raise UserError(
            f"{out}: is no dataset of the Hugging Face Hub. Write --out hf://datasets/owner/name, "
            "or --to parquet for any other place."
        )
    if _is_hub(out) and to != "hub":
        raise UserError(
            f"{out}: the Hugging Face Hub makes a commit of every file. Write --to hub, or choose "
            "another --out, and upload that folder."
        )
    # Names the package that a protocol needs, before anything is read.
    storage.filesystem(out)


def _is_hub(url: str) -> bool:
    return url.startswith("hf://")


def _with_splits_of(url: str, manifest: Manifest, options: Options) -> Options:
    """The options with the splits that the dataset has.

    Raises UserError if others are asked for, or one of which there would be no pairs at all.
    """
    own = manifest.plan.val_fraction
    if own is not None:
        if options.val not in (None, own):
            raise UserError(
                f"val = {options.val}: {url} has a validation split of its own, of {own}; pairs of "
                "its training would be in another one. Leave val out."
            )
        return replace(options, val=own)
    if options.split is not None and options.val is None:
        raise UserError(
            f"split = {options.split!r}: {url} has no validation split. Leave split out, or give "
            "val, too."
        )
    if problem := split_problem(manifest.rows, options.val, "export more pairs"):
        raise UserError(f"val = {problem}")
    return options


def _identity(manifest: Manifest, to: str, options: Options) -> dict[str, Any]:
    """All that decides an export's bytes."""
    chosen = asdict(options)
    if options.split is None:
        # Exports that older versions began do not tell it.
        del chosen["split"]
    return {
        "method": METHOD,
        "format": to,
        "options": chosen,
        "dataset": {
            "run_id": manifest.run_id,
            "num": manifest.rows,
            "root": manifest.root,
        },
    }


def _write(
    url: str, manifest: Manifest, form: Format, options: Options, ledger: ExportLedger
) -> dict[str, Any]:
    """Writes all that is missing; returns what the ledger tells of a complete export."""
    # The bound is that of all splits, so that splits exported one by one are those of one export.
    limit = limit_of(Uncertainties(url, manifest.plan, manifest.receipts), None, options.keep)
    ledger.claim()
    shards = range(manifest.plan.num_shards)
    pending = [manifest.receipts[shard] for shard in ledger.pending(shards)]
    # Two commits of the Hugging Face Hub at a time are in each other's way.
    with ThreadPoolExecutor(1 if _is_hub(ledger.url) else _NUM_WRITERS) as pool:
        read = _read_ahead(url, pending)
        for receipt, files in tracked(read, "export", len(pending), "shards"):
            try:
                pairs = pairs_of(manifest.plan, receipt.shard, files, options, limit)
                made = form.shard_files(receipt.shard, pairs)
            except (DamagedShard, UnreadableImage) as error:
                raise UserError(
                    f"{storage.join(url, receipt.path)}: {error}. Run `factory verify --level "
                    "decode` on the dataset."
                ) from None
            # All are written, or the first error is raised.
            list(pool.map(lambda file: ledger.folder.write(*file), made.files))
            ledger.record(receipt.shard, pairs, made)
    summary = ledger.summary(shards, options.splits)
    for name, chunks in form.last_files(summary):
        ledger.folder.write_chunks(name, chunks)
    empty = [split for split, num in summary.num.items() if not num]
    notes = [*(f"{split} is empty: keep left no pair of it" for split in empty)]
    notes += form.notes(summary)
    ledger.complete(summary.num, notes)
    return {"num": summary.num, "notes": notes}


def _read_ahead(url: str, receipts: Sequence[Receipt]) -> Iterator[tuple[Receipt, list[bytes]]]:
    """Each receipt with the files of its shard, read while those before are worked on."""
    ahead: deque[tuple[Receipt, Future[list[bytes]]]] = deque()
    with ThreadPoolExecutor(_NUM_AHEAD) as pool:
        for receipt in receipts:
            ahead.append((receipt, pool.submit(read_shard, url, receipt)))
            if len(ahead) > _NUM_AHEAD:
                first, files = ahead.popleft()
                yield first, files.result()
        while ahead:
            first, files = ahead.popleft()
            yield first, files.result()


def _told(num: Mapping[str, int]) -> str:
    """How many pairs there are, in words."""
    total = counted(sum(num.values()), "pair")
    parts = ", ".join(f"{more:,} {split}" for split, more in num.items())
    return f"{total} ({parts})" if len(num) > 1 else total
