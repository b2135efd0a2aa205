"""Which samples are for validation: their keys decide, so it is the same on every machine."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

from factory.errors import counted
from factory.shards.schema import sample_key

Split = Literal["train", "validation"]
TRAIN: Split = "train"
VALIDATION: Split = "validation"
SPLITS: tuple[Split, ...] = get_args(Split)
"""The splits in their order, named as `datasets` names them."""


class SplitSize(NamedTuple):
    """How much is of a split."""

    rows: int
    bytes: int
    """Of the files that hold the rows."""


def split_of(key: str, val_fraction: float | None) -> Split:
    """The split of the sample of this key; val_fraction: the share for validation, above 0 and
    below 1, None for none.

    A sample is for validation if the first eight bytes of the SHA-256 of its key, as a whole number
    with the most significant byte first, are below val_fraction * 2^64. So its split depends on its
    key and the share alone: it is the same on every machine, in any order, however many samples
    there are, and a sample that is for validation stays so with a larger share.
    """
    if val_fraction is None:
        return TRAIN
    number = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return VALIDATION if number < val_fraction * 2.0**64 else TRAIN


def splits_of(indices: Iterable[int], val_fraction: float | None) -> tuple[Split, ...]:
    """The splits that samples of these numbers are of, in order of SPLITS."""
    if val_fraction is None:
        return (TRAIN,)
    seen: set[Split] = set()
    for index in indices:
        seen.add(split_of(sample_key(index), val_fraction))
        if len(seen) == len(SPLITS):
            break
    return tuple(split for split in SPLITS if split in seen)


@lru_cache(maxsize=2**17)
def splits_of_range(start: int, stop: int, val_fraction: float) -> tuple[Split, ...]:
    """As `splits_of`, of the samples start..stop-1; what was asked before is known."""
    return splits_of(range(start, stop), val_fraction)


def split_problem(num: int, val_fraction: float | None, more: str = "more pairs") -> str | None:
    """Why a dataset of num samples has nothing of one of two splits, and what to do; None if it has
    both, or val_fraction is None. more: how to have more samples."""
    found = splits_of(range(num), val_fraction)
    if val_fraction is None or len(found) == len(SPLITS):
        return None
    (empty,) = set(SPLITS) - set(found)
    share = "larger" if empty == VALIDATION else "smaller"
    return (
        f"{val_fraction}: none of {counted(num, 'pair')} would be in {empty}. Give a {share} "
        f"share, or {more}."
    )


def indices_of(start: int, stop: int, split: Split, val_fraction: float | None) -> list[int]:
    """The numbers among start..stop-1 of the samples of a split, in order."""
    return [i for i in range(start, stop) if split_of(sample_key(i), val_fraction) == split]
