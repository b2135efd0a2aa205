"""The export of a finished dataset: pair by pair, never the whole in memory."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from factory import storage
from factory.arguments import Location, path_of
from factory.errors import UserError, counted
from factory.exporting.format import Format, PairFormat, ShardFormat, Source, Summary
from factory.exporting.ledger import ExportLedger
from factory.exporting.options import Options, read_options
from factory.exporting.pairs import Dataset, check_whole
from factory.exporting.table import FORMATS
from factory.exporting.writing import write_pairs, write_resized, write_shards
from factory.generation.row_images import RowImages
from factory.progress import tell
from factory.proving.proof import read_proof
from factory.shards.filtering import Pairs, bound_of
from factory.shards.manifest import Manifest
from factory.shards.reading import read_manifest
from factory.shards.splits import split_problem

METHOD = 1
"""The version of how exports are made: another one makes other bytes of the same command."""


def export(url: Location, to: str, out: Location, **options: Any) -> dict[str, int]:
    """Writes the pairs of a finished dataset as another tool reads them, or what is still missing.

    to: folder, imagefolder, coco, yolo, voc, cityscapes, parquet, webdataset or hub. out: an empty
    folder or URL. options: `val` and `keep`, shares of the pairs for validation and of the most
    certain ones; `min_expected_iou`, in place of `keep`, that of the masks that are exported;
    `split`, the only one that is; `samples_per_shard` or `shard_megabytes`, the size of files of
    many pairs; `polygons`, `instances`, `background`, `jpeg` and `mask_column`, as the formats take
    them. Returns the number of pairs of each split, `train` and `val` whatever the format calls
    them. Raises UserError, with nothing written; OSError from the storage, after which the same
    call goes on.
    """
    takes = {name: kind.takes for name, kind in FORMATS.items()}
    chosen = read_options(to, takes, options)
    url = storage.normalize(path_of(url, "url"))
    out = storage.normalize(path_of(out, "out"))
    _check_places(url, to, out)
    manifest = read_manifest(url)
    chosen = _with_splits_of(url, manifest, chosen)
    form = FORMATS[to](Source(manifest, chosen, read_proof(url, manifest.root)))
    if problems := form.problems():
        raise UserError([f"{url}: {problem}" for problem in problems])
    ledger = ExportLedger(out, _identity(manifest, to, chosen))
    ledger.check()
    completed = ledger.completed()
    if completed is None:
        check_whole(url, manifest)
        images = _images_of(url, manifest)
        # That of all splits, so that splits exported one by one are those of one export.
        pairs = Pairs(url, manifest.plan, manifest.receipts)
        bound = bound_of(pairs, None, chosen.keep, chosen.min_expected_iou)
        dataset = Dataset(url, manifest, chosen, bound, images)
        summary = _write(dataset, form, chosen, ledger)
        completed = ledger.complete(summary.num, _notes(form, summary))
        tell(f"{_in_words(completed['num'])} -> {out}")
    else:
        tell(f"{out} is complete: {_in_words(completed['num'])}; nothing was written")
    for note in completed["notes"]:
        tell(note)
    return dict(completed["num"])


def _images_of(url: str, manifest: Manifest) -> RowImages | None:
    """The images beside a dataset of mask files; None of a dataset that has them in its shards.

    Raises UserError if their source cannot be listed any more.
    """
    if manifest.plan.format != "png":
        return None
    images = RowImages(url)
    images.check()
    return images


def _check_places(url: str, to: str, out: str) -> None:
    """Raises UserError if the export would lie in its dataset, or in a store that is not for it."""
    if storage.lies_in(out, url):
        raise UserError(f"{out}: lies in the dataset that is exported. Choose another --out.")
    if to == "hub" and not out.startswith("hf://datasets/"):
        raise UserError(
            f"{out}: is no dataset of the Hugging Face Hub. Write --out hf://datasets/owner/name, "
            "or --to parquet for any other place."
        )
    if out.startswith("hf://") and to != "hub":
        raise UserError(
            f"{out}: the Hugging Face Hub makes a commit of every file. Write --to hub, or choose "
            "another --out, and upload that folder."
        )
    # Names the package that a protocol needs, before anything is read.
    storage.filesystem(out)
    if to == "hub":
        storage.check_hub_dataset(out)


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
    # Exports that older versions began do not tell these.
    for name in ("split", "min_expected_iou"):
        if chosen[name] is None:
            del chosen[name]
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


def _write(dataset: Dataset, form: Format, options: Options, ledger: ExportLedger) -> Summary:
    """Writes all that is missing but what completes the export; returns what its records tell."""
    ledger.claim()
    if isinstance(form, PairFormat):
        write_pairs(dataset, form, ledger)
    elif isinstance(form, ShardFormat) and options.resizes_shards:
        write_resized(dataset, form, options, ledger)
    elif isinstance(form, ShardFormat):
        write_shards(dataset, form, options, ledger)
    if options.resizes_shards:
        summary = ledger.summary_of_files(options.splits)
    else:
        summary = ledger.summary(range(dataset.manifest.plan.num_shards), options.splits)
    if isinstance(form, ShardFormat):
        summary = replace(summary, num_bytes=ledger.num_bytes(options.splits))
    for name, chunks in form.last_files(summary):
        ledger.folder.write_chunks(name, chunks)
    return summary


def _notes(form: Format, summary: Summary) -> list[str]:
    """What somebody should know who reads the export, a sentence each."""
    empty = [split for split, num in summary.num.items() if not num]
    return [f"{split} is empty: no pair of it was kept" for split in empty] + form.notes(summary)


def _in_words(num: Mapping[str, int]) -> str:
    """How many pairs there are, in words."""
    total = counted(sum(num.values()), "pair")
    parts = ", ".join(f"{more:,} {split}" for split, more in num.items())
    return f"{total} ({parts})" if len(num) > 1 else total
