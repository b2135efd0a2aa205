"""Reads and checks the plan, receipts, manifest and shards that a dataset holds."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import BufferedReader
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from factory import storage
from factory.errors import UserError, counted
from factory.shards.layout import (
    EXTENSIONS,
    HARDWARE,
    LEDGER,
    MANIFEST,
    RUN,
    SHARDS,
    SUCCESS,
    Extension,
    receipt_name,
)
from factory.shards.manifest import Manifest, receipt_content
from factory.shards.mask_files import RowImages
from factory.shards.packing import merged_rows
from factory.shards.plan import DATA, METADATA, Plan, ShardSpec, StoredRow
from factory.shards.receipts import Hardware, Receipt, ShardFile, fits
from factory.shards.splits import SPLITS, Split
from factory.storage import Entry, Folder, hub

NUM_READERS = 16
"""Threads that read small files, or shards of which each is in memory while it is read."""
_REPAIR = "Run `factory repair` on the dataset."

Model = TypeVar("Model", bound=BaseModel)


def read_model(url: str, name: str, kind: type[Model]) -> Model:
    """A JSON file of the dataset. Raises FileNotFoundError; UserError if it is damaged."""
    folder = Folder(url)
    try:
        return kind.model_validate_json(folder.read_bytes(name))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{folder.url_of(name)}: is damaged or of another version ({where or 'JSON'}: "
            f"{first['msg']}). Restore the file, or choose another --out."
        ) from None


# The plan


def find_plan(url: str) -> Plan:
    """The plan with its extensions. Raises FileNotFoundError; UserError if it is damaged."""
    plan = read_model(url, RUN, Plan)
    folder = Folder(url)
    for name in folder.names_in(EXTENSIONS, suffixes=[".json"]):
        try:
            plan = plan.extended(read_model(url, name, Extension).num)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            raise UserError(
                f"{folder.url_of(name)}: is damaged ({message}). Restore the file."
            ) from None
    return plan


def read_plan(url: str) -> Plan:
    """The plan of the dataset at url. Raises UserError if there is none, or it is damaged."""
    try:
        return find_plan(url)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{url}: holds no dataset of this factory (no {RUN}). {_remedy(url)}"
        ) from None


def _remedy(url: str) -> str:
    """Returns advice about a URL that holds no dataset."""
    above = url
    for _ in range(2):
        above = storage.parent(above) or above
        if storage.exists(storage.join(above, RUN)):
            return f"It is a part of one: name {above}."
    if found := hub.url_of_name(url, "datasets/"):
        return f"For a dataset of the Hugging Face Hub write {found}."
    return "Check the place, or make one with `factory generate`."


# Listings


def all_files(url: str) -> dict[str, Entry]:
    """All files of a dataset by name, hidden ones too. Raises UserError if there is none."""
    listing = Folder(url).entries()
    if not any(name.startswith(f"{LEDGER}/") for name in listing):
        read_plan(url)
    return listing


def published_files(url: str, plan: Plan) -> dict[str, Entry]:
    """The files of shards, without masks, and the receipts by name; costs a listing of each of
    their two or three folders."""
    folder, found = Folder(url), {}
    for name in (DATA, SHARDS, *([METADATA] if plan.has_metadata else [])):
        found.update(folder.entries(name))
    return found


def pending_shards(plan: Plan, published: Mapping[str, Entry]) -> Iterator[ShardSpec]:
    """The shards of which a file or the receipt is missing or empty, in order.

    published: as `published_files` returns it. Receipts are read only when a run finishes.
    """
    filled = {name for name, entry in published.items() if entry.size}
    for spec in map(plan.shard, range(plan.num_shards)):
        # Without its receipt, a shard need not say which files it has.
        if receipt_name(spec.shard) not in filled or not filled.issuperset(spec.paths):
            yield spec


# Receipts


def read_receipts(url: str) -> dict[int, Receipt]:
    """Receipts that fit the plan, by shard number. Raises UserError as `read_plan` does."""
    return receipts_of(url, read_plan(url))


def receipts_of(url: str, plan: Plan) -> dict[int, Receipt]:
    """Receipts that fit the plan, by shard number; others count as missing.

    Costs one listing, and one small read a receipt, many at once.
    """
    names = Folder(url).names_in(SHARDS, suffixes=[".json"])
    with ThreadPoolExecutor(NUM_READERS) as pool:
        found = pool.map(lambda name: read_receipt(url, name, plan), names)
        return {receipt.shard: receipt for receipt in found if receipt is not None}


def last_receipt(url: str, plan: Plan) -> Receipt | None:
    """The receipt of the last published shard; None if there is none. Costs one listing."""
    names = Folder(url).names_in(SHARDS, suffixes=[".json"])
    found = (read_receipt(url, name, plan) for name in reversed(names))
    return next((receipt for receipt in found if receipt is not None), None)


def receipt_of(url: str, plan: Plan, shard: int) -> Receipt | None:
    """The receipt of a shard; None as for `read_receipt`."""
    return read_receipt(url, receipt_name(shard), plan)


def read_receipt(url: str, name: str, plan: Plan) -> Receipt | None:
    """The receipt of this name; None if it is missing, damaged, or does not fit the plan."""
    try:
        content = Folder(url).read_bytes(name)
        receipt = Receipt.model_validate_json(content)
    except (FileNotFoundError, IsADirectoryError, ValidationError):
        return None
    if content != receipt_content(receipt) or name != receipt_name(receipt.shard):
        return None
    return receipt if fits(receipt, plan) else None


# What completes a dataset


def read_hardware(url: str) -> Hardware | None:
    """The hardware of the dataset's first process; None before one came, and if older code made
    the dataset. Raises UserError if the file is damaged."""
    try:
        return read_model(url, HARDWARE, Hardware)
    except FileNotFoundError:
        return None


def read_success(url: str) -> dict[str, Any]:
    """The content of `_SUCCESS`; empty if it is missing or damaged."""
    try:
        content = json.loads(Folder(url).read_bytes(SUCCESS))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_manifest(url: str) -> Manifest:
    """The manifest of a finished dataset.

    Raises UserError if there is no dataset, or an unfinished or damaged one.
    """
    plan = read_plan(url)
    if not Folder(url).exists(SUCCESS):
        num_done = len(receipts_of(url, plan))
        raise UserError(
            f"{url}: is unfinished, {num_done} of {counted(plan.num_shards, 'shard')} done. "
            f"Run the same `factory {plan.command}` again to complete it."
        )
    try:
        manifest = read_model(url, MANIFEST, Manifest)
    except FileNotFoundError:
        manifest = None
    if manifest is None or not manifest.holds(plan.run_id):
        raise UserError(
            f"{url}: {MANIFEST} is missing or altered. "
            f"Run the same `factory {plan.command}` again to write it anew."
        )
    return manifest


def receipts_to_read(
    url: str, plan: Plan, partial: bool, split: Split | None = None
) -> list[Receipt]:
    """The receipts of a finished dataset's shards in order; with partial, of those that are done.

    split: what the shards have of it, as `Receipt.of_split` tells; None: all. Raises UserError as
    `read_manifest` does, if none is done, and for a split that there is not.
    """
    check_flag("partial", partial)
    _check_split(url, plan, split)
    if partial:
        done = receipts_of(url, plan)
        receipts = [done[i] for i in sorted(done)]
    else:
        receipts = read_manifest(url).receipts
    if split is not None:
        receipts = [part for each in receipts if (part := each.of_split(split)) is not None]
    if not receipts:
        of_it = "" if split is None else f" that has samples of split {split!r}"
        raise UserError(
            f"{url}: none of its shards{of_it} is done yet. "
            f"Run the same `factory {plan.command}` again."
        )
    return receipts


def check_flag(name: str, value: object) -> None:
    """Raises UserError for a value that is neither True nor False, such as the text "False"."""
    if not isinstance(value, bool):
        raise UserError(f"{name} = {value!r}: must be True or False.")


def _check_split(url: str, plan: Plan, split: object) -> None:
    """Raises UserError for a split that the dataset does not have."""
    if split is not None and split not in SPLITS:
        names = " or ".join(map(repr, SPLITS))
        raise UserError(f"split = {split!r}: must be {names}; None, the default, takes all.")
    if split is not None and split not in plan.splits:
        raise UserError(
            f"split = {split!r}: {url} was made without a validation split. Leave split out, or "
            "make a dataset with generate.val_fraction."
        )


def check_has_images(url: str, plan: Plan, images: RowImages | None = None) -> None:
    """Raises UserError for a dataset of mask files without the images that were labelled."""
    if plan.format == "png" and images is None:
        raise UserError(
            f"{url}: holds mask files without images. `factory.open_dataset` reads them together "
            "with the images where these lie; for all else `factory export --to parquet` makes "
            "rows of both."
        )


def read_rows(
    url: str, plan: Plan, receipt: Receipt, images: RowImages | None = None
) -> Iterator[StoredRow]:
    """The samples of a shard as they are stored, in order of their keys.

    images: of a dataset of mask files, those that were labelled. Raises UserError if a file is
    missing or altered, DamagedShard.
    """
    return merged_rows(plan, read_shard(url, receipt), Folder(url).read_bytes, images)


def read_shard(url: str, receipt: Receipt) -> list[bytes]:
    """The files of a shard that hold samples; see `read_file`."""
    return [read_file(url, file) for file in receipt.data_files]


def read_file(url: str, file: ShardFile) -> bytes:
    """The bytes that a receipt is for. Raises UserError if they are missing or altered."""
    file_url = storage.join(url, file.path)
    try:
        data = storage.read_bytes(file_url)
    except (FileNotFoundError, IsADirectoryError):
        raise missing(file_url) from None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise _altered(file_url, data)
    return data


def open_shard(url: str, receipt: Receipt) -> list[BufferedReader]:
    """The files of a shard that hold samples, open for reading; see `open_file`."""
    with ExitStack() as stack:
        files = [stack.enter_context(open_file(url, file)) for file in receipt.data_files]
        stack.pop_all()
    return files


def open_file(url: str, file: ShardFile) -> BufferedReader:
    """The file that a receipt is for, open for reading; one of a store is copied to this machine
    first, and the copy is gone when it is closed.

    Raises UserError as `read_file` does.
    """
    file_url = storage.join(url, file.path)
    try:
        opened = storage.open_copy(file_url)
    except (FileNotFoundError, IsADirectoryError):
        raise missing(file_url) from None
    if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
        with opened:
            opened.seek(0)
            raise _altered(file_url, opened.read(1024))
    opened.seek(0)
    return opened


def missing(file_url: str) -> UserError:
    """The refusal of a file that is not there."""
    return UserError(f"{file_url}: is missing. {_REPAIR}")


def _altered(file_url: str, first_bytes: bytes) -> UserError:
    damaged = f"is damaged, its sha256 is not its receipt's. {_REPAIR}"
    return UserError(f"{file_url}: {hub.pointer_problem(first_bytes) or damaged}")
