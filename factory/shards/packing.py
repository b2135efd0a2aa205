"""The files of a shard: made of its samples, and read as one."""

import heapq
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from factory.shards import tar_metadata
from factory.shards.mask_files import Read, RowImages
from factory.shards.plan import Plan, ShardSpec, StoredRow
from factory.shards.schema import EncodedSample
from factory.shards.splits import split_of


def pack(plan: Plan, spec: ShardSpec, samples: Sequence[EncodedSample]) -> dict[str, bytes]:
    """All files of a shard of these samples, by name, masks that are files included.

    Raises DamagedShard.
    """
    files = {}
    for split, path in zip(spec.splits, spec.data_paths, strict=True):
        files[path] = plan.pack(
            [each for each in samples if split_of(each.fields["key"], plan.val_fraction) == split]
        )
    for path, tar in spec.tables.items():
        files[path] = tar_metadata.encode(files[tar], tar, plan.classes, plan.run, plan.columns)
    if plan.format == "png":
        files |= {each.fields["mask_path"]: each.mask_png for each in samples}
    return files


def merged_rows(
    plan: Plan,
    files: Sequence[bytes | BinaryIO],
    read: Read | None = None,
    images: RowImages | None = None,
) -> Iterator[StoredRow]:
    """The samples of the files of a shard that hold such, in order of their keys, few in memory.

    read, images: as for `Plan.rows`. Raises DamagedShard.
    """
    parts = [plan.rows(data, read, images) for data in files]
    return parts[0] if len(parts) == 1 else heapq.merge(*parts, key=_order)


def _order(row: StoredRow) -> tuple[int, str]:
    # Keys are numbers, of nine digits or, beyond a billion samples, more.
    key = str(row.fields["key"])
    return len(key), key
